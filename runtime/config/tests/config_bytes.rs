//! What a filter is given, and how its problems find back to the text.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops at what it does not expect"
)]

use sidegate_config::{FilterConfig, Severity, Source, parse};

fn filter(config: &str) -> FilterConfig {
    let text = format!("listeners:\n- name: in\n  address: 127.0.0.1:1\n  filters:\n  - plugin: a\n{config}");
    match parse(&[Source { path: "c.yaml".into(), text }]) {
        Ok(loaded) => loaded.config.listeners[0].filters[0].config.clone(),
        Err(problems) => panic!("{problems}"),
    }
}

#[track_caller]
fn given(yaml: &str, bytes: Option<&str>) {
    let config = filter(&format!("    config: {yaml}\n"));
    assert_eq!(config.bytes().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()).as_deref(), bytes, "{yaml}");
}

#[test]
fn nothing_and_null_are_no_bytes() {
    assert_eq!(filter("").bytes(), None);
    given("", None);
    given("null", None);
    given("~", None);
}

#[test]
fn a_string_is_its_text() {
    given("hello", Some("hello"));
    given("\"\"", Some(""));
    given("\"a\\n\\u00e9\\0\"", Some("a\né\0"));
    given("'null'", Some("null"));
    given("\"{}\"", Some("{}"));
    given("|\n      {\"a\": 1}\n      b", Some("{\"a\": 1}\nb\n"));
    given("!!str 5", Some("5"));
}

#[test]
fn anything_else_is_compact_json_in_file_order() {
    given("{z: 1, a: [x, 'y', null, true], m: {}}", Some(r#"{"z":1,"a":["x","y",null,true],"m":{}}"#));
    given("true", Some("true"));
    given("[]", Some("[]"));
    given("{\"a\\\"b\": \"\\u0001\\\\\"}", Some("{\"a\\\"b\":\"\\u0001\\\\\"}"));
    given("{1: a, true: b, 1.50: c}", Some(r#"{"1":"a","true":"b","1.50":"c"}"#));
    given("{a: &x [1, 2], b: *x}", Some(r#"{"a":[1,2],"b":[1,2]}"#));
    given(
        "{on: yes, t: 12:30, v: 1.2.3, d: 2026-01-01}",
        Some(r#"{"on":"yes","t":"12:30","v":"1.2.3","d":"2026-01-01"}"#),
    );
}

#[test]
fn numbers_are_exact() {
    given("18446744073709551615", Some("18446744073709551615"));
    given("-9223372036854775808", Some("-9223372036854775808"));
    given("[9007199254740993, 0x10, 0o17, +5, -0, 007]", Some("[9007199254740993,16,15,5,0,7]"));
    given("123456789012345678901234567890", Some("123456789012345678901234567890"));
    given("[1.5, 1.0, 1e3, .5, 0.1, 1e-7]", Some("[1.5,1.0,1000.0,0.5,0.1,1e-7]"));
}

#[test]
fn a_pointer_finds_its_place_or_the_nearest_parent() {
    let config = filter(
        "    config:\n      virtualServices:\n      - hosts: [\"*\"]\n        a/b:\n          c~d: x\n        http: [{timeout: 1s}]\n",
    );
    let place = |pointer: &str| {
        let (location, path) = config.locate(pointer);
        format!("{location} {path}")
    };
    let at = "listeners[0].filters[0].config";
    assert_eq!(place(""), format!("c.yaml:7:7 {at}"));
    assert_eq!(place("/virtualServices/0/hosts/0"), format!("c.yaml:8:17 {at}.virtualServices[0].hosts[0]"));
    assert_eq!(
        place("/virtualServices/0/http/0/timeout"),
        format!("c.yaml:11:26 {at}.virtualServices[0].http[0].timeout")
    );
    assert_eq!(
        place("/virtualServices/0/a~1b/c~0d"),
        format!("c.yaml:10:16 {at}.virtualServices[0][\"a/b\"][\"c~d\"]")
    );
    assert_eq!(place("/virtualServices/0/http/7/x"), format!("c.yaml:11:15 {at}.virtualServices[0].http"));
    assert_eq!(place("/nowhere"), format!("c.yaml:7:7 {at}"));
    assert_eq!(place("no pointer"), format!("c.yaml:7:7 {at}"));

    let problem = config.problem(Severity::Error, "/virtualServices/0/http/0/timeout", "too short");
    let place = "listeners[0].filters[0].config.virtualServices[0].http[0].timeout";
    assert_eq!(problem.to_string(), format!("c.yaml:11:26: too short ({place})"));

    let (location, path) = filter("").locate("/x");
    assert_eq!((location.to_string(), path), ("c.yaml:5:5".to_owned(), at.to_owned()));
}

#[test]
fn equal_bytes_are_equal_configurations_wherever_they_stand() {
    assert_eq!(filter("    config: {a: 1}\n"), filter("\n    config:\n      a: 1\n"));
    assert_ne!(filter("    config: {a: 1}\n"), filter("    config: {a: 2}\n"));
    assert_ne!(filter("    config: \"\"\n"), filter(""));
}

#[test]
fn secrets_do_not_reach_debug_output() {
    assert!(!format!("{:?}", filter("    config: {key: hunter2}\n")).contains("hunter2"));
}
