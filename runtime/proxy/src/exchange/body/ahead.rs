//! Bodies that are looked at before the message goes on: gathered so that their length can be told, or shown to a
//! filter that holds the headers for it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body;

use super::Pump;
use crate::exchange::Outcome;
use crate::exchange::chain::Step;
use crate::exchange::view::Waiter;

impl Pump {
    /// Takes a body of at most `limit` bytes whole, so that its length can be told. `None`: it is longer, or has
    /// trailers; it then goes on as it is, nothing lost.
    pub async fn gather(&mut self, limit: usize) -> Result<Option<Bytes>, Outcome> {
        let mut frames = VecDeque::new();
        let mut gathered = 0;
        let whole = loop {
            match std::future::poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await {
                None => break true,
                Some(Ok(frame)) => {
                    gathered += frame.data_ref().map_or(0, Bytes::len);
                    let fits = frame.is_data() && gathered <= limit;
                    frames.push_back(frame);
                    if !fits {
                        break false;
                    }
                }
                Some(Err(_)) => return Err(self.exchange.take_outcome().unwrap_or(Outcome::Close)),
            }
        };
        if !whole {
            frames.append(&mut self.ready);
            self.ready = frames;
            return Ok(None);
        }
        let mut body = bytes::BytesMut::with_capacity(gathered);
        for data in frames.into_iter().filter_map(|frame| frame.into_data().ok()) {
            body.extend_from_slice(&data);
        }
        Ok(Some(body.freeze()))
    }

    /// Shows the body to the filter `link`, which holds the headers, until it lets go.
    pub fn poll_until_released(&mut self, cx: &mut Context<'_>, link: usize) -> Poll<Step> {
        // A stop is seen at the top of the loop.
        let _ = self.take_back();
        let step = self.poll_release(cx, link);
        if step.is_pending() {
            self.lend_held();
        }
        step
    }

    fn poll_release(&mut self, cx: &mut Context<'_>, link: usize) -> Poll<Step> {
        loop {
            if self.stopped {
                return Poll::Ready(match self.exchange.take_outcome() {
                    Some(Outcome::Reply(reply)) => Step::Reply(reply),
                    Some(Outcome::Close) | None => Step::Close,
                });
            }
            let at = self.stages.iter().position(|stage| stage.link == link);
            if at.and_then(|at| self.stages.get(at)).is_none_or(|stage| stage.passed) {
                return Poll::Ready(Step::Continue);
            }
            self.exchange.register(Waiter::Exchange, cx);
            let decided = self.exchange.chain.borrow_mut().decided(&self.exchange.worker, link, self.direction);
            match decided {
                Step::Wait => {}
                Step::Continue => {
                    match at.and_then(|at| Some((at, self.stages.get_mut(at)?))) {
                        // What it held waits for the filters behind it; a stop is seen at the top of the loop.
                        Some((at, stage)) if stage.waiting => {
                            let _ = self.release(at);
                        }
                        Some((_, stage)) => stage.passed = true,
                        None => {}
                    }
                    continue;
                }
                step => return Poll::Ready(step),
            }
            if self.source_ended || self.is_full() {
                return Poll::Pending;
            }
            // A stop is seen at the top of the loop.
            let _ = ready!(self.poll_source(cx));
        }
    }
}
