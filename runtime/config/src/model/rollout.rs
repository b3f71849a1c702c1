//! Rollouts: how a new version of a plugin gets its traffic.

use std::time::Duration;

use crate::{checks::positive, cursor::Cursor, read::section, units::Share};

section! {
    /// How a new version, or a new configuration, of a plugin takes over: in steps, watched, and back by itself when it
    /// does worse than the version before.
    pub struct Rollout {
        /// Shares of the traffic that the new version gets, one after the other; after the last one it gets all.
        pub steps: Vec<RolloutStep>,
        /// What decides which version a request gets. Default: chance.
        pub sticky_by: Option<StickyBy> = None,
        /// Requests that the new version must have served before a step may end. Default: 200.
        pub min_requests: u32 where positive = Rollout::MIN_REQUESTS,
        /// When the new version is worse.
        pub abort_on: AbortOn = AbortOn::default(),
    }
    then rising
}

impl Rollout {
    /// The default of `min_requests`, also of a rollout that a push asks for.
    pub const MIN_REQUESTS: u32 = 200;
}

section! {
    /// One step of a rollout.
    pub struct RolloutStep {
        /// Percent of the requests.
        pub weight: Share where part,
        /// How long the step lasts at least. Default: 60s.
        pub hold: Duration = RolloutStep::HOLD,
    }
}

impl RolloutStep {
    /// The default of `hold`, also of a rollout that a push asks for.
    pub const HOLD: Duration = Duration::from_secs(60);
}

section! {
    /// Requests that agree in this get the same version, as long as the share does not shrink.
    pub struct StickyBy {
        /// A request header. A request without it gets a version by chance.
        pub header: String where header_name,
    }
}

section! {
    /// How much worse than the version before, in percent, ends a rollout. A difference counts when 99.9 % of chance is
    /// excluded.
    pub struct AbortOn: Default {
        /// Requests in which the plugin faulted: difference in percent of requests. Default: 0.1.
        pub fault_rate: Share = Share(0.1),
        /// Requests that the plugin answered with a status of 500 or more: difference in percent of requests. Default: 1.
        pub local_reply_5xx_rate: Share as "localReply5xxRate" = Share(1.0),
        /// Time inside the plugin, hooks and pauses, of the slowest hundredth of requests: increase in percent of what it
        /// was, and at least 1 ms. Default: 20.
        pub p99_latency_increase: Share as "p99LatencyIncrease" = Share(20.0),
    }
}

fn part(weight: &Share) -> Result<(), String> {
    if weight.0 > 0.0 && weight.0 < 100.0 { Ok(()) } else { Err("must be more than 0 and less than 100".to_owned()) }
}

fn header_name(name: &str) -> Result<(), String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !name.is_empty() && name.bytes().all(token) { Ok(()) } else { Err("not a header name".to_owned()) }
}

fn rising(rollout: Rollout, at: &Cursor<'_>) -> Option<Rollout> {
    let weights: Vec<f64> = rollout.steps.iter().map(|step| step.weight.0).collect();
    if weights.is_empty() {
        at.error("a rollout needs a step", Some("leave rollout out to switch at once".to_owned()));
        return None;
    }
    if !weights.is_sorted_by(|a, b| a < b) {
        at.error("the weights of the steps must rise", None);
        return None;
    }
    Some(rollout)
}
