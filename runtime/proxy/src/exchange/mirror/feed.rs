//! The body of a request on its way to copies: shown to each of them as the original goes by, and never waited for.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::Frame;
use smallvec::SmallVec;

use crate::exchange::BodyError;
use crate::snapshot::Cluster;

/// Bytes that the body of a copy may be behind the original; then the copy is dropped.
const BEHIND: usize = 64 << 10;

/// The bodies of copies, fed as the original's goes by. Dropped before the end, they are cut.
#[derive(Default)]
pub struct Copies(SmallVec<[(Feed, Arc<Cluster>); 1]>);

impl Copies {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The body of one more copy, for this cluster.
    pub(super) fn another(&mut self, cluster: &Arc<Cluster>) -> Feed {
        let feed = Feed::default();
        self.0.push((feed.clone(), cluster.clone()));
        feed
    }

    /// Shows a piece to all of them; `dropped` is told of those that were too far behind.
    pub(super) fn push(&mut self, frame: &Frame<Bytes>, dropped: impl Fn(&Cluster)) {
        self.0.retain(|(feed, cluster)| {
            if Rc::strong_count(&feed.0) == 1 {
                // Its copy has ended: refused, or answered before it was sent whole.
                return false;
            }
            let is_near = feed.push(frame);
            if !is_near {
                feed.close(End::Cut);
                dropped(cluster);
            }
            is_near
        });
    }

    /// Nothing comes any more.
    pub(super) fn end(&mut self) {
        for (feed, _) in self.0.drain(..) {
            feed.close(End::Whole);
        }
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        for (feed, _) in self.0.drain(..) {
            feed.close(End::Cut);
        }
    }
}

/// The body of one copy, between the original that writes and the connection that reads.
#[derive(Clone, Default)]
pub struct Feed(Rc<RefCell<Queue>>);

#[derive(Default)]
struct Queue {
    frames: VecDeque<Frame<Bytes>>,
    bytes: usize,
    end: Option<End>,
    reader: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    Cut,
}

impl Feed {
    /// Adds a piece; `false`: the reader is too far behind.
    fn push(&self, frame: &Frame<Bytes>) -> bool {
        let mut queue = self.0.borrow_mut();
        let copy = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) if data.is_empty() => return true,
            (Some(data), _) => Frame::data(data.clone()),
            (None, Some(fields)) => Frame::trailers(fields.clone()),
            (None, None) => return true,
        };
        let bytes = copy.data_ref().map_or(0, Bytes::len);
        // One piece may be larger: it is shared with the original, not copied.
        if queue.bytes > 0 && queue.bytes + bytes > BEHIND {
            return false;
        }
        queue.bytes += bytes;
        queue.frames.push_back(copy);
        wake(&mut queue);
        true
    }

    fn close(&self, end: End) {
        let mut queue = self.0.borrow_mut();
        if end == End::Cut {
            queue.frames.clear();
        }
        queue.end = Some(end);
        wake(&mut queue);
    }

    pub fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut queue = self.0.borrow_mut();
        if let Some(frame) = queue.frames.pop_front() {
            queue.bytes -= frame.data_ref().map_or(0, Bytes::len);
            return Poll::Ready(Some(Ok(frame)));
        }
        match queue.end {
            Some(End::Whole) => Poll::Ready(None),
            Some(End::Cut) => Poll::Ready(Some(Err(BodyError::Stopped))),
            None => {
                queue.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    pub fn is_end(&self) -> bool {
        let queue = self.0.borrow();
        queue.frames.is_empty() && queue.end == Some(End::Whole)
    }
}

fn wake(queue: &mut Queue) {
    if let Some(reader) = queue.reader.take() {
        reader.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_too_far_behind_is_cut_and_holds_nothing_more() {
        let feed = Feed::default();
        let piece = |size: usize| Frame::data(Bytes::from(vec![0; size]));
        assert!(feed.push(&piece(BEHIND * 2)), "one piece of any size");
        assert!(!feed.push(&piece(1)));
        feed.close(End::Cut);
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(matches!(feed.poll_frame(cx), Poll::Ready(Some(Err(_)))));
        let feed = Feed::default();
        assert!(feed.push(&piece(BEHIND)) && !feed.push(&piece(1)));
        assert!(matches!(feed.poll_frame(cx), Poll::Ready(Some(Ok(_)))));
        assert!(feed.push(&piece(1)) && !feed.is_end());
        feed.close(End::Whole);
        assert!(matches!(feed.poll_frame(cx), Poll::Ready(Some(Ok(_)))) && feed.is_end());
    }
}
