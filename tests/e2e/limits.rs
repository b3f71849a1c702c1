//! Bounds on what a request head may be, and the statuses that say so.

use sidegate_tests::h2::Http2Client;
use sidegate_tests::{Request, Response, Sidegate};

use crate::setup::{config, fine, plain};

fn status(sidegate: &Sidegate, request: &Request) -> u16 {
    let mut client = sidegate.connect();
    let host = sidegate.address("inbound").to_string();
    // The answer may come, and the connection go, before all of it is written.
    let _ = client.write(&request.to_bytes(&host));
    client.read_response().map_or(0, |answer: Response| answer.status)
}

#[test]
fn a_target_may_have_64_kib_with_the_fields() {
    let origin = fine();
    let sidegate = plain(&origin);
    assert_eq!(status(&sidegate, &Request::get(&format!("/{}", "a".repeat(60_000)))), 200);
    assert!(matches!(status(&sidegate, &Request::get(&format!("/{}", "a".repeat(66_000)))), 414 | 431));
    assert!(matches!(status(&sidegate, &Request::get(&format!("/{}", "a".repeat(200_000)))), 414 | 431));
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn a_head_may_have_100_fields() {
    let origin = fine();
    let sidegate = plain(&origin);
    let with =
        |count: usize| (0..count).fold(Request::get("/"), |request, n| request.with_header(&format!("x-{n}"), "v"));
    // One more is the host.
    assert_eq!(status(&sidegate, &with(99)), 200);
    assert_eq!(status(&sidegate, &with(100)), 431);
    assert_eq!(status(&sidegate, &with(1000)), 431);
    assert_eq!(origin.request_count(), 1);
    // And what the proxy adds is not the client's fault.
    assert!(origin.requests()[0].headers.0.len() > 99);
}

#[test]
fn a_head_may_have_64_kib() {
    let origin = fine();
    let sidegate = plain(&origin);
    let with = |bytes: usize| Request::get("/").with_header("x", &"v".repeat(bytes));
    assert_eq!(status(&sidegate, &with(60_000)), 200);
    assert_eq!(status(&sidegate, &with(66_000)), 431);
    assert_eq!(status(&sidegate, &with(500_000)), 431);
    let spread =
        (0..20).fold(Request::get("/"), |request, n| request.with_header(&format!("x-{n}"), &"v".repeat(4000)));
    assert_eq!(status(&sidegate, &spread), 431);
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn an_operator_may_allow_less() {
    let origin = fine();
    let sidegate = Sidegate::start(&config(", maxRequestHeaders: 1Ki", &origin, ""));
    let with = |bytes: usize| Request::get("/").with_header("x", &"v".repeat(bytes));
    assert_eq!(status(&sidegate, &with(900)), 200);
    assert_eq!(status(&sidegate, &with(1100)), 431);
    assert_eq!(status(&sidegate, &with(9000)), 431);
}

#[test]
fn a_method_may_have_32_bytes() {
    let origin = fine();
    let sidegate = plain(&origin);
    assert_eq!(status(&sidegate, &Request::new(&"M".repeat(32), "/")), 200);
    assert!((400..500).contains(&status(&sidegate, &Request::new(&"M".repeat(33), "/"))));
    assert!((400..500).contains(&status(&sidegate, &Request::new(&"M".repeat(5000), "/"))));
}

#[test]
fn the_same_bounds_hold_over_http2() {
    let origin = fine();
    let sidegate = plain(&origin);
    let address = sidegate.address("inbound");
    let fields = (0..101).fold(Request::get("/"), |request, n| request.with_header(&format!("x-{n}"), "v"));
    let refused = [
        fields,
        Request::get("/").with_header("x", &"v".repeat(66_000)),
        Request::get(&format!("/{}", "a".repeat(65_000))).with_header("x", &"v".repeat(1_000)),
        Request::new(&"M".repeat(33), "/"),
    ];
    for (number, request) in refused.iter().enumerate() {
        let answer = Http2Client::connect(address).unwrap().send(request);
        assert!(answer.as_ref().map_or(true, |answer| (400..500).contains(&answer.status)), "{number}: {answer:?}");
    }
    assert_eq!(origin.request_count(), 0);
    let wide = Request::get("/").with_header("x", &"v".repeat(15_000));
    assert_eq!(Http2Client::connect(address).unwrap().send(&wide).unwrap().status, 200);
}
