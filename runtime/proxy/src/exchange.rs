//! The life of one request, from its head to its log line. `Exchange::run` is the story; each step has a room.

pub mod access_log;
mod attempts;
pub mod bodies;
pub mod body;
pub mod chain;
pub mod conduct;
mod grpc_messages;
mod grpc_timeout;
pub mod head;
pub mod held;
pub mod hop;
pub mod mirror;
mod notes;
pub mod occupancy;
mod outgoing;
mod pace;
pub mod peer;
pub mod properties;
pub mod reply;
pub mod respond;
mod source;
pub mod span;
pub mod steering;
pub mod stored;
pub mod trace;
mod tunnel;
pub mod view;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::{Response, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use sidegate_wasm_host::StreamKey;
use sidegate_wasm_host::abi::Direction;
use sidegate_wasm_host::hooks::Hook;

use self::bodies::ResponseBody;
use self::body::Pump;
use self::chain::{Chain, Step};
use self::conduct::Watch;
use self::head::RequestHead;
use self::mirror::Copies;
use self::peer::{Introduces, Introduction};
use self::reply::{Failure, Reply};
use self::source::Source;
use self::span::Span;
use self::view::{ConnectionFacts, Facts, View, Waiter};
use crate::snapshot::{Cluster, Listener};
use crate::telemetry::flags::Flags;
use crate::upstream;
use crate::worker::{Worker, WorkerSnapshot};

/// Why a body did not arrive whole.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("{0}")]
    Peer(#[source] hyper::Error),
    #[error("the exchange was ended")]
    Stopped,
    #[error("no progress for too long")]
    Stalled,
    #[error("the callout was cancelled")]
    Cancelled(#[source] h2::Error),
}

/// The exchange is reset without an answer.
#[derive(Debug, thiserror::Error)]
#[error("exchange reset")]
pub struct Aborted;

/// What ends an exchange while its bodies are on their way.
pub enum Outcome {
    Reply(Box<Reply>),
    Close,
}

/// One request with its response. Ends when the response's body is gone.
pub struct Exchange {
    pub worker: Rc<Worker>,
    /// The configuration that this exchange sees from first byte to log line.
    snapshot: Rc<WorkerSnapshot>,
    pub listener: Arc<Listener>,
    key: StreamKey,
    pub chain: RefCell<Chain>,
    outcome: RefCell<Option<Outcome>>,
    /// Copies that the request's body is shown to as it goes up.
    copies: RefCell<Option<Copies>>,
    started: Instant,
    finished: Cell<bool>,
    pub grpc: bool,
    head_request: bool,
    introduces: Introduces,
}

// Boxing of rare branches keeps the future of an exchange small: it is moved several times for every request.

/// What comes in: a request that hygiene has admitted.
pub struct Arrival {
    pub head: RequestHead,
    pub body: Incoming,
    pub version: Version,
    pub connection: Arc<ConnectionFacts>,
    /// Set when the client asked for a WebSocket that the listener allows.
    pub upgrade: Option<OnUpgrade>,
    /// The client said that it takes trailers.
    pub trailers: bool,
    /// What the client's proxy said of itself.
    pub introduction: Option<Box<Introduction>>,
    /// Memory is short: the request is answered at once.
    pub shed: bool,
}

impl Exchange {
    /// Runs one exchange up to the head of its response. The body that is returned carries on from there.
    pub async fn run(
        worker: &Rc<Worker>,
        snapshot: Rc<WorkerSnapshot>,
        listener: &Arc<Listener>,
        arrival: Arrival,
    ) -> Result<Response<ResponseBody>, Aborted> {
        let Arrival { head, body, version, connection, upgrade, trailers, introduction, shed } = arrival;
        let exchange = Self::open(worker, snapshot, listener, head, version, connection, introduction);
        // When this future is dropped half way, the exchange ends and is logged all the same.
        let mut ending = Ending(Some(exchange.clone()));
        let response = match shed {
            true => Box::pin(exchange.shed()).await,
            false => exchange.drive(body, upgrade, trailers).await,
        };
        // From here on the response's body ends it.
        ending.0 = None;
        response
    }

    async fn drive(
        self: Rc<Self>,
        body: Incoming,
        upgrade: Option<OnUpgrade>,
        trailers: bool,
    ) -> Result<Response<ResponseBody>, Aborted> {
        let exchange = self;
        let source = if body.is_end_stream() { Source::Empty } else { Source::Incoming(body) };
        let mut pump = exchange.request_pump(source);
        if let Err(ended) = exchange.request_hooks(&mut pump).await {
            return Box::pin(exchange.answer(ended)).await;
        }
        let target = match exchange.steer() {
            Ok(target) => target,
            Err(failure) => return Box::pin(exchange.fail(failure)).await,
        };
        let body = match exchange.request_body(pump).await {
            Ok(body) => body,
            Err(outcome) => return Box::pin(exchange.answer(Ended { outcome, from: None })).await,
        };
        if upgrade.is_none() {
            exchange.mirror(&body, &target, trailers);
        }
        let sent = pin!(exchange.send(body, &target, upgrade.is_some(), trailers));
        match exchange.or_outcome(sent).await {
            Ok(Ok(response)) => exchange.respond(response, upgrade).await,
            Ok(Err(failure)) => Box::pin(exchange.fail(failure)).await,
            Err(outcome) => Box::pin(exchange.answer(Ended { outcome, from: None })).await,
        }
    }

    fn open(
        worker: &Rc<Worker>,
        snapshot: Rc<WorkerSnapshot>,
        listener: &Arc<Listener>,
        mut head: RequestHead,
        version: Version,
        connection: Arc<ConnectionFacts>,
        introduction: Option<Box<Introduction>>,
    ) -> Rc<Self> {
        let started = Instant::now();
        let grpc = head::is_grpc(&head.headers);
        let head_request = head.method == Some(http::Method::HEAD);
        let traced = trace::is_marked(&mut head, snapshot.shared.trace_key.as_ref());
        // Only a rollout leaves anything to chance.
        let chance = if snapshot.shared.rollouts.is_empty() { 0 } else { worker.with_env(|env| env.rng().draw()) };
        let chosen = snapshot.chain_for(listener, &head, chance);
        let facts = Facts {
            listener: listener.clone(),
            connection,
            protocol: version,
            started,
            started_wall: SystemTime::now(),
            request_head_bytes: sidegate_wasm_host::Headers::byte_size(&head) as u64,
            request_bytes: 0,
            response_bytes: 0,
            grpc,
            grpc_messages: grpc.then(Box::default),
            downstream_peer: None,
            upstream_peer: None,
            request_end: None,
            flags: Flags::default(),
            details: Cow::Borrowed(""),
            upstream: None,
            cluster: None,
            attempts: 0,
            upstream_local: None,
            pool_ready: None,
            upstream_time: None,
            backend_latency: None,
            duration: None,
        };
        let key = worker.with_env(|env| env.views.insert(View::new(head, facts))) as StreamKey;
        if traced {
            worker.with_env(|env| env.trace(key));
        }
        let mut chain = Chain::new(key, grpc);
        let mut introduces = Introduces::Nobody;
        for filter in chosen {
            if let Some(wishes) = filter.slot.wishes() {
                if wishes.introductions && introduces == Introduces::Nobody {
                    introduces = worker.with_env(|env| peer::meet(env, key, introduction.as_deref()));
                }
                if let Some(rule) = wishes.spans.as_ref().and_then(|rules| rules.of(listener.direction)) {
                    worker.with_env(|env| Span::begin_for(env, key, rule));
                }
            }
            chain.push(worker.index, filter);
        }
        worker.counters.requests.add(worker.index, 1);
        worker.counters.active.add(worker.index, 1);
        let exchange = Rc::new(Self {
            worker: worker.clone(),
            snapshot,
            listener: listener.clone(),
            key,
            chain: RefCell::new(chain),
            outcome: RefCell::new(None),
            copies: RefCell::new(None),
            started,
            finished: Cell::new(false),
            grpc,
            head_request,
            introduces,
        });
        worker.opened(key, &exchange);
        exchange
    }

    fn request_pump(self: &Rc<Self>, source: Source) -> Result<Pump, Source> {
        let chain = self.chain.borrow();
        let wanted = chain.has(Hook::RequestBody) || chain.has(Hook::RequestTrailers);
        let links = 0..chain.count();
        drop(chain);
        if wanted && !source.is_end() { Ok(Pump::new(self, Direction::Request, source, links)) } else { Err(source) }
    }

    /// Filter after filter sees the head; one that holds it is waited for.
    async fn request_hooks(self: &Rc<Self>, pump: &mut Result<Pump, Source>) -> Result<(), Ended> {
        let end = match pump {
            Ok(_) => false,
            Err(source) => source.is_end(),
        };
        let count = self.chain.borrow().count();
        for index in 0..count {
            let step = self.chain.borrow_mut().headers(&self.worker, index, Direction::Request, end);
            let step = match (step, &mut *pump) {
                (Step::WaitWithBody, Ok(pump)) => {
                    pump.open_up_to(Some(index));
                    let shown = poll_fn(|cx| pump.poll_until_released(cx, index));
                    Box::pin(self.within_pause(index, shown)).await
                }
                (Step::Wait | Step::WaitWithBody, _) => Box::pin(self.hold(index, Direction::Request)).await,
                (step, _) => step,
            };
            match step {
                Step::Continue | Step::Wait | Step::WaitWithBody => {}
                Step::Reply(reply) => return Err(Ended { outcome: Outcome::Reply(reply), from: Some(index) }),
                Step::Close => return Err(Ended { outcome: Outcome::Close, from: None }),
            }
        }
        self.steer_again(end).await?;
        if let Ok(pump) = pump {
            pump.open_up_to(None);
        }
        Ok(())
    }

    /// A filter behind the one that chose the route changed what routes go by and said so: the choice is made once
    /// more, by a fresh context of that filter.
    async fn steer_again(self: &Rc<Self>, end: bool) -> Result<(), Ended> {
        let Some(index) = self.chain.borrow_mut().forget_route(&self.worker) else { return Ok(()) };
        let mut step = self.chain.borrow_mut().headers(&self.worker, index, Direction::Request, end);
        if matches!(step, Step::Wait | Step::WaitWithBody) {
            step = Box::pin(self.hold(index, Direction::Request)).await;
        }
        match step {
            Step::Continue | Step::Wait | Step::WaitWithBody => Ok(()),
            Step::Reply(reply) => Err(Ended { outcome: Outcome::Reply(reply), from: Some(index) }),
            Step::Close => Err(Ended { outcome: Outcome::Close, from: None }),
        }
    }

    /// Waits for a filter that paused, at most as long as its plugin may.
    async fn hold(&self, index: usize, direction: Direction) -> Step {
        let decided = poll_fn(|cx| {
            self.register(Waiter::Exchange, cx);
            match self.chain.borrow_mut().decided(&self.worker, index, direction) {
                Step::Wait => Poll::Pending,
                step => Poll::Ready(step),
            }
        });
        self.within_pause(index, decided).await
    }

    async fn within_pause(&self, index: usize, waiting: impl Future<Output = Step>) -> Step {
        let limit = self.chain.borrow().links.get(index).map(|link| link.slot.plugin.pause).unwrap_or_default();
        let begun = self.chain.borrow().watch(index).and_then(Watch::begin);
        let step = match tokio::time::timeout(limit, waiting).await {
            Ok(step) => step,
            Err(_) => Step::Reply(Box::new(Reply::failure(Failure::FilterPause, self.grpc))),
        };
        if begun.is_some() {
            self.chain.borrow_mut().waited(index, begun, &step);
        }
        step
    }

    /// Where the request goes: what filters said, else the listener's cluster.
    fn steer(&self) -> Result<upstream::Target, Failure> {
        self.worker.with_env(|env| {
            let view = env.view(self.key).ok_or(Failure::NoRoute)?;
            if view.steering.invalid {
                return Err(Failure::NoCluster);
            }
            let cluster: Arc<Cluster> = match &view.steering.cluster {
                Some(name) => self.snapshot.shared.clusters.find(name).ok_or(Failure::NoCluster)?.clone(),
                None => self.listener.cluster.clone().ok_or(Failure::NoRoute)?,
            };
            if view.steering.subset.as_ref().is_some_and(|subset| !cluster.subsets.contains_key(subset)) {
                return Err(Failure::NoCluster);
            }
            view.facts.cluster = Some(cluster.clone());
            let mut retries = view.steering.retries.clone().unwrap_or_default();
            retries.per_try_timeout = view.steering.per_try_timeout.or(retries.per_try_timeout);
            let mut timeout = view.steering.timeout;
            if self.grpc {
                timeout = grpc_timeout::within(timeout, &view.request.headers);
            }
            Ok(upstream::Target {
                subset: view.steering.subset.clone(),
                timeout,
                retries,
                version: view.facts.protocol,
                only_http2: false,
                background: false,
                grpc: self.grpc,
                cluster,
            })
        })
    }

    /// Runs `work` unless a body ends the exchange first.
    async fn or_outcome<T>(&self, mut work: Pin<&mut impl Future<Output = T>>) -> Result<T, Outcome> {
        poll_fn(|cx| {
            if let Some(outcome) = self.take_outcome() {
                return Poll::Ready(Err(outcome));
            }
            self.register(Waiter::Exchange, cx);
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                // A body that failed just now explains the failure of the whole better than its echo from upstream.
                return Poll::Ready(match self.take_outcome() {
                    Some(outcome) => Err(outcome),
                    None => Ok(done),
                });
            }
            match self.chain.borrow_mut().decided(&self.worker, usize::MAX, Direction::Request) {
                Step::Reply(reply) => Poll::Ready(Err(Outcome::Reply(reply))),
                Step::Close => Poll::Ready(Err(Outcome::Close)),
                Step::Continue | Step::Wait | Step::WaitWithBody => Poll::Pending,
            }
        })
        .await
    }

    /// The end, once: logs, contexts, the view. `complete`: the client got all of it.
    pub fn finish(&self, complete: bool) {
        if self.finished.replace(true) {
            return;
        }
        drop(self.copies.take());
        let duration = self.started.elapsed();
        let status = self.worker.with_env(|env| {
            let view = env.view(self.key)?;
            view.facts.duration = Some(duration);
            if !complete && view.facts.flags.is_empty() && !view.asked.close {
                view.facts.flags.insert(Flags::DOWNSTREAM_TERMINATION);
            }
            view.response.as_ref().and_then(|head| head.status)
        });
        self.chain.borrow_mut().finish(&self.worker);
        self.worker.closed(self.key);
        let mut view = self.worker.with_env(|env| env.close_view(self.key));
        self.worker.counters.ended(self.worker.index, status, duration);
        if let Some(view) = &view
            && let Some(trace) = &view.trace
        {
            trace.write(view);
        }
        if let Some((collector, spans)) = view.as_mut().and_then(View::told_spans) {
            self.worker.process.spans.send(&collector, spans);
        }
    }
}

/// How an exchange ended before its response.
pub struct Ended {
    outcome: Outcome,
    /// The filter whose hook it was: the response passes this one and those before it. `None`: all.
    from: Option<usize>,
}

/// Finishes the exchange when its future is dropped before there was a response.
struct Ending(Option<Rc<Exchange>>);

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(exchange) = self.0.take() {
            exchange.finish(false);
        }
    }
}

/// A body of bytes made here.
fn full(exchange: &Rc<Exchange>, bytes: Bytes) -> ResponseBody {
    ResponseBody::full(exchange.clone(), bytes)
}
