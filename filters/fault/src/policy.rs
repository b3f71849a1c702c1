//! Which faults a request gets: rules, percentages and headers, as plain Rust.

use std::num::NonZeroU64;
use std::time::Duration;

use sidegate_sdk::matching::{Matcher, RequestView};
use sidegate_sdk::{Random, Setup, Share};

use crate::compile;
use crate::config::FaultConfig;
use crate::headers::Wishes;

/// The compiled configuration.
#[derive(Debug)]
pub struct Policy {
    pub(crate) rules: Vec<Rule>,
    pub(crate) rate: Option<(NonZeroU64, Share)>,
    pub(crate) header_control: bool,
}

/// Faults for some requests.
#[derive(Debug)]
pub(crate) struct Rule {
    /// One of them has to match; none: all requests.
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) delay: Option<(Duration, Share)>,
    pub(crate) abort: Option<(Abort, Share)>,
}

/// How a request is answered in place of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abort {
    /// With this status.
    Http(u16),
    /// With this gRPC status.
    Grpc(u8),
}

/// What happens to one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Bytes per second in which the response's body leaves.
    pub rate: Option<NonZeroU64>,
    /// How long the request is held.
    pub delay: Option<Duration>,
    /// How it is answered then.
    pub abort: Option<Abort>,
}

impl Policy {
    /// Checks and compiles what is written.
    #[must_use]
    pub fn compile(written: &FaultConfig, setup: &mut Setup) -> Self {
        compile::policy(written, setup)
    }

    /// Draws the faults of a request. Every percentage is drawn for itself.
    pub fn draw(&self, request: &impl RequestView, chance: &Random) -> Faults {
        let is_meant =
            |rule: &&Rule| rule.matchers.is_empty() || rule.matchers.iter().any(|matcher| matcher.matches(request));
        let rule = self.rules.iter().find(is_meant);
        let (mut rate, mut delay, mut abort) =
            (self.rate, rule.and_then(|rule| rule.delay), rule.and_then(|rule| rule.abort));
        if self.header_control {
            let wishes = Wishes::of(request);
            rate = wishes.rate.over(rate);
            delay = wishes.delay.over(delay);
            abort = wishes.abort.over(abort);
        }
        Faults { rate: drawn(rate, chance), delay: drawn(delay, chance), abort: drawn(abort, chance) }
    }
}

fn drawn<T>(fault: Option<(T, Share)>, chance: &Random) -> Option<T> {
    fault.filter(|(_, share)| share.takes(chance)).map(|(fault, _)| fault)
}
