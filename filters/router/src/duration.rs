//! Timeouts as Istio writes them, and as the proxy takes them.

use std::time::Duration;

use sidegate_sdk::parse_duration;

/// Reads a duration that is zero (off) or at least a millisecond.
pub(crate) fn read_timeout(text: &str) -> Result<Option<Duration>, String> {
    match parse_duration(text)? {
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
    use super::{read_timeout, write};

    #[test]
    fn timeouts_are_off_or_at_least_a_millisecond() {
        for (text, written) in [("250ms", "0.25s"), ("5s", "5s"), ("1m30s", "90s")] {
            assert_eq!(read_timeout(text).unwrap().map(write).as_deref(), Some(written));
        }
        assert_eq!(read_timeout("0s").unwrap(), None);
        assert!(read_timeout("10us").is_err());
    }
}
