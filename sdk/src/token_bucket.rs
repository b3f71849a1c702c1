//! Token buckets that all workers of a plugin share and that outlive its versions.
//!
//! Only Sidegate has them. Elsewhere [`TokenBucket::take`] answers `None`, and a filter counts with
//! [`shared::update`](crate::shared::update) or lets the request pass.
//!
//! ```
//! use std::time::Duration;
//! use sidegate_sdk::token_bucket::TokenBucket;
//! use sidegate_sdk::{Filter, Next, Request, Response, Result, config, filter, testing};
//!
//! #[config]
//! struct Limit { per_second: u64 }
//!
//! #[filter]
//! impl Filter for Limit {
//!     async fn handle(&self, req: Request, next: Next) -> Result<Response> {
//!         let bucket = TokenBucket::new(self.per_second, self.per_second, Duration::from_secs(1));
//!         let user = req.headers().get("x-user").unwrap_or_default();
//!         match bucket.take(&user, 1)? {
//!             Some(taken) if !taken.allowed => Ok(Response::new(429)),
//!             _ => Ok(next.forward(req)),
//!         }
//!     }
//! }
//!
//! let filter = testing::Filter::<Limit>::configure(r#"{"perSecond": 1}"#).unwrap();
//! assert_eq!(filter.get("/").header("x-user", "ada").run().status(), 200);
//! assert_eq!(filter.get("/").header("x-user", "ada").run().status(), 429);
//! assert_eq!(filter.get("/").header("x-user", "bob").run().status(), 200);
//!
//! let elsewhere = testing::Host::foreign().configure::<Limit>(r#"{"perSecond": 1}"#).unwrap();
//! assert_eq!([elsewhere.get("/").run().status(), elsewhere.get("/").run().status()], [200, 200]);
//! ```

use std::time::Duration;

use crate::error::Result;
use crate::host::{self, Hook};

/// How large a bucket is and how it fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenBucket {
    max_tokens: u64,
    tokens_per_fill: u64,
    fill_interval: Duration,
}

/// The answer of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Whether the tokens were there and are taken; else none is.
    pub allowed: bool,
    /// Tokens that are left.
    pub remaining: u64,
    /// Time until tokens come, in whole milliseconds; zero for a full bucket.
    pub next_fill: Duration,
}

impl TokenBucket {
    /// A bucket of at most `max_tokens`, full at first, that gets `tokens_per_fill` every `fill_interval` (at least a
    /// millisecond).
    #[must_use]
    pub const fn new(max_tokens: u64, tokens_per_fill: u64, fill_interval: Duration) -> Self {
        Self { max_tokens, tokens_per_fill, fill_interval }
    }

    /// Takes tokens from the bucket of this key, all or none; 0 only asks. Each key has a bucket of its own, for all
    /// plugins of one `vmId`. `None` where the host has no buckets.
    ///
    /// # Errors
    /// If a number of the bucket is zero, the key is longer than 1 KiB, or there are too many keys whose buckets are
    /// not full.
    pub fn take(&self, key: &str, tokens: u64) -> Result<Option<Taken>> {
        let interval = u64::try_from(self.fill_interval.as_millis()).unwrap_or(u64::MAX);
        let interval = if self.fill_interval.is_zero() { 0 } else { interval.max(1) };
        let mut argument = Vec::with_capacity(key.len() + 36);
        argument.extend_from_slice(&u32::try_from(key.len()).unwrap_or(u32::MAX).to_le_bytes());
        argument.extend_from_slice(key.as_bytes());
        for number in [self.max_tokens, self.tokens_per_fill, interval, tokens] {
            argument.extend_from_slice(&number.to_le_bytes());
        }
        let hook = Hook::running();
        let answer = host::foreign(&hook, "sidegate_token_bucket", &argument)?;
        Ok(answer.and_then(|bytes| Taken::read(&bytes)))
    }
}

impl Taken {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (allowed, rest) = bytes.split_first()?;
        let (remaining, rest) = rest.split_first_chunk::<8>()?;
        let (next_fill, _) = rest.split_first_chunk::<8>()?;
        Some(Self {
            allowed: *allowed != 0,
            remaining: u64::from_le_bytes(*remaining),
            next_fill: Duration::from_millis(u64::from_le_bytes(*next_fill)),
        })
    }
}
