//! The modules that take turns.

use crate::Outcome;

/// Functions of ballast: with them a module is about as large as a small filter of an SDK.
const BALLAST: usize = 640;

/// A module that writes its name as `x-gen` on requests and responses.
pub(crate) fn stamp(name: &str) -> Outcome<Vec<u8>> {
    let length = name.len();
    let hook = |hook: &str, map: u8| {
        format!(
            "(func (export \"proxy_on_{hook}_headers\") (param i32 i32 i32) (result i32)
               (drop (call $add (i32.const {map}) (i32.const 0) (i32.const 5) (i32.const 8) (i32.const {length})))
               i32.const 0)"
        )
    };
    let step = "(local.set 0 (i64.rotl (i64.mul (local.get 0) (i64.const 6364136223846793005)) (local.get 1)))";
    let ballast = (0..BALLAST).fold(String::new(), |text, number| {
        text + &format!(
            "(func (export \"ballast_{number}\") (param i64 i64) (result i64) {} (local.get 0))",
            step.repeat(12)
        )
    });
    let text = format!(
        "(module
           (import \"env\" \"proxy_add_header_map_value\" (func $add (param i32 i32 i32 i32 i32) (result i32)))
           (memory (export \"memory\") 2)
           (data (i32.const 0) \"x-gen\") (data (i32.const 8) \"{name}\")
           (func (export \"proxy_abi_version_0_2_1\"))
           (func (export \"malloc\") (param i32) (result i32) i32.const 65536)
           {} {} {ballast})",
        hook("request", 0),
        hook("response", 2)
    );
    Ok(wat::parse_str(text)?)
}

/// The same module with another digest: a custom section more.
pub(crate) fn with_mark(module: &[u8], mark: u8) -> Vec<u8> {
    [module, &[0, 3, 1, b'm', mark]].concat()
}
