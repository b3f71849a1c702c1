//! One client connection: which protocol it speaks, its requests, and when it has been silent for too long.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderValue};
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncReadExt;

use super::hygiene::{self, Rules};
use crate::exchange::bodies::ResponseBody;
use crate::exchange::occupancy::{Busy, Occupancy};
use crate::exchange::reply::Reply;
use crate::exchange::view::ConnectionFacts;
use crate::exchange::{Aborted, Arrival, Exchange};
use crate::mailbox::Phase;
use crate::snapshot::{Address, Listener, RequestTimeouts};
use crate::upstream::connect::LocalExecutor;
use crate::upstream::io::{Activity, Io, Socket};
use crate::worker::{Worker, WorkerSnapshot};

/// The beginning of every HTTP/2 connection.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Streams that a client may have open.
const MAX_STREAMS: u32 = 100;
/// HTTP/2 flow control, per stream and per connection, in bytes.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of responses that may wait for one HTTP/2 client.
const SEND_BUFFER: usize = 64 << 10;
/// Streams that a client may reset before they were looked at (rapid reset).
const PENDING_RESETS: usize = 20;
/// How long a client may refuse to read what is ready for it.
const WRITE_STALL: Duration = Duration::from_secs(20);

/// What can be known of a connection from outside, and done to it.
pub struct ConnectionState {
    timeouts: RequestTimeouts,
    occupancy: Rc<Occupancy>,
    /// Since when the client has not read what every response has ready, and the count that shows it.
    unread_since: Cell<Option<(u64, Instant)>>,
    /// When bytes of a next request were first seen.
    head_since: Cell<Option<Instant>>,
    http2: Cell<bool>,
    ending: Cell<Option<End>>,
    waker: RefCell<Option<Waker>>,
    phase: Cell<Phase>,
}

/// How a connection is to end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// After the exchanges that are under way.
    Graceful,
    Now,
}

impl ConnectionState {
    fn new(timeouts: RequestTimeouts, activity: Arc<Activity>, phase: Phase) -> Self {
        Self {
            timeouts,
            occupancy: Rc::new(Occupancy::new(activity)),
            unread_since: Cell::new(None),
            head_since: Cell::new(None),
            http2: Cell::new(false),
            ending: Cell::new(None),
            waker: RefCell::new(None),
            phase: Cell::new(phase),
        }
    }

