//! Durations and timestamps as text, and what a calendar says of them (UTC only). Both are nanoseconds.

use crate::calendar::{Moment, days_in, days_until};

const SECOND: i64 = 1_000_000_000;

/// `1h30m`, `1.5s`, `-250ms`.
pub(super) fn parse_duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text),
    };
    let mut total = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let split = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at_checked(split)?;
        let end = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at_checked(end)?;
        let unit = match unit {
            "ns" => 1.0,
            "us" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * unit;
        rest = behind;
    }
    let total = sign * total;
    (total.abs() < i64::MAX as f64).then_some(total as i64)
}

/// RFC 3339: `2026-11-20T22:00:00.5Z`, with `Z` or an offset.
pub(super) fn parse_timestamp(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| -> Option<i64> {
        let part = text.get(from..to)?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok()).flatten()
    };
    let mark = |at: usize, allowed: &str| text.get(at..at + 1).is_some_and(|found| allowed.contains(found));
    let shaped = mark(4, "-") && mark(7, "-") && mark(10, "Tt") && mark(13, ":") && mark(16, ":");
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !shaped || !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut rest = text.get(19..)?;
    let mut fraction = 0;
    if let Some(digits) = rest.strip_prefix('.') {
        let end = digits.find(|c: char| !c.is_ascii_digit())?;
        let (digits, behind) = digits.split_at_checked(end)?;
        fraction = format!("{digits:0<9}").get(..9)?.parse::<i64>().ok()?;
        rest = behind;
    }
    let offset = match rest {
        "Z" | "z" => 0,
        _ => {
            let (sign, clock) = match rest.split_at_checked(1)? {
                ("+", clock) => (1, clock),
                ("-", clock) => (-1, clock),
                _ => return None,
            };
            let (hours, minutes) = clock.split_once(':')?;
            sign * (hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60)
        }
    };
    let seconds = days_until(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    seconds.checked_mul(SECOND)?.checked_add(fraction)
}

pub(super) fn format_duration(nanoseconds: i64) -> String {
    let (sign, size) = (if nanoseconds < 0 { "-" } else { "" }, nanoseconds.unsigned_abs());
    let text = format!("{sign}{}.{:09}", size / 1_000_000_000, size % 1_000_000_000);
    format!("{}s", text.trim_end_matches('0').trim_end_matches('.'))
}

pub(super) fn format_timestamp(nanoseconds: i64) -> String {
    let fraction = nanoseconds.rem_euclid(SECOND);
    let fraction = if fraction == 0 { String::new() } else { format!(".{fraction:09}") };
    let fraction = fraction.trim_end_matches('0');
    format!("{}{fraction}Z", Moment::at(nanoseconds.div_euclid(SECOND)))
}

/// CEL's accessors of a timestamp. Months, days of the month and days of the year count from 0 where CEL says so.
pub(super) fn of_timestamp(nanoseconds: i64, name: &str) -> Option<i64> {
    let at = Moment::at(nanoseconds.div_euclid(SECOND));
    Some(match name {
        "getFullYear" => at.year,
        "getMonth" => at.month - 1,
        "getDate" => at.day,
        "getDayOfMonth" => at.day - 1,
        "getDayOfWeek" => at.weekday(),
        "getDayOfYear" => at.day_of_year(),
        "getHours" => at.hour,
        "getMinutes" => at.minute,
        "getSeconds" => at.second,
        "getMilliseconds" => nanoseconds.rem_euclid(SECOND) / 1_000_000,
        _ => return None,
    })
}

/// CEL's accessors of a duration: all of it in that unit, except milliseconds.
pub(super) fn of_duration(nanoseconds: i64, name: &str) -> Option<i64> {
    Some(match name {
        "getHours" => nanoseconds / (3600 * SECOND),
        "getMinutes" => nanoseconds / (60 * SECOND),
        "getSeconds" => nanoseconds / SECOND,
        "getMilliseconds" => nanoseconds / 1_000_000 % 1000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, nanoseconds) in
            [("1h30m", 5400 * SECOND), ("1.5s", 1_500_000_000), ("-250ms", -250_000_000), ("7us", 7000), ("0s", 0)]
        {
            assert_eq!(parse_duration(text), Some(nanoseconds), "{text}");
        }
        for text in ["", "-", "5", "1d", "s", "1e9s", "9999999999h", "1.2.3s"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        assert_eq!(format_duration(-1_500_000_000), "-1.5s");
        assert_eq!(format_duration(10 * SECOND), "10s");
    }

    #[test]
    fn timestamps_there_and_back() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2026-11-20T22:00:00Z", 1_795_212_000),
            ("1969-12-31T23:59:59Z", -1),
        ] {
            assert_eq!(parse_timestamp(text), Some(seconds * SECOND), "{text}");
            assert_eq!(format_timestamp(seconds * SECOND), text);
        }
        assert_eq!(parse_timestamp("1970-01-01T01:00:00.25+01:00"), Some(250_000_000));
        assert_eq!(format_timestamp(250_000_000), "1970-01-01T00:00:00.25Z");
        for text in ["", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-01-01T00:00:00", "2026-01-01 00:00:00Z"]
        {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
    }

    #[test]
    fn what_the_calendar_says() {
        let at = parse_timestamp("2026-11-20T22:03:04.005Z").unwrap();
        let said: Vec<_> = ["getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear"]
            .map(|name| of_timestamp(at, name).unwrap())
            .into();
        assert_eq!(said, [2026, 10, 20, 19, 5, 323]);
        let said: Vec<_> = ["getHours", "getMinutes", "getSeconds", "getMilliseconds"]
            .map(|name| of_timestamp(at, name).unwrap())
            .into();
        assert_eq!(said, [22, 3, 4, 5]);
        assert_eq!(of_duration(5400 * SECOND, "getMinutes"), Some(90));
    }
}
