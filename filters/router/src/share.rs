//! Shares of requests, in millionths.

use sidegate_sdk::{Random, Setup};

use crate::config::Percent;

const MILLION: u32 = 1_000_000;

/// How many of a million requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share(u32);

impl Share {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const ALL: Self = Self(MILLION);

    /// The share as written: in percent, or as a whole number by its older key, or else `absent`. A problem is told to
    /// `setup` below `pointer`.
    pub(crate) fn read(
        (key, percentage): (&str, Option<Percent>),
        (old_key, whole): (&str, Option<u32>),
        absent: Self,
        pointer: &str,
        setup: &mut Setup,
    ) -> Self {
        let (key, percent) = match (percentage, whole) {
            (Some(percentage), _) => (format!("{key}/value"), percentage.value),
            (None, Some(whole)) => (old_key.to_owned(), f64::from(whole)),
            (None, None) => return absent,
        };
        Self::of_percent(percent).unwrap_or_else(|problem| {
            setup.error(format!("{pointer}/{key}"), problem);
            absent
        })
    }

    fn of_percent(percent: f64) -> Result<Self, &'static str> {
        if percent == 0.0 {
            return Ok(Self::NONE);
        }
        if !(0.0001..=100.0).contains(&percent) {
            return Err("a percentage is 0, or between 0.0001 and 100");
        }
        // Below 1,000,000 by the check above.
        Ok(Self((percent * 10_000.0).round() as u32))
    }

    /// In percent, as it is written.
    pub(crate) fn percent(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }

    /// Whether a request belongs to the share.
    pub(crate) fn takes(self, chance: &Random) -> bool {
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
