//! What the VMs of a process share: data with compare-and-swap, queues and token buckets, all keyed by vmId.
//!
//! The one place on the request path with locks: sharded, and never held while a guest runs.

mod buckets;
mod queues;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::abi::Status;
use crate::limits;

pub use buckets::{BucketTerms, Drawn};

const SHARDS: usize = 16;

/// Shared data, queues and token buckets of the process.
pub struct Shared {
    data: Vec<Mutex<HashMap<String, Namespace>>>,
    hasher: RandomState,
    /// One counter for all keys of the process, as in Envoy: values are unique, never 0.
    cas: AtomicU32,
    queues: Mutex<queues::Queues>,
    buckets: Vec<Mutex<buckets::Shard>>,
}

#[derive(Default)]
struct Namespace {
    values: HashMap<Vec<u8>, (Vec<u8>, u32)>,
    bytes: usize,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            data: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            cas: AtomicU32::new(1),
            queues: Mutex::default(),
            buckets: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }
}

impl Shared {
    /// Appends the value to `out` and returns its cas.
    pub fn read(&self, vm_id: &str, key: &[u8], out: &mut Vec<u8>) -> Result<u32, Status> {
        let shard = self.shard(vm_id)?;
        let (value, cas) = shard.get(vm_id).and_then(|names| names.values.get(key)).ok_or(Status::NotFound)?;
        out.extend_from_slice(value);
        Ok(*cas)
    }

    /// Writes under the quota of `max_bytes` for all keys and values of this vmId. `cas` 0 writes unconditionally; a
    /// cas given for a key that does not exist is ignored.
    pub fn write(&self, vm_id: &str, key: &[u8], value: &[u8], cas: u32, max_bytes: usize) -> Status {
        let Ok(mut shard) = self.shard(vm_id) else { return Status::InternalFailure };
        if !shard.contains_key(vm_id) {
            shard.insert(vm_id.to_owned(), Namespace::default());
        }
        let Some(names) = shard.get_mut(vm_id) else { return Status::InternalFailure };
        let (old_bytes, known) = match names.values.get(key) {
            Some((_, current)) if cas != 0 && cas != *current => return Status::CasMismatch,
            Some((old, _)) => (key.len() + old.len(), true),
            None => (0, false),
        };
        let bytes = names.bytes - old_bytes + key.len() + value.len();
        if bytes > max_bytes || (!known && names.values.len() >= limits::SHARED_KEYS) {
            return Status::CasMismatch;
        }
        names.bytes = bytes;
        let mut next = self.cas.fetch_add(1, Ordering::Relaxed);
        if next == 0 {
            next = self.cas.fetch_add(1, Ordering::Relaxed);
        }
        names.values.insert(key.to_vec(), (value.to_vec(), next));
        Status::Ok
    }

    fn shard(&self, vm_id: &str) -> Result<MutexGuard<'_, HashMap<String, Namespace>>, Status> {
        let index = self.hasher.hash_one(vm_id) as usize % SHARDS;
        self.data.get(index).map(lock).ok_or(Status::InternalFailure)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code between lock and unlock can leave the map half-changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(shared: &Shared, key: &[u8]) -> Result<(Vec<u8>, u32), Status> {
        let mut out = Vec::new();
        shared.read("vm", key, &mut out).map(|cas| (out, cas))
    }

    #[test]
    fn compare_and_swap() {
        let shared = Shared::default();
        assert_eq!(read(&shared, b"k"), Err(Status::NotFound));
        assert_eq!(shared.write("vm", b"k", b"1", 99, 100), Status::Ok, "a cas on a missing key is ignored");
        let (value, cas) = read(&shared, b"k").unwrap();
        assert_eq!(value, b"1");
        assert_eq!(shared.write("vm", b"k", b"2", cas + 1, 100), Status::CasMismatch);
        assert_eq!(shared.write("vm", b"k", b"2", cas, 100), Status::Ok);
        assert_eq!(shared.write("vm", b"k", b"3", cas, 100), Status::CasMismatch, "the old cas is spent");
        assert_eq!(shared.write("vm", b"k", b"4", 0, 100), Status::Ok);
        assert_eq!(read(&shared, b"k").unwrap().0, b"4");
    }

    #[test]
    fn the_quota_counts_keys_and_values_and_gives_back_what_is_replaced() {
        let shared = Shared::default();
        assert_eq!(shared.write("vm", b"k", &[0; 9], 0, 10), Status::Ok);
        assert_eq!(shared.write("vm", b"j", b"", 0, 10), Status::CasMismatch);
        assert_eq!(shared.write("vm", b"k", b"", 0, 10), Status::Ok);
        assert_eq!(shared.write("vm", b"j", b"", 0, 10), Status::Ok);
        assert_eq!(shared.write("other", b"k", &[0; 9], 0, 10), Status::Ok, "each vmId has its own");
    }
}
