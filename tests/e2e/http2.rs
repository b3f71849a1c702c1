//! HTTP/2 from hostile clients: frames out of place, floods, fields that would break HTTP/1.1 behind the proxy.

use sidegate_tests::h2::Http2Client;
use sidegate_tests::{Request, Sidegate};

use crate::frames::*;
use crate::setup::{fine, plain};

/// What a flood may cost the origin.
const FEW: usize = 600;

fn assert_serves(sidegate: &Sidegate) {
    let mut client = Http2Client::connect(sidegate.address("inbound")).unwrap();
    assert_eq!(client.send(&Request::get("/after")).unwrap().status, 200);
}

#[test]
fn a_hundred_streams_are_advertised() {
    let origin = fine();
    let sidegate = plain(&origin);
    let mut frames = Frames::connect(sidegate.address("inbound"));
    let settings = frames.until(|frame| frame.kind == SETTINGS && frame.flags == 0).unwrap().payload;
    let value = |id: u16| {
        let setting = settings.chunks(6).find(|setting| setting[..2] == id.to_be_bytes())?;
        Some(u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]))
    };
    assert_eq!(value(3), Some(100), "streams");
    assert_eq!(value(4).unwrap_or(65_535), 65_536, "window");
    assert_eq!(value(6), Some(65_536), "header list");
}

#[test]
fn unknown_frames_and_settings_are_ignored() {
    let origin = fine();
    let sidegate = plain(&origin);
    let mut frames = Frames::connect(sidegate.address("inbound"));
    frames.frame(0xfa, 0xff, 0, b"anything").unwrap();
    frames.frame(0xfb, 0, 77, b"").unwrap();
    frames.frame(SETTINGS, 0, 0, &[0xff, 0xfe, 1, 2, 3, 4]).unwrap();
    frames.headers(1, &pseudo("GET", "/", "a"), true);
    assert_eq!(frames.status_of(1), Some(200));
}

