//! What makes a message: bodies that must not be there, trailers, expectations, several requests at once, the end of a
//! connection.

use sidegate_tests::h2::Http2Client;
use sidegate_tests::{Answer, Origin, Request};

use crate::setup::{fine, plain};

#[test]
fn head_204_and_304_have_no_body() {
    let origin = Origin::answering(|request| match request.target.as_str() {
        "/204" => Answer::status(204),
        "/304" => Answer::status(304).with_header("content-length", "1234").with_header("etag", "\"x\""),
        "/chunked" => Answer::ok("fine").chunked(),
        _ => Answer::ok("fine"),
    });
    let sidegate = plain(&origin);
    let mut client = sidegate.connect();
    let answer = client.send(&Request::new("HEAD", "/")).unwrap();
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("4")));
    assert_eq!(client.send(&Request::new("HEAD", "/chunked")).unwrap().status, 200);
    let answer = client.get("/204").unwrap();
    assert_eq!((answer.status, answer.header("content-length"), answer.header("transfer-encoding")), (204, None, None));
    let answer = client.get("/304").unwrap();
    assert_eq!((answer.status, answer.header("etag"), answer.header("transfer-encoding")), (304, Some("\"x\""), None));
    assert_eq!(client.get("/").unwrap().text(), "fine", "the connection is still in step");

    let mut client = Http2Client::connect(sidegate.address("inbound")).unwrap();
    let requests = [Request::new("HEAD", "/"), Request::get("/204"), Request::get("/304"), Request::get("/")];
    let answers = client.send_all(&requests).unwrap();
    let seen: Vec<_> = answers
        .iter()
        .map(|answer| answer.as_ref().unwrap())
        .map(|answer| (answer.status, answer.body.len()))
        .collect();
    assert_eq!(seen, [(200, 0), (204, 0), (304, 0), (200, 4)]);
}

#[test]
fn a_length_stays_a_length_and_chunks_stay_chunks() {
    let origin = Origin::answering(|request| match request.target.as_str() {
        "/chunked" => Answer::ok("fine").chunked(),
        _ => Answer::ok("fine"),
    });
    let sidegate = plain(&origin);
    let answer = sidegate.get("/");
    assert_eq!((answer.header("content-length"), answer.header("transfer-encoding")), (Some("4"), None));
    let answer = sidegate.get("/chunked");
    assert_eq!((answer.header("content-length"), answer.header("transfer-encoding")), (None, Some("chunked")));
}

#[test]
fn a_get_without_body_goes_up_without_framing() {
    let origin = fine();
    let sidegate = plain(&origin);
    assert_eq!(sidegate.get("/").status, 200);
    assert_eq!(sidegate.send(&Request::new("POST", "/").with_header("content-length", "0")).status, 200);
    let requests = origin.requests();
    assert_eq!(requests[0].header("content-length"), None);
    assert_eq!(requests[0].header("transfer-encoding"), None);
    assert_eq!(requests[1].header("transfer-encoding"), None);
}

#[test]
fn announced_trailers_pass_in_both_directions() {
    let origin = Origin::answering(|_| Answer::ok("fine").with_header("trailer", "x-sum").with_trailer("x-sum", "2"));
    let sidegate = plain(&origin);
    let request = "POST / HTTP/1.1\r\nhost: a\r\nte: trailers\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n";
    let mut client = sidegate.connect();
    client.write(request.as_bytes()).unwrap();
    let answer = client.read_response().unwrap();
    assert_eq!((answer.text().as_ref(), answer.trailers.first("x-sum")), ("fine", Some("2")));
    let request = origin.requests().pop().unwrap();
    assert_eq!((request.body.as_slice(), request.trailers.first("x-sum")), (&b"hello"[..], Some("1")));

    let mut client = Http2Client::connect(sidegate.address("inbound")).unwrap();
    let answer = client.send(&Request::get("/").with_header("te", "trailers")).unwrap();
    assert_eq!((answer.text().as_ref(), answer.trailers.first("x-sum")), ("fine", Some("2")));
}

