//! Filters that other people's SDKs made, unchanged, in the built proxy. What each must do was observed in Envoy 1.40;
//! docs/proxy-wasm.md lists where Sidegate differs and why.
//!
//! `cargo xtask foreign` builds the filters; tests of those that are not there are ignored.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "all of this binary is a test"
)]

mod assemblyscript;
mod faults;
mod probe;
mod rust;
mod setup;
