//! Token buckets: one step under one lock, so that workers never let more pass than a bucket holds.
//!
//! A bucket is full when it is first asked for, and a full one is forgotten: it answers the same when it is made anew.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::time::Duration;

use super::{Shared, lock};
use crate::abi::Status;
use crate::limits;

/// What a bucket holds and how it fills. They come with every call; a change takes effect with the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketTerms {
    pub max_tokens: u64,
    pub tokens_per_fill: u64,
    /// Fills come one interval apart, counted from the first token that was taken from a full bucket.
    pub fill_interval: Duration,
}

/// The answer of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// Whether the tokens were there and are taken; else none is.
    pub allowed: bool,
    pub remaining: u64,
    /// Time until tokens come; zero for a full bucket.
    pub next_fill: Duration,
}

#[derive(Default)]
pub(super) struct Shard {
    vms: HashMap<String, HashMap<Box<[u8]>, Bucket>>,
    swept: Duration,
}

struct Bucket {
    terms: BucketTerms,
    tokens: u64,
    /// When the last fill came.
    filled: Duration,
}

impl Shared {
    /// Takes `tokens`, all or none; 0 only asks. `now` is a monotonic clock that all callers share.
    ///
    /// # Errors
    /// `BadArgument` for terms that can hold or fill nothing and for a key over its limit; `InternalFailure` when this
    /// vmId has as many buckets as it may, none of them full.
    pub fn draw(
        &self,
        vm_id: &str,
        key: &[u8],
        terms: BucketTerms,
        tokens: u64,
        now: Duration,
    ) -> Result<Drawn, Status> {
        let empty = terms.max_tokens == 0 || terms.tokens_per_fill == 0 || terms.fill_interval.is_zero();
        if empty || key.len() > limits::BUCKET_KEY_BYTES {
            return Err(Status::BadArgument);
        }
        let index = self.hasher.hash_one((vm_id, key)) as usize % self.buckets.len().max(1);
        let mut shard = self.buckets.get(index).map(lock).ok_or(Status::InternalFailure)?;
        if let Some(bucket) = shard.vms.get_mut(vm_id).and_then(|buckets| buckets.get_mut(key)) {
            return Ok(bucket.draw(terms, tokens, now));
        }
        shard.add(vm_id, key, terms, now).map(|bucket| bucket.draw(terms, tokens, now))
    }
}

impl Shard {
    fn add(&mut self, vm_id: &str, key: &[u8], terms: BucketTerms, now: Duration) -> Result<&mut Bucket, Status> {
        // At most once in a while, so that a flood of new keys cannot make each of them cost a sweep.
        if now.saturating_sub(self.swept) >= limits::BUCKET_SWEEP {
            self.sweep(now);
        }
        let buckets = self.vms.entry(vm_id.to_owned()).or_default();
        if buckets.len() >= limits::BUCKETS {
            return Err(Status::InternalFailure);
        }
        Ok(buckets.entry(key.into()).or_insert(Bucket { terms, tokens: terms.max_tokens, filled: now }))
    }

    fn sweep(&mut self, now: Duration) {
        self.swept = now;
        self.vms.retain(|_, buckets| {
            buckets.retain(|_, bucket| {
                bucket.fill(now);
                bucket.tokens < bucket.terms.max_tokens
            });
            !buckets.is_empty()
        });
    }
}

impl Bucket {
    fn draw(&mut self, terms: BucketTerms, tokens: u64, now: Duration) -> Drawn {
        self.terms = terms;
        self.fill(now);
        let allowed = tokens <= self.tokens;
        if allowed {
            self.tokens -= tokens;
        }
        let next_fill = if self.tokens < terms.max_tokens {
            (self.filled + terms.fill_interval).saturating_sub(now)
        } else {
            Duration::ZERO
        };
        Drawn { allowed, remaining: self.tokens, next_fill }
    }

