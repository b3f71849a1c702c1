//! A body that leaves no faster than a filter allows (`sidegate.response.bytesPerSecond`). Whoever sends the body pulls
//! it, and nothing is pulled while something waits here, so that the upstream is slowed down too.

use std::future::Future;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, Sleep};

/// What leaves at once is worth this time at most: short enough to look even, long enough for timers of a millisecond.
const SLICE: Duration = Duration::from_micros(62_500);

/// The clock of one body.
pub(super) struct Pace {
    /// Bytes per second.
    rate: NonZeroU64,
    /// When everything that has left is paid for.
    paid: Instant,
    /// What is left of the piece that came last.
    rest: Bytes,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    pub(super) fn new(rate: NonZeroU64) -> Self {
        Self { rate, paid: Instant::now(), rest: Bytes::new(), sleep: None }
    }

    /// Bytes that wait.
    pub(super) fn held(&self) -> usize {
        self.rest.len()
    }

    /// Takes the next piece; the one before has left.
    pub(super) fn hold(&mut self, piece: Bytes) {
        self.rest = piece;
    }

    /// What may leave next, when it may; `None`: nothing is held.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let now = Instant::now();
        if self.paid > now + SLICE {
            let due = self.paid - SLICE;
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
            if sleep.deadline() != due {
                sleep.as_mut().reset(due);
            }
            ready!(sleep.as_mut().poll(cx));
        }
        let most = (self.rate.get() / 16).max(1);
        let slice = self.rest.split_to(self.rest.len().min(usize::try_from(most).unwrap_or(usize::MAX)));
        let price = Duration::from_secs_f64(slice.len() as f64 / self.rate.get() as f64);
        self.paid = self.paid.max(now) + price;
        Poll::Ready(Some(slice))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    async fn drained(rate: u64, pieces: &[usize]) -> (Duration, usize) {
        let began = Instant::now();
        let mut pace = Pace::new(NonZeroU64::new(rate).unwrap());
        let mut largest = 0;
        for piece in pieces {
            pace.hold(vec![0; *piece].into());
            while let Some(slice) = poll_fn(|cx| pace.poll(cx)).await {
                largest = largest.max(slice.len());
            }
        }
        (began.elapsed(), largest)
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_take_their_time_and_leave_evenly() {
        for (rate, pieces, seconds) in [
            (1000, vec![10_000], 10.0),
            (1 << 20, vec![100_000; 100], 9.5),
            (3, vec![2, 10], 4.0),
            (1 << 40, vec![1; 9], 0.0),
        ] {
            let (took, largest) = drained(rate, &pieces).await;
            assert!((took.as_secs_f64() - seconds).abs() < 0.5, "{rate} B/s: {took:?}");
            assert!(largest as u64 <= (rate / 16).max(1), "{rate} B/s: {largest}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_source_saves_nothing_up() {
        let mut pace = Pace::new(NonZeroU64::new(1000).unwrap());
        tokio::time::sleep(Duration::from_secs(60)).await;
        let began = Instant::now();
        pace.hold(vec![0; 2000].into());
        while poll_fn(|cx| pace.poll(cx)).await.is_some() {}
        assert!(began.elapsed() > Duration::from_millis(1800));
    }
}
