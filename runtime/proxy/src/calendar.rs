//! The calendar and the clock of UTC, as the Gregorian calendar reaches in both directions. Days are counted in eras of
//! 400 years that begin in March, so that a leap day is the last one of its year.

use std::fmt;
use std::time::{Duration, SystemTime};

const DAY: i64 = 86_400;
/// Days of an era.
const ERA: i64 = 146_097;
/// Days from the first of March of the year 0 to 1970-01-01.
const EPOCH: i64 = 719_468;

/// A second. As text it is `2026-11-20T18:48:35`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub year: i64,
    /// From 1.
    pub month: i64,
    /// From 1.
    pub day: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    /// Whole days since 1970-01-01.
    days: i64,
}

impl Moment {
    /// So many seconds after 1970-01-01, or before it.
    pub fn at(seconds: i64) -> Self {
        let (days, clock) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        let (year, month, day) = date(days);
        Self { year, month, day, hour: clock / 3600, minute: clock / 60 % 60, second: clock % 60, days }
    }

    /// From 0, which is Sunday.
    pub fn weekday(&self) -> i64 {
        // 1970-01-01 was a Thursday.
        (self.days + 4).rem_euclid(7)
    }

    /// From 0.
    pub fn day_of_year(&self) -> i64 {
        self.days - days_until(self.year, 1, 1)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, hour, minute, second, .. } = self;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
    }
}

/// The time since 1970-01-01, and its whole seconds for [`Moment::at`]; a clock that stands before that counts as 0.
pub fn since_epoch(time: SystemTime) -> (Duration, i64) {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (since, i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// Days from 1970-01-01 to a date; negative before it.
pub fn days_until(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * ERA + of_era * 365 + of_era / 4 - of_era / 100 + of_year - EPOCH
}

/// The days of a month.
pub fn days_in(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The inverse of [`days_until`]: year, month, day.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH;
    let (era, of_era) = (days.div_euclid(ERA), days.rem_euclid(ERA));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_what_other_clocks_say() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00"),
            (-1, "1969-12-31T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (951_868_799, "2000-02-29T23:59:59"),
            (951_868_800, "2000-03-01T00:00:00"),
            (1_767_225_599, "2025-12-31T23:59:59"),
            (1_795_200_515, "2026-11-20T18:48:35"),
            (4_107_542_400, "2100-03-01T00:00:00"),
            (-2_203_891_200, "1900-03-01T00:00:00"),
            (-62_135_596_800, "0001-01-01T00:00:00"),
        ] {
            assert_eq!(Moment::at(seconds).to_string(), text, "{seconds}");
        }
    }

    #[test]
    fn days_follow_each_other_through_every_leap_year() {
        let (mut year, mut month, mut day) = (1599, 12, 31);
        for days in days_until(1600, 1, 1)..days_until(2401, 1, 1) {
            (year, month, day) = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                (month, day) if day == days_in(year, month) => (year, month + 1, 1),
                (month, day) => (year, month, day + 1),
            };
            assert_eq!((date(days), days_until(year, month, day)), ((year, month, day), days));
        }
        assert_eq!((year, month, day), (2400, 12, 31));
        assert_eq!([1900, 2000, 2023, 2024].map(|year| days_in(year, 2)), [28, 29, 28, 29]);
    }

    #[test]
    fn days_have_names_and_numbers() {
        let at = |year, month, day| Moment::at(days_until(year, month, day) * DAY);
        assert_eq!((at(1970, 1, 1).weekday(), at(1969, 12, 28).weekday(), at(2026, 11, 20).weekday()), (4, 0, 5));
        assert_eq!((at(2024, 12, 31).day_of_year(), at(2023, 12, 31).day_of_year()), (365, 364));
        assert_eq!(at(2026, 1, 1).day_of_year(), 0);
    }
}
