//! Contexts of one VM: the root, the streams, and on whose behalf a hostcall acts.

use crate::abi::{Direction, MapType};
use crate::host::StreamKey;

/// A context id as the guest sees it: unique among the live ones of a VM, the root is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContextId(pub u32);

/// The root context. One VM carries one plugin configuration, so it has one root.
pub const ROOT: ContextId = ContextId(1);

/// Which parts of an exchange a context may see at this moment. A header map opens with its hook and closes when the
/// guest lets the message go on; all are open in `on_log`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open(u8);

impl Open {
    pub const NONE: Self = Self(0);
    pub const REQUEST_HEADERS: Self = Self(1);
    pub const REQUEST_TRAILERS: Self = Self(2);
    pub const RESPONSE_HEADERS: Self = Self(4);
    pub const RESPONSE_TRAILERS: Self = Self(8);
    pub const REQUEST_BODY: Self = Self(16);
    pub const RESPONSE_BODY: Self = Self(32);
    /// `on_log`: everything may be read; a missing key is then "not found" even where the map is absent.
    pub const LOG: Self = Self(64 | 15);

    pub fn has(self, part: Self) -> bool {
        self.0 & part.0 == part.0
    }
    pub(crate) fn and(self, part: Self) -> Self {
        Self(self.0 | part.0)
    }
    pub fn is_log(self) -> bool {
        self.0 & 64 != 0
    }
    pub(crate) fn insert(&mut self, part: Self) {
        self.0 |= part.0;
    }
    pub(crate) fn remove(&mut self, part: Self) {
        self.0 &= !part.0;
    }
    /// All parts of a direction.
    pub(crate) fn close(&mut self, direction: Direction) {
        self.remove(match direction {
            Direction::Request => Self(1 | 2 | 16),
            Direction::Response => Self(4 | 8 | 32),
        });
    }
    pub(crate) fn of_map(map: MapType) -> Option<Self> {
        match map {
            MapType::RequestHeaders => Some(Self::REQUEST_HEADERS),
            MapType::RequestTrailers => Some(Self::REQUEST_TRAILERS),
            MapType::ResponseHeaders => Some(Self::RESPONSE_HEADERS),
            MapType::ResponseTrailers => Some(Self::RESPONSE_TRAILERS),
            _ => None,
        }
    }
}

/// A live stream context.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamContext {
    pub(crate) stream: StreamKey,
    pub(crate) open: Open,
    /// The bodies that it was shown.
    pub(crate) shown: Open,
    /// Callouts sent on its behalf that are not answered yet.
    pub(crate) callouts: u32,
    pub(crate) marks: Marks,
}

/// What the guest asked of one of its contexts since the proxy last looked: whose wish it was, where several filters
/// of a chain share an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) resumed_request: bool,
    pub(crate) resumed_response: bool,
    /// It answered by itself: what its hook had open stays so, because nothing of it goes on.
    pub(crate) replied: bool,
}

impl Marks {
    /// Takes whether this direction was resumed.
    pub(crate) fn take_resumed(&mut self, direction: Direction) -> bool {
        std::mem::take(match direction {
            Direction::Request => &mut self.resumed_request,
            Direction::Response => &mut self.resumed_response,
        })
    }
}

/// All contexts of one VM. Every hostcall looks one up, so an id is its own place: slot `id % slots.len()`. An id
/// whose slot is taken is never given out, and the table doubles when it is half full.
#[derive(Debug)]
pub(crate) struct Contexts {
    /// A power of two of slots.
    slots: Vec<Option<(u32, StreamContext)>>,
    live: usize,
    next: u32,
    /// The context whose hook runs; 0: none.
    pub(crate) current: u32,
    /// Set by the guest until the next hook; 0: the current one.
    pub(crate) effective: u32,
}

impl Contexts {
    pub(crate) fn new() -> Self {
        Self { slots: vec![None; 16], live: 0, next: ROOT.0, current: 0, effective: 0 }
    }

