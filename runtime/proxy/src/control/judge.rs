//! Whether the new version of a plugin does worse than the one before: counts in, a verdict out.
//!
//! A difference counts when chance is excluded with 99.9 %. The bounds of both sides are taken apart and then compared,
//! which errs on the side of the new version: the judge looks many times at one rollout, and a version like the old one
//! must pass every time.

use std::time::Duration;

use sidegate_config::AbortOn;

use crate::snapshot::rollout::{Counts, Tally};

/// How likely it may be that chance alone made a difference.
const DOUBT: f64 = 0.001;
/// The quantile of the normal distribution that leaves so much.
const Z: f64 = 3.09;
/// Above so many, sums of single cases are not worth their time.
const MANY: u64 = 200;
/// A smaller increase of latency is nobody's reason to go back.
const LATENCY_MIN: Duration = Duration::from_millis(1);

/// Why the new version must go; `None`: nothing speaks against it so far.
pub fn worse(tally: &Tally, abort_on: &AbortOn) -> Option<String> {
    let Tally { old, new } = tally;
    rate("faults", new.faults(), old.faults(), tally, abort_on.fault_rate.0)
        .or_else(|| {
            let (new, old) = (new.server_errors(), old.server_errors());
            rate("replies of 500 or more", new, old, tally, abort_on.local_reply_5xx_rate.0)
        })
        .or_else(|| latency(new, old, abort_on.p99_latency_increase.0))
}

fn rate(what: &str, new: u64, old: u64, tally: &Tally, threshold: f64) -> Option<String> {
    let (of_new, of_old) = (tally.new.requests(), tally.old.requests());
    let lower = 100.0 * difference((new, of_new), (old, of_old));
    (lower > threshold).then(|| {
        format!("{what}: {new} of {of_new} requests, before {old} of {of_old}: at least {lower:.2} % more, {threshold} % allowed")
    })
}

/// The lower bound of the difference of two shares: Newcombe's method over exact intervals.
fn difference(new: (u64, u64), old: (u64, u64)) -> f64 {
    let (new_low, old_high) = (at_least(new), at_most(old));
    let (new, old) = (share(new), share(old));
    new - old - ((new - new_low).powi(2) + (old_high - old).powi(2)).sqrt()
}

fn share((count, of): (u64, u64)) -> f64 {
    if of == 0 { 0.0 } else { count as f64 / of as f64 }
}

/// The share that is exceeded with 99.9 % certainty (Clopper and Pearson): under a smaller one so many, or more, would
/// be seen once in a thousand times.
fn at_least((count, of): (u64, u64)) -> f64 {
    if count == 0 {
        return 0.0;
    }
    bisect(|share| fewer_than(count, of, share) > 1.0 - DOUBT)
}

/// The share that is not reached with 99.9 % certainty.
fn at_most((count, of): (u64, u64)) -> f64 {
    if count >= of {
        return 1.0;
    }
    bisect(|share| fewer_than(count + 1, of, share) > DOUBT)
}

