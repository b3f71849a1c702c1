//! gRPC callouts as values: what a guest asks for, and how a call ends.

mod target;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::limits;

pub use target::GrpcTarget;

/// A gRPC call that a guest wants made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrpcCallout {
    pub cluster: String,
    /// `None`: the cluster's name stands for it.
    pub authority: Option<String>,
    /// `package.Service`.
    pub service: String,
    pub method: String,
    /// Names in lower case; what the target brings comes first.
    pub metadata: Vec<(Vec<u8>, Vec<u8>)>,
    /// The message of a unary call; `None` opens a stream, whose messages come as [`GrpcStep`]s.
    pub message: Option<Vec<u8>>,
    /// `None`: without a limit of its own.
    pub timeout: Option<Duration>,
}

/// What a guest does with a call that it has begun.
#[derive(Debug)]
pub enum GrpcStep {
    Send(GrpcMessage),
    /// No further message: the stream is half closed.
    Close,
    /// Nothing of it is wanted any more: neither answer nor status is handed over.
    Cancel,
}

/// How a call ended. Codes are gRPC's: 0 is success.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrpcStatus {
    pub code: u32,
    pub message: String,
}

/// A message on its way to the upstream. Until it is dropped it takes up room in the queue of its stream.
#[derive(Debug)]
pub struct GrpcMessage {
    bytes: Vec<u8>,
    queue: Backlog,
}

impl GrpcMessage {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for GrpcMessage {
    fn drop(&mut self) {
        self.queue.0.messages.fetch_sub(1, Ordering::Relaxed);
        self.queue.0.bytes.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

/// The messages of one stream that the upstream has not taken yet. Atomic because a VM may record them on the thread
/// that prepares it and have them sent by another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backlog(Arc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    messages: AtomicUsize,
    bytes: AtomicUsize,
}

impl Backlog {
    /// Takes a message in; `None` when there is no room for it.
    pub(crate) fn admit(&self, message: &[u8]) -> Option<GrpcMessage> {
        // Only its VM adds to a queue, so that nothing comes between reading and adding.
        let messages = self.0.messages.load(Ordering::Relaxed) + 1;
        let bytes = self.0.bytes.load(Ordering::Relaxed) + message.len();
        if messages > limits::GRPC_QUEUE_MESSAGES || bytes > limits::GRPC_QUEUE_BYTES {
            return None;
        }
        self.0.messages.fetch_add(1, Ordering::Relaxed);
        self.0.bytes.fetch_add(message.len(), Ordering::Relaxed);
        Some(GrpcMessage { bytes: message.to_vec(), queue: self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_bounded_in_messages_and_bytes_and_dropped_messages_make_room() {
        let queue = Backlog::default();
        let mut waiting: Vec<_> = (0..limits::GRPC_QUEUE_MESSAGES).map(|_| queue.admit(b"").unwrap()).collect();
        assert!(queue.admit(b"").is_none());
        waiting.pop();
        assert!(queue.admit(b"").is_some());
        waiting.clear();
        let whole = queue.admit(&vec![0; limits::GRPC_QUEUE_BYTES]).unwrap();
        assert_eq!(whole.bytes().len(), limits::GRPC_QUEUE_BYTES);
        assert!(queue.admit(b"x").is_none());
        drop(whole);
        assert!(queue.admit(b"x").is_some());
    }
}
