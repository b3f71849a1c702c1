//! Values with units, as they are written: `1.5s`, `32Mi`, `90%`, `100/s`.

use std::{fmt, time::Duration};

use schemars::SchemaGenerator;
use serde_json::{Value as Json, json};

use crate::{
    cursor::Cursor,
    read::Read,
    tree::{Value, scalar::Scalar},
};

/// A number of bytes, written `32Mi`, `64Ki`, `1Gi` or as a plain number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

/// A share from 1 to 100, written `90%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(pub u8);

/// How often something may happen in a second, written `100/s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(pub u32);

/// A number of percent that may have a fraction and exceed a hundred, written `5` or `0.1`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Share(pub f64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, bytes) in SIZES.into_iter().rev() {
            if self.0 > 0 && self.0.is_multiple_of(bytes) {
                return write!(f, "{}{unit}", self.0 / bytes);
            }
        }
        write!(f, "{}", self.0)
    }
}

/// Longer than any wait that makes sense; keeps deadlines far from the ends of the clock.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

const SIZES: [(&str, u64); 3] = [("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30)];

const DURATION_FORMS: &str = "a duration such as 1.5s, 250ms, 1h2m or 0s, at most 8760h";
const SIZE_FORMS: &str = "a size such as 32Mi, 64Ki, 1Gi or a plain number of bytes";
const PERCENT_FORMS: &str = "a share from 1% to 100%";
const SHARE_FORMS: &str = "a number of percent such as 5 or 0.1";
const RATE_FORMS: &str = "a rate such as 100/s";

/// Reads `1.5s`, `250ms`, `1h2m`, `0s`; units are h, m, s, ms, us, ns.
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (amount, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let nanos: u128 = match unit {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
        if whole.len() + fraction.len() > 18 || whole.is_empty() || (amount.contains('.') && fraction.is_empty()) {
            return None;
        }
        total += whole.parse::<u128>().ok()? * nanos;
        if !fraction.is_empty() {
            total += fraction.parse::<u128>().ok()? * nanos / 10u128.pow(u32::try_from(fraction.len()).ok()?);
        }
        if total > LONGEST.as_nanos() {
            return None;
        }
        rest = after;
    }
    (!text.is_empty()).then(|| u64::try_from(total).ok().map(Duration::from_nanos)).flatten()
}

/// Reads `32Mi`, `64Ki`, `1Gi`, `4096`; up to 2^53 bytes.
pub(crate) fn size(text: &str) -> Option<Size> {
    let (digits, unit) =
        SIZES.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes))).unwrap_or((text, 1));
    Some(Size(digits_only(digits)?.checked_mul(unit).filter(|bytes| *bytes <= 1 << 53)?))
}

pub(crate) fn percent(text: &str) -> Option<Percent> {
    let value = digits_only(text.strip_suffix('%')?)?;
    u8::try_from(value).ok().filter(|value| (1..=100).contains(value)).map(Percent)
}

pub(crate) fn rate(text: &str) -> Option<Rate> {
    Some(Rate(u32::try_from(digits_only(text.strip_suffix("/s")?)?).ok()?))
}

