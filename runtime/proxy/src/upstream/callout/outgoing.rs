//! The messages of a gRPC callout on their way up: the guest's side puts them in, the request's body takes them out.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{BufMut, Bytes, BytesMut};
use sidegate_wasm_host::GrpcMessage;

/// The guest's side. When it is dropped the request is reset, unless its body has ended by then.
pub struct Messages(Rc<Channel>);

/// The body's side.
pub struct Outgoing(Rc<Channel>);

/// What lies between the two. Its length is bounded where guests hand messages over: each [`GrpcMessage`] takes up
/// room in its stream's queue until it is dropped.
#[derive(Default)]
struct Channel {
    queue: RefCell<VecDeque<GrpcMessage>>,
    end: Cell<End>,
    body: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    /// No further message.
    Closed,
    Cancelled,
}

/// The two sides of a stream's messages.
pub fn channel() -> (Messages, Outgoing) {
    let channel = Rc::new(Channel::default());
    (Messages(channel.clone()), Outgoing(channel))
}

impl Messages {
    pub fn send(&self, message: GrpcMessage) {
        self.0.queue.borrow_mut().push_back(message);
        self.0.wake();
    }

    /// Ends the body once what was sent has been taken.
    pub fn close(&self) {
        self.0.end.set(End::Closed);
        self.0.wake();
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.0.end.set(End::Cancelled);
        self.0.queue.borrow_mut().clear();
        self.0.wake();
    }
}

impl Outgoing {
    /// The next message with gRPC's five bytes in front; the error resets the request.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
        let next = self.0.queue.borrow_mut().pop_front();
        match (next, self.0.end.get()) {
            (Some(message), _) => Poll::Ready(Some(Ok(frame(message.bytes())))),
            (None, End::Cancelled) => Poll::Ready(Some(Err(h2::Reason::CANCEL.into()))),
            (None, End::Closed) => Poll::Ready(None),
            (None, End::Open) => {
                *self.0.body.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Whether all has been taken.
    pub fn is_over(&self) -> bool {
        self.0.end.get() == End::Closed && self.0.queue.borrow().is_empty()
    }
}

impl Channel {
    fn wake(&self) {
        if let Some(body) = self.body.borrow_mut().take() {
            body.wake();
        }
    }
}

/// A message as gRPC frames it: not compressed, its length, its bytes.
pub fn frame(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.put_slice(message);
    framed.freeze()
}
