//! Two parties that read one stream of bytes differently: what is ambiguous is refused, and the connection with it.

use sidegate_tests::{Client, Sidegate};

use crate::setup::{fine, plain};

/// A request that hides in the body of another.
const HIDDEN: &str = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";

/// Sends bytes; what the client saw, and the targets that the origin saw once the connection was done.
fn targets_of(bytes: &[u8]) -> (Seen, Vec<String>) {
    let origin = fine();
    let sidegate = plain(&origin);
    let seen = send(&sidegate, bytes);
    (seen, origin.requests().into_iter().map(|request| request.target).collect())
}

#[derive(Debug, PartialEq)]
enum Seen {
    /// Closed, after this answer if there was one.
    Closed(Option<u16>),
    /// Answered, and ready for another request.
    Open(u16),
}

fn send(sidegate: &Sidegate, bytes: &[u8]) -> Seen {
    let mut client = sidegate.connect();
    // A peer that refuses early may reset before everything is written.
    let _ = client.write(bytes);
    let Ok(answer) = client.read_response() else { return Seen::Closed(None) };
    if answer.headers.lists("connection", "close") || client.get("/next").is_err() {
        return Seen::Closed(Some(answer.status));
    }
    Seen::Open(answer.status)
}

fn assert_refused(cases: &[(&str, String)]) {
    let origin = fine();
    let sidegate = plain(&origin);
    let mut wrong = Vec::new();
    for (name, bytes) in cases {
        let before = origin.request_count();
        let seen = send(&sidegate, bytes.as_bytes());
        let refused = matches!(seen, Seen::Closed(None | Some(400 | 426 | 431 | 501 | 505)));
        if !refused || origin.request_count() != before {
            let targets: Vec<_> = origin.requests()[before..].iter().map(|request| request.target.clone()).collect();
            wrong.push(format!("{name}: {seen:?}, the origin saw {targets:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn post(fields: &str, body: &str) -> String {
    format!("POST /x HTTP/1.1\r\nhost: a\r\n{fields}\r\n{body}")
}

#[test]
fn beside_a_coding_no_length_counts_and_the_connection_ends() {
    for fields in [
        "content-length: 6\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
        "content-length: 0\r\ntransfer-encoding: chunked\r\n",
    ] {
        let (seen, targets) = targets_of(post(fields, &format!("0\r\n\r\n{HIDDEN}")).as_bytes());
        assert!(matches!(seen, Seen::Closed(_)), "{fields}: {seen:?}");
        assert!(targets.is_empty() || targets == ["/x"], "{fields}: {targets:?}");
    }
}

#[test]
fn codings_in_disguise_are_refused() {
    let disguises = [
        "transfer-encoding: xchunked",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: identity",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity",
        "transfer-encoding: \"chunked\"",
        "transfer-encoding: chunked;q=1",
        "transfer-encoding:\x0bchunked",
        "transfer-encoding: chun\0ked",
        "transfer-encoding: \tchunked\x0c",
        "transfer-encoding : chunked",
        "transfer-encoding\t: chunked",
        "transfer\0encoding: chunked",
        " transfer-encoding: chunked",
        "x: y\r\n transfer-encoding: chunked",
        "transfer-encoding:",
        "transfer-encoding: ,chunked",
    ];
    let cases: Vec<_> =
        disguises.iter().map(|line| (*line, post(&format!("{line}\r\n"), &format!("0\r\n\r\n{HIDDEN}")))).collect();
    assert_refused(&cases);
}

#[test]
fn lengths_that_are_no_plain_number_are_refused() {
    let lengths = [
        "content-length: +5",
        "content-length: -5",
        "content-length: 0x5",
        "content-length: 5, 5",
        "content-length: 5, 6",
        "content-length: 5\r\ncontent-length: 6",
        "content-length: 5 5",
        "content-length: 5a",
        "content-length: 5.0",
        "content-length: ",
        "content-length: 99999999999999999999999999",
        "content-length: 18446744073709551621",
        "content-length : 5",
        "content-length: \x0b5",
        "content-length: 1_0",
    ];
    let cases: Vec<_> = lengths.iter().map(|line| (*line, post(&format!("{line}\r\n"), "hello"))).collect();
    assert_refused(&cases);
}

#[test]
fn broken_chunks_never_complete_a_request() {
    let bodies = [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffff1\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\n\n",
        "5\r\nhello\r\n0\r\nx y: z\r\n\r\n",
        "5\r\nhello\r\n0\r\nno colon\r\n\r\n",
    ];
    let cases: Vec<_> = bodies.iter().map(|body| (*body, post("transfer-encoding: chunked\r\n", body))).collect();
    assert_refused(&cases);
}

#[test]
fn a_chunk_extension_without_end_is_refused() {
    let extension = "x".repeat(2 << 20);
    let body = format!("5;{extension}\r\nhello\r\n0\r\n\r\n");
    assert_refused(&[("2 MiB of extension", post("transfer-encoding: chunked\r\n", &body))]);
}

#[test]
fn broken_lines_and_fields_are_refused() {
    let heads = [
        "GET /x HTTP/1.1\r\nhost: a\r\nx: a\r\n b\r\n\r\n",
        "GET /x HTTP/1.1\r\nhost : a\r\n\r\n",
        "GET /x HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n",
        "GET /x HTTP/1.1\r\nhost: a\r\nx: a\rb\r\n\r\n",
        "GET /x HTTP/1.1\r\nhost: a\r\nx: a\rtransfer-encoding: chunked\r\n\r\n",
        "GET /x HTTP/1.1\r\nhost: a\r\nx(y): a\r\n\r\n",
        "GET /x HTTP/1.1\r\nhost: a\r\n: a\r\n\r\n",
        "GET /x HTTP/1.1\r\nhost: a\r\nnothing\r\n\r\n",
        "GET /x HTTP/1.1 \r\nhost: a\r\n\r\n",
        "GET  /x HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET\t/x\tHTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /x\r\n\r\n",
        "GET /x HTTP/0.9\r\nhost: a\r\n\r\n",
        "GET /x HTTP/1.2\r\nhost: a\r\n\r\n",
        "GET /x HTTP/2.0\r\nhost: a\r\n\r\n",
        "GET /x HTTP/3\r\nhost: a\r\n\r\n",
        "GET /x http/1.1\r\nhost: a\r\n\r\n",
        "GET /x y HTTP/1.1\r\nhost: a\r\n\r\n",
        "G\0T /x HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /x\0y HTTP/1.1\r\nhost: a\r\n\r\n",
        "G(T /x HTTP/1.1\r\nhost: a\r\n\r\n",
        " GET /x HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST /x HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ];
    let cases: Vec<_> = heads.iter().map(|head| (*head, (*head).to_owned())).collect();
    assert_refused(&cases);
}

#[test]
fn what_looks_like_a_request_inside_a_body_stays_a_body() {
    let bytes = post(&format!("content-length: {}\r\n", HIDDEN.len()), HIDDEN);
    assert_eq!(targets_of(bytes.as_bytes()), (Seen::Open(200), vec!["/x".to_owned(), "/next".to_owned()]));
    let chunk = format!("{:X};ext=\"v\"\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len());
    let bytes = post("Transfer-Encoding: Chunked\r\n", &chunk);
    assert_eq!(targets_of(bytes.as_bytes()), (Seen::Open(200), vec!["/x".to_owned(), "/next".to_owned()]));
}

#[test]
fn what_is_read_generously_goes_up_in_one_strict_form() {
    let origin = fine();
    let sidegate = plain(&origin);
    for head in [
        "POST /x HTTP/1.1\nhost: a\ncontent-length: 5\n\nhello",
        "POST /x HTTP/1.1\r\nhost: a\nx: y\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "\r\nPOST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello",
    ] {
        assert_eq!(send(&sidegate, head.as_bytes()), Seen::Open(200), "{head:?}");
    }
    for request in origin.requests().iter().filter(|request| request.target == "/x") {
        let raw = String::from_utf8_lossy(&request.raw);
        assert!(!raw.replace("\r\n", "").contains(['\r', '\n']), "{raw:?}");
        assert_eq!(request.body, b"hello");
    }
}

#[test]
fn what_goes_up_has_one_framing() {
    let origin = fine();
    let sidegate = plain(&origin);
    let mut client = sidegate.connect();
    for body in
        [post("content-length: 5\r\n", "hello"), post("transfer-encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n")]
    {
        client.write(body.as_bytes()).unwrap();
        assert_eq!(client.read_response().unwrap().status, 200);
    }
    for request in origin.requests() {
        let framings = request.headers.0.iter().filter(|(name, _)| {
            name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("transfer-encoding")
        });
        assert_eq!(framings.count(), 1, "{}", String::from_utf8_lossy(&request.raw));
        assert_eq!(request.body, b"hello");
    }
}

#[test]
fn a_request_cut_short_reaches_nobody_whole() {
    let origin = fine();
    let sidegate = plain(&origin);
    for (fields, body) in
        [("content-length: 9\r\n", "hello"), ("transfer-encoding: chunked\r\n", "5\r\nhello\r\n"), ("x: y\r\n", "")]
    {
        let mut bytes = post(fields, body);
        if body.is_empty() {
            bytes.truncate(bytes.len() - 2);
        }
        let mut client = Client::connect(sidegate.address("inbound")).unwrap();
        client.write(bytes.as_bytes()).unwrap();
        client.finish().unwrap();
        assert!(client.read_response().map_or(true, |answer| answer.status >= 400));
    }
    assert_eq!(origin.request_count(), 0);
}
