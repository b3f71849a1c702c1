//! The callouts of one VM that are under way: their ids, on whose behalf they run, and the quotas.

use crate::abi::Status;
use crate::context::{ContextId, Contexts};
use crate::grpc::Backlog;
use crate::limits;

/// The low two bits of an id say what kind of call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Http,
    GrpcCall,
    GrpcStream,
}

impl Kind {
    pub(crate) fn of(id: u32) -> Option<Self> {
        match id & 3 {
            0 => Some(Self::Http),
            1 => Some(Self::GrpcCall),
            2 => Some(Self::GrpcStream),
            _ => None,
        }
    }
}

/// A callout that the guest may still name.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) id: u32,
    /// Whose exchange it was sent for; it counts against its quota.
    context: Option<ContextId>,
    /// What it holds of headers and body.
    bytes: usize,
    /// The queue of a stream that takes messages.
    pub(crate) sending: Option<Backlog>,
    /// Its last hook has begun.
    pub(crate) ended: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Calls {
    pending: Vec<Pending>,
    /// The last id of each kind; the next is four further on.
    last: [u32; 3],
}

impl Calls {
    /// The id that the next call of this kind gets, if the quotas of the VM and of `context` allow one.
    pub(crate) fn admit(&self, kind: Kind, context: Option<u32>, limit: u32) -> Result<u32, Status> {
        if self.pending.len() >= limits::CALLS || context.is_some_and(|callouts| callouts >= limit) {
            return Err(Status::InternalFailure);
        }
        let class = kind as u32;
        let mut id = self.last.get(kind as usize).map_or(class, |last| *last).max(class);
        loop {
            id = id.wrapping_add(4).max(4 | class);
            if self.pending.iter().all(|call| call.id != id) {
                return Ok(id);
            }
        }
    }

    pub(crate) fn begin(&mut self, id: u32, context: Option<ContextId>, contexts: &mut Contexts) {
        let kind = (id & 3) as usize;
        if let Some(last) = self.last.get_mut(kind) {
            *last = id;
        }
        let sending = (Kind::of(id) == Some(Kind::GrpcStream)).then(Backlog::default);
        self.pending.push(Pending { id, context, bytes: 0, sending, ended: false });
        if let Some(context) = context.and_then(|context| contexts.stream_mut(context)) {
            context.callouts += 1;
        }
    }

    /// Whether one more call may hold so many bytes.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.pending.iter().map(|call| call.bytes).sum::<usize>() + bytes <= limits::CALLOUT_BYTES
    }

    /// Counts what a call that has begun holds, until it ends.
    pub(crate) fn hold(&mut self, id: u32, bytes: usize) {
        if let Some(call) = self.find(id) {
            call.bytes = bytes;
        }
    }

    pub(crate) fn find(&mut self, id: u32) -> Option<&mut Pending> {
        self.pending.iter_mut().find(|call| call.id == id)
    }

    /// Whether this call still waits for something, so that what comes for it is handed over.
    pub(crate) fn waits(&self, id: u32) -> bool {
        self.pending.iter().any(|call| call.id == id && !call.ended)
    }

    /// Whether a call that is no stream waits for its answer.
    pub(crate) fn await_answers(&self) -> bool {
        self.pending.iter().any(|call| !call.ended && Kind::of(call.id) != Some(Kind::GrpcStream))
    }

    /// The call is over: its quota is free again. `false` when it had ended before or is unknown.
    pub(crate) fn end(&mut self, id: u32, contexts: &mut Contexts) -> bool {
        let Some(call) = self.find(id).filter(|call| !call.ended) else { return false };
        call.ended = true;
        call.sending = None;
        call.bytes = 0;
        if let Some(context) = call.context.and_then(|context| contexts.stream_mut(context)) {
            context.callouts = context.callouts.saturating_sub(1);
        }
        true
    }

    /// The guest may not name this call any more.
    pub(crate) fn forget(&mut self, id: u32) {
        self.pending.retain(|call| call.id != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_keep_their_kind_when_they_wrap_and_skip_calls_under_way() {
        let (mut calls, mut contexts) = (Calls::default(), Contexts::new());
        for (kind, first) in [(Kind::Http, 4), (Kind::GrpcCall, 5), (Kind::GrpcStream, 6)] {
            assert_eq!(calls.admit(kind, None, 8), Ok(first));
            calls.begin(first, None, &mut contexts);
            assert_eq!(calls.admit(kind, None, 8), Ok(first + 4));
            calls.last[kind as usize] = (u32::MAX - 3) | kind as u32;
            assert_eq!(calls.admit(kind, None, 8), Ok(first + 4), "the first still lives");
        }
    }

    #[test]
    fn a_vm_has_a_quota_besides_that_of_each_exchange() {
        let (mut calls, mut contexts) = (Calls::default(), Contexts::new());
        for n in 1..=limits::CALLS as u32 {
            calls.begin(n * 4, None, &mut contexts);
        }
        assert_eq!(calls.admit(Kind::GrpcStream, None, 8), Err(Status::InternalFailure));
        assert!(calls.end(4, &mut contexts) && !calls.end(4, &mut contexts));
        calls.forget(4);
        assert_eq!(calls.admit(Kind::GrpcStream, None, 8), Ok(6));
        assert_eq!(calls.admit(Kind::GrpcStream, Some(8), 8), Err(Status::InternalFailure));
    }

    #[test]
    fn calls_hold_their_bytes_until_they_end() {
        let (mut calls, mut contexts) = (Calls::default(), Contexts::new());
        calls.begin(4, None, &mut contexts);
        calls.hold(4, limits::CALLOUT_BYTES - 1);
        assert!(calls.has_room(1) && !calls.has_room(2));
        calls.end(4, &mut contexts);
        assert!(calls.has_room(limits::CALLOUT_BYTES));
    }
}
