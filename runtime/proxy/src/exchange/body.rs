//! Bodies on their way through the chain: pulled by whoever sends them on, so that backpressure needs no code of its
//! own. A chain without body hooks never sees this: bodies then pass as they are.

mod ahead;
mod pull;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use sidegate_wasm_host::abi::Direction;
use sidegate_wasm_host::hooks::Hook;
use smallvec::SmallVec;
use tokio::time::Sleep;

use super::chain::{BodyStep, Step};
use super::conduct::Watch;
use super::head::Trailers;
use super::held::Share;
use super::reply::{Failure, Reply};
use super::source::Source;
use super::view::Waiter;
use super::{Exchange, Outcome};
use pull::Lent;

/// Bytes that one pump may hold in front of a filter that asked to wait without limit of its own.
const WATERMARK: usize = 1 << 20;

/// A body with the hooks that judge it.
pub struct Pump {
    exchange: Rc<Exchange>,
    direction: Direction,
    source: Source,
    source_ended: bool,
    stages: SmallVec<[Stage; 4]>,
    /// Stages from here on have not seen the headers yet: what would reach them waits in `parked`.
    barrier: usize,
    parked: VecDeque<Item>,
    ready: VecDeque<Frame<Bytes>>,
    ended: bool,
    /// A hook ended the exchange: nothing comes out any more.
    stopped: bool,
    pause: Option<Pin<Box<Sleep>>>,
    share: Share,
    /// When a filter that is being counted began to hold the body.
    waiting_since: Option<Instant>,
    /// The stage whose held body is in the view while everybody waits.
    lent: Option<Lent>,
}

/// One filter in the way of the body.
struct Stage {
    link: usize,
    has_body: bool,
    has_trailers: bool,
    /// What the filter keeps back.
    held: Vec<u8>,
    /// The next hook shows all that is held.
    buffering: bool,
    waiting: bool,
    end_seen: bool,
    trailers_waiting: bool,
    /// The filter let some body pass: headers that waited for the body may go.
    passed: bool,
}

enum Item {
    Data(Bytes, bool),
    /// The trailers themselves are in the view.
    Trailers,
}

/// The pump cannot go on; why is in the exchange's outcome.
pub(in crate::exchange) struct Stopped;

impl Pump {
    /// `links` are the filters in the order in which the body meets them.
    pub fn new(
        exchange: &Rc<Exchange>,
        direction: Direction,
        source: Source,
        links: impl Iterator<Item = usize>,
    ) -> Self {
        let chain = exchange.chain.borrow();
        let (body, trailers) = match direction {
            Direction::Request => (Hook::RequestBody, Hook::RequestTrailers),
            Direction::Response => (Hook::ResponseBody, Hook::ResponseTrailers),
        };
        let stages = links
            .map(|link| Stage {
                link,
                has_body: chain.link_has(link, body),
                has_trailers: chain.link_has(link, trailers),
                held: Vec::new(),
                buffering: false,
                waiting: false,
                end_seen: false,
                trailers_waiting: false,
                passed: false,
            })
            .collect();
        Self {
            exchange: exchange.clone(),
            direction,
            source,
            source_ended: false,
            stages,
            barrier: usize::MAX,
            parked: VecDeque::new(),
            ready: VecDeque::new(),
            ended: false,
            stopped: false,
            pause: None,
            waiting_since: None,
            share: Share::new(&exchange.worker),
            lent: None,
        }
    }

    pub(super) fn exchange(&self) -> &Rc<Exchange> {
        &self.exchange
    }

    /// Lets the body reach the filters up to and including `link`, and no further; `None`: all of them.
    pub fn open_up_to(&mut self, link: Option<usize>) {
        let before = self.barrier;
        self.barrier = match link.and_then(|link| self.stages.iter().position(|stage| stage.link == link)) {
            Some(at) => at + 1,
            None => usize::MAX,
        };
        for item in std::mem::take(&mut self.parked) {
            if self.feed(before, item).is_err() {
                return;
            }
        }
    }

    /// Whether a filter that wants to see no more for now holds as much as it may. One that collects the whole body
    /// is never full: it gets the rest, or the exchange ends at its limit.
    fn is_full(&self) -> bool {
        let limit = |stage: &Stage| self.limit(stage.link);
        self.stages.iter().any(|stage| stage.waiting && !stage.buffering && stage.held.len() >= limit(stage))
    }

