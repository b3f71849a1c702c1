//! Runs a filter natively, under a host made of plain data: no wasm, no network, no waiting.
//!
//! ```
//! use sidegate_sdk::{Filter, Next, Request, Response, Result, config, filter, testing};
//!
//! #[config]
//! struct Stamp {}
//!
//! #[filter]
//! impl Filter for Stamp {
//!     async fn handle(&self, req: Request, next: Next) -> Result<Response> {
//!         let mut res = next.run(req).await?;
//!         let server = res.headers().get("server").unwrap_or_default();
//!         res.headers_mut().set("x-was", server)?;
//!         Ok(res)
//!     }
//! }
//!
//! let filter = testing::Filter::<Stamp>::configure("{}").unwrap();
//! let outcome = filter.get("/x").header("accept", "*/*").respond(404, &[("server", "shop")], "no such page").run();
//! assert_eq!(outcome.status(), 404);
//! assert_eq!(outcome.header("x-was"), Some("shop"));
//! assert!(outcome.local_reply().is_none());
//! ```

mod exchange;
pub(crate) mod fake;
mod outcome;
mod world;

use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

pub use exchange::Exchange;
pub use outcome::{Answer, GrpcSent, LogLine, Message, Outcome, Reply, Sent};

use crate::config::Problem;
use crate::dispatch::{self, Hooks};
use crate::grpc::GrpcError;
use crate::properties::Path;
use world::World;

/// The id of the only root context.
const ROOT: u32 = 1;

/// A host, to be furnished before a filter is configured in it.
#[derive(Default)]
pub struct Host {
    world: World,
}

impl Host {
    /// A Sidegate host without properties or clusters.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A host that knows nothing of Sidegate, such as Envoy: no foreign functions.
    #[must_use]
    pub fn foreign() -> Self {
        let host = Self::default();
        host.world.with(|state| state.is_foreign = true);
        host
    }

    /// Gives a property its value, for all exchanges and in `configure`.
    #[must_use]
    pub fn property(self, path: impl Path, value: impl Value) -> Self {
        self.world.with(|state| state.properties.insert(path.joined().into_owned(), value.bytes()));
        self
    }

    /// Sets the clock, as time since 1970. Default: 1970.
    #[must_use]
    pub fn clock(self, time: Duration) -> Self {
        self.world.with(|state| state.now = nanos(time));
        self
    }

    /// Adds a foreign function; `None` is an argument that it refuses.
    #[must_use]
    pub fn function(self, name: &str, function: impl Fn(&[u8]) -> Option<Vec<u8>> + 'static) -> Self {
        self.world.with(|state| state.functions.insert(name.to_owned(), Rc::new(function)));
        self
    }

    /// Configures a filter.
    ///
    /// # Errors
    /// All problems, if it refuses.
    pub fn configure<F: crate::Filter>(self, config: &str) -> Result<Filter<F>, Vec<Problem>> {
        let world = Rc::new(self.world);
        world.with(|state| state.config = config.as_bytes().to_vec());
        fake::enter(&world);
        let filter = Filter { world, hooks: dispatch::hooks::<F>(), filter: PhantomData };
        if filter.hooks.configure(ROOT, config.len()) {
            Ok(filter)
        } else {
            Err(filter.world.with(|state| std::mem::take(&mut state.problems)))
        }
    }
}

/// A configured filter.
pub struct Filter<F> {
    world: Rc<World>,
    hooks: Box<dyn Hooks>,
    filter: PhantomData<F>,
}

impl<F> fmt::Debug for Filter<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter").field("type", &std::any::type_name::<F>()).finish_non_exhaustive()
    }
}

impl<F: crate::Filter> Filter<F> {
    /// Configures a filter in a Sidegate host, with its configuration as JSON; `""` is none.
    ///
    /// # Errors
    /// All problems, if it refuses.
    pub fn configure(config: &str) -> Result<Self, Vec<Problem>> {
        Host::new().configure(config)
    }

    /// What the filter warned about or logged while it was configured.
    #[must_use]
    pub fn warnings(&self) -> Vec<Problem> {
        self.world.with(|state| state.problems.clone())
    }

    /// All lines logged so far.
    #[must_use]
    pub fn logs(&self) -> Vec<LogLine> {
        self.world.with(|state| state.logs.clone())
    }

