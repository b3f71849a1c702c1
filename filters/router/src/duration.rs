//! Durations as Istio writes them: `1h`, `1.5s`, `250ms`, `1m30s`.

use std::time::Duration;

/// Reads a duration; the error says what is wrong.
pub(crate) fn read(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration; write for example 1.5s or 250ms");
    let mut rest = text;
    let mut total = 0.0;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" => 1e-6,
            "ns" => 1e-9,
            _ => return Err(wrong()),
        };
        total += number.parse::<f64>().map_err(|_| wrong())? * seconds;
        rest = after;
    }
    Duration::try_from_secs_f64(total).map_err(|_| wrong())
}

/// Reads a duration that is zero (off) or at least a millisecond.
pub(crate) fn read_timeout(text: &str) -> Result<Option<Duration>, String> {
    match read(text)? {
        Duration::ZERO => Ok(None),
        short if short < Duration::from_millis(1) => Err(format!("`{text}` is shorter than 1ms")),
        timeout => Ok(Some(timeout)),
    }
}

/// Writes a duration in seconds, `1.5s`.
pub(crate) fn write(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::{read, read_timeout, write};

    #[test]
    fn istio_s_spellings_are_read() {
        for (text, seconds) in [("1h", 3600.0), ("1m30s", 90.0), ("1.5s", 1.5), ("250ms", 0.25), ("0s", 0.0)] {
            assert_eq!(read(text).unwrap().as_secs_f64(), seconds, "{text}");
        }
        for text in ["", "1", "s", "1x", "-1s", "1s2", "1..2s", "99999999999999999999h"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert_eq!(write(read("250ms").unwrap()), "0.25s");
        assert_eq!(write(read("5s").unwrap()), "5s");
        assert_eq!(read_timeout("0s").unwrap(), None);
        assert!(read_timeout("10us").is_err());
    }
}