    /// Takes a fresh id for an exchange: the next one whose slot is free.
    pub(crate) fn open(&mut self, stream: StreamKey) -> ContextId {
        if self.live * 2 >= self.slots.len() {
            self.grow();
        }
        let context =
            StreamContext { stream, open: Open::NONE, shown: Open::NONE, callouts: 0, marks: Marks::default() };
        loop {
            self.next = self.next.wrapping_add(1);
            let id = self.next;
            if id <= ROOT.0 {
                continue;
            }
            let slot = self.slot(id);
            if let Some(free @ None) = self.slots.get_mut(slot) {
                *free = Some((id, context));
                self.live += 1;
                return ContextId(id);
            }
        }
    }

    pub(crate) fn close(&mut self, id: ContextId) {
        let slot = self.slot(id.0);
        let taken = self.slots.get_mut(slot).and_then(|slot| slot.take_if(|(owner, _)| *owner == id.0));
        self.live -= usize::from(taken.is_some());
    }

    pub(crate) fn len(&self) -> usize {
        self.live
    }

    pub(crate) fn streams(&self) -> impl Iterator<Item = StreamKey> {
        self.slots.iter().flatten().map(|(_, context)| context.stream)
    }

    #[inline]
    pub(crate) fn stream_mut(&mut self, id: ContextId) -> Option<&mut StreamContext> {
        let slot = self.slot(id.0);
        match self.slots.get_mut(slot) {
            Some(Some((owner, context))) if *owner == id.0 => Some(context),
            _ => None,
        }
    }

    /// The id a hostcall acts on: the effective context if it is set and alive, else the current one.
    pub(crate) fn acting(&self) -> u32 {
        if self.effective != 0 { self.effective } else { self.current }
    }

    /// The stream context a hostcall acts on; `None` for the root.
    #[inline]
    pub(crate) fn acting_stream(&mut self) -> Option<&mut StreamContext> {
        self.stream_mut(ContextId(self.acting()))
    }

    /// Whether the guest may name this id.
    pub(crate) fn knows(&mut self, id: u32) -> bool {
        id == ROOT.0 || self.stream_mut(ContextId(id)).is_some()
    }

    #[inline]
    fn slot(&self, id: u32) -> usize {
        id as usize & (self.slots.len() - 1)
    }

    /// Ids that differ in their low bits still do so with one bit more: nothing collides in the larger table.
    fn grow(&mut self) {
        let larger = vec![None; self.slots.len() * 2];
        for entry in std::mem::replace(&mut self.slots, larger).into_iter().flatten() {
            let slot = self.slot(entry.0);
            if let Some(place) = self.slots.get_mut(slot) {
                *place = Some(entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_start_behind_the_root_and_skip_live_ones_on_wrap() {
        let mut contexts = Contexts::new();
        assert_eq!(contexts.open(7), ContextId(2));
        contexts.next = u32::MAX;
        // 0 means "none", 1 is the root, 2 still lives
        assert_eq!(contexts.open(8), ContextId(3));
        assert_eq!(contexts.len(), 2);
    }

    #[test]
    fn many_contexts_keep_their_own_exchange_while_the_table_grows() {
        let mut contexts = Contexts::new();
        let ids: Vec<_> = (0..1000).map(|stream| contexts.open(stream)).collect();
        for (stream, id) in ids.iter().enumerate() {
            assert_eq!(contexts.stream_mut(*id).unwrap().stream, stream as u32);
        }
        let long_lived = ids[0];
        for id in &ids[1..] {
            contexts.close(*id);
            contexts.close(*id);
        }
        assert_eq!(contexts.len(), 1);
        for _ in 0..5000 {
            let id = contexts.open(9);
            assert_ne!(id, long_lived);
            contexts.close(id);
        }
        assert_eq!(contexts.streams().collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn closing_takes_the_maps_of_that_direction_only() {
        let mut open = Open::LOG;
        open.close(Direction::Request);
        assert!(!open.has(Open::REQUEST_HEADERS));
        assert!(open.has(Open::RESPONSE_HEADERS));
    }
}
