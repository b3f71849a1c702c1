//! Shares of requests, to a millionth.

use crate::random::Random;

/// How many of a million requests.
///
/// ```
/// use sidegate_sdk::{Random, Share};
/// let share = Share::of_percent(0.5).unwrap();
/// assert_eq!(share.percent(), 0.5);
/// assert!(Share::ALL.takes(&Random::new()) && !Share::NONE.takes(&Random::new()));
/// assert!(Share::of_percent(100.1).is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    /// No request.
    pub const NONE: Self = Self(0);
    /// Every request.
    pub const ALL: Self = Self(1_000_000);

    /// The share in percent: 0, or from 0.0001 to 100.
    ///
    /// # Errors
    /// What is wrong with any other number, for the operator.
    pub fn of_percent(percent: f64) -> Result<Self, &'static str> {
        if percent == 0.0 {
            return Ok(Self::NONE);
        }
        if !(0.0001..=100.0).contains(&percent) {
            return Err("a percentage is 0, or from 0.0001 to 100");
        }
        // Below 1,000,000 by the check above.
        Ok(Self((percent * 10_000.0).round() as u32))
    }

    /// The share in percent.
    #[must_use]
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }

    /// Draws whether a request belongs to the share.
    #[must_use]
    pub fn takes(self, chance: &Random) -> bool {
        chance.happens(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Share;

    #[test]
    fn a_share_is_exact_to_a_millionth() {
        for (percent, millionths) in [(0.0, 0), (0.0001, 1), (50.0, 500_000), (100.0, 1_000_000)] {
            assert_eq!(Share::of_percent(percent), Ok(Share(millionths)));
        }
        for wrong in [-1.0, 0.00001, 100.1, f64::NAN, f64::INFINITY] {
            assert!(Share::of_percent(wrong).is_err(), "{wrong}");
        }
    }
}