#[test]
fn trailers_cannot_smuggle_framing_or_routing() {
    let origin = fine();
    let sidegate = plain(&origin);
    for field in ["content-length: 5", "transfer-encoding: chunked", "host: evil", "authorization: x"] {
        let name = field.split(':').next().unwrap();
        let request = format!(
            "POST / HTTP/1.1\r\nhost: a\r\ntrailer: {name}\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n{field}\r\n\r\n"
        );
        let before = origin.request_count();
        let mut client = sidegate.connect();
        client.write(request.as_bytes()).unwrap();
        if client.read_response().is_ok_and(|answer| answer.status == 200) {
            let request = origin.requests().pop().unwrap();
            assert_eq!(request.trailers.first(name), None, "{field}");
            assert_ne!(request.header("host"), Some("evil"));
        } else {
            assert_eq!(origin.request_count(), before);
        }
    }
}

#[test]
fn expect_100_continue_is_answered_before_the_body_comes() {
    let origin = fine();
    let sidegate = plain(&origin);
    let mut client = sidegate.connect();
    client.write(b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n").unwrap();
    assert_eq!(client.read_interim().unwrap(), 100);
    client.write(b"hello").unwrap();
    assert_eq!(client.read_response().unwrap().status, 200);
    let request = origin.requests().pop().unwrap();
    assert_eq!((request.body.as_slice(), request.header("expect")), (&b"hello"[..], None));
    assert_eq!(sidegate.send(&Request::post("/", "x").with_header("expect", "tea")).status, 417);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::answering(|request| Answer::ok(request.target.clone()));
    let sidegate = plain(&origin);
    let mut client = sidegate.connect();
    let all: String = (0..20).map(|n| format!("GET /{n} HTTP/1.1\r\nhost: a\r\n\r\n")).collect();
    client.write(all.as_bytes()).unwrap();
    for n in 0..20 {
        assert_eq!(client.read_response().unwrap().text(), format!("/{n}"));
    }
}

#[test]
fn a_client_that_says_close_is_closed() {
    let origin = fine();
    let sidegate = plain(&origin);
    let mut client = sidegate.connect();
    let answer = client.send(&Request::get("/").with_header("connection", "close")).unwrap();
    assert_eq!((answer.status, answer.headers.lists("connection", "close")), (200, true));
    assert!(client.is_closed_by_peer().unwrap());
    assert_eq!(origin.requests().pop().unwrap().header("connection"), None);
}

#[test]
fn http_1_0_is_served_and_closed_unless_it_asks_to_stay() {
    let origin = Origin::answering(|_| Answer::ok("fine").chunked());
    let sidegate = plain(&origin);
    let mut client = sidegate.connect();
    client.write(b"GET / HTTP/1.0\r\nhost: a\r\n\r\n").unwrap();
    let answer = client.read_response().unwrap();
    assert_eq!((answer.status, answer.text().as_ref()), (200, "fine"));
    assert_eq!(answer.header("transfer-encoding"), None, "1.0 knows no chunks");
    assert!(origin.requests()[0].raw.starts_with(b"GET / HTTP/1.1\r\n"));
}

#[test]
fn an_answer_before_the_end_of_the_body_reaches_the_client() {
    let origin = Origin::answering(|_| Answer::ok("fine"));
    let sidegate = plain("127.0.0.1:1");
    let mut client = sidegate.connect();
    // Nobody takes the body: the answer must not wait for the rest of it.
    client.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\nhello").unwrap();
    assert_eq!(client.read_response().unwrap().status, 503);
    drop(origin);
}

#[test]
fn cookie_crumbs_are_one_cookie_over_http1() {
    let origin = fine();
    let sidegate = plain(&origin);
    let mut client = Http2Client::connect(sidegate.address("inbound")).unwrap();
    let request =
        Request::get("/").with_header("cookie", "a=1").with_header("cookie", "b=2").with_header("cookie", "c=3");
    assert_eq!(client.send(&request).unwrap().status, 200);
    let request = origin.requests().pop().unwrap();
    assert_eq!(request.headers.all("cookie").collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
}

#[test]
fn several_set_cookie_fields_stay_several() {
    let origin =
        Origin::answering(|_| Answer::ok("").with_header("set-cookie", "a=1").with_header("set-cookie", "b=2"));
    let sidegate = plain(&origin);
    assert_eq!(sidegate.get("/").headers.all("set-cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
}
