//! Durations as configurations write them: `1h`, `1.5s`, `250ms`, `1m30s`.

use std::time::Duration;

/// Reads a duration.
///
/// ```
/// use sidegate_sdk::parse_duration;
/// use std::time::Duration;
/// assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
/// assert_eq!(parse_duration("0.25s"), Ok(Duration::from_millis(250)));
/// assert_eq!(parse_duration("5").unwrap_err(), "`5` is no duration; write for example 1.5s or 250ms");
/// ```
///
/// # Errors
/// What is wrong, fit for [`Setup::error`](crate::Setup::error).
pub fn parse(text: &str) -> Result<Duration, String> {
    read(text).ok_or_else(|| format!("`{text}` is no duration; write for example 1.5s or 250ms"))
}

fn read(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    loop {
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
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        total = total.checked_add(part)?;
        if after.is_empty() {
            return Some(total);
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn units_add_up_and_nonsense_is_told() {
        for (text, milliseconds) in [("24h", 86_400_000), ("1.5s", 1500), ("1h1m1s1ms", 3_661_001), ("0s", 0)] {
            assert_eq!(parse(text).unwrap().as_millis(), milliseconds, "{text}");
        }
        for text in ["", "1", "s", "1x", "-1s", "1s2", "1..2s", "1 s", "99999999999999999999h"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
