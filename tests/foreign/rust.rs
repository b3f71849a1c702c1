//! The examples of the published `proxy-wasm` crate: 0.1.4 speaks ABI 0.1.0, 0.2.0 speaks 0.2.1.

use sidegate_tests::Request;
use sidegate_tests::sidegate::PATIENCE;

use crate::setup::{CHUNKED, FINE, configured, plain, values};

#[test]
#[cfg_attr(not(foreign_rust), ignore = "the filters are missing: run `cargo xtask foreign`")]
fn http_headers_answers_one_path_and_shows_headers_of_all_others() {
    for filter in ["rs014_http_headers", "rs020_http_headers"] {
        let stage = plain(filter);
        let hello = stage.get("/hello");
        assert_eq!((hello.status, hello.text().as_ref()), (200, "Hello, World!\n"), "{filter}");
        assert_eq!(hello.header("hello"), Some("World"), "{filter}");
        assert_eq!(hello.header("powered-by"), Some("proxy-wasm"), "{filter}");
        assert_eq!(hello.header("content-type"), Some("text/plain"), "{filter}");
        assert_eq!(stage.origin.request_count(), 0, "{filter}: a filter's own answer needs no upstream");

        let other = stage.sidegate.send(&Request::get("/x").with_header("x-a", "1").with_header("x-a", "2"));
        assert_eq!((other.status, other.text().as_ref()), (200, FINE), "{filter}");
        assert_eq!(stage.seen("/x").headers.all("x-a").collect::<Vec<_>>(), ["1", "2"], "{filter}");
        for line in ["-> :path: /x", "-> x-a: 1", "-> x-a: 2", "<- :status: 200", "<- set-cookie: b=2", "completed."] {
            assert!(stage.sidegate.log().line_with(line, PATIENCE).is_some(), "{filter} logs {line:?}");
        }
    }
}

#[test]
#[cfg_attr(not(foreign_rust), ignore = "the filters are missing: run `cargo xtask foreign`")]
fn http_body_rewrites_a_body_with_a_secret_and_no_other() {
    for filter in ["rs014_http_body", "rs020_http_body"] {
        let stage = plain(filter);
        let secret = stage.get("/secret");
        assert_eq!(secret.text(), "Original message body (17 bytes) redacted.", "{filter}");
        assert_eq!(secret.header("content-length"), None, "{filter} removed it");
        assert_eq!(values(&secret, "set-cookie"), ["a=1", "b=2"], "{filter}");
        assert_eq!(stage.get("/chunks").text(), "one-two-three", "{filter}");
        assert_eq!(stage.get("/plain").text(), FINE, "{filter}");
    }
}

#[test]
#[cfg_attr(not(foreign_rust), ignore = "the filters are missing: run `cargo xtask foreign`")]
fn http_body_gives_no_body_to_answers_that_have_none() {
    for filter in ["rs014_http_body", "rs020_http_body"] {
        let stage = plain(filter);
        let mut client = stage.sidegate.connect();
        let empty = client.get("/204").unwrap();
        assert_eq!((empty.status, empty.body.len()), (204, 0), "{filter}");
        assert_eq!((empty.header("content-length"), empty.header("transfer-encoding")), (None, None), "{filter}");
        assert_eq!(values(&empty, "x-multi"), ["m1", "m2"], "{filter}");
        let head = client.send(&Request::new("HEAD", "/plain")).unwrap();
        assert_eq!((head.status, head.body.len()), (200, 0), "{filter}");
        // The connection is in step: a stray body would be taken for the next answer.
        assert_eq!(client.get("/secret").unwrap().text(), "Original message body (17 bytes) redacted.", "{filter}");
    }
}

#[test]
#[cfg_attr(not(foreign_rust), ignore = "the filters are missing: run `cargo xtask foreign`")]
fn http_config_hands_its_configuration_to_the_client() {
    for filter in ["rs014_http_config", "rs020_http_config"] {
        let answer = configured(filter, "The secret").get("/x");
        assert_eq!(values(&answer, "custom-header"), ["The secret"], "{filter}");
        assert_eq!(values(&plain(filter).get("/x"), "custom-header"), [""], "{filter} without configuration");
    }
}

#[test]
#[cfg_attr(not(foreign_rust), ignore = "the filters are missing: run `cargo xtask foreign`")]
fn http_auth_random_lets_every_other_request_through() {
    for filter in ["rs014_http_auth_random", "rs020_http_auth_random"] {
        let stage = plain(filter);
        for round in 0..3 {
            let granted = stage.get("/x");
            assert_eq!((granted.status, granted.text().as_ref()), (200, FINE), "{filter} {round}");
            assert_eq!(values(&granted, "powered-by"), ["proxy-wasm"], "{filter} {round}");
            let denied = stage.get("/x");
            assert_eq!((denied.status, denied.text().as_ref()), (403, "Access forbidden.\n"), "{filter} {round}");
            assert_eq!(values(&denied, "powered-by"), ["proxy-wasm"], "{filter} {round}");
            assert_eq!(denied.header("content-type"), Some("text/plain"), "{filter} {round}");
        }
        assert_eq!(stage.seen("/bytes/1").header("host"), Some("httpbin.org"), "{filter}");
        assert_eq!(stage.origin.request_count(), 9, "{filter}: six questions, three requests let through");
        assert!(stage.sidegate.log().line_with("Access granted.", PATIENCE).is_some(), "{filter}");
    }
}

#[test]
#[cfg_attr(not(foreign_rust), ignore = "the filters are missing: run `cargo xtask foreign`")]
fn http_auth_random_holds_a_body_while_it_asks() {
    for filter in ["rs014_http_auth_random", "rs020_http_auth_random"] {
        let stage = plain(filter);
        assert_eq!(stage.say(CHUNKED).status, 200, "{filter}");
        assert_eq!(stage.seen("/chunked").text(), "abcd", "{filter}");
        assert_eq!(stage.say(CHUNKED).status, 403, "{filter}");
        assert_eq!(stage.origin.request_count(), 3, "{filter}");
    }
}

#[test]
#[cfg_attr(not(foreign_rust), ignore = "the filters are missing: run `cargo xtask foreign`")]
fn hello_world_has_no_place_in_a_request_but_lives_on() {
    for filter in ["rs014_hello_world", "rs020_hello_world"] {
        let stage = plain(filter);
        assert!(stage.sidegate.log().line_with("Hello, World!", PATIENCE).is_some(), "{filter}");
        let answer = stage.get("/x");
        assert_eq!((answer.status, answer.body.len()), (503, 0), "{filter}: it makes no context for a request");
        assert_eq!(stage.origin.request_count(), 0, "{filter}");
        let labels = [("plugin", "foreign"), ("hook", "on_context_create")];
        stage.sidegate.metric("sidegate_plugin_faults_total", &labels, |count| count >= 1.0);
        let tick = stage.sidegate.log().line_with("your lucky number is", PATIENCE);
        assert!(tick.is_some(), "{filter}: another VM of the plugin ticks on");
    }
}
