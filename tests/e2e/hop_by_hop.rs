//! Fields that belong to one connection end there, in both directions.

use sidegate_tests::{Answer, Origin, Request, Sidegate};

use crate::setup::{config, fine, plain};

/// What no hop may pass on; `x-secret` because `connection` names it.
const HOP: [&str; 8] =
    ["x-secret", "keep-alive", "proxy-connection", "te", "upgrade", "http2-settings", "proxy-authenticate", "trailer"];

#[test]
fn no_hop_by_hop_field_goes_up() {
    let origin = fine();
    let sidegate = plain(&origin);
    let request = Request::get("/")
        .with_header("connection", "close, X-Secret, HTTP2-Settings, content-type")
        .with_header("connection", "keep-alive, x-other")
        .with_header("x-secret", "1")
        .with_header("x-other", "1")
        .with_header("keep-alive", "timeout=5")
        .with_header("proxy-connection", "keep-alive")
        .with_header("te", "gzip")
        .with_header("upgrade", "h2c")
        .with_header("http2-settings", "AAMAAABkAAQAAP__")
        .with_header("content-type", "text/plain")
        .with_header("x-kept", "1");
    assert_eq!(sidegate.send(&request).status, 200);
    let request = origin.requests().pop().unwrap();
    for name in HOP.iter().chain(&["x-other", "content-type", "connection"]) {
        assert_eq!(request.header(name), None, "{name}");
    }
    assert_eq!(request.header("x-kept"), Some("1"));
}

#[test]
fn no_client_takes_framing_or_host_away() {
    let origin = fine();
    let sidegate = plain(&origin);
    let request = Request::post("/", "hello")
        .with_header("connection", "content-length, host, transfer-encoding, x-forwarded-for");
    assert_eq!(sidegate.send(&request).status, 200);
    let request = origin.requests().pop().unwrap();
    assert_eq!(request.body, b"hello");
    assert_eq!(request.header("host"), Some(sidegate.address("inbound").to_string().as_str()));
    assert_eq!(request.header("x-forwarded-for"), Some("127.0.0.1"));
}

#[test]
fn no_hop_by_hop_field_comes_down() {
    let origin = Origin::answering(|_| {
        Answer::ok("fine")
            .with_header("connection", "keep-alive, X-Secret")
            .with_header("x-secret", "1")
            .with_header("keep-alive", "timeout=5")
            .with_header("proxy-connection", "keep-alive")
            .with_header("upgrade", "h2c")
            .with_header("x-kept", "1")
    });
    let sidegate = plain(&origin);
    let answer = sidegate.get("/");
    for name in HOP.iter().chain(&["connection"]) {
        assert_eq!(answer.header(name), None, "{name}");
    }
    assert_eq!((answer.text().as_ref(), answer.header("x-kept")), ("fine", Some("1")));
}

#[test]
fn an_upstream_that_closes_does_not_close_the_client() {
    let origin = Origin::answering(|_| Answer::ok("fine").closing());
    let sidegate = plain(&origin);
    let mut client = sidegate.connect();
    for _ in 0..3 {
        let answer = client.get("/").unwrap();
        assert_eq!((answer.status, answer.header("connection")), (200, None));
    }
    assert_eq!(origin.connection_count(), 3);
}

#[test]
fn claims_of_an_untrusted_client_are_replaced() {
    let origin = fine();
    let sidegate = plain(&origin);
    assert_eq!(sidegate.send(&claiming()).status, 200);
    let request = origin.requests().pop().unwrap();
    assert_eq!(request.headers.all("x-forwarded-for").collect::<Vec<_>>(), ["127.0.0.1"]);
    assert_eq!(request.headers.all("x-forwarded-proto").collect::<Vec<_>>(), ["http"]);
    for name in ["x-forwarded-host", "x-forwarded-client-cert", "x-envoy-peer-metadata", "x-envoy-internal"] {
        assert_eq!(request.header(name), None, "{name}");
    }
    assert_eq!(request.header("x-request-id"), Some("mine"));
}

#[test]
fn claims_that_come_through_a_trusted_proxy_stay() {
    let origin = fine();
    let sidegate = Sidegate::start(&config(", numTrustedProxies: 1", &origin, ""));
    assert_eq!(sidegate.send(&claiming()).status, 200);
    let request = origin.requests().pop().unwrap();
    let list: Vec<_> = request.headers.all("x-forwarded-for").flat_map(|list| list.split(',')).map(str::trim).collect();
    assert_eq!(list, ["1.2.3.4", "5.6.7.8", "127.0.0.1"]);
    assert_eq!(request.headers.all("x-forwarded-proto").collect::<Vec<_>>(), ["https"]);
    assert_eq!(request.header("x-forwarded-client-cert"), None, "identity is never taken from a field");
}

#[test]
fn every_request_has_an_id_of_its_own() {
    let origin = fine();
    let sidegate = plain(&origin);
    let mut client = sidegate.connect();
    for _ in 0..3 {
        assert_eq!(client.get("/").unwrap().status, 200);
    }
    let mut ids: Vec<_> =
        origin.requests().iter().map(|request| request.header("x-request-id").unwrap().to_owned()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

fn claiming() -> Request {
    Request::get("/")
        .with_header("x-forwarded-for", "1.2.3.4")
        .with_header("x-forwarded-for", "5.6.7.8")
        .with_header("x-forwarded-proto", "https")
        .with_header("x-forwarded-host", "evil.test")
        .with_header("x-forwarded-client-cert", "URI=spiffe://a/ns/b/sa/c")
        .with_header("x-envoy-peer-metadata", "x")
        .with_header("x-envoy-internal", "true")
        .with_header("x-request-id", "mine")
}