    fn limit(&self, link: usize) -> usize {
        self.exchange.chain.borrow().links.get(link).map_or(WATERMARK, |link| link.slot.plugin.body)
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        let frame = match ready!(self.source.poll(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Err(self.stop(self.exchange.broken(self.direction, &error)))),
            None => {
                self.end_source();
                return Poll::Ready(self.feed(0, Item::Data(Bytes::new(), true)));
            }
        };
        // The body moves: a filter that collects it is not one that forgot to go on. Silence is the client's clock.
        self.pause = None;
        let item = match frame.into_data() {
            Ok(data) => {
                // What the client gets is counted where it leaves.
                if self.direction == Direction::Request {
                    self.exchange.count_body(Direction::Request, &data);
                }
                if self.source.is_end() {
                    self.end_source();
                }
                Item::Data(data, self.source_ended)
            }
            Err(frame) => {
                self.end_source();
                let fields = frame.into_trailers().unwrap_or_default();
                self.exchange.set_trailers(self.direction, Some(Trailers::received(fields)));
                Item::Trailers
            }
        };
        Poll::Ready(self.feed(0, item))
    }

    fn end_source(&mut self) {
        self.source_ended = true;
        match (self.direction, &self.source) {
            (Direction::Request, _) => self.exchange.request_ended(),
            (Direction::Response, Source::Incoming(_)) => self.exchange.upstream_ended(),
            (Direction::Response, Source::Full(_) | Source::Empty) => {}
        }
    }

    /// Takes an item through the stages from `from` on, to the end or to the first that keeps it.
    fn feed(&mut self, from: usize, mut item: Item) -> Result<(), Stopped> {
        let mut at = from;
        loop {
            if at >= self.barrier {
                self.parked.push_back(item);
                return Ok(());
            }
            if self.stages.get(at).is_none() {
                self.emit(item);
                return Ok(());
            }
            match self.stage(at, item)? {
                Some(next) => item = next,
                None => return Ok(()),
            }
            at += 1;
        }
    }

    /// One item at one stage: what comes out of it, if anything does now.
    fn stage(&mut self, at: usize, item: Item) -> Result<Option<Item>, Stopped> {
        match item {
            Item::Data(data, end) => self.data(at, data, end),
            Item::Trailers => self.trailers(at),
        }
    }

    fn data(&mut self, at: usize, data: Bytes, end: bool) -> Result<Option<Item>, Stopped> {
        let Some(stage) = self.stages.get_mut(at).filter(|stage| stage.has_body) else {
            return Ok(Some(Item::Data(data, end)));
        };
        let hand = if stage.buffering {
            let mut all = std::mem::take(&mut stage.held);
            all.extend_from_slice(&data);
            all
        } else {
            Vec::from(data)
        };
        stage.end_seen |= end;
        let (step, hand) = self.call(at, hand, end);
        let Some(stage) = self.stages.get_mut(at) else { return Ok(None) };
        stage.buffering = matches!(step, BodyStep::Buffer);
        stage.waiting = !matches!(step, BodyStep::Continue);
        match step {
            BodyStep::Continue => {
                stage.passed = true;
                let mut out = std::mem::take(&mut stage.held);
                let out = if out.is_empty() {
                    hand
                } else {
                    out.extend_from_slice(&hand);
                    out
                };
                self.pause = None;
                self.note_held();
                Ok(Some(Item::Data(out.into(), end)))
            }
            BodyStep::Buffer | BodyStep::Hold => {
                // Moved, not copied: a body in a thousand pieces would be copied a thousand times.
                if stage.held.is_empty() {
                    stage.held = hand;
                } else {
                    stage.held.extend_from_slice(&hand);
                }
                self.check_held(at).map(|()| None)
            }
            // A dropped chunk that was not the last leaves nothing to wait for.
            BodyStep::Drop => {
                stage.waiting = end;
                Ok(None)
            }
            BodyStep::Reply(reply) => Err(self.stop(Outcome::Reply(reply))),
            BodyStep::Close => Err(self.stop(Outcome::Close)),
        }
    }

    fn trailers(&mut self, at: usize) -> Result<Option<Item>, Stopped> {
        let Some(stage) = self.stages.get_mut(at) else { return Ok(Some(Item::Trailers)) };
        let held = std::mem::take(&mut stage.held);
        let mut hand = held;
        if stage.has_trailers {
            let link = stage.link;
            self.exchange.lend_body(self.direction, hand);
            let step = self.exchange.chain.borrow_mut().trailers(&self.exchange.worker, link, self.direction);
            hand = self.exchange.return_body(self.direction);
            let Some(stage) = self.stages.get_mut(at) else { return Ok(None) };
            match step {
                Step::Continue => {}
                Step::Wait | Step::WaitWithBody => {
                    stage.held = hand;
                    stage.waiting = true;
                    stage.trailers_waiting = true;
                    return Ok(None);
                }
                Step::Reply(reply) => return Err(self.stop(Outcome::Reply(reply))),
                Step::Close => return Err(self.stop(Outcome::Close)),
            }
        }
        if let Some(stage) = self.stages.get_mut(at) {
            stage.waiting = false;
            stage.passed = true;
        }
        self.note_held();
        if !hand.is_empty() {
            self.feed(at + 1, Item::Data(hand.into(), false))?;
        }
        Ok(Some(Item::Trailers))
    }