    /// The worker goes on towards its end.
    pub fn drain(&self, phase: Phase) {
        self.phase.set(phase);
        if phase == Phase::Ending {
            self.end(End::Now);
        } else if phase >= Phase::Closed {
            self.end(End::Graceful);
        } else if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    fn end(&self, how: End) {
        if self.ending.get() != Some(End::Now) {
            self.ending.set(Some(how));
        }
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Whether the client has been silent, or deaf, for longer than it may.
    fn overdue(&self, now: Instant) -> bool {
        let since = |start: Instant| now.saturating_duration_since(start);
        let occupancy = &self.occupancy;
        if occupancy.activity.write_blocked_for(now) >= WRITE_STALL {
            return true;
        }
        if occupancy.is_busy() {
            self.head_since.set(None);
            let Some(asked) = occupancy.unread() else { return false };
            let started = self.unread_since.get().filter(|(count, _)| *count == asked).map_or(now, |(_, since)| since);
            self.unread_since.set(Some((asked, started)));
            return since(started) >= WRITE_STALL;
        }
        if !occupancy.has_served() {
            // The first head is due from the moment of connecting.
            return since(occupancy.idle_since()) >= self.timeouts.headers;
        }
        if occupancy.has_new_bytes() {
            let started = self.head_since.get().unwrap_or(now);
            self.head_since.set(Some(started));
            return since(started) >= self.timeouts.headers;
        }
        self.head_since.set(None);
        since(occupancy.idle_since()) >= self.timeouts.idle
    }
}

/// Ends connections that are overdue.
pub fn sweep(worker: &Worker, now: Instant) {
    for (_, state) in worker.connections.borrow().iter() {
        if state.overdue(now) {
            // An idle HTTP/2 client is told to go first: a request of its may be on the way, and bytes that are no
            // request (PING) look like the beginning of one from here.
            let told = state.ending.get() == Some(End::Graceful);
            let polite = state.http2.get() && state.occupancy.has_served() && !state.occupancy.is_busy() && !told;
            state.end(if polite { End::Graceful } else { End::Now });
        }
    }
}

/// Serves a connection in a task of its own. A panic in it costs this connection only, and is counted.
pub fn spawn(worker: &Rc<Worker>, address: &Address, socket: Socket, facts: Arc<ConnectionFacts>) {
    let snapshot = worker.snapshot();
    let Some(listener) = snapshot.shared.listeners.iter().find(|listener| listener.address == *address).cloned() else {
        return;
    };
    let worker = worker.clone();
    tokio::task::spawn_local(async move {
        worker.counters.connections.add(worker.index, 1);
        worker.counters.connections_active.add(worker.index, 1);
        let io = Io::new(socket, Bytes::new());
        let state = Rc::new(ConnectionState::new(listener.timeouts.clone(), io.activity.clone(), worker.phase.get()));
        let key = worker.connections.borrow_mut().insert(state.clone());
        let registered = Registered { worker: worker.clone(), key };
        let client = Client { worker, snapshot, listener, facts, state };
        client.run(io).await;
        drop(registered);
    });
}

/// A place in the worker's list of connections.
struct Registered {
    worker: Rc<Worker>,
    key: usize,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.worker.counters.connections_active.add(self.worker.index, -1);
        self.worker.connections.borrow_mut().try_remove(self.key);
        if std::thread::panicking() {
            self.worker.counters.panicked(self.worker.index);
        }
    }
}

/// Everything that the requests of a connection share.
#[derive(Clone)]
struct Client {
    worker: Rc<Worker>,
    /// Snapshot and listener as they were when the client connected; each request looks for their present form.
    snapshot: Rc<WorkerSnapshot>,
    listener: Arc<Listener>,
    facts: Arc<ConnectionFacts>,
    state: Rc<ConnectionState>,
}

impl Client {
    async fn run(self, mut io: Io) {
        let sniffed = {
            let mut sniffing = pin!(sniff(&mut io));
            poll_fn(|cx| {
                if self.state.ending.get().is_some() {
                    return Poll::Ready(None);
                }
                *self.state.waker.borrow_mut() = Some(cx.waker().clone());
                sniffing.as_mut().poll(cx).map(|result| result.ok())
            })
            .await
        };
        let Some(Some((ahead, version))) = sniffed else { return };
        io.put_back(ahead);
        self.state.http2.set(version == Version::HTTP_2);
        let ended = if version == Version::HTTP_2 { self.http2(io).await } else { self.http1(io).await };
        if let Err(error) = ended {
            tracing::debug!("connection ended: {error}");
        }
    }

