//! The body types that leave an exchange: towards the upstream, and towards the client. Whoever sends them pulls.

use std::future::Future;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use sidegate_wasm_host::abi::Direction;
use tokio::time::{Instant, Sleep};

use super::body::{Pump, note_trailers};
use super::head::Trailers;
use super::mirror::Feed;
use super::occupancy::Busy;
use super::pace::Pace;
use super::reply::{Failure, Reply};
use super::{BodyError, Exchange, Outcome};
use crate::upstream::InFlight;
use crate::upstream::callout::outgoing::Outgoing;

/// A request's body on its way up.
pub enum RequestBody {
    Empty,
    /// Made here: callouts.
    Full(Option<Bytes>),
    /// The messages of a gRPC callout.
    Messages(Outgoing),
    Direct {
        incoming: Incoming,
        exchange: Rc<Exchange>,
        stall: Stall,
    },
    Pumped {
        pump: Box<Pump>,
        stall: Stall,
    },
    /// What goes by on another one, for a mirror.
    Copied(Feed),
}

/// Ends a body whose sender makes no progress.
pub struct Stall {
    sleep: Option<Pin<Box<Sleep>>>,
    limit: std::time::Duration,
}

impl Stall {
    pub fn new(limit: std::time::Duration) -> Self {
        Self { sleep: None, limit }
    }

    /// Progress was made: the clock starts anew when there is something to wait for.
    fn progress(&mut self) {
        if let Some(sleep) = &mut self.sleep {
            sleep.as_mut().reset(Instant::now() + self.limit);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit))).as_mut().poll(cx)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let (polled, ended, stall, exchange) = match &mut *self {
            Self::Empty => return Poll::Ready(None),
            Self::Messages(messages) => {
                return messages
                    .poll_frame(cx)
                    .map(|next| next.map(|frame| frame.map(Frame::data).map_err(BodyError::Cancelled)));
            }
            Self::Full(bytes) => return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Direct { incoming, exchange, stall } => {
                let polled = Pin::new(&mut *incoming).poll_frame(cx).map_ok(with_joined_trailers);
                let polled = polled.map_err(BodyError::Peer);
                (polled, incoming.is_end_stream(), stall, &*exchange)
            }
            Self::Pumped { pump, stall } => {
                let polled = Pin::new(&mut **pump).poll_frame(cx);
                if let Poll::Ready(frame) = polled {
                    stall.progress();
                    pump.exchange().copy(&frame, pump.is_end_stream());
                    return Poll::Ready(frame);
                }
                // The pump's own clock watches filters; this one watches the client.
                (Poll::Pending, false, stall, pump.exchange())
            }
            Self::Copied(feed) => return feed.poll_frame(cx),
        };
        match polled {
            Poll::Ready(frame) => {
                stall.progress();
                match &frame {
                    Some(Ok(frame)) => {
                        if let Some(data) = frame.data_ref() {
                            exchange.count_body(Direction::Request, data);
                        }
                    }
                    Some(Err(error)) => exchange.set_outcome(exchange.broken(Direction::Request, error)),
                    None => {}
                }
                if ended || frame.is_none() {
                    exchange.request_ended();
                }
                exchange.copy(&frame, ended);
                Poll::Ready(frame)
            }
            Poll::Pending => {
                if stall.poll(cx).is_ready() {
                    let reply = Reply::failure(Failure::BodyTimeout, exchange.grpc);
                    exchange.set_outcome(Outcome::Reply(Box::new(reply)));
                    return Poll::Ready(Some(Err(BodyError::Stalled)));
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_none(),
            Self::Messages(messages) => messages.is_over(),
            Self::Direct { incoming, .. } => incoming.is_end_stream(),
            Self::Pumped { pump, .. } => pump.is_end_stream(),
            Self::Copied(feed) => feed.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Direct { incoming, .. } => incoming.size_hint(),
            Self::Messages(_) | Self::Pumped { .. } | Self::Copied(_) => SizeHint::default(),
        }
    }
}

/// A response's body on its way down. The exchange ends when this does, however that happens.
pub struct ResponseBody {
    kind: Kind,
    exchange: Option<Rc<Exchange>>,
    in_flight: Option<InFlight>,
    /// How fast it may leave, where a filter has a say in that.
    pace: Option<Box<Pace>>,
    /// Its length is not told, because a filter took that out of the head.
    unmeasured: bool,
    /// Rings when the route's time is up.
    late: Option<Pin<Box<Sleep>>>,
    /// Dropped last: the client's connection is busy until everything else has ended.
    busy: Option<Busy>,
}

enum Kind {
    Empty,
    Full(Bytes),
    Direct(Incoming),
    Pumped(Box<Pump>),
}

impl Kind {
    fn poll(&mut self, cx: &mut Context<'_>) -> PolledFrame {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Direct(incoming) => {
                Pin::new(incoming).poll_frame(cx).map_ok(with_joined_trailers).map_err(BodyError::Peer)
            }
            Self::Pumped(pump) => Pin::new(&mut **pump).poll_frame(cx),
        }
    }

    /// What the exchange is told of a piece that leaves. A pump has told of trailers before its filters saw them.
    fn note(&self, exchange: &Exchange, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            exchange.count_body(Direction::Response, data);
        } else if let (Self::Direct(_), Some(fields)) = (self, frame.trailers_ref()) {
            note_trailers(exchange, Direction::Response, fields);
        }
    }

    /// Everything has come from upstream, known before it is asked for more.
    fn is_whole(&self) -> bool {
        matches!(self, Self::Direct(incoming) if incoming.is_end_stream())
    }
}

