//! The proxy. Rooms in reading order:
//!
//! [`snapshot`] what workers run · [`worker`] what one thread holds · [`downstream`] clients · [`exchange`] the life of
//! a request · [`exchange::chain`] its filters · [`upstream`] services · `sidegate_wasm_host` the guests' world.
//! Then the side that changes things: [`control`], and those that look on: [`telemetry`], [`admin`]. [`app`] knows all.

pub mod admin;
pub mod app;
pub mod calendar;
pub mod cli;
pub mod control;
pub mod downstream;
pub mod exchange;
pub mod listen;
pub mod mailbox;
pub mod overload;
pub mod protobuf;
pub mod snapshot;
pub mod telemetry;
pub mod upstream;
pub mod worker;

/// The version that `--version` and `/server_info` print.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
