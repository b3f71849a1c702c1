//! Durations as Istio and Envoy write them.

use std::time::Duration;

/// Reads a duration such as `1h`, `1m30s`, `1.5s` or `250ms`.
///
/// # Errors
/// The text says what is wrong, for [`Setup::error`](crate::Setup::error).
///
/// ```
/// use std::time::Duration;
/// assert_eq!(sidegate_sdk::parse_duration("1m30s"), Ok(Duration::from_secs(90)));
/// assert!(sidegate_sdk::parse_duration("soon").is_err());
/// ```
pub fn parse(text: &str) -> Result<Duration, String> {
    total(text).ok_or_else(|| format!("`{text}` is no duration; write for example 1.5s or 250ms"))
}

fn total(text: &str) -> Option<Duration> {
    let mut rest = Some(text).filter(|text| !text.is_empty())?;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let (unit, after) = after.split_at(after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len()));
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        sum = sum.checked_add(Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?)?;
        rest = after;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn units_add_up_and_anything_else_is_refused() {
        for (text, seconds) in [("1h", 3600.0), ("1m30s", 90.0), ("1.5s", 1.5), ("250ms", 0.25), ("0s", 0.0)] {
            assert_eq!(parse(text).unwrap().as_secs_f64(), seconds, "{text}");
        }
        for text in ["", "1", "s", "1x", "-1s", "1s2", "1..2s", "99999999999999999999h"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