fn with_joined_trailers(frame: Frame<Bytes>) -> Frame<Bytes> {
    frame.into_trailers().map_or_else(|data| data, |fields| Frame::trailers(Trailers::received(fields).fields))
}

impl ResponseBody {
    /// A body without an exchange: refusals before there is one, and the admin's answers.
    pub fn plain(bytes: Bytes) -> Self {
        Self {
            kind: if bytes.is_empty() { Kind::Empty } else { Kind::Full(bytes) },
            exchange: None,
            in_flight: None,
            pace: None,
            unmeasured: false,
            late: None,
            busy: None,
        }
    }

    pub fn full(exchange: Rc<Exchange>, bytes: Bytes) -> Self {
        let kind = if bytes.is_empty() { Kind::Empty } else { Kind::Full(bytes) };
        Self { kind, exchange: Some(exchange), in_flight: None, pace: None, unmeasured: false, late: None, busy: None }
    }

    pub fn direct(exchange: Rc<Exchange>, incoming: Incoming, in_flight: InFlight) -> Self {
        Self {
            kind: Kind::Direct(incoming),
            exchange: Some(exchange),
            in_flight: Some(in_flight),
            pace: None,
            unmeasured: false,
            late: None,
            busy: None,
        }
    }

    pub fn pumped(exchange: Rc<Exchange>, pump: Pump, in_flight: Option<InFlight>) -> Self {
        Self {
            kind: Kind::Pumped(Box::new(pump)),
            exchange: Some(exchange),
            in_flight,
            pace: None,
            unmeasured: false,
            late: None,
            busy: None,
        }
    }

    /// Lets the body leave without its length, unless it has none.
    pub fn unmeasure(&mut self) {
        self.unmeasured = !matches!(self.kind, Kind::Empty);
    }

    /// Lets the body leave at this rate, in bytes per second.
    pub fn slow_down(&mut self, rate: NonZeroU64) {
        self.pace = Some(Box::new(Pace::new(rate)));
    }

    /// Marks the client's connection as busy as long as this lives.
    pub fn keep_busy(&mut self, busy: Busy) {
        self.busy = Some(busy);
    }

    /// The next piece that may leave.
    fn poll_paced(&mut self, cx: &mut Context<'_>) -> PolledFrame {
        loop {
            if let Some(pace) = &mut self.pace
                && let Some(slice) = ready!(pace.poll(cx))
            {
                return Poll::Ready(Some(Ok(Frame::data(slice))));
            }
            let frame = ready!(self.poll_source(cx));
            let (frame, pace) = match (frame, &mut self.pace) {
                (Some(Ok(frame)), Some(pace)) => (frame, pace),
                (frame, _) => return Poll::Ready(frame),
            };
            match frame.into_data() {
                Ok(piece) => pace.hold(piece),
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
    }

    /// The next piece from where the body comes, unless the exchange has to end before it does.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> PolledFrame {
        let mut polled = self.kind.poll(cx);
        if polled.is_pending() && self.exchange.as_ref().is_some_and(|exchange| exchange.is_told_to_close(cx)) {
            polled = Poll::Ready(Some(Err(BodyError::Stopped)));
        }
        let frame = ready!(within(&self.in_flight, &mut self.late, cx, polled));
        match (&frame, &self.exchange) {
            (Some(Ok(frame)), Some(exchange)) => self.kind.note(exchange, frame),
            (Some(Err(_)), Some(exchange)) => exchange.cut(),
            _ => {}
        }
        if frame.is_none() || self.kind.is_whole() {
            self.complete();
        }
        Poll::Ready(frame)
    }

    fn held(&self) -> usize {
        self.pace.as_ref().map_or(0, |pace| pace.held())
    }

    /// The body has ended as it should: its connection may serve again.
    fn complete(&mut self) {
        if let Some(in_flight) = self.in_flight.take() {
            in_flight.complete();
            if let Some(exchange) = &self.exchange {
                exchange.upstream_ended();
            }
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        let this = &mut *self;
        if let Some(busy) = &mut this.busy {
            busy.asked();
        }
        let frame = ready!(this.poll_paced(cx));
        if let (Some(Ok(_)), Some(busy)) = (&frame, &mut this.busy) {
            busy.offered();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        if self.held() > 0 {
            return false;
        }
        match &self.kind {
            Kind::Empty => true,
            Kind::Full(_) => false,
            Kind::Direct(incoming) => incoming.is_end_stream(),
            Kind::Pumped(pump) => pump.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let hint = match &self.kind {
            _ if self.unmeasured => SizeHint::default(),
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Direct(incoming) => incoming.size_hint(),
            Kind::Pumped(_) => SizeHint::default(),
        };
        match hint.exact() {
            Some(coming) => SizeHint::with_exact(coming + self.held() as u64),
            None => hint,
        }
    }
}

type PolledFrame = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

/// Ends a body whose route's time is up while there is something to wait for.
fn within(
    in_flight: &Option<InFlight>,
    late: &mut Option<Pin<Box<Sleep>>>,
    cx: &mut Context<'_>,
    polled: PolledFrame,
) -> PolledFrame {
    let Some(deadline) = in_flight.as_ref().and_then(|in_flight| in_flight.deadline) else { return polled };
    if polled.is_ready() {
        return polled;
    }
    let sleep = late.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
    if sleep.as_mut().poll(cx).is_ready() { Poll::Ready(Some(Err(BodyError::Stalled))) } else { Poll::Pending }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        let ended = self.is_end_stream();
        if ended {
            self.complete();
        }
        if let Some(exchange) = self.exchange.take() {
            exchange.finish(ended);
        }
    }
}
