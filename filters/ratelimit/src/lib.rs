//! `builtin:ratelimit`: Envoy's local rate limit, with one bucket for all workers and quotas for whatever tells clients
//! apart.
//!
//! [`config`] is the written form, `compile` checks it, [`describe`] makes descriptions of a request, [`policy`] decides
//! which buckets are asked and what follows, as plain Rust, [`bucket`] is the arithmetic, `buckets` finds the place
//! where buckets live, `service` asks a service outside, and this file answers.
//!
//! Envoy's `filterEnabled` and `filterEnforced` are all requests here where they are not written.
#![forbid(unsafe_code)]

mod answer;
pub mod bucket;
mod buckets;
mod compile;
pub mod config;
pub mod describe;
pub mod key;
pub mod policy;
mod service;
mod shared_buckets;

use std::borrow::Cow;

use sidegate_sdk::metrics::Counter;
use sidegate_sdk::{
    Filter, Next, Random, Request, RequestHead, Response, Result, Setup, debug, filter, properties, warn,
};

use crate::answer::{Answer, Told, add, check_headers};
use crate::config::{AppendAction, HeaderValueOption, RateLimitConfig};
use crate::describe::Facts;
use crate::policy::{Policy, Verdict};
use crate::service::{Asked, Service};

/// Envoy's usual name for the statistics of this filter.
const STAT_PREFIX: &str = "http_local_rate_limiter";

/// Bytes of a `statPrefix`: it is part of every key, and hosts bound those.
const STAT_PREFIX_BYTES: usize = 128;

/// The filter: limits, answers, numbers, and a source of chance for limits of a part of the requests.
pub struct RateLimit {
    policy: Policy,
    service: Option<Service>,
    answer: Answer,
    marks: Vec<HeaderValueOption>,
    /// In millionths.
    enabled: u32,
    /// In millionths.
    enforced: u32,
    counters: Counters,
    chance: Random,
}

/// What is known of a request before the service is asked.
struct Judged {
    verdict: Verdict,
    /// For the service, if there is one and the request is described.
    question: Option<Vec<u8>>,
}

struct Counters {
    enabled: Counter,
    ok: Counter,
    limited: Counter,
    enforced: Counter,
    unanswered: Counter,
}

#[filter(grpc)]
impl Filter for RateLimit {
    type Config = RateLimitConfig;

    fn configure(mut config: RateLimitConfig, setup: &mut Setup) -> Result<Self> {
        let prefix = config.stat_prefix.take().unwrap_or_else(|| STAT_PREFIX.to_owned());
        if prefix.len() > STAT_PREFIX_BYTES {
            setup.error("/statPrefix", format!("this is longer than {STAT_PREFIX_BYTES} bytes"));
        }
        let marks = std::mem::take(&mut config.request_headers_to_add_when_not_enforced);
        check_headers(&marks, "/requestHeadersToAddWhenNotEnforced", setup);
        let service = config.rate_limit_service.as_ref().map(|written| Service::compile(written, setup)).transpose()?;
        Ok(Self {
            policy: compile::policy(&config, &prefix, setup),
            service,
            answer: Answer::compile(&mut config, setup),
            marks,
            enabled: compile::share(config.filter_enabled.as_ref(), "/filterEnabled", setup),
            enforced: compile::share(config.filter_enforced.as_ref(), "/filterEnforced", setup),
            counters: Counters::define(&prefix)?,
            chance: Random::new(),
        })
    }

    async fn handle(&self, mut req: Request, next: Next) -> Result<Response> {
        let Some(judged) = req.inspect(|head| self.judge(head))? else { return Ok(next.forward(req)) };
        let mut told = judged.verdict.told.filter(|_| self.answer.tells()).map(Told::of_bucket);
        if !judged.verdict.allowed {
            if self.is_enforced() {
                return self.answer.refuse(told.as_ref());
            }
            mark(&self.marks, &mut req)?;
        }
        let mut added = Vec::new();
        if let (Some(service), Some(question)) = (&self.service, judged.question) {
            match service.ask(question).await {
                Asked::Ruled(ruling) => {
                    if !ruling.allowed {
                        if self.is_enforced() {
                            return self.answer.refuse_by_service(ruling);
                        }
                        if judged.verdict.allowed {
                            mark(&self.marks, &mut req)?;
                        }
                    }
                    add(&ruling.request_headers, &mut req.headers_mut())?;
                    added = ruling.response_headers;
                    told = ruling.told.or(told);
                }
                Asked::Passed => {}
                Asked::Failed => {
                    flag("RLSE");
                    return Ok(Answer::fail());
                }
            }
        }
        if added.is_empty() && !(told.is_some() && self.answer.tells()) {
            return Ok(next.forward(req));
        }
        let mut response = next.run(req).await?;
        self.answer.tell(told.as_ref(), &mut response.headers_mut())?;
        add(&added, &mut response.headers_mut())?;
        Ok(response)
    }
}

impl RateLimit {
    /// Whether a request that is over a limit is refused; then it is counted and flagged.
    fn is_enforced(&self) -> bool {
        let is_enforced = self.chance.happens(self.enforced);
        if is_enforced {
            self.counters.enforced.add(1);
            flag("RL");
        }
        is_enforced
    }

    /// `None`: this request is not limited.
    fn judge(&self, head: &RequestHead<'_>) -> Option<Judged> {
        if !self.policy.is_meant(head) || !self.chance.happens(self.enabled) {
            return None;
        }
        self.counters.enabled.add(1);
        let verdict = self.policy.judge(head, |key, terms| match buckets::take(key, terms) {
            Ok(taken) => Some(taken),
            Err(problem) => {
                warn!("a request passes because its bucket does not answer: {problem}");
                self.counters.unanswered.add(1);
                None
            }
        });
        let counter = if verdict.allowed { &self.counters.ok } else { &self.counters.limited };
        counter.add(1);
        let question = self.service.as_ref().and_then(|service| service.question(self.policy.descriptions(head)));
        Some(Judged { verdict, question })
    }
}

impl Counters {
    fn define(prefix: &str) -> Result<Self> {
        let labels = [("envoy_local_http_ratelimit_prefix", prefix)];
        let counter = |name: &str| Counter::define(&format!("envoy_http_local_rate_limit_{name}"), &labels);
        Ok(Self {
            enabled: counter("enabled")?,
            ok: counter("ok")?,
            limited: counter("rate_limited")?,
            enforced: counter("enforced")?,
            unanswered: counter("unanswered")?,
        })
    }
}

/// Says why the answer is what it is.
fn flag(code: &str) {
    if let Err(problem) = properties::set("sidegate.response_flag", code) {
        debug!("no response flag: {problem}");
    }
}

/// Tells the service behind that the request is over its limit.
fn mark(marks: &[HeaderValueOption], req: &mut Request) -> Result<()> {
    for option in marks {
        let (name, value) = (&option.header.key, &option.header.value);
        match option.append_action {
            AppendAction::AddIfAbsent if req.headers().has(name) => {}
            AppendAction::Append => req.headers_mut().append(name, value)?,
            AppendAction::AddIfAbsent | AppendAction::Overwrite => req.headers_mut().set(name, value)?,
        }
    }
    Ok(())
}

impl Facts for RequestHead<'_> {
    fn remote_address(&self) -> Option<Cow<'_, str>> {
        self.property(["source", "address"])
    }
}
