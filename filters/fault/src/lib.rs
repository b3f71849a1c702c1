//! `builtin:fault`: makes requests wait, fail or be answered slowly, as Istio's `HTTPFaultInjection` says.
//!
//! [`config`] is the written form, `compile` checks it, [`policy`] draws the faults of a request as plain Rust,
//! `headers` reads what a request asks for itself, and this file lets it happen. How fast a body leaves is told to the
//! proxy as a property, so that no byte of it passes the guest; a host that does not know it sends as fast as it can.
#![forbid(unsafe_code)]

mod compile;
pub mod config;
mod headers;
mod occurrences;
mod percentage;
pub mod policy;

use sidegate_sdk::grpc::code;
use sidegate_sdk::{Filter, LogView, Next, Random, Request, Response, Result, Setup, debug, filter, properties, sleep};

use crate::config::FaultConfig;
use crate::occurrences::Occurrences;
use crate::policy::{Abort, Policy};

/// The filter: what is to happen, how often it has, and a source of chance.
pub struct Fault {
    policy: Policy,
    occurrences: Occurrences,
    chance: Random,
}

#[filter(sleep)]
impl Filter for Fault {
    type Config = FaultConfig;

    fn configure(config: FaultConfig, setup: &mut Setup) -> Result<Self> {
        let is_sidegate = properties::text("sidegate.clusters").is_some();
        if config.response_rate_limit.is_some() && !is_sidegate {
            setup.warning("/responseRateLimit", "this host cannot slow a response down; it leaves as it comes");
        }
        let chance = Random::new();
        let occurrences = Occurrences::define(config.max_active_faults, &chance)?;
        Ok(Self { policy: Policy::compile(&config, setup), occurrences, chance })
    }

    async fn handle(&self, req: Request, next: Next) -> Result<Response> {
        let faults = req.inspect(|head| self.policy.draw(head, &self.chance))?;
        if let Some(rate) = faults.rate
            && self.occurrences.admit()
        {
            self.occurrences.limited.add(1);
            tell("sidegate.response.bytesPerSecond", &rate.to_string());
        }
        if let Some(time) = faults.delay
            && self.occurrences.admit()
        {
            self.occurrences.delays.add(1);
            tell("sidegate.response_flag", "DI");
            sleep(time).await;
        }
        if let Some(abort) = faults.abort
            && self.occurrences.admit()
        {
            self.occurrences.aborts.add(1);
            tell("sidegate.response_flag", "FI");
            return Ok(abort.reply());
        }
        Ok(next.forward(req))
    }

    fn log(&self, view: &LogView<'_>) {
        self.occurrences.end(view);
    }
}

impl Abort {
    fn reply(self) -> Response {
        let reply = match self {
            Self::Http(status) => Response::new(status),
            Self::Grpc(code) => Response::new(code::http_status(code).unwrap_or(500)).grpc_status(code),
        };
        reply.body("fault filter abort").details("fault_filter_abort")
    }
}

/// Tells the proxy; in a host that takes no properties the fault happens all the same.
fn tell(property: &str, value: &str) {
    if let Err(problem) = properties::set(property, value) {
        debug!("{property} is not told: {problem}");
    }
}