    /// A `GET` request to be run.
    pub fn get(&self, path: &str) -> Exchange<'_, F> {
        Exchange::new(self, "GET", path)
    }

    /// A `POST` request to be run.
    pub fn post(&self, path: &str) -> Exchange<'_, F> {
        Exchange::new(self, "POST", path)
    }

    /// A request with any method, to be run.
    pub fn request(&self, method: &str, path: &str) -> Exchange<'_, F> {
        Exchange::new(self, method, path)
    }

    /// Adds a cluster that answers callouts so. A callout to a cluster without answers is refused.
    pub fn answer(&self, cluster: &str, answer: impl Fn(&Sent) -> Answer + 'static) {
        self.world.with(|state| state.answers.insert(cluster.to_owned(), Rc::new(answer)));
    }

    /// Adds a cluster that answers gRPC callouts so, with a message or a failure. A callout to one without answers is
    /// refused.
    pub fn answer_grpc(&self, cluster: &str, answer: impl Fn(&GrpcSent) -> Result<Vec<u8>, GrpcError> + 'static) {
        self.world.with(|state| state.grpc_answers.insert(cluster.to_owned(), Rc::new(answer)));
    }

    /// The value of a counter or gauge, or how many values a histogram took.
    #[must_use]
    pub fn metric(&self, series: &str) -> Option<u64> {
        self.world.with(|state| state.metric(series))
    }

    /// The series of all metrics.
    #[must_use]
    pub fn metrics(&self) -> Vec<String> {
        self.world.with(|state| state.series.iter().map(|(_, name)| name.clone()).collect())
    }

    /// What the filter told `sidegate_span` last.
    #[must_use]
    pub fn spans(&self) -> Option<String> {
        self.world.with(|state| state.spans.clone())
    }

    /// Lets time pass: timers fire, ticks run and their callouts are answered.
    pub fn advance(&self, time: Duration) {
        self.enter();
        let end = self.world.with(|state| state.now + nanos(time));
        while let Some(due) = self.world.with(|state| state.next_due()).filter(|due| *due <= end) {
            self.elapse(due);
            while self.answer_one() {}
        }
        self.world.with(|state| state.now = end);
    }

    /// Makes this filter and its host the ones that run.
    fn enter(&self) {
        fake::enter(&self.world);
        dispatch::declare::<F>();
    }

    /// Moves the clock to `due` and fires what is due there.
    fn elapse(&self, due: u64) {
        let timer = self.world.with(|state| {
            state.now = state.now.max(due);
            state.take_timer()
        });
        if timer {
            self.hooks.foreign_function(crate::sleep::TIMER_FUNCTION);
        } else if self.world.with(|state| state.take_tick()) {
            self.hooks.tick(ROOT);
        }
    }

    /// Answers a callout, the oldest of its kind; false if there is none.
    fn answer_one(&self) -> bool {
        self.answer_http() || self.answer_one_grpc()
    }

    fn answer_one_grpc(&self) -> bool {
        let Some((token, sent)) = self.world.with(|state| state.take_grpc_callout()) else { return false };
        let answer = self.world.with(|state| state.grpc_answers.get(&sent.cluster).cloned());
        match answer.map(|answer| answer(&sent)) {
            Some(Ok(message)) => {
                let length = message.len();
                self.world.with(|state| state.grpc_answer = message);
                self.hooks.grpc_receive(token, length);
            }
            Some(Err(GrpcError { status, message })) => {
                self.world.with(|state| state.grpc_status = message);
                self.hooks.grpc_close(token, status);
            }
            None => self.hooks.grpc_close(token, crate::grpc::UNAVAILABLE),
        }
        true
    }

    fn answer_http(&self) -> bool {
        let Some((token, sent)) = self.world.with(|state| state.take_callout()) else { return false };
        let answer = self.world.with(|state| state.answers.get(&sent.cluster).cloned());
        let (headers, body) = match answer.map(|answer| answer(&sent)) {
            Some(answer) if !answer.is_reset => (answer.pairs(), answer.body),
            _ => (Vec::new(), Vec::new()),
        };
        let (count, length) = (u32::try_from(headers.len()).unwrap_or(0), body.len());
        self.world.with(|state| state.callout_answer = (headers, body));
        self.hooks.http_call_response(token, count, length);
        true
    }
}

/// The JSON Schema of a filter's configuration, as manifests carry it.
///
/// ```
/// use sidegate_sdk::{Filter, config, filter, testing};
///
/// #[config]
/// struct Limit {
///     /// Requests a second.
///     requests: u32,
/// }
///
/// #[filter]
/// impl Filter for Limit {}
///
/// assert_eq!(testing::schema::<Limit>()["properties"]["requests"]["description"], "Requests a second.");
/// ```
#[must_use]
pub fn schema<F: crate::Filter>() -> serde_json::Value {
    schemars::schema_for!(F::Config).to_value()
}

/// A property's value as the ABI writes it.
pub trait Value {
    /// Its bytes.
    fn bytes(self) -> Vec<u8>;
}

impl Value for &str {
    fn bytes(self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }
}

impl Value for i64 {
    fn bytes(self) -> Vec<u8> {
        self.to_le_bytes().to_vec()
    }
}

impl Value for bool {
    fn bytes(self) -> Vec<u8> {
        vec![u8::from(self)]
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