fn digits_only(text: &str) -> Option<u64> {
    // `parse` alone would also take a sign.
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl Read for Duration {
    fn read(at: &Cursor<'_>) -> Option<Self> {
        let fix = match at.value() {
            Value::Scalar(Scalar::Int(digits)) => Some(format!("add a unit: {digits}s")),
            Value::Scalar(Scalar::Float(number)) if number.is_finite() => Some(format!("add a unit: {number}s")),
            _ => None,
        };
        at.text().and_then(duration).or_else(|| at.expected(DURATION_FORMS, fix))
    }

    fn schema(_: &mut SchemaGenerator) -> Json {
        json!({"type": "string", "pattern": "^([0-9]+(\\.[0-9]+)?(h|m|s|ms|us|ns))+$"})
    }
}

impl Read for Size {
    fn read(at: &Cursor<'_>) -> Option<Self> {
        let read = match at.value() {
            Value::Scalar(Scalar::Int(digits)) => size(digits),
            _ => at.text().and_then(size),
        };
        read.or_else(|| at.expected(SIZE_FORMS, None))
    }

    fn schema(_: &mut SchemaGenerator) -> Json {
        json!({"type": ["string", "integer"], "pattern": "^[0-9]+(Ki|Mi|Gi)?$", "minimum": 0})
    }
}

impl Read for Percent {
    fn read(at: &Cursor<'_>) -> Option<Self> {
        at.text().and_then(percent).or_else(|| at.expected(PERCENT_FORMS, None))
    }

    fn schema(_: &mut SchemaGenerator) -> Json {
        json!({"type": "string", "pattern": "^([1-9]|[1-9][0-9]|100)%$"})
    }
}

impl Read for Share {
    fn read(at: &Cursor<'_>) -> Option<Self> {
        let number = match at.value() {
            Value::Scalar(Scalar::Int(digits)) => digits.parse().ok(),
            Value::Scalar(Scalar::Float(number)) => Some(*number),
            _ => None,
        };
        let fix = at.text().and_then(|text| text.strip_suffix('%')).map(|number| format!("write {number}"));
        number
            .filter(|number: &f64| (0.0..=1_000_000.0).contains(number))
            .map(Share)
            .or_else(|| at.expected(SHARE_FORMS, fix))
    }

    fn schema(_: &mut SchemaGenerator) -> Json {
        json!({"type": "number", "minimum": 0})
    }
}

impl Read for Rate {
    fn read(at: &Cursor<'_>) -> Option<Self> {
        at.text().and_then(rate).or_else(|| at.expected(RATE_FORMS, None))
    }

    fn schema(_: &mut SchemaGenerator) -> Json {
        json!({"type": "string", "pattern": "^[0-9]+/s$"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let nanos = |n: u64| Some(Duration::from_nanos(n));
        assert_eq!(duration("1.5s"), nanos(1_500_000_000));
        assert_eq!(duration("250ms"), nanos(250_000_000));
        assert_eq!(duration("1h2m"), nanos(3_720_000_000_000));
        assert_eq!(duration("0s"), nanos(0));
        assert_eq!(duration("0.5us"), nanos(500));
        assert_eq!(duration("8760h"), Some(LONGEST));
        for bad in [
            "",
            "s",
            "1",
            "1.s",
            ".5s",
            "1..5s",
            "-1s",
            "+1s",
            "1 s",
            "1d",
            "1s5",
            "8761h",
            "1.5.5s",
            "1S",
            "1sm",
            "99999999999999999999h",
        ] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_shares_and_rates() {
        assert_eq!(size("32Mi"), Some(Size(32 << 20)));
        assert_eq!(size("64Ki"), Some(Size(64 << 10)));
        assert_eq!(size("1Gi"), Some(Size(1 << 30)));
        assert_eq!(size("17"), Some(Size(17)));
        for bad in ["", "Mi", "1M", "1MiB", "-1", "+1", "1.5Mi", "99999999999999Gi", "18446744073709551616"] {
            assert_eq!(size(bad), None, "{bad}");
        }
        assert_eq!(percent("90%"), Some(Percent(90)));
        for bad in ["", "%", "0%", "101%", "90", "9.5%", "+9%"] {
            assert_eq!(percent(bad), None, "{bad}");
        }
        assert_eq!(rate("100/s"), Some(Rate(100)));
        for bad in ["", "/s", "100", "100/m", "-1/s", "5000000000/s"] {
            assert_eq!(rate(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_size_is_shown_as_it_is_written() {
        assert_eq!(Size(32 << 20).to_string(), "32Mi");
        assert_eq!(Size(1500).to_string(), "1500");
        assert_eq!(Size(0).to_string(), "0");
    }
}
