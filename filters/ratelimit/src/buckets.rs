//! Where buckets live: in the proxy, one for all workers; in other hosts in shared data.

use std::time::Duration;

use sidegate_sdk::{Error, Result, foreign};

use crate::bucket::{Taken, Terms};
use crate::key::Key;
use crate::shared_buckets;

/// Takes a token out of a bucket.
///
/// # Errors
/// If the host refuses to keep the bucket, for example because there are too many.
pub(crate) fn take(key: &Key, terms: &Terms) -> Result<Taken> {
    match foreign("sidegate_token_bucket", &question(key, terms))? {
        Some(answer) => read(&answer).ok_or_else(|| Error::new("the host's bucket answered something else")),
        None => shared_buckets::take(key, terms),
    }
}

/// Key with its length, what it holds, what a fill brings, milliseconds between fills, tokens to take.
fn question(key: &Key, terms: &Terms) -> Vec<u8> {
    let mut bytes = u32::try_from(key.as_str().len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    bytes.extend_from_slice(key.as_str().as_bytes());
    for number in [terms.max_tokens, terms.tokens_per_fill, terms.fill_interval, 1] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes
}

/// Whether it was there, how many remain, milliseconds until the next fill.
fn read(answer: &[u8]) -> Option<Taken> {
    let (allowed, rest) = answer.split_first()?;
    let (remaining, rest) = rest.split_first_chunk::<8>()?;
    let wait = u64::from_le_bytes(*rest.first_chunk::<8>()?);
    Some(Taken {
        allowed: *allowed != 0,
        remaining: u64::from_le_bytes(*remaining),
        next_fill: Duration::from_millis(wait),
    })
}