#[test]
fn frames_out_of_place_end_the_connection_and_nothing_else() {
    let origin = fine();
    let sidegate = plain(&origin);
    let wrong: [(&str, Vec<u8>); 10] = [
        ("data on a stream that is not open", encoded(DATA, 0, 1, b"x")),
        ("headers on stream 0", encoded(HEADERS, END_HEADERS, 0, &block(&pseudo("GET", "/", "a")))),
        ("headers on an even stream", encoded(HEADERS, END_HEADERS | END_STREAM, 2, &block(&pseudo("GET", "/", "a")))),
        ("a continuation of nothing", encoded(CONTINUATION, END_HEADERS, 1, b"")),
        ("settings of five bytes", encoded(SETTINGS, 0, 0, &[0; 5])),
        ("settings on a stream", encoded(SETTINGS, 0, 1, &[])),
        ("a ping of seven bytes", encoded(PING, 0, 0, &[0; 7])),
        ("a window update of nothing", encoded(WINDOW_UPDATE, 0, 0, &[0; 4])),
        ("a reset of stream 0", encoded(RST_STREAM, 0, 0, &[0; 4])),
        ("a frame of 16 MiB", [&[0xff, 0xff, 0xff, DATA, 0][..], &[0, 0, 0, 1]].concat()),
    ];
    for (name, bytes) in wrong {
        let mut frames = Frames::connect(sidegate.address("inbound"));
        frames.write(&bytes).unwrap();
        assert!(frames.until(|frame| frame.kind == GOAWAY).is_some(), "{name}");
    }
    assert_serves(&sidegate);
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn rapid_resets_end_the_connection() {
    let origin = fine();
    let sidegate = plain(&origin);
    let mut frames = Frames::connect(sidegate.address("inbound"));
    let head = block(&pseudo("GET", "/", "a"));
    let sent = (0..10_000).map(|n| 2 * n + 1).take_while(|stream| {
        let pair = [
            encoded(HEADERS, END_HEADERS | END_STREAM, *stream, &head),
            encoded(RST_STREAM, 0, *stream, &[0, 0, 0, 8]),
        ];
        frames.write(&pair.concat()).is_ok()
    });
    let sent = sent.count();
    let ended = sent < 10_000 || frames.until(|frame| frame.kind == GOAWAY).is_some();
    assert!(ended, "10,000 resets were taken");
    assert!(origin.request_count() < FEW, "{} requests reached the origin", origin.request_count());
    assert_serves(&sidegate);
}

#[test]
fn floods_end_the_connection_or_are_absorbed() {
    let origin = fine();
    let sidegate = plain(&origin);
    let before = resident(&sidegate);
    let head = encoded(HEADERS, 0, 1, &block(&pseudo("GET", "/", "a")));
    let filler = block(&[("x-filler", &"v".repeat(8000))]);
    let floods: [(&str, Vec<u8>, Vec<u8>); 6] = [
        ("continuations", head.clone(), encoded(CONTINUATION, 0, 1, &filler)),
        ("empty continuations", head, encoded(CONTINUATION, 0, 1, &[])),
        ("pings", vec![], encoded(PING, 0, 0, &[0; 8])),
        ("settings", vec![], encoded(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])),
        ("empty data", encoded(HEADERS, END_HEADERS, 1, &block(&pseudo("POST", "/", "a"))), encoded(DATA, 0, 1, &[])),
        ("window updates", vec![], encoded(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
    ];
    for (name, begin, repeated) in floods {
        let mut frames = Frames::connect(sidegate.address("inbound"));
        frames.write(&begin).unwrap();
        let many = repeated.repeat(20);
        let _ = (0..500).try_for_each(|_| frames.write(&many));
        drop(frames);
        assert_serves(&sidegate);
        let grown = resident(&sidegate).saturating_sub(before);
        assert!(grown < 16 << 10, "{name}: {grown} KiB");
    }
    assert!(origin.requests().iter().all(|request| request.target == "/after"));
}

#[test]
fn fields_that_would_break_http1_are_refused() {
    let origin = fine();
    let sidegate = plain(&origin);
    let get = pseudo("GET", "/", "a");
    let mut cases: Vec<(String, Vec<(&str, &str)>)> = Vec::new();
    for (name, value) in [
        ("x", "a\r\nset-cookie: b"),
        ("x", "a\nb"),
        ("x", "a\rb"),
        ("x", "a\0b"),
        ("x y", "z"),
        ("x\r\ny", "z"),
        ("x:y", "z"),
        ("X", "upper"),
        ("", "nameless"),
        ("connection", "close"),
        ("connection", "x-secret"),
        ("keep-alive", "1"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("content-length", "5"),
        ("content-length", "x"),
        (":path", "/second"),
        (":status", "200"),
        (":unknown", "x"),
    ] {
        cases.push((format!("{name:?}: {value:?}"), [&get[..], &[(name, value)]].concat()));
    }
    for (method, path) in
        [("G T", "/"), ("GET\r\n", "/"), ("GET", "/ x"), ("GET", "/\r\nx: y"), ("GET", "x"), ("GET", "")]
    {
        cases.push((format!("{method:?} {path:?}"), pseudo(method, path, "a").to_vec()));
    }
    cases.push(("a field before the pseudo-fields".into(), [&[("x", "y")], &get[..]].concat()));
    cases.push(("no path".into(), vec![(":method", "GET"), (":scheme", "http"), (":authority", "a")]));
    cases.push(("no method".into(), vec![(":path", "/"), (":scheme", "http"), (":authority", "a")]));
    let mut wrong = Vec::new();
    for (name, fields) in cases {
        let before = origin.request_count();
        let mut frames = Frames::connect(sidegate.address("inbound"));
        frames.headers(1, &fields, true);
        let refused = frames.is_refused(1);
        if !refused || origin.request_count() != before {
            let seen = origin.requests().pop().map(|request| String::from_utf8_lossy(&request.raw).into_owned());
            wrong.push(format!("{name}: {seen:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pseudo_fields_in_trailers_reach_nobody() {
    let origin = fine();
    let sidegate = plain(&origin);
    for field in [(":path", "/evil"), (":method", "DELETE"), (":status", "500"), (":authority", "evil")] {
        let mut frames = Frames::connect(sidegate.address("inbound"));
        frames.headers(1, &[&pseudo("POST", "/", "a")[..], &[("te", "trailers")]].concat(), false);
        frames.frame(DATA, 0, 1, b"hello").unwrap();
        frames.headers(1, &[field, ("x", "y")], true);
        let _ = frames.status_of(1);
    }
    for request in origin.requests() {
        let raw = String::from_utf8_lossy(&request.raw);
        let told = ["evil", "DELETE", "status"].into_iter().find(|word| raw.contains(word));
        assert_eq!(told, None, "{raw}");
    }
}

#[test]
fn trailers_that_are_malformed_reset_the_stream() {
    let origin = fine();
    let sidegate = plain(&origin);
    for field in [("connection", "close"), ("X", "upper"), ("x", "a\r\nb")] {
        let mut frames = Frames::connect(sidegate.address("inbound"));
        frames.headers(1, &pseudo("POST", "/", "a"), false);
        frames.frame(DATA, 0, 1, b"hello").unwrap();
        frames.headers(1, &[field], true);
        assert!(frames.is_refused(1), "{field:?}");
    }
    assert_eq!(origin.request_count(), 0);
}

#[test]
fn a_body_longer_or_shorter_than_its_length_is_refused() {
    let origin = fine();
    let sidegate = plain(&origin);
    for body in ["hell", "hello!"] {
        let mut frames = Frames::connect(sidegate.address("inbound"));
        frames.headers(1, &[&pseudo("POST", "/", "a")[..], &[("content-length", "5")]].concat(), false);
        let _ = frames.frame(DATA, END_STREAM, 1, body.as_bytes());
        assert!(frames.is_refused(1), "{body}");
    }
    assert_eq!(origin.request_count(), 0);
}

#[test]
fn one_broken_stream_leaves_the_others() {
    let origin = fine();
    let sidegate = plain(&origin);
    let mut frames = Frames::connect(sidegate.address("inbound"));
    frames.headers(1, &[&pseudo("GET", "/", "a")[..], &[("connection", "close")]].concat(), true);
    frames.headers(3, &pseudo("GET", "/", "a"), true);
    assert_eq!(frames.status_of(3), Some(200));
}

/// KiB.
fn resident(sidegate: &Sidegate) -> u64 {
    crate::setup::memory(sidegate, "VmRSS")
}
