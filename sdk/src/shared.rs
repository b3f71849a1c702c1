//! Values that all workers of a plugin share and that outlive its versions.
//!
//! ```
//! use sidegate_sdk::{Filter, Next, Request, Response, Result, config, filter, shared, testing};
//!
//! #[config]
//! struct Once {}
//!
//! #[filter]
//! impl Filter for Once {
//!     async fn handle(&self, req: Request, next: Next) -> Result<Response> {
//!         let seen = shared::update("seen", |old| {
//!             let seen = old.and_then(|bytes| bytes.first().copied()).unwrap_or(0);
//!             vec![seen.saturating_add(1)]
//!         })?;
//!         if seen == [1] { Ok(next.forward(req)) } else { Ok(Response::new(429)) }
//!     }
//! }
//!
//! let filter = testing::Filter::<Once>::configure("{}").unwrap();
//! assert_eq!(filter.get("/").run().status(), 200);
//! assert_eq!(filter.get("/").run().status(), 429);
//! ```

use crate::error::{Error, Result, Status};
use crate::host::{self, Hook};

/// How often [`update`] tries again when other workers are faster.
const ATTEMPTS: u32 = 16;

/// The version of a value, to change it only if nobody else did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version(u32);

impl Version {
    /// Of a key that is not there. Hosts ignore the version of a missing key and compare that of a present one, so
    /// that a number which none of them gives out writes only if nobody else has written.
    pub const ABSENT: Self = Self(u32::MAX);
}

/// Reads a value and its version.
///
/// # Errors
/// If the host refuses; a missing key is `None`.
pub fn get(key: &str) -> Result<Option<(Vec<u8>, Version)>> {
    let hook = Hook::running();
    Ok(host::shared_data(&hook, key)?.map(|(bytes, cas)| (bytes.into_owned(), Version(cas))))
}

/// Writes a value, unconditionally.
///
/// # Errors
/// If the host refuses, for example over the quota of the plugin.
pub fn set(key: &str, value: impl AsRef<[u8]>) -> Result<()> {
    host::set_shared_data(key, value.as_ref(), 0)
}

/// Writes a value if it still has this version; false if another writer was faster.
///
/// # Errors
/// As [`set`]. A quota and a faster writer are the same code (8) in the ABI.
pub fn set_if(key: &str, value: impl AsRef<[u8]>, version: Version) -> Result<bool> {
    match host::set_shared_data(key, value.as_ref(), version.0) {
        Ok(()) => Ok(true),
        Err(Error::Host { status: Status::CAS_MISMATCH, .. }) => Ok(false),
        Err(problem) => Err(problem),
    }
}

/// Changes a value as one step, trying again while others are faster. Returns what was written.
///
/// # Errors
/// If the host refuses, or 16 attempts met a faster writer.
pub fn update(key: &str, mut change: impl FnMut(Option<&[u8]>) -> Vec<u8>) -> Result<Vec<u8>> {
    for _ in 0..ATTEMPTS {
        let (old, version) = get(key)?.map_or((None, Version::ABSENT), |(old, version)| (Some(old), version));
        let value = change(old.as_deref());
        if set_if(key, &value, version)? {
            return Ok(value);
        }
    }
    Err(Error::Host { call: "set_shared_data", status: Status::CAS_MISMATCH })
}
