//! Named values of the exchange and the proxy: `source.address`, `xds.node.metadata.NAMESPACE`, and those that steer
//! Sidegate (`sidegate.upstream.cluster`).
//!
//! A path is an array of segments, or one text for a single segment (which may contain dots).
//!
//! ```
//! use sidegate_sdk::{Filter, Next, Request, Response, Result, config, filter, properties, testing};
//!
//! #[config]
//! struct Steer {}
//!
//! #[filter]
//! impl Filter for Steer {
//!     async fn handle(&self, req: Request, next: Next) -> Result<Response> {
//!         let client = properties::text(["source", "address"]).unwrap_or_default();
//!         let cluster = if client.starts_with("10.") { "near" } else { "far" };
//!         properties::set("sidegate.upstream.cluster", cluster)?;
//!         Ok(next.forward(req))
//!     }
//! }
//!
//! let filter = testing::Filter::<Steer>::configure("{}").unwrap();
//! let outcome = filter.get("/").property(["source", "address"], "10.0.0.1:99").run();
//! assert_eq!(outcome.property("sidegate.upstream.cluster").as_deref(), Some("near"));
//! ```

use std::borrow::Cow;
use std::time::Duration;

use crate::error::Result;
use crate::host::{self, Hook, Lent};

/// A property's path.
pub trait Path {
    /// The segments joined by NUL, as the ABI wants them.
    fn joined(&self) -> Cow<'_, str>;
}

impl Path for &str {
    fn joined(&self) -> Cow<'_, str> {
        Cow::Borrowed(self)
    }
}

impl<const N: usize> Path for [&str; N] {
    fn joined(&self) -> Cow<'_, str> {
        Cow::Owned(self.join("\0"))
    }
}

/// A text or the bytes of a value; `None` if the host has none.
pub fn bytes(path: impl Path) -> Option<Vec<u8>> {
    let hook = Hook::running();
    lend(&hook, &path.joined()).map(Cow::into_owned)
}

/// A text; bytes that are not UTF-8 become U+FFFD.
pub fn text(path: impl Path) -> Option<String> {
    let hook = Hook::running();
    lend(&hook, &path.joined()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// An integer; `None` if the value is not 8 bytes.
pub fn int(path: impl Path) -> Option<i64> {
    let hook = Hook::running();
    lend(&hook, &path.joined()).and_then(|bytes| as_int(&bytes))
}

/// A boolean.
pub fn bool(path: impl Path) -> Option<bool> {
    let hook = Hook::running();
    lend(&hook, &path.joined()).and_then(|bytes| bytes.first().map(|byte| *byte != 0))
}

/// A duration; negative ones are zero.
pub fn duration(path: impl Path) -> Option<Duration> {
    int(path).map(|nanos| Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)))
}

/// Sets a property of the exchange. `name` is one segment and may contain dots; other filters read it by that name.
///
/// # Errors
/// If there is no exchange (in `configure` and `tick`) or the host refuses.
pub fn set(name: &str, value: impl AsRef<[u8]>) -> Result<()> {
    host::set_property(name, value.as_ref())
}

pub(crate) fn lend<'h>(hook: &'h Hook, path: &str) -> Option<Lent<'h>> {
    host::property(hook, path).ok().flatten()
}

pub(crate) fn as_int(bytes: &[u8]) -> Option<i64> {
    bytes.first_chunk::<8>().filter(|_| bytes.len() == 8).map(|eight| i64::from_le_bytes(*eight))
}
