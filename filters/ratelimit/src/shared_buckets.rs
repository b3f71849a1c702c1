//! Buckets in shared data, for hosts that have none of their own: one step by compare-and-swap.
//!
//! Shared data cannot be deleted, so the buckets of values that clients choose live in a fixed number of sets. A set
//! keeps the bucket that was asked for last in front, and gives up the one at its end when it is full.

use std::time::{Duration, UNIX_EPOCH};

use sidegate_sdk::{Result, now, shared};

use crate::bucket::{Level, Taken, Terms};
use crate::key::Key;

/// Sets of buckets: all of them full take 128 KiB of the usual 1 MiB of shared data.
const SETS: u64 = 512;
/// Buckets of a set.
const WAYS: usize = 8;
/// Bytes of a bucket: its fingerprint, its tokens, and when it was filled.
const SLOT: usize = 32;

/// Takes a token out of a bucket.
///
/// # Errors
/// If the host refuses to keep it.
pub(crate) fn take(key: &Key, terms: &Terms) -> Result<Taken> {
    let id = key.fingerprint();
    let place =
        if key.is_of_a_value() { format!("buckets/{}", id % u128::from(SETS)) } else { format!("bucket/{id:x}") };
    let since = now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let mut taken = Taken { allowed: false, remaining: 0, next_fill: Duration::ZERO };
    shared::update(&place, |bytes| {
        let mut set: Vec<(u128, Level)> = bytes.unwrap_or_default().chunks_exact(SLOT).filter_map(read).collect();
        let known = set.iter().position(|(other, _)| *other == id).map(|at| set.remove(at));
        let (_, mut level) = known.unwrap_or_else(|| (id, Level::full(terms, now)));
        taken = level.take(terms, now);
        set.insert(0, (id, level));
        set.truncate(WAYS);
        set.iter().flat_map(write).collect()
    })?;
    Ok(taken)
}

fn read(bytes: &[u8]) -> Option<(u128, Level)> {
    let (id, rest) = bytes.split_first_chunk::<16>()?;
    let (tokens, rest) = rest.split_first_chunk::<8>()?;
    let filled = u64::from_le_bytes(*rest.first_chunk::<8>()?);
    Some((u128::from_le_bytes(*id), Level { tokens: u64::from_le_bytes(*tokens), filled }))
}

fn write((id, level): &(u128, Level)) -> [u8; SLOT] {
    let mut bytes = [0; SLOT];
    let parts = id.to_le_bytes().into_iter().chain(level.tokens.to_le_bytes()).chain(level.filled.to_le_bytes());
    bytes.iter_mut().zip(parts).for_each(|(byte, part)| *byte = part);
    bytes
}
