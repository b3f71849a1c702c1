//! The modules that take turns.

use crate::Outcome;

/// What a version does to each request besides writing its name.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Conduct {
    Good,
    /// Traps for one of fifty.
    Traps,
    /// Takes five milliseconds.
    Slow,
}

/// A module that writes its name as `x-gen` on responses.
pub(crate) fn module(name: &str, conduct: Conduct) -> Outcome<Vec<u8>> {
    let body = match conduct {
        Conduct::Good => "",
        Conduct::Traps => {
            "(global.set $count (i32.add (global.get $count) (i32.const 1)))
             (if (i32.eqz (i32.rem_u (global.get $count) (i32.const 50))) (then unreachable))"
        }
        Conduct::Slow => {
            "(drop (call $now (i32.const 64)))
             (local.set $until (i64.add (i64.load (i32.const 64)) (i64.const 5000000)))
             (loop $spin
               (drop (call $now (i32.const 64)))
               (br_if $spin (i64.lt_u (i64.load (i32.const 64)) (local.get $until))))"
        }
    };
    let text = format!(
        "(module
           (import \"env\" \"proxy_add_header_map_value\" (func $add (param i32 i32 i32 i32 i32) (result i32)))
           (import \"env\" \"proxy_get_current_time_nanoseconds\" (func $now (param i32) (result i32)))
           (memory (export \"memory\") 2)
           (global $count (mut i32) (i32.const 0))
           (data (i32.const 0) \"x-gen\") (data (i32.const 8) \"{name}\")
           (func (export \"proxy_abi_version_0_2_1\"))
           (func (export \"malloc\") (param i32) (result i32) i32.const 65536)
           (func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32) (local $until i64)
             {body} i32.const 0)
           (func (export \"proxy_on_response_headers\") (param i32 i32 i32) (result i32)
             (drop (call $add (i32.const 2) (i32.const 0) (i32.const 5) (i32.const 8) (i32.const {})))
             i32.const 0))",
        name.len()
    );
    Ok(wat::parse_str(text)?)
}

/// The same module with another digest: a custom section more.
pub(crate) fn with_mark(module: &[u8], mark: usize) -> Vec<u8> {
    let mark = (mark as u32).to_le_bytes();
    [module, &[0, 6, 1, b'm'], &mark].concat()
}
