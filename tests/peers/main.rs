//! Sidegate beside programs of other people. The same filters under the same requests in Envoy 1.40 and in Sidegate:
//! what differs must stand in `explained.txt` with its reason, and in docs/proxy-wasm.md. Then Prometheus, and the
//! services that filters ask, by gRPC's own library.
//!
//! Run by `cargo xtask test --peers`, which installs them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "all of this binary is a test"
)]

mod case;
mod cases;
mod explained;
mod installed;
mod manifests;
mod metrics;
mod observe;
mod prometheus;
mod proxies;
mod services;
mod standard;

use std::collections::{BTreeMap, BTreeSet};
use std::env;

use case::Case;
use explained::Explained;
use observe::{Facts, add_log, logs, observe};
use proxies::{Envoy, Ours};

#[test]
fn filters_behave_as_in_envoy_or_differ_for_a_known_reason() {
    // For the one who writes a case: only cases whose names contain this.
    let wanted = env::var("SIDEGATE_PEERS_CASE").unwrap_or_default();
    let cases: Vec<Case> = cases::all().into_iter().filter(|case| case.name.contains(&wanted)).collect();
    let (mut envoy, ours) = (Envoy::start(&cases), Ours::start(&cases));
    let mut facts = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        facts.push((observe(&envoy, index, case), observe(&ours, index, case)));
        if let Some(end) = envoy.end() {
            drop(ours);
            panic!("Envoy ended in {:?} with {end}", case.name);
        }
    }
    let (envoy_logs, our_logs) = (logs(&envoy), logs(&ours));
    let pages = differences(&metrics::shown(&envoy), &metrics::shown(&ours));
    // Their own words are of no use below, and printed when a test fails.
    drop((envoy, ours));
    let mut verdicts = Verdicts::new();
    for (index, (case, (mut envoy, mut ours))) in cases.iter().zip(facts).enumerate() {
        let id = Case::id(index);
        add_log(&mut envoy, envoy_logs.get(&id).unwrap_or(&BTreeSet::new()), case);
        add_log(&mut ours, our_logs.get(&id).unwrap_or(&BTreeSet::new()), case);
        verdicts.judge(&case.name, &differences(&envoy, &ours));
    }
    verdicts.judge("metrics of all cases", &pages);
    verdicts.demand(wanted.is_empty());
}

/// What came of the cases.
struct Verdicts {
    explained: Vec<Explained>,
    lines: Vec<String>,
    /// Cases that are the same, differ for a reason, differ for none.
    totals: [usize; 3],
    /// Differences without a reason, and the cases that show them.
    unexplained: BTreeMap<String, Vec<String>>,
    used: BTreeSet<usize>,
}

impl Verdicts {
    fn new() -> Self {
        let explained = Explained::all();
        Self { explained, lines: vec![], totals: [0; 3], unexplained: BTreeMap::new(), used: BTreeSet::new() }
    }

    fn judge(&mut self, case: &str, differences: &[String]) {
        let mut keys: BTreeSet<&str> = BTreeSet::new();
        let mut is_explained = true;
        for difference in differences {
            match self.explained.iter().position(|explained| explained.fits(case, difference)) {
                Some(at) => {
                    self.used.insert(at);
                    keys.insert(&self.explained[at].key);
                }
                None => {
                    is_explained = false;
                    self.unexplained.entry(difference.clone()).or_default().push(case.to_owned());
                }
            }
        }
        let (verdict, total) = match (differences.is_empty(), is_explained) {
            (true, _) => ("same", 0),
            (false, true) => ("differs", 1),
            (false, false) => ("UNEXPLAINED", 2),
        };
        self.totals[total] += 1;
        let keys: Vec<&str> = keys.into_iter().collect();
        self.lines.push(format!("{verdict:<11}  {case:<70}  {}", keys.join("; ")));
    }

    fn demand(&self, all_cases: bool) {
        let [same, explained, failed] = self.totals;
        println!("{}", self.lines.join("\n"));
        println!("{same} cases are the same, {explained} differ for a known reason, {failed} for no known one");
        let unexplained: Vec<String> = self
            .unexplained
            .iter()
            .map(|(difference, cases)| format!("{difference}\n      in {} cases: {}", cases.len(), cases[0]))
            .collect();
        assert!(unexplained.is_empty(), "Envoy / Sidegate, for no known reason\n  {}", unexplained.join("\n  "));
        let unused = self.explained.iter().enumerate().filter(|(at, _)| all_cases && !self.used.contains(at));
        let unused: Vec<&str> = unused.map(|(_, explained)| explained.fact.as_str()).collect();
        assert!(unused.is_empty(), "nothing differs any more that these would explain: {unused:?}");
    }
}

/// `place: what Envoy shows / what Sidegate shows`, for everything that is not equal.
fn differences(envoy: &Facts, ours: &Facts) -> Vec<String> {
    let places: BTreeSet<&String> = envoy.keys().chain(ours.keys()).collect();
    let show = |facts: &Facts, place: &String| facts.get(place).cloned().unwrap_or_else(|| "nothing".to_owned());
    places
        .into_iter()
        .filter(|place| envoy.get(*place) != ours.get(*place))
        .map(|place| format!("{place}: {} / {}", show(envoy, place), show(ours, place)))
        .collect()
}

#[test]
fn every_known_difference_stands_in_the_documentation() {
    let page = include_str!("../../docs/proxy-wasm.md");
    let missing: Vec<String> =
        Explained::all().into_iter().map(|explained| explained.key).filter(|key| !page.contains(key)).collect();
    assert!(missing.is_empty(), "docs/proxy-wasm.md does not say {missing:?}");
}
