//! What the VMs of a process share: data with compare-and-swap, and queues, both keyed by vmId.
//!
//! The one place on the request path with locks: sharded, and never held while a guest runs.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::abi::Status;
use crate::limits;

const SHARDS: usize = 16;

/// Shared data and queues of the process.
pub struct Shared {
    data: Vec<Mutex<HashMap<String, Namespace>>>,
    hasher: RandomState,
    /// One counter for all keys of the process, as in Envoy: values are unique, never 0.
    cas: AtomicU32,
    queues: Mutex<Queues>,
}

#[derive(Default)]
struct Namespace {
    values: HashMap<Vec<u8>, (Vec<u8>, u32)>,
    bytes: usize,
}

#[derive(Default)]
struct Queues {
    ids: HashMap<(String, Vec<u8>), u32>,
    queues: HashMap<u32, Queue>,
}

struct Queue {
    owner: u64,
    items: VecDeque<Vec<u8>>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            data: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            cas: AtomicU32::new(1),
            queues: Mutex::default(),
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

    /// Registers or takes over a queue; ready callbacks go to `owner`.
    pub fn register_queue(&self, vm_id: &str, name: &[u8], owner: u64) -> Result<u32, Status> {
        let mut queues = lock(&self.queues);
        let id = match queues.ids.get(&(vm_id.to_owned(), name.to_vec())) {
            Some(id) => *id,
            None => {
                if queues.ids.keys().filter(|(vm, _)| vm == vm_id).count() >= limits::QUEUES {
                    return Err(Status::NotFound);
                }
                let id = queues.ids.len() as u32 + 1;
                queues.ids.insert((vm_id.to_owned(), name.to_vec()), id);
                id
            }
        };
        queues.queues.entry(id).or_insert_with(|| Queue { owner, items: VecDeque::new() }).owner = owner;
        Ok(id)
    }

    pub fn resolve_queue(&self, vm_id: &str, name: &[u8]) -> Result<u32, Status> {
        lock(&self.queues).ids.get(&(vm_id.to_owned(), name.to_vec())).copied().ok_or(Status::NotFound)
    }

    /// Returns the owner to be told. An unknown or full queue is "not found".
    pub fn enqueue(&self, id: u32, item: &[u8]) -> Result<u64, Status> {
        let mut queues = lock(&self.queues);
        let queue = queues.queues.get_mut(&id).ok_or(Status::NotFound)?;
        if queue.items.len() >= limits::QUEUE_ITEMS || item.len() > limits::QUEUE_ITEM_BYTES {
            return Err(Status::NotFound);
        }
        queue.items.push_back(item.to_vec());
        Ok(queue.owner)
    }

    pub fn dequeue(&self, id: u32) -> Result<Vec<u8>, Status> {
        lock(&self.queues).queues.get_mut(&id).ok_or(Status::NotFound)?.items.pop_front().ok_or(Status::Empty)
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

    #[test]
    fn queues() {
        let shared = Shared::default();
        let id = shared.register_queue("vm", b"q", 1).unwrap();
        assert_eq!(shared.register_queue("vm", b"q", 2), Ok(id), "the last one that registers owns it");
        assert_eq!(shared.resolve_queue("vm", b"other"), Err(Status::NotFound));
        assert_eq!(shared.dequeue(id), Err(Status::Empty));
        assert_eq!(shared.enqueue(id, b"x"), Ok(2));
        assert_eq!(shared.dequeue(id), Ok(b"x".to_vec()));
        assert_eq!(shared.enqueue(id + 1, b"x"), Err(Status::NotFound));
        for _ in 0..limits::QUEUE_ITEMS {
            assert!(shared.enqueue(id, b"x").is_ok());
        }
        assert_eq!(shared.enqueue(id, b"x"), Err(Status::NotFound), "full");
    }
}
