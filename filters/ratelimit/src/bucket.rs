//! A token bucket as plain arithmetic.
//!
//! It is full when it is first asked for, and its clock starts with the first token that is taken from a full one. The
//! proxy's own buckets (`sidegate_token_bucket`) count the same way.

use std::time::Duration;

pub use sidegate_sdk::token_bucket::Taken;

/// What a bucket holds and how it fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// What it holds, at least 1.
    pub max_tokens: u64,
    /// What every fill brings, at least 1.
    pub tokens_per_fill: u64,
    /// Milliseconds between fills, at least 1.
    pub fill_interval: u64,
}

/// What is in a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    pub(crate) tokens: u64,
    /// When the last fill came, in milliseconds of the caller's clock.
    pub(crate) filled: u64,
}

impl Terms {
    /// Tokens per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.tokens_per_fill as f64 * 1000.0 / self.fill_interval as f64
    }
}

impl Level {
    /// A full bucket.
    #[must_use]
    pub fn full(terms: &Terms, now: u64) -> Self {
        Self { tokens: terms.max_tokens, filled: now }
    }

    /// Takes a token if there is one. `now` is in milliseconds; a clock that went back fills nothing.
    pub fn take(&mut self, terms: &Terms, now: u64) -> Taken {
        self.fill(terms, now);
        let allowed = self.tokens > 0;
        self.tokens -= u64::from(allowed);
        let is_full = self.tokens >= terms.max_tokens;
        let due = if is_full { now } else { self.filled.saturating_add(terms.fill_interval) };
        Taken { allowed, remaining: self.tokens, next_fill: Duration::from_millis(due.saturating_sub(now)) }
    }

    fn fill(&mut self, terms: &Terms, now: u64) {
        let interval = terms.fill_interval.max(1);
        // A clock that was set back must not stop the fills until it has caught up.
        self.filled = self.filled.min(now);
        let fills = (now - self.filled) / interval;
        let tokens = self.tokens.saturating_add(fills.saturating_mul(terms.tokens_per_fill));
        self.tokens = tokens.min(terms.max_tokens);
        self.filled = if self.tokens == terms.max_tokens { now } else { self.filled + fills * interval };
    }
}
