//! A pump as the one who sends the body on sees it, and what it shows while it waits.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::{Pump, Stopped};
use crate::exchange::BodyError;

/// A held body that is in the view while everybody waits.
pub(super) struct Lent {
    stage: usize,
    bytes: usize,
}

impl Body for Pump {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.take_back().is_err() {
            return Poll::Ready(Some(Err(BodyError::Stopped)));
        }
        let frame = self.poll_next(cx);
        if frame.is_pending() {
            self.lend_held();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.ready.is_empty()
    }
}

impl Pump {
    /// While one filter holds the body, hooks of its callouts and timers may read and change it. The view has one place:
    /// where several filters hold at once, none can.
    pub(super) fn lend_held(&mut self) {
        let mut holding = self.stages.iter_mut().enumerate().filter(|(_, stage)| stage.waiting);
        let (Some((stage, holder)), None) = (holding.next(), holding.next()) else { return };
        let held = std::mem::take(&mut holder.held);
        self.lent = Some(Lent { stage, bytes: held.len() });
        self.exchange.lend_body(self.direction, held);
    }

    /// Ends the loan. A body that has grown meanwhile is judged as one that came in pieces.
    pub(in crate::exchange) fn take_back(&mut self) -> Result<(), Stopped> {
        let Some(lent) = self.lent.take() else { return Ok(()) };
        let held = self.exchange.return_body(self.direction);
        let has_grown = held.len() > lent.bytes;
        if let Some(stage) = self.stages.get_mut(lent.stage) {
            stage.held = held;
        }
        if has_grown { self.check_held(lent.stage) } else { Ok(()) }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(frame)));
            }
            if self.stopped {
                return Poll::Ready(Some(Err(BodyError::Stopped)));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            let waiting = match self.poll_waiting(cx) {
                Ok(waiting) => waiting,
                Err(Stopped) => return Poll::Ready(Some(Err(BodyError::Stopped))),
            };
            if !self.ready.is_empty() || self.ended {
                continue;
            }
            if self.source_ended || (waiting && self.is_full()) {
                return Poll::Pending;
            }
            if let Err(Stopped) = ready!(self.poll_source(cx)) {
                return Poll::Ready(Some(Err(BodyError::Stopped)));
            }
        }
    }
}
