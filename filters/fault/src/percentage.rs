//! Shares of requests, to a millionth.

use sidegate_sdk::Setup;

use crate::config::Percent;

/// What draws are below: one of them is 0.0001 %.
pub const MILLION: u32 = 1_000_000;

/// A share in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percentage(u32);

impl Percentage {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const ALL: Self = Self(MILLION);

    /// Checks what is written; problems are told at `pointer`.
    pub(crate) fn compile(written: &Percent, pointer: &str, setup: &mut Setup) -> Self {
        let value = written.value;
        if value != 0.0 && !(0.0001..=100.0).contains(&value) {
            setup.error(format!("{pointer}/value"), "a percentage is 0, or from 0.0001 to 100");
            return Self::NONE;
        }
        Self((value * 10_000.0).round() as u32)
    }

    /// A header's number of whole percents; what is no number is not there.
    pub(crate) fn of_header(text: &str) -> Option<Self> {
        let percents: u32 = text.trim().parse().ok()?;
        Some(Self(percents.saturating_mul(10_000).min(MILLION)))
    }

    /// Whether a number drawn below a [`MILLION`] falls into the share.
    #[must_use]
    pub fn takes(self, drawn: u32) -> bool {
        drawn < self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_millionth_is_one_draw_of_a_million() {
        let mut setup = Setup::default();
        let smallest = Percentage::compile(&Percent { value: 0.0001 }, "", &mut setup);
        assert!(smallest.takes(0) && !smallest.takes(1));
        let most = Percentage::compile(&Percent { value: 99.9999 }, "", &mut setup);
        assert!(most.takes(999_998) && !most.takes(999_999));
        assert!(Percentage::ALL.takes(999_999) && !Percentage::NONE.takes(0));
    }

    #[test]
    fn headers_speak_in_whole_percents() {
        assert_eq!(Percentage::of_header("5"), Some(Percentage(50_000)));
        assert_eq!(Percentage::of_header("4294967295"), Some(Percentage::ALL));
        assert_eq!((Percentage::of_header("x"), Percentage::of_header("-1")), (None, None));
    }
}
