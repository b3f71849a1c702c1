//! What no published filter shows alone: small modules in text form, each for one answer of the host that was observed
//! in Envoy.

use sidegate_tests::Request;

use crate::setup::Stage;

/// Answers every request with one digit per property that it asks for: the status of the call.
fn statuses_of(paths: &[&str]) -> String {
    let mut data = String::new();
    let mut calls = String::new();
    let mut at = 256;
    for (index, path) in paths.iter().enumerate() {
        let bytes = path.replace('.', "\\00");
        data += &format!("(data (i32.const {at}) \"{bytes}\")");
        calls += &format!(
            "(i32.store8 (i32.const {index}) (i32.add (i32.const 48)
               (call $property (i32.const {at}) (i32.const {}) (i32.const 64) (i32.const 68))))",
            path.len()
        );
        at += path.len();
    }
    format!(
        "(module
           (import \"env\" \"proxy_get_property\" (func $property (param i32 i32 i32 i32) (result i32)))
           (import \"env\" \"proxy_send_local_response\"
             (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
           (memory (export \"memory\") 1) {data}
           (func (export \"proxy_abi_version_0_2_1\"))
           (func (export \"malloc\") (param i32) (result i32) (i32.const 4096))
           (func (export \"proxy_on_context_create\") (param i32 i32))
           (func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32)
             {calls}
             (drop (call $reply (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const {count})
               (i32.const 0) (i32.const 0) (i32.const -1)))
             (i32.const 1)))",
        count = paths.len()
    )
}

/// Answers with the value of `request.headers.x-q`.
const REPEATED: &str = r#"(module
  (import "env" "proxy_get_property" (func $property (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_send_local_response" (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 256) "request\00headers\00X-Q")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 4096))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (drop (call $property (i32.const 256) (i32.const 19) (i32.const 64) (i32.const 68)))
    (drop (call $reply (i32.const 200) (i32.const 0) (i32.const 0) (i32.load (i32.const 64)) (i32.load (i32.const 68))
      (i32.const 0) (i32.const 0) (i32.const -1)))
    (i32.const 1)))"#;

/// Adds a header with a line break to map 0 when the request comes, or to map 2 when the response comes.
fn line_break(hook: &str, map: u32) -> String {
    format!(
        r#"(module
             (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
             (memory (export "memory") 1)
             (data (i32.const 256) "x-aa\0d\0nb: c")
             (func (export "proxy_abi_version_0_2_1"))
             (func (export "malloc") (param i32) (result i32) (i32.const 4096))
             (func (export "proxy_on_context_create") (param i32 i32))
             (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) (i32.const 0))
             (func (export "{hook}") (param i32 i32 i32) (result i32)
               (call $add (i32.const {map}) (i32.const 256) (i32.const 3) (i32.const 259) (i32.const 7))))"#
    )
    .replace("\\0n", "\\0a")
}

#[test]
fn a_whole_group_of_properties_is_no_value() {
    let groups = ["request", "response", "source", "destination", "connection", "upstream", "xds", "filter_state"];
    let stage = Stage::of_module(statuses_of(&groups), "", "");
    assert_eq!(stage.get("/").text(), "33333333");
    let others = ["request.path", "request.nope", "nope", "response.code", "metadata.filter_metadata.x"];
    assert_eq!(Stage::of_module(statuses_of(&others), "", "").get("/").text(), "01111");
}

#[test]
fn the_property_of_a_repeated_header_has_all_its_values() {
    let stage = Stage::of_module(REPEATED, "", "");
    let answer = stage.sidegate.send(&Request::get("/").with_header("x-q", "1").with_header("X-Q", "2"));
    assert_eq!(answer.text(), "1,2");
}

#[test]
fn a_line_break_in_a_header_ends_the_exchange_and_reaches_nobody() {
    let stage = Stage::of_module(line_break("proxy_on_request_headers", 0), "", "");
    assert_eq!(stage.get("/").status, 503);
    assert_eq!(stage.origin.request_count(), 0);
    let stage = Stage::of_module(line_break("proxy_on_response_headers", 2), "", "");
    let answer = stage.get("/");
    assert_eq!((answer.status, answer.header("b")), (502, None));
}
