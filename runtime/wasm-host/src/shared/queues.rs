//! Queues between VMs: named under a vmId, numbered for the whole process.

use std::collections::{HashMap, VecDeque};

use super::{Shared, lock};
use crate::abi::Status;
use crate::limits;

#[derive(Default)]
pub(super) struct Queues {
    ids: HashMap<(String, Vec<u8>), u32>,
    queues: HashMap<u32, Queue>,
    /// What lies in the queues of a vmId.
    bytes: HashMap<String, usize>,
}

struct Queue {
    vm_id: String,
    /// Who registered it and is still there; the last one is told of items.
    owners: Vec<u64>,
    items: VecDeque<Vec<u8>>,
}

impl Shared {
    /// Finds a queue, or makes it. Nobody is told of its items before [`Shared::own_queue`].
    pub fn register_queue(&self, vm_id: &str, name: &[u8]) -> Result<u32, Status> {
        if name.len() > limits::NAME_BYTES {
            return Err(Status::NotFound);
        }
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
        let new = || Queue { vm_id: vm_id.to_owned(), owners: Vec::new(), items: VecDeque::new() };
        queues.queues.entry(id).or_insert_with(new);
        Ok(id)
    }

    /// From now on `owner` is told of items.
    pub fn own_queue(&self, id: u32, owner: u64) {
        if let Some(queue) = lock(&self.queues).queues.get_mut(&id) {
            queue.owners.retain(|known| *known != owner);
            queue.owners.push(owner);
        }
    }

    /// An owner is gone: who had its queues before has them again.
    pub fn disown_queues(&self, owner: u64) {
        for queue in lock(&self.queues).queues.values_mut() {
            queue.owners.retain(|known| *known != owner);
        }
    }

    pub fn resolve_queue(&self, vm_id: &str, name: &[u8]) -> Result<u32, Status> {
        if name.len() > limits::NAME_BYTES {
            return Err(Status::NotFound);
        }
        lock(&self.queues).ids.get(&(vm_id.to_owned(), name.to_vec())).copied().ok_or(Status::NotFound)
    }

    /// Returns the owner to be told, if there is one. An unknown or full queue is "not found", and so is one whose vmId has used up its
    /// bytes.
    pub fn enqueue(&self, id: u32, item: &[u8]) -> Result<Option<u64>, Status> {
        let mut guard = lock(&self.queues);
        let Queues { queues, bytes, .. } = &mut *guard;
        let queue = queues.get_mut(&id).ok_or(Status::NotFound)?;
        let held = bytes.entry(queue.vm_id.clone()).or_default();
        if queue.items.len() >= limits::QUEUE_ITEMS
            || item.len() > limits::QUEUE_ITEM_BYTES
            || *held + item.len() > limits::QUEUE_BYTES
        {
            return Err(Status::NotFound);
        }
        *held += item.len();
        queue.items.push_back(item.to_vec());
        Ok(queue.owners.last().copied())
    }

    pub fn dequeue(&self, id: u32) -> Result<Vec<u8>, Status> {
        let mut guard = lock(&self.queues);
        let Queues { queues, bytes, .. } = &mut *guard;
        let queue = queues.get_mut(&id).ok_or(Status::NotFound)?;
        let item = queue.items.pop_front().ok_or(Status::Empty)?;
        if let Some(held) = bytes.get_mut(&queue.vm_id) {
            *held = held.saturating_sub(item.len());
        }
        Ok(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues() {
        let shared = Shared::default();
        let id = shared.register_queue("vm", b"q").unwrap();
        assert_eq!(shared.register_queue("vm", b"q"), Ok(id));
        (1..=3).for_each(|owner| shared.own_queue(id, owner));
        shared.disown_queues(3);
        assert_eq!(shared.resolve_queue("vm", b"other"), Err(Status::NotFound));
        assert_eq!(shared.dequeue(id), Err(Status::Empty));
        assert_eq!(shared.enqueue(id, b"x"), Ok(Some(2)), "the last one that is still there");
        assert_eq!(shared.dequeue(id), Ok(b"x".to_vec()));
        assert_eq!(shared.enqueue(id + 1, b"x"), Err(Status::NotFound));
        for _ in 0..limits::QUEUE_ITEMS {
            assert!(shared.enqueue(id, b"x").is_ok());
        }
        assert_eq!(shared.enqueue(id, b"x"), Err(Status::NotFound), "full");
    }

    #[test]
    fn all_queues_of_a_vm_id_share_their_bytes() {
        let shared = Shared::default();
        let queues = [b"a", b"b"].map(|name| shared.register_queue("vm", name).unwrap());
        let other = shared.register_queue("other", b"a").unwrap();
        let item = vec![0; limits::QUEUE_ITEM_BYTES];
        for at in 0..limits::QUEUE_BYTES / item.len() {
            assert!(shared.enqueue(queues[at % 2], &item).is_ok());
        }
        assert_eq!(shared.enqueue(queues[0], b"x"), Err(Status::NotFound), "the vmId holds all it may");
        assert!(shared.enqueue(other, &item).is_ok(), "another one does not");
        shared.dequeue(queues[1]).unwrap();
        assert!(shared.enqueue(queues[0], &item).is_ok(), "what was taken out is free again");
    }
}
