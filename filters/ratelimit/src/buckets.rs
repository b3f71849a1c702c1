//! Where buckets live: in the proxy, one for all workers; in other hosts in shared data.

use std::time::Duration;

use sidegate_sdk::Result;
use sidegate_sdk::token_bucket::TokenBucket;

use crate::bucket::{Taken, Terms};
use crate::key::Key;
use crate::shared_buckets;

/// Takes a token out of a bucket.
///
/// # Errors
/// If the host refuses to keep the bucket, for example because there are too many.
pub(crate) fn take(key: &Key, terms: &Terms) -> Result<Taken> {
    let fill_interval = Duration::from_millis(terms.fill_interval);
    let bucket = TokenBucket::new(terms.max_tokens, terms.tokens_per_fill, fill_interval);
    match bucket.take(key.as_str(), 1)? {
        Some(taken) => Ok(taken),
        None => shared_buckets::take(key, terms),
    }
}
