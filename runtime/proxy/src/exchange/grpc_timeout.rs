//! How long a gRPC client says that it waits. Clients count from when they sent; a proxy that waits longer works for
//! nobody.

use std::time::Duration;

use http::HeaderMap;

/// The time of a gRPC request: what the client asks for, at most what the route allows.
pub(super) fn within(route: Option<Duration>, headers: &HeaderMap) -> Option<Duration> {
    let asked = headers.get("grpc-timeout").and_then(|value| parse(value.to_str().ok()?));
    match (asked, route) {
        (Some(asked), Some(route)) => Some(asked.min(route)),
        (asked, route) => asked.or(route),
    }
}

//= gRPC over HTTP/2, "Timeout": at most eight digits and a unit
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    // Zero is a client that has given up; a moment is left for the answer that says so.
    let time = match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    };
    Some(time.max(Duration::from_millis(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_s_time_counts_up_to_the_route_s() {
        for (value, time) in [("1H", 3_600_000), ("2M", 120_000), ("3S", 3000), ("250m", 250), ("5000u", 5), ("0m", 1)]
        {
            assert_eq!(parse(value), Some(Duration::from_millis(time)), "{value}");
        }
        for wrong in ["", "m", "1", "1s", "-1S", "123456789S", "1.5S"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        let headers = HeaderMap::from_iter([("grpc-timeout".parse().unwrap(), "2S".parse().unwrap())]);
        let seconds = |count| Some(Duration::from_secs(count));
        assert_eq!(within(None, &headers), seconds(2));
        assert_eq!(within(seconds(5), &headers), seconds(2));
        assert_eq!(within(seconds(1), &headers), seconds(1));
        assert_eq!(within(seconds(1), &HeaderMap::new()), seconds(1));
    }
}