    fn fill(&mut self, now: Duration) {
        let BucketTerms { max_tokens, tokens_per_fill, fill_interval } = self.terms;
        // Another worker may have read its clock a moment later and been here first.
        let since = now.saturating_sub(self.filled).as_nanos();
        let fills = u64::try_from(since / fill_interval.as_nanos().max(1)).unwrap_or(u64::MAX);
        self.tokens = self.tokens.saturating_add(fills.saturating_mul(tokens_per_fill)).min(max_tokens);
        if self.tokens == max_tokens {
            self.filled = self.filled.max(now);
        } else if let Ok(fills) = u32::try_from(fills) {
            self.filled += fill_interval * fills;
        } else {
            self.filled = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const TERMS: BucketTerms =
        BucketTerms { max_tokens: 3, tokens_per_fill: 2, fill_interval: Duration::from_millis(100) };

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_bucket_empties_and_fills_by_whole_intervals() {
        let shared = Shared::default();
        let draw = |tokens, at| shared.draw("vm", b"k", TERMS, tokens, ms(at)).unwrap();
        assert_eq!(draw(0, 1000), Drawn { allowed: true, remaining: 3, next_fill: Duration::ZERO });
        assert_eq!(draw(2, 1030), Drawn { allowed: true, remaining: 1, next_fill: ms(100) });
        assert_eq!(draw(2, 1050), Drawn { allowed: false, remaining: 1, next_fill: ms(80) }, "all or none");
        assert_eq!(draw(1, 1060), Drawn { allowed: true, remaining: 0, next_fill: ms(70) });
        assert!(!draw(1, 1129).allowed);
        assert_eq!(draw(1, 1130), Drawn { allowed: true, remaining: 1, next_fill: ms(100) });
        assert_eq!(draw(0, 1120).remaining, 1, "a clock read earlier changes nothing");
        assert_eq!(draw(4, 9000), Drawn { allowed: false, remaining: 3, next_fill: Duration::ZERO });
    }

    #[test]
    fn terms_may_change_and_have_to_make_sense() {
        let shared = Shared::default();
        let draw = |terms| shared.draw("vm", b"k", terms, 0, ms(5));
        assert_eq!(draw(TERMS).unwrap().remaining, 3);
        assert_eq!(draw(BucketTerms { max_tokens: 1, ..TERMS }).unwrap().remaining, 1, "a smaller one keeps less");
        for terms in [
            BucketTerms { max_tokens: 0, ..TERMS },
            BucketTerms { tokens_per_fill: 0, ..TERMS },
            BucketTerms { fill_interval: Duration::ZERO, ..TERMS },
        ] {
            assert_eq!(draw(terms), Err(Status::BadArgument));
        }
        let longest = vec![0; limits::BUCKET_KEY_BYTES + 1];
        assert_eq!(shared.draw("vm", &longest, TERMS, 0, ms(5)), Err(Status::BadArgument));
    }

    #[test]
    fn many_threads_take_no_more_than_there_is() {
        let shared = Arc::new(Shared::default());
        let passed = Arc::new(AtomicU64::new(0));
        let terms = BucketTerms { max_tokens: 1000, tokens_per_fill: 1, fill_interval: Duration::from_secs(3600) };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                let (shared, passed) = (shared.clone(), passed.clone());
                scope.spawn(move || {
                    for at in 0..1250 {
                        let drawn = shared.draw("vm", b"k", terms, 1, Duration::from_micros(at)).unwrap();
                        passed.fetch_add(u64::from(drawn.allowed), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(passed.load(Ordering::Relaxed), 1000);
    }

    #[test]
    fn keys_are_bounded_and_full_buckets_make_room() {
        let shared = Shared::default();
        let draw = |key: u64, at| shared.draw("vm", &key.to_le_bytes(), TERMS, 1, ms(at));
        let most = (limits::BUCKETS * super::super::SHARDS) as u64;
        let refused = (0..2 * most).filter(|key| draw(*key, 5000) == Err(Status::InternalFailure)).count() as u64;
        assert!(refused >= most, "{refused} of {} were refused", 2 * most);
        assert!(shared.draw("other", b"k", TERMS, 1, ms(5000)).is_ok(), "each vmId has its own");
        // A second later all of them are full again: the next key sweeps its shard.
        assert!((0..most).all(|key| draw(10 * most + key, 6100 + 2000 * (key / 1000)).is_ok()));
    }
}
