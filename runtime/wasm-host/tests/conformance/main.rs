//! The ABI as Envoy 1.40 behaves, one file per hook and per group of hostcalls. Guests are a few lines of text each
//! (`guest.rs`); the proxy side is a fake.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the lints know test functions but not what those share"
)]

mod guest;

mod abi_0_1_0;
mod allocator;
mod buffers;
mod callouts;
mod capabilities;
mod deadline;
mod effective_context;
mod end_of_stream;
mod events;
mod faults;
mod foreign;
mod grpc;
mod grpc_hooks;
mod loading;
mod local_response;
mod log_and_time;
mod maps;
mod matrix;
mod message_hooks;
mod metrics;
mod pointers;
mod probe;
mod properties;
mod queues;
mod root_hooks;
mod shared_data;
mod skipping;
mod start;
mod stream_control;
mod wasi;
