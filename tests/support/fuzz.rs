//! Hostile input for as long as one likes. A target runs for a moment and the same way every time; with
//! `SIDEGATE_FUZZ_SECONDS` (`cargo xtask fuzz NAME --seconds N`) as long as that and at random.

#![expect(clippy::panic, reason = "a case that fails ends the test")]

use std::env;
use std::time::{Duration, Instant};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

/// How long a target runs when nobody says how long.
const MOMENT: Duration = Duration::from_secs(1);
/// Cases between two looks at the clock.
const ROUND: u32 = 32;

/// Runs the check on what the strategy makes until time is over; the first failure is made small and ends the test.
///
/// # Panics
/// When a check panics.
pub fn fuzz<S: Strategy>(strategy: &S, check: impl Fn(S::Value)) {
    let seconds = env::var("SIDEGATE_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let config = Config { cases: ROUND, failure_persistence: None, ..Config::default() };
    let mut source = match seconds {
        Some(_) => TestRunner::new(config.clone()),
        None => TestRunner::new_with_rng(config.clone(), TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
    };
    let end = Instant::now() + seconds.map_or(MOMENT, Duration::from_secs);
    let mut rounds = 0;
    while Instant::now() < end {
        // A runner counts its cases, and is done when it has had them.
        let mut runner = TestRunner::new_with_rng(config.clone(), source.new_rng());
        let outcome = runner.run(strategy, |value| {
            check(value);
            Ok::<(), TestCaseError>(())
        });
        outcome.unwrap_or_else(|failure| panic!("{failure}"));
        rounds += 1;
    }
    println!("{} cases", rounds * ROUND);
}
