//! Clients that take their time: each is gone when its time is over, and none of them is in anybody's way.

use std::time::{Duration, Instant};

use sidegate_tests::{Client, Origin, Request, Sidegate, eventually};

use crate::frames::{END_STREAM, Frames, HEADERS, block, pseudo};
use crate::setup::{config, fine};

/// More than any of the timeouts below, however busy the machine.
const LONG: Duration = Duration::from_secs(10);

fn impatient(origin: &Origin) -> Sidegate {
    Sidegate::start(&config(", requestTimeouts: {headers: 300ms, idle: 300ms, body: 300ms}", origin, ""))
}

/// Writes a byte at a time until the peer has had enough; false when it never has.
fn drip(client: &mut Client, bytes: &[u8]) -> bool {
    let deadline = Instant::now() + LONG;
    let mut endless = bytes.iter().chain(std::iter::repeat(&b'x'));
    client.set_patience(Duration::from_millis(50)).unwrap();
    while Instant::now() < deadline {
        if client.write(&[*endless.next().unwrap()]).is_err() {
            return true;
        }
        // Looking for an answer takes the time between two bytes.
        match client.is_closed_by_peer() {
            Ok(_) => return true,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return true,
        }
    }
    false
}

#[test]
fn a_silent_client_is_closed() {
    let origin = fine();
    let sidegate = impatient(&origin);
    assert!(sidegate.connect().is_closed_by_peer().unwrap());
}

#[test]
fn a_head_that_does_not_end_is_closed() {
    let origin = fine();
    let sidegate = impatient(&origin);
    let mut client = sidegate.connect();
    client.write(b"GET / HTTP/1.1\r\nhost: a\r\n").unwrap();
    assert!(client.read_response().map_or(true, |answer| answer.status == 408));
    assert!(drip(&mut sidegate.connect(), b"GET / HTTP/1.1\r\nhost: a\r\nx: "));
    assert_eq!(origin.request_count(), 0);
}

#[test]
fn the_same_holds_for_a_second_request() {
    let origin = fine();
    let sidegate = impatient(&origin);
    let mut client = sidegate.connect();
    assert_eq!(client.get("/").unwrap().status, 200);
    assert!(drip(&mut client, b"GET / HTTP/1.1\r\nhost: a\r\nx: "));
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn an_idle_connection_is_closed() {
    let origin = fine();
    let sidegate = impatient(&origin);
    let mut client = sidegate.connect();
    assert_eq!(client.get("/").unwrap().status, 200);
    assert!(client.is_closed_by_peer().unwrap());
}

#[test]
fn a_body_that_stalls_is_408_and_ends_upstream() {
    let origin = fine();
    let sidegate = impatient(&origin);
    for framing in ["content-length: 100", "transfer-encoding: chunked"] {
        let mut client = sidegate.connect();
        client.write(format!("POST / HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n5\r\nhello\r\n").as_bytes()).unwrap();
        let answer = client.read_response();
        assert!(answer.as_ref().map_or(true, |answer| answer.status == 408), "{answer:?}");
        assert!(client.is_closed_by_peer().unwrap_or(true));
    }
    assert_eq!(origin.request_count(), 0);
    assert_eq!(sidegate.get("/").status, 200);
}

#[test]
fn a_slow_body_that_comes_is_waited_for() {
    let origin = fine();
    let sidegate = Sidegate::start(&config(", requestTimeouts: {headers: 300ms, idle: 300ms, body: 2s}", &origin, ""));
    let mut client = sidegate.connect();
    client.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\n").unwrap();
    let started = Instant::now();
    for byte in b"all of i" {
        // The time of a look that must fail: longer in sum than the head may take.
        assert!(eventually(Duration::from_millis(80), || None::<()>).is_none());
        client.write(&[*byte]).unwrap();
    }
    assert!(started.elapsed() > Duration::from_millis(300));
    assert_eq!(client.read_response().unwrap().status, 200);
}

#[test]
fn half_a_preface_is_closed() {
    let origin = fine();
    let sidegate = impatient(&origin);
    let mut client = sidegate.connect();
    client.write(b"PRI * HTTP/2.0\r\n\r\n").unwrap();
    assert!(client.is_closed_by_peer().unwrap());
}

#[test]
fn an_http2_client_that_never_asks_is_closed() {
    let origin = fine();
    let sidegate = impatient(&origin);
    drop(Frames::connect(sidegate.address("inbound")).drain());
    let mut silent = Frames::silent(sidegate.address("inbound"));
    silent.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    drop(silent.drain());
}

#[test]
fn http2_headers_that_do_not_end_are_closed() {
    let origin = fine();
    let sidegate = impatient(&origin);
    for served_before in [false, true] {
        let mut frames = Frames::connect(sidegate.address("inbound"));
        if served_before {
            frames.headers(1, &pseudo("GET", "/", "a"), true);
            assert_eq!(frames.status_of(1), Some(200));
        }
        let started = Instant::now();
        let _ = frames.frame(HEADERS, END_STREAM, 3, &block(&pseudo("GET", "/x", "a")));
        drop(frames.drain());
        assert!(started.elapsed() < LONG, "{served_before}");
    }
    assert!(origin.requests().iter().all(|request| request.target == "/"));
}

#[test]
fn an_idle_http2_connection_is_closed() {
    let origin = fine();
    let sidegate = impatient(&origin);
    let mut frames = Frames::connect(sidegate.address("inbound"));
    frames.headers(1, &pseudo("GET", "/", "a"), true);
    assert_eq!(frames.status_of(1), Some(200));
    let started = Instant::now();
    drop(frames.drain());
    assert!(started.elapsed() < LONG);
}

#[test]
fn slow_clients_are_in_nobodys_way() {
    let origin = fine();
    let sidegate = Sidegate::start(&config("", &origin, ""));
    let mut slow: Vec<_> = (0..200).map(|_| sidegate.connect()).collect();
    for client in &mut slow {
        client.write(b"GET / HTTP/1.1\r\nhost: ").unwrap();
    }
    let mut client = sidegate.connect();
    for _ in 0..20 {
        assert_eq!(client.send(&Request::get("/")).unwrap().status, 200);
    }
}
