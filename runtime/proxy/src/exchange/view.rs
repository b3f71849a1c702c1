//! What filters see of one exchange: implements `wasm_host::Stream` over heads, bodies and properties, and records
//! what they ask for. It lives in the worker's slab, so that a guest reaches it without a pointer into our future.

use std::borrow::Cow;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant, SystemTime};

use sidegate_wasm_host::abi::{Direction, MapType, Status};
use sidegate_wasm_host::{Headers, LocalReply, Open, Stream};

use http::HeaderValue;

use super::grpc_messages::Messages;
use super::head::pseudo::Pseudo;
use super::head::{RequestHead, ResponseHead, Trailers};
use super::peer::Peer;
use super::properties;
use super::span::Span;
use super::steering::Steering;
use super::stored::{Declared, Place, Stored};
use super::trace::Trace;
use crate::snapshot::{Endpoint, Listener};
use crate::telemetry::flags::Flags;

/// One live exchange, as data.
pub struct View {
    pub request: RequestHead,
    pub response: Option<ResponseHead>,
    pub request_trailers: Option<Trailers>,
    pub response_trailers: Option<Trailers>,
    /// The body bytes in the hands of the hook that runs now.
    pub request_body: Option<Vec<u8>>,
    pub response_body: Option<Vec<u8>>,
    /// Whether trailers may be made in this hook: it is the last of its body.
    pub may_add_trailers: bool,
    /// A filter made more of a body than it may: the exchange must end.
    pub overflown: bool,
    pub facts: Facts,
    pub steering: Steering,
    /// Values that filters stored.
    pub stored: Stored,
    pub asked: Asked,
    /// Somebody asked to see its way.
    pub trace: Option<Box<Trace>>,
    /// Its place in a trace of requests, when a filter wants spans.
    pub span: Option<Span>,
    /// Copy of the head as it was before the hook of a FAIL_OPEN plugin; made at its first change.
    pub undo: Undo,
}

/// What happened so far, for logs, metrics and properties.
pub struct Facts {
    pub listener: Arc<Listener>,
    pub connection: Arc<ConnectionFacts>,
    pub protocol: http::Version,
    pub started: Instant,
    pub started_wall: SystemTime,
    /// Bytes of the request's head as it came, of its body so far, and of the response's body so far.
    pub request_head_bytes: u64,
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub grpc: bool,
    /// Messages of a gRPC request and of its response.
    pub grpc_messages: Option<Box<[Messages; 2]>>,
    /// What the proxies on both sides said of their workloads.
    pub downstream_peer: Option<Arc<Peer>>,
    pub upstream_peer: Option<Arc<Peer>>,
    /// From the start of the exchange to the end of the request's body.
    pub request_end: Option<Duration>,
    pub flags: Flags,
    /// Why the response is what it is; `via_upstream` when it came from there.
    pub details: Cow<'static, str>,
    pub upstream: Option<Arc<Endpoint>>,
    /// Our end of the connection to it.
    pub upstream_local: Option<Arc<str>>,
    pub cluster: Option<Arc<crate::snapshot::Cluster>>,
    pub attempts: u32,
    /// From the start of the exchange to a connection, to the end of the response's head, to the end of everything.
    pub pool_ready: Option<Duration>,
    pub upstream_time: Option<Duration>,
    /// From a connection to the end of the upstream's response.
    pub backend_latency: Option<Duration>,
    pub duration: Option<Duration>,
}

/// What all exchanges of a downstream connection share.
#[derive(Debug)]
pub struct ConnectionFacts {
    pub id: u64,
    pub local: String,
    pub local_port: u16,
    pub remote: String,
    pub remote_port: u16,
    /// The client's IP alone; empty over a Unix socket.
    pub remote_ip: String,
    /// The same as a header value.
    pub remote_value: Option<HeaderValue>,
}

/// What guests asked for since the chain last looked.
#[derive(Default)]
pub struct Asked {
    pub reply: Option<LocalReply>,
    pub close: bool,
    /// The VM of a filter in this exchange ended in somebody else's hook.
    pub vm_lost: bool,
    /// A callout was sent on behalf of this exchange.
    pub called_out: bool,
    /// The request's path or host changed after a route was chosen, or `clear_route_cache` was called.
    pub route_cleared: bool,
    wakers: [Option<Waker>; 3],
}

/// Who waits for something to be asked.
#[derive(Clone, Copy)]
pub enum Waiter {
    Exchange,
    RequestBody,
    ResponseBody,
}

impl Asked {
    pub fn register(&mut self, who: Waiter, waker: &Waker) {
        if let Some(slot) = self.wakers.get_mut(who as usize) {
            match slot {
                Some(known) if known.will_wake(waker) => {}
                _ => *slot = Some(waker.clone()),
            }
        }
    }

    /// Wakes everybody who waits for this exchange.
    pub fn wake(&mut self) {
        for waker in self.wakers.iter_mut().filter_map(Option::take) {
            waker.wake();
        }
    }
}

