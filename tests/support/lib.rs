//! What a test of the whole proxy needs, so that it reads as a sentence:
//!
//! ```no_run
//! use sidegate_tests::{Answer, Origin, Sidegate};
//!
//! let reviews = Origin::answering(|request| Answer::ok(format!("you asked for {}", request.target)));
//! let sidegate = Sidegate::start(&format!(
//!     "listeners: [{{name: inbound, address: $inbound, cluster: app}}]\n\
//!      clusters: [{{name: app, endpoints: [{{address: \"{reviews}\"}}]}}]"
//! ));
//! assert_eq!(sidegate.get("/x").text(), "you asked for /x");
//! ```
//!
//! [`Origin`] is the fake service behind the proxy and keeps every request as the exact bytes that came.
//! [`Client`] is an HTTP/1.1 client that sends what it is told, right or wrong; `h2` holds one for HTTP/2.
//! [`Sidegate`] is the real binary in a process of its own. `traffic` is load that notices what a swap of a filter loses
//! or mixes.

pub mod client;
pub mod eventually;
#[cfg(feature = "fuzz")]
pub mod fuzz;
#[cfg(feature = "http2")]
pub mod h2;
mod hex;
pub mod message;
pub mod origin;
pub mod output;
pub mod port;
pub mod probe;
pub mod prometheus;
pub mod sidegate;
#[cfg(feature = "http2")]
pub mod traffic;
mod wire;

pub use client::Client;
pub use eventually::eventually;
pub use hex::hex;
pub use message::{Headers, Request, Response};
pub use origin::{Answer, Gate, Origin};
pub use sidegate::Sidegate;
