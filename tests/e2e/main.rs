//! The built proxy, attacked from all sides: clients, upstreams, guests, operators. One file per subject; each test
//! is named after what a user may rely on. All of them run the binary that [`sidegate_tests::sidegate::binary`] finds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "all of this binary is a test"
)]

mod admin;
mod auth;
mod authority;
mod bad_modules;
mod collector;
mod command;
mod config_push;
mod container;
mod durable;
mod ext_authz;
mod faults;
mod filter_trace;
mod foreign_functions;
mod frames;
mod grpc;
mod grpc_callouts;
mod grpc_service;
mod guarded;
mod guest;
mod h2_origin;
mod hard_pressed;
mod hop_by_hop;
mod hostile;
mod http2;
mod isolation;
mod large_bodies;
mod last_words;
mod limits;
mod messages;
mod mirrors;
mod operator;
mod pages;
mod paths;
mod pooling;
mod probe;
mod process;
mod properties;
mod push;
mod quotas;
mod rate_limit_service;
mod rate_limits;
mod recovery;
mod reload;
mod repeated;
mod retries;
mod revocation;
mod rollout;
mod route_policies;
mod routing;
mod setup;
mod signed;
#[path = "../signing.rs"]
mod signing;
mod slow_peers;
mod slow_registry;
mod smuggling;
mod sources;
mod sources_tls;
mod spellings;
mod swaps;
mod swaps_refused;
mod telemetry;
mod telemetry_spans;
mod upgrades;
mod upstream_faults;
mod versions;
