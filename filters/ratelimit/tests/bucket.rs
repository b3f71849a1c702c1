//! A bucket at any sequence of times: never more than it held and got, and nothing that it had is withheld.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may fail it")]

use ratelimit::bucket::{Level, Terms};
use sidegate_sdk::Random;

#[test]
fn no_window_lets_more_pass_than_a_bucket_and_its_fills() {
    for seed in 1..=300 {
        let random = Random::seeded(seed);
        let below = |bound: u32| u64::from(random.below(bound));
        let terms =
            Terms { max_tokens: 1 + below(20), tokens_per_fill: 1 + below(30), fill_interval: 50 + below(1000) };
        let mut now = below(1_000_000);
        let mut level = Level::full(&terms, now);
        let mut passed: Vec<u64> = Vec::new();
        for _ in 0..400 {
            now += if random.happens(300_000) { below(3000) } else { below(20) };
            let taken = level.take(&terms, now);
            assert!(taken.remaining <= terms.max_tokens);
            assert!(taken.allowed || taken.remaining == 0, "a token was withheld");
            assert!(taken.next_fill.as_millis() <= u128::from(terms.fill_interval));
            if taken.allowed {
                passed.push(now);
            }
        }
        for (first, from) in passed.iter().enumerate() {
            for (last, to) in passed.iter().enumerate().skip(first) {
                let fills = (to - from) / terms.fill_interval + 1;
                let most = terms.max_tokens + fills * terms.tokens_per_fill;
                assert!((last - first) as u64 <= most, "seed {seed}: {} in {} ms", last - first, to - from);
            }
        }
        let all = terms.max_tokens + (now - passed.first().unwrap()) / terms.fill_interval * terms.tokens_per_fill;
        assert!(passed.len() as u64 <= all, "seed {seed}: {} of {all}", passed.len());
    }
}

#[test]
fn a_fill_is_not_late_and_not_early() {
    let terms = Terms { max_tokens: 3, tokens_per_fill: 2, fill_interval: 100 };
    let mut level = Level::full(&terms, 1000);
    for (now, allowed, remaining, next_fill) in [
        (1030, true, 2, 100),
        (1050, true, 1, 80),
        (1060, true, 0, 70),
        (1129, false, 0, 1),
        (1130, true, 1, 100),
        (1120, true, 0, 100),
        (9000, true, 2, 100),
    ] {
        let taken = level.take(&terms, now);
        let wait = taken.next_fill.as_millis();
        assert_eq!((taken.allowed, taken.remaining, wait), (allowed, remaining, next_fill), "at {now}");
    }
}
