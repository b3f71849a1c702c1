//! The four kinds of clients. Each holds one connection at a time.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::generations::{Generations, Place};
use super::{Report, SLOW_PACE, SLOW_PIECES};
use crate::h2::Http2Client;
use crate::message::{Request, Response};

/// The path of slow bodies.
pub(super) const SLOW: &str = "/slow";
/// Streams that an HTTP/2 connection carries at the same time.
const STREAMS: usize = 4;
/// Messages until a WebSocket is closed.
const MESSAGES: usize = 50;
const PIECE: usize = 4096;

/// What one kind does until its connection or the test is over.
pub(super) type Run = fn(&mut Client<'_>) -> io::Result<()>;

pub(super) struct Client<'a> {
    address: SocketAddr,
    pace: Duration,
    generations: &'a Generations,
    stop: &'a AtomicBool,
    pub(super) report: Report,
}

pub(super) fn http1(client: &mut Client<'_>) -> io::Result<()> {
    let (mut connection, mut place) = (crate::Client::connect(client.address)?, Place::default());
    let mut clock = Clock::new(client.pace);
    while !client.is_over() {
        let due = clock.wait();
        client.generations.at_least(&mut place);
        let answer = connection.get("/")?;
        let now = Instant::now();
        client.report.latencies.push((now, now.duration_since(due)));
        client.examine(&mut place, &answer, b"");
    }
    Ok(())
}

pub(super) fn http2(client: &mut Client<'_>) -> io::Result<()> {
    let (mut connection, mut place) = (Http2Client::connect(client.address)?, Place::default());
    let mut clock = Clock::new(client.pace * 4);
    let requests = vec![Request::post("/", "a body"); STREAMS];
    while !client.is_over() {
        clock.wait();
        client.generations.at_least(&mut place);
        for answer in connection.send_all(&requests)? {
            client.examine(&mut place, &answer?, b"a body");
        }
    }
    Ok(())
}

/// A request body that takes longer than several swaps, then such a response body.
pub(super) fn slow(client: &mut Client<'_>) -> io::Result<()> {
    let (mut connection, mut place) = (crate::Client::connect(client.address)?, Place::default());
    let body = vec![b'x'; SLOW_PIECES * PIECE];
    while !client.is_over() {
        client.generations.at_least(&mut place);
        let head = format!("POST {SLOW} HTTP/1.1\r\nhost: slow\r\ncontent-length: {}\r\n\r\n", body.len());
        connection.write(head.as_bytes())?;
        for piece in body.chunks(PIECE) {
            connection.write(piece)?;
            thread::sleep(SLOW_PACE);
        }
        let answer = connection.read_response()?;
        client.examine(&mut place, &answer, &body);
    }
    Ok(())
}

pub(super) fn websocket(client: &mut Client<'_>) -> io::Result<()> {
    let mut place = Place::default();
    client.generations.at_least(&mut place);
    let handshake = Request::get("/chat")
        .with_header("connection", "Upgrade")
        .with_header("upgrade", "websocket")
        .with_header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .with_header("sec-websocket-version", "13");
    let mut connection = crate::Client::connect(client.address)?;
    let answer = connection.send(&handshake)?;
    if answer.status != 101 {
        return Err(io::Error::other(format!("status {} instead of 101", answer.status)));
    }
    let (mut stream, mut ahead) = connection.into_upgraded();
    while !ahead.contains(&b'\n') {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        ahead.extend(byte);
    }
    let saw = String::from_utf8_lossy(&ahead).trim_end().to_owned();
    // A handshake passes request hooks only; where it passes response hooks too, they must agree.
    client.judge(&mut place, &saw, answer.header("x-gen").or(Some(&saw)));
    let mut clock = Clock::new(client.pace * 4);
    for message in 0..MESSAGES {
        if client.is_over() {
            break;
        }
        clock.wait();
        let message = format!("message {message:>4}");
        stream.write_all(message.as_bytes())?;
        let mut echo = vec![0; message.len()];
        stream.read_exact(&mut echo)?;
        if echo != message.as_bytes() {
            return Err(io::Error::other("a message came back changed"));
        }
        client.report.requests += 1;
    }
    Ok(())
}

impl<'a> Client<'a> {
    pub(super) fn new(address: SocketAddr, pace: Duration, generations: &'a Generations, stop: &'a AtomicBool) -> Self {
        Self { address, pace, generations, stop, report: Report::default() }
    }

    pub(super) fn is_over(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn examine(&mut self, place: &mut Place, answer: &Response, body: &[u8]) {
        self.report.requests += 1;
        if answer.status != 200 || answer.body != body {
            let (status, length) = (answer.status, answer.body.len());
            return self.report.fail(&format!("status {status} with {length} bytes instead of {}", body.len()));
        }
        self.judge(place, answer.header("x-saw").unwrap_or_default(), answer.header("x-gen"));
    }

    fn judge(&mut self, place: &mut Place, saw: &str, stamped: Option<&str>) {
        if Some(saw) != stamped {
            self.report.mixed += 1;
            self.report.keep(&format!("{saw} in the request, {stamped:?} in the response"));
        } else if !self.generations.admits(place, saw) {
            self.report.disordered += 1;
            self.report.keep(&format!("{saw} is not what may serve now"));
        }
    }
}

/// Turns at equal distances; a turn that is late is not left out.
struct Clock {
    due: Instant,
    pace: Duration,
}

impl Clock {
    fn new(pace: Duration) -> Self {
        Self { due: Instant::now(), pace }
    }

    /// Waits for the next turn. When that is past already, the time at which it should have been.
    fn wait(&mut self) -> Instant {
        self.due += self.pace;
        let now = Instant::now();
        match self.due.checked_duration_since(now) {
            Some(left) if !left.is_zero() => {
                thread::sleep(left);
                Instant::now()
            }
            _ => self.due,
        }
    }
}
