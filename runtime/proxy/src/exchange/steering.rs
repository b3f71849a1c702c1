//! Where filters send an exchange: the properties `sidegate.upstream.*`, `sidegate.route.name` and their like.

use std::num::NonZeroU64;
use std::time::Duration;

use super::mirror::{self, Mirror};
use crate::telemetry::flags::Flags;
use crate::upstream::retry::RetryPolicy;

/// What filters decided. Every value can be read back.
#[derive(Clone, Debug, Default)]
pub struct Steering {
    pub cluster: Option<String>,
    pub subset: Option<String>,
    pub route_name: Option<String>,
    pub timeout: Option<Duration>,
    pub per_try_timeout: Option<Duration>,
    pub retries: Option<RetryPolicy>,
    pub mirrors: Vec<Mirror>,
    /// Bytes per second in which the response's body leaves.
    pub response_rate: Option<NonZeroU64>,
    /// Counts writes that choose a route, so that the chain sees which filter steered.
    pub writes: u32,
    /// A value that could not be understood: the exchange fails with flag NC.
    pub invalid: bool,
    /// The texts as written, for reading back.
    texts: Vec<(&'static str, String)>,
}

const CLUSTER: &str = "sidegate.upstream.cluster";
const SUBSET: &str = "sidegate.upstream.subset";
const ROUTE_NAME: &str = "sidegate.route.name";

/// Properties that are stored and read back as text, and interpreted where they are used.
const TEXTS: [&str; 10] = [
    "sidegate.upstream.timeout",
    "sidegate.upstream.perTryTimeout",
    "sidegate.upstream.retries",
    "sidegate.upstream.hashKey",
    "sidegate.upstream.mirrors",
    "sidegate.response.bytesPerSecond",
    "sidegate.auth.claims",
    "sidegate.auth.principal",
    "sidegate.auth.audiences",
    "sidegate.trace.sampled",
];

impl Steering {
    /// Takes a property; `false`: the name is not one of ours.
    pub fn set(&mut self, name: &[u8], value: &[u8], flags: &mut Flags) -> bool {
        let Ok(name) = std::str::from_utf8(name) else { return false };
        let Ok(text) = std::str::from_utf8(value) else {
            self.invalid = true;
            return true;
        };
        self.writes += u32::from(name.starts_with("sidegate.upstream.") || name == ROUTE_NAME);
        match name {
            CLUSTER => self.cluster = Some(text.to_owned()),
            SUBSET => self.subset = (!text.is_empty()).then(|| text.to_owned()),
            ROUTE_NAME => self.route_name = Some(text.to_owned()),
            "sidegate.response_flag" => match Flags::parse(text) {
                Some(flag) => flags.insert(flag),
                None => self.invalid = true,
            },
            _ => return self.set_text(name, text),
        }
        true
    }

    fn set_text(&mut self, name: &str, text: &str) -> bool {
        let Some(name) = TEXTS.into_iter().find(|known| *known == name) else { return false };
        let duration = match (name, parse_duration(text)) {
            ("sidegate.upstream.timeout" | "sidegate.upstream.perTryTimeout", None) => {
                self.invalid = true;
                return true;
            }
            // An explicit zero switches the timeout off.
            (_, duration) => duration.filter(|duration| !duration.is_zero()),
        };
        match name {
            "sidegate.upstream.timeout" => self.timeout = duration,
            "sidegate.upstream.perTryTimeout" => self.per_try_timeout = duration,
            "sidegate.response.bytesPerSecond" => match text.parse() {
                Ok(rate) => self.response_rate = Some(rate),
                Err(_) => self.invalid = true,
            },
            "sidegate.upstream.retries" => match RetryPolicy::parse(text, parse_duration) {
                Some(policy) => self.retries = Some(policy),
                None => self.invalid = true,
            },
            "sidegate.upstream.mirrors" => match mirror::parse(text) {
                Some(mirrors) => self.mirrors = mirrors,
                None => self.invalid = true,
            },
            _ => {}
        }
        match self.texts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => text.clone_into(known),
            None => self.texts.push((name, text.to_owned())),
        }
        true
    }

    /// Forgets where the request goes, but not who sent it.
    pub fn forget_route(&mut self) {
        let texts = std::mem::take(&mut self.texts);
        let (writes, response_rate) = (self.writes, self.response_rate);
        let kept = |(name, _): &(&str, String)| !name.starts_with("sidegate.upstream.");
        *self = Self { texts: texts.into_iter().filter(kept).collect(), writes, response_rate, ..Self::default() };
    }

    /// Reads a property back.
    pub fn read(&self, name: &[u8]) -> Option<&str> {
        match std::str::from_utf8(name).ok()? {
            CLUSTER => self.cluster.as_deref(),
            SUBSET => self.subset.as_deref(),
            ROUTE_NAME => self.route_name.as_deref(),
            name => self.texts.iter().find(|(known, _)| *known == name).map(|(_, text)| text.as_str()),
        }
    }
}

/// `1.5s`, `250ms`, `2m`, `1h`.
fn parse_duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at_checked(split)?;
    let seconds = number.parse::<f64>().ok()?
        * match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties() {
        let (mut steering, mut flags) = (Steering::default(), Flags::default());
        let mut set = |name: &str, value: &str| steering.set(name.as_bytes(), value.as_bytes(), &mut flags);
        assert!(set("sidegate.upstream.cluster", "a") && set("sidegate.upstream.timeout", "1.5s"));
        assert!(set("sidegate.response_flag", "NR") && set("sidegate.upstream.hashKey", "k"));
        assert!(!set("sidegate.unknown", "x"));
        assert_eq!(steering.timeout, Some(Duration::from_millis(1500)));
        assert_eq!(steering.read(b"sidegate.upstream.timeout"), Some("1.5s"));
        assert!(!steering.invalid && !flags.is_empty());
        steering.set(b"sidegate.response.bytesPerSecond", b"1024", &mut flags);
        steering.forget_route();
        assert_eq!(steering.response_rate, NonZeroU64::new(1024), "a new route answers the same client");
        for (name, value) in [("sidegate.upstream.timeout", "soon"), ("sidegate.response.bytesPerSecond", "0")] {
            let mut steering = Steering::default();
            steering.set(name.as_bytes(), value.as_bytes(), &mut flags);
            assert!(steering.invalid, "{name}");
        }
    }
}
