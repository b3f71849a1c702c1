//! One request has one authority, in a strict grammar, over HTTP/1.1 and HTTP/2.

use sidegate_tests::Request;
use sidegate_tests::h2::Http2Client;

use crate::frames::{Frames, pseudo};
use crate::setup::{fine, plain};

#[test]
fn a_host_that_is_none_or_several_is_refused() {
    let origin = fine();
    let sidegate = plain(&origin);
    let heads = [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a, b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost:\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: user@a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: user:password@a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a/b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a?b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a#b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\\b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: http://a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a:99999\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a:99999x\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a:-1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a:\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a:1:2\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: [::1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: [::g]\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: [::1]x\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a%00b\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nhost: b\r\n\r\n",
        "GET http://user@a/ HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET ftp://a/ HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET a HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n",
        "GET * HTTP/1.1\r\nhost: a\r\n\r\n",
        "CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n",
        "CONNECT / HTTP/1.1\r\nhost: a\r\n\r\n",
        "TRACE / HTTP/1.1\r\nhost: a\r\n\r\n",
    ];
    let mut wrong = Vec::new();
    for head in heads {
        let mut client = sidegate.connect();
        client.write(head.as_bytes()).unwrap();
        let status = client.read_response().map(|answer| answer.status);
        if !matches!(status, Ok(400 | 405)) {
            wrong.push(format!("{head:?}: {status:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(origin.request_count(), 0);
}

#[test]
fn a_good_host_goes_up_as_it_came() {
    let origin = fine();
    let sidegate = plain(&origin);
    for host in ["a", "a.test:80", "A-b_c.test", "127.0.0.1:65535", "[::1]:8080"] {
        assert_eq!(sidegate.send(&Request::get("/").with_header("Host", host)).status, 200, "{host}");
        let request = origin.requests().pop().unwrap();
        assert_eq!(request.headers.all("host").collect::<Vec<_>>(), [host]);
    }
    let absolute = sidegate.send(&Request::get("http://a.test/x?y").with_header("Host", "a.test"));
    assert_eq!(absolute.status, 200);
    let request = origin.requests().pop().unwrap();
    assert_eq!((request.target.as_str(), request.header("host")), ("/x?y", Some("a.test")));
}

#[test]
fn over_http2_authority_and_host_must_agree() {
    let origin = fine();
    let sidegate = plain(&origin);
    let cases: [(&str, Vec<(&str, &str)>); 7] = [
        ("another host", with_authority("a.test", &[("host", "b.test")])),
        ("two hosts", with_authority("a.test", &[("host", "a.test"), ("host", "a.test")])),
        ("user information", with_authority("user@a.test", &[])),
        ("a path", with_authority("a.test/x", &[])),
        ("a space", with_authority("a test", &[])),
        ("an empty one", with_authority("", &[])),
        ("none at all", vec![(":method", "GET"), (":scheme", "http"), (":path", "/")]),
    ];
    for (name, fields) in cases {
        let mut frames = Frames::connect(sidegate.address("inbound"));
        frames.headers(1, &fields, true);
        let refused = frames.is_refused(1);
        assert!(refused, "{name}");
    }
    assert_eq!(origin.request_count(), 0);

    let mut frames = Frames::connect(sidegate.address("inbound"));
    frames.headers(1, &with_authority("a.test:81", &[("host", "a.test:81")]), true);
    assert_eq!(frames.status_of(1), Some(200));
    let request = origin.requests().pop().unwrap();
    assert_eq!(request.headers.all("host").collect::<Vec<_>>(), ["a.test:81"]);
}

#[test]
fn over_http2_connect_and_trace_are_refused() {
    let origin = fine();
    let sidegate = plain(&origin);
    let mut client = Http2Client::connect(sidegate.address("inbound")).unwrap();
    assert_eq!(client.send(&Request::new("TRACE", "/")).unwrap().status, 405);
    let mut frames = Frames::connect(sidegate.address("inbound"));
    frames.headers(1, &[(":method", "CONNECT"), (":authority", "a:80")], false);
    assert!(frames.is_refused(1));
    assert_eq!(origin.request_count(), 0);
}

fn with_authority<'a>(authority: &'a str, fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&pseudo("GET", "/", authority)[..], fields].concat()
}
