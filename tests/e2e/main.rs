//! The built proxy, attacked from all sides: clients, upstreams, guests, operators. One file per subject; each test
//! is named after what a user may rely on. All of them run the binary that [`sidegate_tests::sidegate::binary`] finds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "all of this binary is a test"
)]

mod authority;
mod frames;
mod hop_by_hop;
mod limits;
mod paths;
mod setup;
mod smuggling;
