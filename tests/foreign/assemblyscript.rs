//! Filters made with the AssemblyScript SDK of another vendor: `_start`, `malloc`, logs through WASI. Their sources
//! are in as/.

use sidegate_tests::Request;
use sidegate_tests::sidegate::PATIENCE;

use crate::setup::{CHUNKED, Stage, configured, plain, values};

#[test]
#[cfg_attr(not(foreign_assemblyscript), ignore = "the filters are missing: `cargo xtask foreign` needs npm for them")]
fn hello_greets_with_its_configuration() {
    assert_eq!(values(&configured("as_hello", "cfgval").get("/x"), "hello"), ["cfgval"]);
    assert_eq!(values(&plain("as_hello").get("/x"), "hello"), ["world!"]);
    let other = Stage::start("as_hello", ", rootId: another", "");
    assert_eq!(values(&other.get("/x"), "hello"), ["world!"], "its only root takes any id");
}

#[test]
#[cfg_attr(not(foreign_assemblyscript), ignore = "the filters are missing: `cargo xtask foreign` needs npm for them")]
fn multi_rewrites_a_response_and_reads_properties() {
    let stage = plain("as_multi");
    let answer = stage.get("/secret");
    assert_eq!((answer.status, answer.text().as_ref()), (200, "AS body (17)\n"));
    assert_eq!((answer.header("content-length"), answer.header("transfer-encoding")), (None, Some("chunked")));
    assert_eq!(values(&answer, "x-as-prop"), ["pv"], "what was stored with the request is there in the response");
    assert_eq!(stage.seen("/secret").header("x-as-method"), Some("GET"));
    assert_eq!(stage.get("/chunks").text(), "AS body (13)\n");
    // The status, five fields of the origin, and x-envoy-upstream-service-time.
    assert_eq!(values(&stage.get("/204"), "x-as-count"), ["7"]);
    assert!(stage.sidegate.send(&Request::new("HEAD", "/secret")).body.is_empty());
}

#[test]
#[cfg_attr(not(foreign_assemblyscript), ignore = "the filters are missing: `cargo xtask foreign` needs npm for them")]
fn multi_refuses_and_rewrites_its_own_refusal() {
    let stage = plain("as_multi");
    let denied = stage.get("/deny");
    assert_eq!((denied.status, denied.text().as_ref()), (451, "AS body (13)\n"));
    assert_eq!(values(&denied, "x-as"), ["1", "2"]);
    assert_eq!(values(&denied, "x-as-prop"), [""], "nothing was stored on this way");
    assert_eq!(denied.header("content-type"), Some("text/plain"));
    assert_eq!(stage.origin.request_count(), 0);
}

#[test]
#[cfg_attr(not(foreign_assemblyscript), ignore = "the filters are missing: `cargo xtask foreign` needs npm for them")]
fn multi_sees_a_request_body_whole() {
    let stage = plain("as_multi");
    assert_eq!(stage.say(CHUNKED).status, 200);
    assert_eq!(stage.seen("/chunked").text(), "abcd");
    assert!(stage.sidegate.log().line_with("body abcd", PATIENCE).is_some());
    assert_eq!(stage.sidegate.send(&Request::post("/length", "four")).status, 200);
    assert_eq!(stage.seen("/length").header("content-length"), Some("4"));
    assert!(stage.sidegate.log().line_with("body four", PATIENCE).is_some());
}
