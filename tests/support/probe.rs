//! A filter that does what a script says: in this phase make that hostcall with these arguments, and log what it
//! answered. One small module so covers every hostcall in every hook, in any host.
//!
//! ```
//! use sidegate_tests::probe::{Abi, Script, module};
//! let text = module(Abi::V0_2_1);
//! let script = Script::default().on("request_headers", "proxy_get_header_map_value 0 ':path' out").returns("request_headers", 1);
//! assert!(text.contains("proxy_on_request_headers") && script.to_config().len() > 100);
//! ```
//!
//! The script is the VM's configuration, in hexadecimal digits; [`Report::read`] understands the lines that the probe
//! logs.

#![expect(clippy::panic, reason = "a script with a mistake fails the test that wrote it")]

mod calls;
mod guest;
pub mod rows;
mod script;

pub use calls::{Abi, CALLS, Call, call};
pub use guest::module;
pub use script::{Report, Script};

/// The hooks of the probe, in the order of an exchange's life. The end of a body has a phase of its own, so that it
/// does not matter in how many pieces a host shows the rest.
pub const PHASES: [&str; 19] = [
    "vm_start",
    "configure",
    "tick",
    "context_create",
    "request_headers",
    "request_body",
    "request_body_end",
    "request_trailers",
    "response_headers",
    "response_body",
    "response_body_end",
    "response_trailers",
    "log",
    "done",
    "delete",
    "http_call_response",
    "queue_ready",
    "root_done",
    "root_delete",
];

/// The number of a phase in a script.
///
/// # Panics
/// When there is none of this name.
pub fn phase(name: &str) -> u32 {
    let found = PHASES.iter().position(|known| *known == name);
    found.unwrap_or_else(|| panic!("the probe has no phase {name:?}")) as u32
}
