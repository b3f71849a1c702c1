//! WebSockets pass where the listener allows them, and nothing else changes protocol.

use std::io::{Read, Write};

use sidegate_tests::{Answer, Origin, Request, Sidegate};

use crate::setup::{config, plain};

fn echo() -> Origin {
    Origin::answering(|request| {
        if !request.headers.lists("connection", "upgrade") || request.header("upgrade") != Some("websocket") {
            return Answer::ok("plain");
        }
        Answer::upgrade("websocket", |mut stream| {
            let mut buffer = [0; 4096];
            while let Ok(read) = stream.read(&mut buffer) {
                if read == 0 || stream.write_all(&buffer[..read]).is_err() {
                    return;
                }
            }
        })
    })
}

fn handshake() -> Request {
    Request::get("/chat")
        .with_header("connection", "keep-alive, Upgrade")
        .with_header("upgrade", "websocket")
        .with_header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .with_header("sec-websocket-version", "13")
}

#[test]
fn a_websocket_carries_bytes_both_ways() {
    let origin = echo();
    let sidegate = plain(&origin);
    let mut client = sidegate.connect();
    let answer = client.send(&handshake()).unwrap();
    assert_eq!((answer.status, answer.header("upgrade")), (101, Some("websocket")));
    assert!(answer.headers.lists("connection", "upgrade"));
    let request = origin.requests().pop().unwrap();
    assert_eq!(request.header("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    let (mut stream, ahead) = client.into_upgraded();
    assert!(ahead.is_empty());
    for size in [1, 100, 100_000] {
        let sent = vec![b'x'; size];
        let mut writer = stream.try_clone().unwrap();
        let copy = sent.clone();
        let writing = std::thread::spawn(move || writer.write_all(&copy).unwrap());
        let mut received = vec![0; size];
        stream.read_exact(&mut received).unwrap();
        writing.join().unwrap();
        assert!(received == sent, "{size} bytes came back changed");
    }
    origin.hang_up();
    assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0, "the end of one side is the end of the other");
}

#[test]
fn without_upgrades_the_request_is_a_plain_one() {
    let origin = echo();
    let sidegate = Sidegate::start(&config(", upgrades: []", &origin, ""));
    let answer = sidegate.send(&handshake());
    assert_eq!((answer.status, answer.text().as_ref()), (200, "plain"));
    let request = origin.requests().pop().unwrap();
    assert_eq!((request.header("upgrade"), request.header("connection")), (None, None));
}

#[test]
fn no_other_protocol_is_switched_to() {
    let origin = Origin::answering(|_| {
        Answer::raw("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n")
    });
    let sidegate = plain(&origin);
    for protocol in ["h2c", "websocket, h2c", "tls/1.2", "connect-udp"] {
        let answer =
            sidegate.send(&Request::get("/").with_header("connection", "upgrade").with_header("upgrade", protocol));
        assert_eq!(answer.status, 502, "{protocol}");
        assert_eq!(origin.requests().pop().unwrap().header("upgrade"), None);
    }
}

#[test]
fn an_upgrade_to_something_else_than_was_asked_is_refused() {
    let origin = Origin::answering(|_| {
        Answer::raw("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n")
    });
    let sidegate = plain(&origin);
    assert_eq!(sidegate.send(&handshake()).status, 502);
}

#[test]
fn a_refused_upgrade_leaves_http_working() {
    let origin = Origin::answering(|_| Answer::status(403).with_body("no"));
    let sidegate = plain(&origin);
    let mut client = sidegate.connect();
    for _ in 0..2 {
        let answer = client.send(&handshake()).unwrap();
        assert_eq!((answer.status, answer.text().as_ref()), (403, "no"));
    }
}
