//! Sending a request, and sending it again: what may be repeated, how often, and for how long in all.

use std::pin::pin;
use std::time::{Duration, Instant};

use http::Method;

use super::Exchange;
use super::bodies::RequestBody;
use super::reply::Failure;
use crate::snapshot::cluster::Permit;
use crate::telemetry::flags::Flags;
use crate::upstream::{self, Answer, Target, Trace, within};

/// A body that can be sent again.
enum Replay {
    Empty,
    Full(bytes::Bytes),
}

/// Another try.
enum Retry {
    /// A kept connection had ended as the request went out: no retry in the sense of the policy.
    AtOnce,
    /// Counts against the cluster's retries until its answer is there.
    ByPolicy { pause: Duration, _permit: Permit },
}

impl Replay {
    fn of(body: &RequestBody) -> Option<Self> {
        match body {
            RequestBody::Empty => Some(Self::Empty),
            RequestBody::Full(Some(bytes)) => Some(Self::Full(bytes.clone())),
            RequestBody::Full(None)
            | RequestBody::Messages(_)
            | RequestBody::Direct { .. }
            | RequestBody::Pumped { .. }
            | RequestBody::Copied(_) => None,
        }
    }

    fn body(&self) -> RequestBody {
        match self {
            Self::Empty => RequestBody::Empty,
            Self::Full(bytes) => RequestBody::Full(Some(bytes.clone())),
        }
    }
}

impl Exchange {
    /// Sends the request within the route's timeout, as often as its retry policy says.
    pub(super) async fn send(
        &self,
        body: RequestBody,
        target: &Target,
        upgrade: bool,
        trailers: bool,
    ) -> Result<Answer, Failure> {
        let connected = |trace: &Trace<'_>| self.known(trace);
        let mut trace = Trace::default();
        // Filters that see the body as it goes up may ask where.
        if let RequestBody::Pumped { .. } = &body {
            trace.connected = Some(&connected);
        }
        let begun = Instant::now();
        let mut answer = {
            let tries = pin!(self.tries(body, target, (upgrade, trailers), &mut trace));
            within(target.timeout, Failure::RouteTimeout, tries).await
        };
        if let Ok(answer) = &mut answer {
            // The route's time is that of the whole response. What filters waited for before is not part of it.
            answer.in_flight.deadline = target.timeout.map(|limit| begun + limit);
        }
        self.known(&trace);
        self.worker.with_env(|env| {
            if let Some(view) = env.view(self.key) {
                view.facts.upstream_time = Some(self.started.elapsed());
                if trace.exhausted {
                    view.facts.flags.insert(Flags::RETRY_LIMIT);
                }
            }
        });
        answer
    }

    /// Shows where the request goes.
    fn known(&self, trace: &Trace<'_>) {
        self.worker.with_env(|env| {
            if let Some(view) = env.view(self.key) {
                view.facts.attempts = trace.attempts;
                view.facts.upstream = trace.endpoint.clone();
                view.facts.upstream_local = trace.local.clone();
                view.facts.pool_ready = trace.pool_ready.map(|at| at.duration_since(self.started));
            }
        });
    }

    async fn tries(
        &self,
        body: RequestBody,
        target: &Target,
        (upgrade, trailers): (bool, bool),
        trace: &mut Trace<'_>,
    ) -> Result<Answer, Failure> {
        let replay = Replay::of(&body);
        let mut request = Some(self.outgoing(body, target, upgrade, trailers)?);
        let method = request.as_ref().map(|request| request.method().clone()).unwrap_or_default();
        let mut answer = upstream::send(&self.worker, &mut request, target, trace).await;
        self.attempt_over(&answer, trace);
        let Some(replay) = replay else { return answer };
        let mut crossed = true;
        while let Some(retry) = self.another(&answer, target, &method, trace, &mut crossed) {
            // The response that was not good enough is dropped before the next try takes its place.
            drop(answer);
            if let Retry::ByPolicy { pause, .. } = &retry {
                Box::pin(tokio::time::sleep(*pause)).await;
            }
            request = Some(self.outgoing(replay.body(), target, upgrade, trailers)?);
            answer = Box::pin(upstream::send(&self.worker, &mut request, target, trace)).await;
            self.attempt_over(&answer, trace);
            drop(retry);
        }
        answer
    }

    /// Tells the span of this exchange, if it has one.
    fn attempt_over(&self, answer: &Result<Answer, Failure>, trace: &Trace<'_>) {
        self.worker.with_env(|env| {
            if let Some(span) = env.view(self.key).and_then(|view| view.span.as_mut()) {
                span.attempt_over(answer, trace);
            }
        });
    }

    /// Whether to try again, and how.
    fn another(
        &self,
        answer: &Result<Answer, Failure>,
        target: &Target,
        method: &Method,
        trace: &mut Trace<'_>,
        crossed: &mut bool,
    ) -> Option<Retry> {
        let policy = &target.retries;
        let wanted = match answer {
            Ok(answer) => policy.wants_response(answer.response.status(), answer.response.headers(), method),
            // A kept connection ended just as a harmless request went out on it: the upstream had decided to close
            // before it saw the request. Once, on a fresh connection, and no retry in the sense of the policy.
            Err(Failure::UpstreamTerminated | Failure::UpstreamReset)
                if trace.reused && method.is_idempotent() && std::mem::take(crossed) =>
            {
                return Some(Retry::AtOnce);
            }
            Err(failure) => policy.wants_failure(*failure, method),
        };
        if !wanted {
            return None;
        }
        if trace.attempts > policy.attempts {
            trace.exhausted = policy.attempts > 0;
            return None;
        }
        let limit = target.cluster.limits.max_retries;
        let permit = Permit::take(&target.cluster, |load| &load.retries, limit)?;
        if policy.skips_tried {
            trace.failed.extend(trace.endpoint.as_ref().map(|endpoint| endpoint.id));
        }
        let pause = self.worker.with_env(|env| policy.pause(trace.attempts, |bound| env.rng().below(bound)));
        Some(Retry::ByPolicy { pause, _permit: permit })
    }
}
