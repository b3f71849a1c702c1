//! Chance: for percentages and choices, not for secrets.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

/// A source of random numbers (xorshift64*), seeded by the host.
///
/// ```
/// use sidegate_sdk::Random;
/// let dice = Random::new();
/// assert!((0..100).all(|_| dice.below(6) < 6));
/// assert!((0..100).all(|_| dice.happens(1_000_000)));
/// assert!((0..100).all(|_| !dice.happens(0)));
/// ```
#[derive(Debug)]
pub struct Random(Cell<u64>);

impl Random {
    /// A source that nobody can foretell.
    #[must_use]
    pub fn new() -> Self {
        Self::seeded(RandomState::new().hash_one(0))
    }

    /// A source that gives the same numbers again, for tests.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        // Zero is the one state that this generator never leaves.
        Self(Cell::new(seed.max(1)))
    }

    /// A number below `bound`; 0 if `bound` is 0.
    pub fn below(&self, bound: u32) -> u32 {
        let drawn = self.draw() >> 32;
        u32::try_from((drawn * u64::from(bound)) >> 32).unwrap_or(0)
    }

    /// True `millionths` times in a million.
    pub fn happens(&self, millionths: u32) -> bool {
        self.below(1_000_000) < millionths
    }

    fn draw(&self) -> u64 {
        let mut state = self.0.get();
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.0.set(state);
        state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn half_a_percent_is_half_a_percent() {
        let random = Random::seeded(7);
        let hits = (0..1_000_000).filter(|_| random.happens(5_000)).count();
        assert!((4_700..5_300).contains(&hits), "{hits}");
    }

    #[test]
    fn a_seed_of_zero_still_draws() {
        let random = Random::seeded(0);
        assert!((0..10).any(|_| random.below(1000) != 0));
    }
}