    async fn http1(&self, io: Io) -> hyper::Result<()> {
        let client = self.clone();
        let service = service_fn(move |request| client.clone().serve(request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_buf_size(self.listener.max_request_headers.max(8192))
            .max_headers(hygiene::MAX_FIELDS)
            .serve_connection(TokioIo::new(io), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        poll_fn(|cx| {
            match self.poll_end(cx) {
                Some(End::Now) => return Poll::Ready(Ok(())),
                Some(End::Graceful) => connection.as_mut().graceful_shutdown(),
                None => {}
            }
            connection.as_mut().poll(cx)
        })
        .await
    }

    async fn http2(&self, io: Io) -> hyper::Result<()> {
        let client = self.clone();
        let service = service_fn(move |request| client.clone().serve(request));
        let connection = http2::Builder::new(LocalExecutor)
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(u32::try_from(self.listener.max_request_headers).unwrap_or(u32::MAX))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_pending_accept_reset_streams(PENDING_RESETS)
            .serve_connection(TokioIo::new(io.gathering()), service);
        let mut connection = pin!(connection);
        poll_fn(|cx| {
            let announced = self.state.phase.get() != Phase::Serving;
            match self.poll_end(cx) {
                Some(End::Now) => return Poll::Ready(Ok(())),
                Some(End::Graceful) => connection.as_mut().graceful_shutdown(),
                None if announced => connection.as_mut().graceful_shutdown(),
                None => {}
            }
            connection.as_mut().poll(cx)
        })
        .await
    }

    fn poll_end(&self, cx: &std::task::Context<'_>) -> Option<End> {
        let ending = self.state.ending.get();
        let mut waker = self.state.waker.borrow_mut();
        match &*waker {
            Some(known) if known.will_wake(cx.waker()) => {}
            _ => *waker = Some(cx.waker().clone()),
        }
        ending
    }

    /// One request.
    async fn serve(self, mut request: Request<Incoming>) -> Result<Response<ResponseBody>, Aborted> {
        let busy = Busy::new(&self.state.occupancy);
        let mut snapshot = self.worker.snapshot();
        let listener = match snapshot.listener(&self.listener.name) {
            Some(listener) => listener.clone(),
            None => {
                // The listener is gone: what it was goes with the snapshot it was part of, and the client may go too.
                snapshot = self.snapshot.clone();
                self.state.end(End::Graceful);
                self.listener.clone()
            }
        };
        let version = request.version();
        let upgrade = listener.websocket.then(|| hyper::upgrade::on(&mut request));
        let (parts, body) = request.into_parts();
        let rules = Rules {
            normalization: listener.normalization,
            trusted_proxies: listener.trusted_proxies,
            max_headers: listener.max_request_headers,
            websocket: listener.websocket,
        };
        let admitted = match hygiene::admit(parts, rules) {
            Ok(admitted) => admitted,
            Err(refusal) => return Ok(self.refuse(refusal, version)),
        };
        let mut head = admitted.head;
        self.worker.with_env(|env| super::forwarded::stamp(&mut head.headers, &self.facts, env.rng()));
        let shed = self.worker.process.overloaded.load(Ordering::Relaxed);
        if shed {
            self.worker.counters.overloaded.add(self.worker.index, 1);
        }
        let arrival = Arrival {
            head,
            body,
            version,
            connection: self.facts.clone(),
            upgrade: upgrade.filter(|_| admitted.upgrade),
            trailers: admitted.trailers,
            introduction: admitted.introduction,
            shed,
        };
        let mut response = Exchange::run(&self.worker, snapshot, &listener, arrival).await?;
        response.body_mut().keep_busy(busy);
        if version != Version::HTTP_2 && self.state.phase.get() != Phase::Serving {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }

    /// A request that no exchange begins for.
    fn refuse(&self, refusal: hygiene::Refusal, version: Version) -> Response<ResponseBody> {
        tracing::debug!(remote = self.facts.remote, details = refusal.details, "request refused");
        self.worker.counters.refused.add(self.worker.index, 1);
        let head = Reply::refusal(refusal.status);
        let mut response = Response::new(ResponseBody::plain(Bytes::new()));
        *response.status_mut() = refusal.status;
        *response.headers_mut() = head.headers;
        if version == Version::HTTP_2 {
            response.headers_mut().remove(header::CONNECTION);
        }
        response
    }
}

/// Reads until it is clear whether the client begins with the HTTP/2 preface. What was read is given back.
async fn sniff(io: &mut Io) -> std::io::Result<Option<(Bytes, Version)>> {
    let mut read = BytesMut::with_capacity(8192);
    loop {
        if io.read_buf(&mut read).await? == 0 {
            return Ok(None);
        }
        let compared = read.len().min(PREFACE.len());
        if read.get(..compared) != PREFACE.get(..compared) {
            return Ok(Some((read.freeze(), Version::HTTP_11)));
        }
        if compared == PREFACE.len() {
            return Ok(Some((read.freeze(), Version::HTTP_2)));
        }
    }
}
