//! The filter without wasm, proxy or network.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use hello_filter::Greeter;
use sidegate_sdk::testing::Filter;

#[test]
fn every_response_is_greeted() {
    let filter = Filter::<Greeter>::configure(r#"{"greeting": "hi"}"#).unwrap();
    let outcome = filter.get("/").respond(404, &[("x-greeting", "from the service")], "").run();
    assert_eq!(outcome.status(), 404);
    assert_eq!(outcome.response().all("x-greeting"), ["hi"]);
}

#[test]
fn a_misspelt_key_is_told_with_its_place() {
    let problems = Filter::<Greeter>::configure(r#"{"greting": "hi"}"#).err().unwrap();
    assert_eq!(problems[0].to_string(), "/greting: unknown key `greting`; did you mean `greeting`?");
}
