//! What hostile bytes may not do: crash the host, or get past a bound.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the lints know test functions but not what those share"
)]

#[allow(dead_code, reason = "the conformance tests use all of it")]
#[path = "../conformance/guest.rs"]
mod guest;
#[allow(dead_code, reason = "the conformance tests use all of it")]
#[path = "../conformance/probe.rs"]
mod probe;

mod modules;
mod pairs;
mod sequences;

use sidegate_tests::fuzz::fuzz;