/// The largest share from 0 to 1 for which it holds, where it holds for all smaller ones.
fn bisect(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..40 {
        let middle = (low + high) / 2.0;
        if holds(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// How likely it is to see fewer than `count` among `of` when each has this share.
fn fewer_than(count: u64, of: u64, share: f64) -> f64 {
    let (n, p) = (of as f64, share);
    if count > MANY {
        // The normal distribution is as good as the binomial by then.
        let deviation = (n * p * (1.0 - p)).sqrt().max(f64::MIN_POSITIVE);
        return normal((count as f64 - 0.5 - n * p) / deviation);
    }
    let (mut term, mut sum) = ((n * (1.0 - p).ln()).exp(), 0.0);
    for k in 0..count {
        sum += term;
        let k = k as f64;
        term *= (n - k) / (k + 1.0) * p / (1.0 - p);
    }
    sum.min(1.0)
}

/// The normal distribution (Abramowitz and Stegun 26.2.17, to seven digits).
fn normal(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let series = [1.330_274_429, -1.821_255_978, 1.781_477_937, -0.356_563_782, 0.319_381_530];
    let tail = series.iter().fold(0.0, |sum, factor| (sum + factor) * t);
    let tail = tail * (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if x > 0.0 { 1.0 - tail } else { tail }
}

fn latency(new: &Counts, old: &Counts, threshold: f64) -> Option<String> {
    // Of the new version what it takes at least, of the old one what it takes at most.
    let (new_low, _) = new.time_at(rank(new.requests(), -Z)?)?;
    let (_, old_high) = old.time_at(rank(old.requests(), Z)?)?;
    let allowed = old_high.mul_f64(1.0 + threshold / 100.0).max(old_high + LATENCY_MIN);
    (new_low > allowed).then(|| {
        format!(
            "99th percentile of the time inside: at least {:.1} ms, before at most {:.1} ms, {threshold} % more allowed",
            new_low.as_secs_f64() * 1e3,
            old_high.as_secs_f64() * 1e3
        )
    })
}

/// The rank that the 99th percentile of so many requests does not fall below (or above) by chance; `None`: they are
/// too few to say.
fn rank(requests: u64, z: f64) -> Option<u64> {
    let n = requests as f64;
    let rank = n * 0.99 + z * (n * 0.99 * 0.01).sqrt();
    (rank >= 0.0 && rank < n).then_some(rank as u64)
}

#[cfg(test)]
mod tests {
    use sidegate_config::AbortOn;

    use super::*;
    use crate::snapshot::rollout::Conduct;

    fn tally() -> Tally {
        Tally::default()
    }

    fn serve(counts: &Counts, requests: u64, conduct: impl Fn(u64) -> Conduct) {
        (0..requests).for_each(|request| counts.note(conduct(request)));
    }

    fn millis(millis: u64) -> Conduct {
        Conduct { inside: Duration::from_millis(millis), ..Conduct::default() }
    }

    #[test]
    fn one_fault_in_fifty_shows_within_the_first_two_hundred() {
        let tally = tally();
        serve(&tally.old, 3800, |_| Conduct::default());
        serve(&tally.new, 200, |request| Conduct { faulted: request % 50 == 0, ..Conduct::default() });
        assert!(worse(&tally, &AbortOn::default()).unwrap().starts_with("faults: 4 of 200 requests"));
    }

    #[test]
    fn five_milliseconds_more_show_within_the_first_two_hundred() {
        let tally = tally();
        serve(&tally.old, 3800, |_| millis(0));
        serve(&tally.new, 200, |_| millis(5));
        assert!(worse(&tally, &AbortOn::default()).unwrap().starts_with("99th percentile"));
    }

    #[test]
    fn errors_that_the_plugin_always_made_are_not_the_new_version() {
        let tally = tally();
        let failing = |request| Conduct { server_error: request % 5 == 0, ..Conduct::default() };
        serve(&tally.old, 3800, failing);
        serve(&tally.new, 200, failing);
        assert_eq!(worse(&tally, &AbortOn::default()), None);
        serve(&tally.new, 100, |_| Conduct { server_error: true, ..Conduct::default() });
        assert!(worse(&tally, &AbortOn::default()).unwrap().starts_with("replies of 500"));
    }

    #[test]
    fn a_little_slower_is_allowed() {
        let tally = tally();
        serve(&tally.old, 10_000, |_| Conduct { inside: Duration::from_micros(100), ..Conduct::default() });
        serve(&tally.new, 10_000, |_| Conduct { inside: Duration::from_micros(900), ..Conduct::default() });
        assert_eq!(worse(&tally, &AbortOn::default()), None, "less than a millisecond");
    }

    #[test]
    fn the_same_version_passes_however_often_one_looks() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut draw = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..200 {
            let tally = tally();
            for look in 0..100 {
                for _ in 0..20 {
                    for (counts, many) in [(&tally.old, 19), (&tally.new, 1)] {
                        for _ in 0..many {
                            let slow = draw() % 100 < 2;
                            let inside =
                                Duration::from_micros(50 + draw() % 200 + if slow { draw() % 20_000 } else { 0 });
                            let (faulted, server_error) = (draw() % 5000 == 0, draw() % 100 == 0);
                            counts.note(Conduct { faulted, server_error, inside });
                        }
                    }
                }
                assert_eq!(worse(&tally, &AbortOn::default()), None, "look {look}");
            }
        }
    }

    #[test]
    fn exact_bounds() {
        let near = |value: f64, wanted: f64| assert!((value - wanted).abs() < wanted * 0.02, "{value}, not {wanted}");
        near(at_most((0, 3800)), 1.0 - 0.001_f64.powf(1.0 / 3800.0));
        near(at_least((1, 100)), 1.0 - 0.999_f64.powf(0.01));
        // Where the sums end and the normal distribution begins, nothing jumps.
        near(fewer_than(MANY, 10_000, 0.018), fewer_than(MANY + 1, 10_000, 0.0181));
        near(at_least((1_000, 10_000)), 0.0910);
    }

    #[test]
    fn nothing_served_says_nothing() {
        assert_eq!(worse(&tally(), &AbortOn::default()), None);
        let tally = tally();
        serve(&tally.new, 5, |_| Conduct { faulted: true, ..Conduct::default() });
        assert_eq!(
            worse(&tally, &AbortOn::default()),
            None,
            "without the old version there is nothing to compare with"
        );
    }
}
