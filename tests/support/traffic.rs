//! Traffic of four kinds at the same time, each request of which notices a swap that lost or mixed something: keep-alive
//! HTTP/1.1, HTTP/2 streams, slow bodies both ways, WebSockets. The filter under test writes `x-gen` on requests and
//! responses; the [`witness`] behind the proxy tells what it saw.

mod clients;
mod generations;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub use generations::{Generations, Place};

use crate::origin::{Answer, Origin};

/// Time between two pieces of a slow body; a body has [`SLOW_PIECES`] of 4 KiB in each direction.
pub const SLOW_PACE: Duration = Duration::from_millis(20);
pub const SLOW_PIECES: usize = 12;
/// What went wrong, in words, is kept this often.
const KEPT_FAILURES: usize = 8;

/// How many connections of each kind, and how fast they ask.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Keep-alive connections, each with one request every `pace`.
    pub http1: usize,
    /// HTTP/2 connections, each with four requests at the same time every four times `pace`.
    pub http2: usize,
    /// Connections with one slow body after the other.
    pub slow: usize,
    /// WebSockets, each closed after fifty messages and opened again.
    pub websockets: usize,
    pub pace: Duration,
}

/// What the clients saw.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Requests that were answered; a message on a WebSocket counts as one.
    pub requests: usize,
    /// Errors, answers other than expected, bodies that were changed.
    pub failed: usize,
    /// Requests with one version in the request hooks and another in the response hooks.
    pub mixed: usize,
    /// Answers of a version that was gone before, or had not begun.
    pub disordered: usize,
    /// Answers by kind: HTTP/1.1, HTTP/2, slow bodies, WebSockets.
    pub by_kind: [usize; 4],
    /// The first failures in words.
    pub failures: Vec<String>,
    /// Of keep-alive HTTP/1.1: when the answer was there, and how long it took.
    pub latencies: Vec<(Instant, Duration)>,
}

/// An origin that tells each request which version it came through: in `x-saw`, or as the first line of a WebSocket.
pub fn witness() -> Origin {
    Origin::answering(|request| {
        let saw = request.header("x-gen").unwrap_or("nothing").to_owned();
        if request.headers.lists("upgrade", "websocket") {
            return Answer::upgrade("websocket", move |stream| echo(stream, &saw));
        }
        let answer = Answer::ok(request.body.clone()).with_header("x-saw", &saw);
        if request.target == clients::SLOW { answer.chunked().paced(SLOW_PACE) } else { answer }
    })
}

/// Sends traffic to a proxy while the work is done; its result, and what the clients saw.
pub fn during<R>(address: SocketAddr, load: &Load, generations: &Generations, work: impl FnOnce() -> R) -> (R, Report) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut clients = Vec::new();
        let kinds: [(&str, usize, clients::Run); 4] = [
            ("HTTP/1.1", load.http1, clients::http1),
            ("HTTP/2", load.http2, clients::http2),
            ("a slow body", load.slow, clients::slow),
            ("a WebSocket", load.websockets, clients::websocket),
        ];
        for (kind, (name, count, run)) in kinds.into_iter().enumerate() {
            for _ in 0..count {
                let mut client = clients::Client::new(address, load.pace, generations, &stop);
                clients.push(scope.spawn(move || {
                    while !client.is_over() {
                        // A connection that broke has lost something; another takes its place.
                        if let Err(error) = run(&mut client) {
                            client.report.fail(&format!("{name}: {error}"));
                        }
                    }
                    if let Some(count) = client.report.by_kind.get_mut(kind) {
                        *count = client.report.requests;
                    }
                    client.report
                }));
            }
        }
        let stopping = Stopping(&stop);
        let done = work();
        drop(stopping);
        let mut report = Report::default();
        for client in clients {
            match client.join() {
                Ok(seen) => report.add(seen),
                Err(_) => report.fail("a client panicked"),
            }
        }
        (done, report)
    })
}

/// Does work with so many clients beside it. Each gets a flag that says when the work has ended, also by a panic.
pub fn beside<R>(clients: usize, client: impl Fn(&AtomicBool) + Sync, work: impl FnOnce() -> R) -> R {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| client(&stop));
        }
        let _stopping = Stopping(&stop);
        work()
    })
}

/// Ends the clients when it is dropped: they would go on for ever behind a failed assertion.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Report {
    /// Whether nothing was lost and nothing mixed.
    pub fn is_clean(&self) -> bool {
        self.failed == 0 && self.mixed == 0 && self.disordered == 0
    }

    fn fail(&mut self, what: &str) {
        self.failed += 1;
        self.keep(what);
    }

    fn keep(&mut self, what: &str) {
        if self.failures.len() < KEPT_FAILURES {
            self.failures.push(what.to_owned());
        }
    }

    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.mixed += other.mixed;
        self.disordered += other.disordered;
        for (sum, count) in self.by_kind.iter_mut().zip(other.by_kind) {
            *sum += count;
        }
        other.failures.iter().for_each(|what| self.keep(what));
        self.latencies.extend(other.latencies);
    }
}

fn echo(mut stream: TcpStream, saw: &str) {
    let mut buffer = [0; 4096];
    if stream.write_all(format!("{saw}\n").as_bytes()).is_err() {
        return;
    }
    while let Ok(read) = stream.read(&mut buffer) {
        let Some(message) = buffer.get(..read).filter(|message| !message.is_empty()) else { return };
        if stream.write_all(message).is_err() {
            return;
        }
    }
}
