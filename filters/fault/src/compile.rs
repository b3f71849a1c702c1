//! From the written form to the compiled one: every problem with its place and the likely fix.

use std::num::NonZeroU64;
use std::time::Duration;

use sidegate_sdk::grpc::code;
use sidegate_sdk::matching::{HttpMatchRequest, Matcher};
use sidegate_sdk::{Setup, Share, parse_duration};

use crate::config::{self, FaultConfig, Percent};
use crate::percentage;
use crate::policy::{Abort, Policy, Rule};

/// The default of `limits.pause` of this plugin: a longer delay most likely ends with 504.
const USUAL_PAUSE: Duration = Duration::from_secs(600);

pub(crate) fn policy(written: &FaultConfig, setup: &mut Setup) -> Policy {
    if written.rules.is_empty() && written.response_rate_limit.is_none() && !written.header_control {
        setup.warning("", "nothing ever happens: there are no rules, no responseRateLimit and no headerControl");
    }
    let rules = written.rules.iter().enumerate();
    let rules = rules.map(|(number, written)| rule(written, &format!("/rules/{number}"), setup)).collect();
    let rate = written.response_rate_limit.as_ref().map(|limit| {
        let share = match &limit.percentage {
            Some(written) => percentage::compile(written, "/responseRateLimit/percentage", setup),
            None => Share::ALL,
        };
        let rate = NonZeroU64::new(limit.bytes_per_second).unwrap_or_else(|| {
            setup.error("/responseRateLimit/bytesPerSecond", "at this rate nothing ever leaves; the least is 1");
            NonZeroU64::MIN
        });
        (rate, share)
    });
    Policy { rules, rate, header_control: written.header_control }
}

fn rule(written: &config::Rule, pointer: &str, setup: &mut Setup) -> Rule {
    let matchers = matchers(&written.matches, pointer, setup);
    let (delay, abort) = (&written.fault.delay, &written.fault.abort);
    if delay.is_none() && abort.is_none() {
        setup.error(format!("{pointer}/fault"), "a fault is a delay, an abort or both");
    }
    Rule {
        matchers,
        delay: delay.as_ref().map(|written| self::delay(written, &format!("{pointer}/fault/delay"), setup)),
        abort: abort.as_ref().map(|written| self::abort(written, &format!("{pointer}/fault/abort"), setup)),
    }
}

fn matchers(written: &[HttpMatchRequest], pointer: &str, setup: &mut Setup) -> Vec<Matcher> {
    let mut compiled = Vec::with_capacity(written.len());
    for (number, entry) in written.iter().enumerate() {
        match entry.compile() {
            Ok(matcher) => compiled.push(matcher),
            Err(problem) => setup.error(format!("{pointer}/match/{number}{}", problem.pointer), problem.text),
        }
    }
    compiled
}

fn delay(written: &config::Delay, pointer: &str, setup: &mut Setup) -> (Duration, Share) {
    if written.exponential_delay.is_some() {
        setup.error(format!("{pointer}/exponentialDelay"), "not supported; write fixedDelay");
    }
    let time = match written.fixed_delay.as_deref().map(parse_duration) {
        Some(Ok(time)) if time < Duration::from_millis(1) => {
            setup.error(format!("{pointer}/fixedDelay"), "a delay is at least 1ms");
            time
        }
        Some(Ok(time)) => {
            if time > USUAL_PAUSE {
                let text = "longer than 10m, at which limits.pause of this plugin ends a request with 504 by default";
                setup.warning(format!("{pointer}/fixedDelay"), text);
            }
            time
        }
        Some(Err(problem)) => {
            setup.error(format!("{pointer}/fixedDelay"), problem);
            Duration::ZERO
        }
        None => {
            setup.error(pointer, "a delay needs fixedDelay, for example 5s");
            Duration::ZERO
        }
    };
    (time, share(written.percentage.as_ref(), pointer, setup))
}

fn abort(written: &config::Abort, pointer: &str, setup: &mut Setup) -> (Abort, Share) {
    if written.http2_error.is_some() {
        setup.error(format!("{pointer}/http2Error"), "not supported; write httpStatus or grpcStatus");
    }
    let abort = match (written.http_status, written.grpc_status.as_deref()) {
        (Some(status), None) => {
            if !(200..600).contains(&status) {
                setup.error(format!("{pointer}/httpStatus"), "a status is between 200 and 599");
            }
            Abort::Http(status)
        }
        (None, Some(name)) => Abort::Grpc(code::of(name).unwrap_or_else(|| {
            let names: Vec<&str> = code::names().collect();
            setup.error(
                format!("{pointer}/grpcStatus"),
                format!("`{name}` is no gRPC status; write one of {}", names.join(", ")),
            );
            0
        })),
        (Some(_), Some(_)) => {
            setup.error(format!("{pointer}/grpcStatus"), "httpStatus and grpcStatus exclude each other");
            Abort::Grpc(0)
        }
        (None, None) => {
            setup.error(pointer, "an abort needs one of httpStatus and grpcStatus");
            Abort::Http(0)
        }
    };
    (abort, share(written.percentage.as_ref(), pointer, setup))
}

/// As in Istio, a percentage that is not written is none.
fn share(written: Option<&Percent>, pointer: &str, setup: &mut Setup) -> Share {
    match written {
        Some(written) => percentage::compile(written, &format!("{pointer}/percentage"), setup),
        None => {
            setup.warning(pointer, "without a percentage no request gets it; write percentage: {value: 100} for all");
            Share::NONE
        }
    }
}
