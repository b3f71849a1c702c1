//! Guests that do one thing.

/// Touches a global, so that the hook is not skipped as trivial.
pub(crate) const EMPTY: &str = "(drop (global.get $g))";
pub(crate) const EFFECTIVE_CONTEXT: &str = "(drop (call $context (i32.const 0)))";
pub(crate) const TIME: &str = "(drop (call $time (i32.const 16)))";
pub(crate) const HEADER: &str =
    "(drop (call $value (i32.const 0) (i32.const 1024) (i32.const 9) (i32.const 16) (i32.const 20)))";
pub(crate) const HEADER_MISS: &str =
    "(drop (call $value (i32.const 0) (i32.const 1024) (i32.const 8) (i32.const 16) (i32.const 20)))";
pub(crate) const ADD_REMOVE: &str =
    "(drop (call $add (i32.const 0) (i32.const 1040) (i32.const 5) (i32.const 1040) (i32.const 5)))
    (drop (call $remove (i32.const 0) (i32.const 1040) (i32.const 5)))";
pub(crate) const PAIRS: &str = "(drop (call $pairs (i32.const 0) (i32.const 16) (i32.const 20)))";
pub(crate) const PROPERTY: &str =
    "(drop (call $property (i32.const 1060) (i32.const 12) (i32.const 16) (i32.const 20)))";
pub(crate) const COUNTER: &str = "(drop (call $increment (i32.const 4) (i64.const 1)))";

const HEAD: &str = r#"
  (import "env" "proxy_set_effective_context" (func $context (param i32) (result i32)))
  (import "env" "proxy_get_current_time_nanoseconds" (func $time (param i32) (result i32)))
  (import "env" "proxy_get_header_map_value" (func $value (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_remove_header_map_value" (func $remove (param i32 i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
  (import "env" "proxy_get_property" (func $property (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_increment_metric" (func $increment (param i32 i64) (result i32)))
  (memory (export "memory") 4)
  (global $g (mut i32) (i32.const 0))
  (data (i32.const 1024) "x-user-id")
  (data (i32.const 1040) "x-new")
  (data (i32.const 1060) "request\00path")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 65536))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (i32.eqz (call $define (i32.const 0) (i32.const 1040) (i32.const 5) (i32.const 24))))
"#;

const SCRATCH: &str = r#"
  (func (export "sidegate_scratch_begin") (result i32) (i32.const 131072))
  (func (export "sidegate_scratch_size") (result i32) (i32.const 65536))
"#;

pub(crate) fn with_hook(body: &str) -> String {
    let hook = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)"#;
    format!("(module {HEAD} {hook} {body} (i32.const 0)))")
}

pub(crate) fn with_loop(call: &str, count: u32, scratch: bool) -> String {
    let hook = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local $n i32)"#;
    let body = format!(
        "(loop $l {call} (local.set $n (i32.add (local.get $n) (i32.const 1)))
           (br_if $l (i32.lt_u (local.get $n) (i32.const {count}))))"
    );
    let scratch = if scratch { SCRATCH } else { "" };
    format!("(module {HEAD} {scratch} {hook} {body} (i32.const 0)))")
}

pub(crate) fn empty_filter() -> String {
    let hooks = [
        ("context_create", "(param i32 i32)", ""),
        ("request_headers", "(param i32 i32 i32) (result i32)", "(i32.const 0)"),
        ("response_headers", "(param i32 i32 i32) (result i32)", "(i32.const 0)"),
        ("response_body", "(param i32 i32 i32) (result i32)", "(i32.const 0)"),
        ("log", "(param i32)", ""),
        ("done", "(param i32) (result i32)", "(i32.const 1)"),
        ("delete", "(param i32)", ""),
    ];
    let hooks: String = hooks
        .iter()
        .map(|(name, kind, end)| format!("(func (export \"proxy_on_{name}\") {kind} {EMPTY} {end})"))
        .collect();
    format!("(module {HEAD} {hooks})")
}
