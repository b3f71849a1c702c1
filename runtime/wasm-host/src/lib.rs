//! The guest's world: a Proxy-Wasm host (ABI 0.1.0, 0.2.0 and 0.2.1) on wasmtime.
//!
//! This crate knows the ABI and nothing else: no sockets, no HTTP library, no clock of its own. All that a guest may
//! ask for passes two small traits, [`Host`] (one per worker) and [`Stream`] (one per exchange). Nothing in them
//! waits: a hostcall reads, or records an intent that the proxy carries out after the hook has returned, so a guest
//! is never re-entered.
//!
//! Reading order: [`host`] (the door), [`abi`] (the numbers), [`module`] (bytes to checked code), `native`
//! (where native code enters), [`vm`] (one store
//! and instance), [`hooks`] (calls into the guest), [`context`] (whose turn it is), `hostcalls` (calls from the
//! guest), [`event`] (what passed the door), `memory` and [`pairs`] (its memory), [`limits`] (every bound), [`shared`] (what VMs share).

pub mod abi;
mod backtrace;
mod bodies;
mod calls;
pub mod context;
pub mod engine;
pub mod event;
pub mod fault;
pub mod grpc;
pub mod hooks;
pub mod host;
mod hostcalls;
pub mod limits;
mod memory;
pub mod module;
mod native;
pub mod pairs;
pub mod shared;
mod state;
#[cfg(feature = "testing")]
pub mod testing;
mod trivial;
pub mod vm;

pub use context::{ContextId, Open};
pub use engine::{Engine, Policy, compile};
pub use event::Event;
pub use fault::{Fault, FaultReason};
pub use grpc::{GrpcCallout, GrpcMessage, GrpcStatus, GrpcStep};
pub use hooks::{BodyAction, HeadersAction};
pub use host::{Callout, ForeignCall, Headers, Host, Kept, LocalReply, Stream, StreamKey};
pub use module::{LoadError, Module};
pub use native::Trusted;
pub use vm::{Vm, VmSpec};