/// Undo of the changes of one hook.
#[derive(Default)]
pub struct Undo {
    pub armed: bool,
    request: Option<Box<RequestHead>>,
    response: Option<Box<Option<ResponseHead>>>,
    stored: Option<Stored>,
    steering: Option<Box<Steering>>,
}

impl View {
    pub fn new(request: RequestHead, facts: Facts) -> Self {
        Self {
            request,
            response: None,
            request_trailers: None,
            response_trailers: None,
            request_body: None,
            response_body: None,
            may_add_trailers: false,
            overflown: false,
            facts,
            steering: Steering::default(),
            stored: Stored::default(),
            asked: Asked::default(),
            trace: None,
            span: None,
            undo: Undo::default(),
        }
    }

    /// Whether a filter wrote something that would break the message, or more than it may.
    pub fn poisoned(&self) -> bool {
        self.overflown
            || self.request.is_broken()
            || self.response.as_ref().is_some_and(ResponseHead::is_broken)
            || self.request_trailers.as_ref().is_some_and(Trailers::is_broken)
            || self.response_trailers.as_ref().is_some_and(Trailers::is_broken)
    }

    /// The body bytes that hooks of this direction see.
    pub fn body_mut(&mut self, direction: Direction) -> &mut Option<Vec<u8>> {
        match direction {
            Direction::Request => &mut self.request_body,
            Direction::Response => &mut self.response_body,
        }
    }

    /// Starts to remember, so that `roll_back` can restore.
    pub fn arm_undo(&mut self) {
        self.undo = Undo { armed: true, ..Undo::default() };
    }

    pub fn disarm_undo(&mut self) {
        self.undo = Undo::default();
    }

    pub fn roll_back(&mut self) {
        let undo = std::mem::take(&mut self.undo);
        if let Some(request) = undo.request {
            self.request = *request;
        }
        if let Some(response) = undo.response {
            self.response = *response;
        }
        if let Some(stored) = undo.stored {
            self.stored = stored;
        }
        if let Some(steering) = undo.steering {
            self.steering = *steering;
        }
        self.asked.reply = None;
        self.asked.close = false;
        self.overflown = false;
    }

    /// Writes a property: where it steers, what it says is done; else it is kept.
    pub fn store(&mut self, path: &[u8], value: &[u8], declared: Declared) -> Status {
        self.remember_stored();
        if path.starts_with(b"sidegate.") && self.steering.set(path, value, &mut self.facts.flags) {
            return Status::Ok;
        }
        self.stored.set(Place::Property, path, value, declared)
    }

    /// To be called before anything is stored.
    pub fn remember_stored(&mut self) {
        if self.undo.armed && self.undo.stored.is_none() {
            self.undo.stored = Some(self.stored.clone());
            self.undo.steering = Some(Box::new(self.steering.clone()));
        }
    }

    fn remember(&mut self, map: MapType) {
        if !self.undo.armed {
            return;
        }
        match map {
            MapType::RequestHeaders if self.undo.request.is_none() => {
                self.undo.request = Some(Box::new(self.request.clone()));
            }
            MapType::ResponseHeaders if self.undo.response.is_none() => {
                self.undo.response = Some(Box::new(self.response.clone()));
            }
            _ => {}
        }
    }
}

impl Stream for View {
    fn headers(&mut self, map: MapType) -> Option<&mut dyn Headers> {
        self.remember(map);
        match map {
            MapType::RequestHeaders => Some(&mut self.request),
            MapType::ResponseHeaders => self.response.as_mut().map(|head| head as &mut dyn Headers),
            MapType::RequestTrailers => trailers(&mut self.request_trailers, self.may_add_trailers),
            MapType::ResponseTrailers => trailers(&mut self.response_trailers, self.may_add_trailers),
            _ => None,
        }
    }

    fn body(&mut self, direction: Direction) -> Option<&mut Vec<u8>> {
        match direction {
            Direction::Request => self.request_body.as_mut(),
            Direction::Response => self.response_body.as_mut(),
        }
    }

    fn property(&mut self, path: &[u8], open: Open, out: &mut Vec<u8>) -> Status {
        properties::read(self, path, open, out)
    }

    fn set_property(&mut self, path: &[u8], value: &[u8]) -> Status {
        self.store(path, value, Declared::default())
    }

    fn local_reply(&mut self, reply: LocalReply) {
        if reply.replaces || self.asked.reply.is_none() {
            self.asked.reply = Some(reply);
        }
        self.asked.wake();
    }

    fn resume(&mut self, _direction: Direction) {
        // Whose wish it was, its VM knows.
        self.asked.wake();
    }

    fn close(&mut self) {
        self.asked.close = true;
        self.facts.details = Cow::Borrowed("wasm_close_stream");
        self.asked.wake();
    }

    fn overflow(&mut self) {
        self.overflown = true;
        self.asked.wake();
    }
}

fn trailers(trailers: &mut Option<Trailers>, may_add: bool) -> Option<&mut dyn Headers> {
    if trailers.is_none() && may_add {
        *trailers = Some(Trailers::default());
    }
    trailers.as_mut().map(|trailers| trailers as &mut dyn Headers)
}
