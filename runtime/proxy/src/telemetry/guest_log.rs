//! Lines that guests log: bounded by rate, control characters escaped once, handed to `tracing`.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sidegate_wasm_host::VmSpec;
use sidegate_wasm_host::abi::LogLevel;

/// Whether the format of the log escapes control characters itself, as JSON does.
static FORMAT_ESCAPES: AtomicBool = AtomicBool::new(false);

/// To be called before there are guests, when the format of the log does.
pub fn format_escapes() {
    FORMAT_ESCAPES.store(true, Ordering::Relaxed);
}

/// A token bucket of lines: one second's worth at once, refilled evenly.
#[derive(Debug)]
pub struct LineRate {
    per_second: u32,
    tokens: f64,
    last: Duration,
}

impl LineRate {
    pub fn new(per_second: u32) -> Self {
        Self { per_second, tokens: f64::from(per_second), last: Duration::ZERO }
    }

    /// Takes one token; `now` is a monotonic time.
    pub fn admit(&mut self, now: Duration) -> bool {
        let rate = f64::from(self.per_second);
        self.tokens = (self.tokens + now.saturating_sub(self.last).as_secs_f64() * rate).min(rate);
        self.last = now;
        let admitted = self.tokens >= 1.0;
        if admitted {
            self.tokens -= 1.0;
        }
        admitted
    }
}

/// Writes one line with the name and version of its plugin.
pub fn write(spec: &VmSpec, level: LogLevel, text: &[u8]) {
    let (plugin, version) = (spec.plugin.as_str(), spec.version.as_str());
    let text = String::from_utf8_lossy(text);
    let text = if FORMAT_ESCAPES.load(Ordering::Relaxed) { text } else { escape(text) };
    match level {
        LogLevel::Trace => tracing::trace!(target: "guest", plugin, version, "{text}"),
        LogLevel::Debug => tracing::debug!(target: "guest", plugin, version, "{text}"),
        LogLevel::Info => tracing::info!(target: "guest", plugin, version, "{text}"),
        LogLevel::Warn => tracing::warn!(target: "guest", plugin, version, "{text}"),
        LogLevel::Error => tracing::error!(target: "guest", plugin, version, "{text}"),
        LogLevel::Critical => tracing::error!(target: "guest", plugin, version, critical = true, "{text}"),
    }
}

/// Control characters as `\n`, `\x1b` and so on; everything else unchanged.
fn escape(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\t' => out.push(c),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => out.extend(format!("\\x{:02x}", u32::from(c)).chars()),
            c => out.push(c),
        }
    }
    out.into()
}

/// The lowest level that is written to the log for guests.
pub fn level() -> LogLevel {
    if tracing::enabled!(target: "guest", tracing::Level::TRACE) {
        LogLevel::Trace
    } else if tracing::enabled!(target: "guest", tracing::Level::DEBUG) {
        LogLevel::Debug
    } else if tracing::enabled!(target: "guest", tracing::Level::INFO) {
        LogLevel::Info
    } else if tracing::enabled!(target: "guest", tracing::Level::WARN) {
        LogLevel::Warn
    } else {
        LogLevel::Error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_cannot_forge_lines() {
        assert_eq!(escape("a\n\x1b[31mb\0".into()), "a\\n\\x1b[31mb\\x00");
        assert_eq!(escape("plain é".into()), "plain é");
    }

    #[test]
    fn rate() {
        let mut rate = LineRate::new(2);
        let at = Duration::from_secs;
        assert!(rate.admit(at(1)) && rate.admit(at(1)) && !rate.admit(at(1)));
        assert!(rate.admit(at(2)));
    }
}
