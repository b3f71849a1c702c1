//! Envoy's rate limit service (`envoy.service.ratelimit.v3`): what is asked, and what follows when nobody answers.

mod ruling;

use std::time::Duration;

use sidegate_sdk::metrics::Counter;
use sidegate_sdk::protobuf::Writer;
use sidegate_sdk::{Clusters, Result, Setup, grpc, parse_duration, warn};

pub(crate) use self::ruling::Ruling;
use crate::config::RateLimitService;
use crate::describe::Description;

const POINTER: &str = "/rateLimitService";
const SERVICE: &str = "envoy.service.ratelimit.v3.RateLimitService";
/// How long an answer may take, where nothing is written: Envoy's default.
const TIMEOUT: Duration = Duration::from_millis(20);

/// The compiled service.
pub(crate) struct Service {
    cluster: String,
    domain: String,
    timeout: Duration,
    denies_on_failure: bool,
    counters: Counters,
}

/// What came of asking.
pub(crate) enum Asked {
    Ruled(Ruling),
    /// No answer, and the request goes on.
    Passed,
    /// No answer, and the request is refused for it.
    Failed,
}

struct Counters {
    ok: Counter,
    over_limit: Counter,
    error: Counter,
    passed: Counter,
}

impl Service {
    /// Checks and compiles; problems are told to `setup`.
    ///
    /// # Errors
    /// If the host refuses the metrics.
    pub(crate) fn compile(written: &RateLimitService, setup: &mut Setup) -> Result<Self> {
        for (name, value) in [("cluster", &written.cluster), ("domain", &written.domain)] {
            if value.is_empty() {
                setup.error(format!("{POINTER}/{name}"), "this must not be empty");
            }
        }
        let is_known = |clusters: &Clusters| clusters.find(&written.cluster).is_some();
        if !written.cluster.is_empty() && !Clusters::of_host().as_ref().is_none_or(is_known) {
            let text = format!("there is no cluster `{}`; nobody will answer", written.cluster);
            setup.warning(format!("{POINTER}/cluster"), text);
        }
        let timeout = match written.timeout.as_deref().map_or(Ok(TIMEOUT), parse_duration) {
            Ok(timeout) if timeout >= Duration::from_millis(1) => timeout,
            other => {
                let problem = other.err().unwrap_or_else(|| "a timeout is at least 1ms".to_owned());
                setup.error(format!("{POINTER}/timeout"), problem);
                TIMEOUT
            }
        };
        Ok(Self {
            cluster: written.cluster.clone(),
            domain: written.domain.clone(),
            timeout,
            denies_on_failure: written.failure_mode_deny,
            counters: Counters::define(&written.cluster)?,
        })
    }

    /// The question about a request that is described so (a `RateLimitRequest`); `None` if nothing describes it.
    pub(crate) fn question<'d>(&self, descriptions: impl Iterator<Item = Description<'d>>) -> Option<Vec<u8>> {
        let mut descriptions = descriptions.peekable();
        descriptions.peek()?;
        let mut question = Writer::new();
        question.bytes(1, &self.domain);
        for description in descriptions {
            question.message(2, |descriptor| {
                for (key, value) in &description {
                    descriptor.entry(1, key, value);
                }
            });
        }
        Some(question.into_bytes())
    }

    /// Asks, and counts the answer.
    pub(crate) async fn ask(&self, question: Vec<u8>) -> Asked {
        let answer = grpc::call(&self.cluster, SERVICE, "ShouldRateLimit", &[], question, self.timeout).await;
        let ruling = answer.map_err(Into::into).and_then(|answer| Ruling::read(answer.message()));
        match ruling {
            Ok(ruling) => {
                let counter = if ruling.allowed { &self.counters.ok } else { &self.counters.over_limit };
                counter.add(1);
                Asked::Ruled(ruling)
            }
            Err(problem) => {
                warn!("the rate limit service gave no answer: {problem}");
                self.counters.error.add(1);
                if self.denies_on_failure {
                    return Asked::Failed;
                }
                self.counters.passed.add(1);
                Asked::Passed
            }
        }
    }
}

impl Counters {
    fn define(cluster: &str) -> Result<Self> {
        let labels = [("envoy_cluster_name", cluster)];
        let counter = |name: &str| Counter::define(&format!("envoy_cluster_ratelimit_{name}"), &labels);
        Ok(Self {
            ok: counter("ok")?,
            over_limit: counter("over_limit")?,
            error: counter("error")?,
            passed: counter("failure_mode_allowed")?,
        })
    }
}
