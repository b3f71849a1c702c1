//! What a fault takes back: the changes of the hook in which it happened, and nothing else.

use sidegate_tests::Request;

use crate::setup::Stage;

/// The first VM adds a header and traps. The next one answers with two digits: the end of stream that its hook was
/// told, and the status of asking for that header.
const ONCE: &str = r#"(module
  (import "env" "proxy_get_shared_data" (func $read (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_shared_data" (func $write (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_value" (func $value (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_send_local_response" (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 256) "x-try")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 4096))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_request_headers") (param $id i32) (param $count i32) (param $end i32) (result i32)
    (if (call $read (i32.const 256) (i32.const 5) (i32.const 64) (i32.const 68) (i32.const 72))
      (then
        (drop (call $write (i32.const 256) (i32.const 5) (i32.const 256) (i32.const 1) (i32.const 0)))
        (drop (call $add (i32.const 0) (i32.const 256) (i32.const 5) (i32.const 256) (i32.const 1)))
        (unreachable)))
    (i32.store8 (i32.const 0) (i32.add (i32.const 48) (local.get $end)))
    (i32.store8 (i32.const 1) (i32.add (i32.const 48)
      (call $value (i32.const 0) (i32.const 256) (i32.const 5) (i32.const 64) (i32.const 68))))
    (drop (call $reply (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 2)
      (i32.const 0) (i32.const 0) (i32.const -1)))
    (i32.const 1)))"#;

/// Adds a header to the request and traps at its body.
const LATE: &str = r#"(module
  (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 256) "x-keep")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 4096))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (call $add (i32.const 0) (i32.const 256) (i32.const 6) (i32.const 256) (i32.const 1)))
  (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (unreachable)))"#;

#[test]
fn a_reload_tries_again_as_if_nothing_had_happened() {
    let stage = Stage::of_module(ONCE, ", failStrategy: FAIL_RELOAD", "");
    let answer = stage.get("/");
    assert_eq!((answer.status, answer.text().as_ref()), (200, "11"));
    // With a body to come, the second try is told so too.
    let stage = Stage::of_module(ONCE, ", failStrategy: FAIL_RELOAD", "");
    assert_eq!(stage.sidegate.send(&Request::post("/", "body")).text(), "01");
}

#[test]
fn a_plugin_that_fails_open_keeps_what_it_did_before() {
    let stage = Stage::of_module(LATE, ", failStrategy: FAIL_OPEN", "");
    assert_eq!(stage.sidegate.send(&Request::post("/x", "body")).status, 200);
    let seen = stage.seen("/x");
    assert_eq!((seen.header("x-keep"), seen.text().as_ref()), (Some("x"), "body"));
}
