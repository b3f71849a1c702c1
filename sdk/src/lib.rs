//! Write a filter as one async function; run it in any Proxy-Wasm host.
//!
//! ```
//! use sidegate_sdk::{Filter, Next, Request, Response, Result, config, filter, testing};
//!
//! #[config]
//! struct Greeter {
//!     greeting: String,
//! }
//!
//! #[filter]
//! impl Filter for Greeter {
//!     async fn handle(&self, mut req: Request, next: Next) -> Result<Response> {
//!         req.headers_mut().set("x-seen", "yes")?;
//!         let mut res = next.run(req).await?;
//!         res.headers_mut().set("x-greeting", &self.greeting)?;
//!         Ok(res)
//!     }
//! }
//!
//! let filter = testing::Filter::<Greeter>::configure(r#"{"greeting": "hi"}"#).unwrap();
//! let outcome = filter.get("/").run();
//! assert_eq!(outcome.request().unwrap().header("x-seen"), Some("yes"));
//! assert_eq!(outcome.header("x-greeting"), Some("hi"));
//! ```
//!
//! [`Filter`] is where to read next, then [`testing`]. A crate that holds a filter has
//! `crate-type = ["cdylib", "rlib"]` and is built for `wasm32-wasip1`; one crate holds one filter. The module speaks
//! Proxy-Wasm 0.2.1 and exports only the hooks that the filter uses.
//!
//! What the SDK refuses: a host status is never unwrapped, nothing is called in `drop`, and no code of a filter needs
//! `unsafe` (`#![forbid(unsafe_code)]` works).

#[cfg(target_arch = "wasm32")]
mod abi;
mod body;
mod callout;
mod clusters;
mod config;
mod dispatch;
mod duration;
mod error;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod exports;
mod filter;
pub mod grpc;
mod headers;
mod host;
mod ids;
mod link;
pub mod log;
mod message;
pub mod metrics;
mod next;
mod pairs;
pub mod properties;
pub mod protobuf;
mod random;
mod settle;
mod share;
pub mod shared;
mod sleep;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod token_bucket;
mod view;
mod waiting;

pub use body::{Beginning, Bodies, Chunk, Mode};
pub use callout::{Answer, Callout};
pub use clusters::{Cluster, Clusters};
pub use config::{Problem, Setup, Severity, escape as escape_pointer};
pub use duration::parse as parse_duration;
pub use error::{Error, Result, Status};
pub use filter::{Config, Filter};
pub use headers::{Headers, HeadersMut};
pub use message::{Request, Response};
pub use next::Next;
pub use random::Random;
pub use share::Share;
pub use sidegate_matching as matching;
pub use sidegate_sdk_macros::{config, filter};
pub use sleep::sleep;
pub use view::{LogView, RequestHead};

#[cfg(not(target_arch = "wasm32"))]
pub use schemars;
pub use serde;
pub use serde_json;

/// For code written by `#[filter]`.
#[doc(hidden)]
pub mod private {
    #[cfg(target_arch = "wasm32")]
    pub use crate::exports;
    pub use crate::filter::Uses;
}

/// Asks the host's foreign functions by name, such as `clear_route_cache`.
///
/// # Errors
/// If the function refuses its argument; a host that does not know it answers `None`.
///
/// ```
/// # use sidegate_sdk::{Filter, Next, Request, Response, Result, config, filter, testing};
/// # #[config] struct Probe {}
/// #[filter]
/// impl Filter for Probe {
///     async fn handle(&self, req: Request, next: Next) -> Result<Response> {
///         sidegate_sdk::foreign("clear_route_cache", b"")?;
///         Ok(next.forward(req))
///     }
/// }
/// # assert_eq!(testing::Filter::<Probe>::configure("{}").unwrap().get("/").run().status(), 200);
/// ```
pub fn foreign(name: &str, argument: &[u8]) -> Result<Option<Vec<u8>>> {
    let hook = host::Hook::running();
    Ok(host::foreign(&hook, name, argument)?.map(std::borrow::Cow::into_owned))
}

/// The wall clock, as the host tells it; 1970 where it does not.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use sidegate_sdk::{Filter, Next, Request, Response, Result, config, filter, testing};
///
/// #[config]
/// struct Until { second: u64 }
///
/// #[filter]
/// impl Filter for Until {
///     async fn handle(&self, req: Request, next: Next) -> Result<Response> {
///         let end = UNIX_EPOCH + Duration::from_secs(self.second);
///         if sidegate_sdk::now() < end { Ok(next.forward(req)) } else { Ok(Response::new(410)) }
///     }
/// }
///
/// let host = testing::Host::new().clock(Duration::from_secs(99));
/// let filter = host.configure::<Until>(r#"{"second": 100}"#).unwrap();
/// assert_eq!(filter.get("/").run().status(), 200);
/// filter.advance(Duration::from_secs(1));
/// assert_eq!(filter.get("/").run().status(), 410);
/// ```
#[must_use]
pub fn now() -> std::time::SystemTime {
    std::time::UNIX_EPOCH + std::time::Duration::from_nanos(host::now())
}
