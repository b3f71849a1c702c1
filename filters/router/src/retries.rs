//! Retries are checked here and passed on as JSON; the proxy, which has the connections, does them.

use sidegate_sdk::{Setup, serde_json};

use crate::config::HttpRetry;
use crate::duration;

const WORDS: [&str; 16] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "envoy-ratelimited",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

/// The policy as JSON with its durations in seconds; problems are told to `setup` below `pointer`.
pub(crate) fn compile(written: &HttpRetry, pointer: &str, setup: &mut Setup) -> Box<str> {
    let HttpRetry {
        attempts,
        per_try_timeout,
        retry_on,
        retry_remote_localities,
        retry_ignore_previous_hosts,
        backoff,
    } = written;
    let mut json = serde_json::Map::new();
    json.insert("attempts".to_owned(), (*attempts).into());
    let mut time = |name: &str, text: &Option<String>| {
        let Some(text) = text else { return };
        match duration::read_timeout(text) {
            Ok(time) => {
                json.insert(name.to_owned(), duration::write(time.unwrap_or_default()).into());
            }
            Err(problem) => setup.error(format!("{pointer}/{name}"), problem),
        }
    };
    time("perTryTimeout", per_try_timeout);
    time("backoff", backoff);
    if let Some(words) = retry_on {
        for word in words.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let is_status = word.parse::<u16>().is_ok_and(|status| (100..600).contains(&status));
            if !is_status && !WORDS.contains(&word) {
                setup.error(format!("{pointer}/retryOn"), format!("`{word}` is no retry condition"));
            }
        }
        json.insert("retryOn".to_owned(), words.as_str().into());
    }
    for (name, value) in
        [("retryRemoteLocalities", retry_remote_localities), ("retryIgnorePreviousHosts", retry_ignore_previous_hosts)]
    {
        if let Some(value) = value {
            json.insert(name.to_owned(), (*value).into());
        }
    }
    if *attempts == 0 && json.len() > 1 {
        setup.error(pointer, "without attempts nothing else has an effect; give attempts or only `attempts: 0`");
    }
    serde_json::Value::Object(json).to_string().into()
}