    /// Calls the body hook of a stage with `hand` in its buffer.
    fn call(&mut self, at: usize, hand: Vec<u8>, end: bool) -> (BodyStep, Vec<u8>) {
        let Some(stage) = self.stages.get(at) else { return (BodyStep::Continue, hand) };
        self.exchange.lend_body(self.direction, hand);
        let step = self.exchange.chain.borrow_mut().body(&self.exchange.worker, stage.link, self.direction, end);
        (step, self.exchange.return_body(self.direction))
    }

    /// Counts what is held now; `false`: the filters of this worker hold too much together.
    fn note_held(&mut self) -> bool {
        self.share.set(self.stages.iter().map(|stage| stage.held.len()).sum())
    }

    /// A filter may keep only so much.
    fn check_held(&mut self, at: usize) -> Result<(), Stopped> {
        let fits = self.note_held();
        let Some(stage) = self.stages.get(at) else { return Ok(()) };
        // A filter that only waits is not asked for more once it is full; a hook may have made its body larger.
        let spare = if stage.buffering { 0 } else { WATERMARK };
        let failure = if stage.held.len() > self.limit(stage.link).saturating_add(spare) {
            Failure::BodyTooLarge
        } else if !fits {
            self.exchange.worker.counters.overloaded.add(self.exchange.worker.index, 1);
            Failure::Overload
        } else {
            return Ok(());
        };
        Err(self.stop(Outcome::Reply(Box::new(Reply::failure(failure, self.exchange.grpc)))))
    }

    /// A filter that held the body goes on.
    fn release(&mut self, at: usize) -> Result<(), Stopped> {
        let Some(stage) = self.stages.get_mut(at) else { return Ok(()) };
        if let Some(begun) = self.waiting_since.take() {
            self.exchange.chain.borrow_mut().waited(stage.link, Some(begun), &Step::Continue);
        }
        stage.waiting = false;
        stage.buffering = false;
        stage.passed = true;
        let held = std::mem::take(&mut stage.held);
        let trailers = std::mem::take(&mut stage.trailers_waiting);
        let end = stage.end_seen && !trailers;
        self.pause = None;
        self.note_held();
        if !held.is_empty() || end {
            self.feed(at + 1, Item::Data(held.into(), end))?;
        }
        if trailers { self.feed(at + 1, Item::Trailers) } else { Ok(()) }
    }

    /// Behind the last filter.
    fn emit(&mut self, item: Item) {
        let end = match item {
            Item::Data(data, end) => {
                if !data.is_empty() {
                    self.ready.push_back(Frame::data(data));
                }
                end
            }
            Item::Trailers => true,
        };
        if end {
            self.ended = true;
            let trailers = self.exchange.trailers(self.direction).filter(|fields| !fields.is_empty());
            if let Some(fields) = trailers {
                self.ready.push_back(Frame::trailers(fields));
            }
        }
    }

    fn stop(&mut self, outcome: Outcome) -> Stopped {
        self.stopped = true;
        self.exchange.set_outcome(outcome);
        Stopped
    }

    /// Looks after a filter that holds the body; `true`: somebody holds it.
    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Result<bool, Stopped> {
        let Some(at) = self.stages.iter().position(|stage| stage.waiting) else { return Ok(false) };
        let Some(link) = self.stages.get(at).map(|stage| stage.link) else { return Ok(false) };
        let who = match self.direction {
            Direction::Request => Waiter::RequestBody,
            Direction::Response => Waiter::ResponseBody,
        };
        self.exchange.register(who, cx);
        let decided = self.exchange.chain.borrow_mut().decided(&self.exchange.worker, link, self.direction);
        match decided {
            Step::Continue => {
                self.release(at)?;
                return self.poll_waiting(cx);
            }
            Step::Wait | Step::WaitWithBody => {}
            Step::Reply(reply) => return Err(self.stop(Outcome::Reply(reply))),
            Step::Close => return Err(self.stop(Outcome::Close)),
        }
        if self.pause.is_none() {
            let limit = self.exchange.chain.borrow().links.get(link).map(|link| link.slot.plugin.pause);
            self.pause = limit.map(|limit| Box::pin(tokio::time::sleep(limit)));
            self.waiting_since = self.exchange.chain.borrow().watch(link).and_then(Watch::begin);
        }
        if let Some(pause) = &mut self.pause
            && pause.as_mut().poll(cx).is_ready()
        {
            let reply = Reply::failure(Failure::FilterPause, self.exchange.grpc);
            return Err(self.stop(Outcome::Reply(Box::new(reply))));
        }
        Ok(true)
    }
}

/// The trailers of a message that passes without hooks.
pub fn note_trailers(exchange: &Exchange, direction: Direction, fields: &HeaderMap) {
    exchange.set_trailers(direction, Some(Trailers::received(fields.clone())));
}
