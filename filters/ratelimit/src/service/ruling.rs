//! What the service says: a `RateLimitResponse`.

use sidegate_sdk::Result;
use sidegate_sdk::protobuf::{Malformed, Value, fields};

use crate::answer::{Told, is_header_name, is_header_value};

const OVER_LIMIT: u64 = 2;

/// An answer of the service.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ruling {
    pub(crate) allowed: bool,
    /// The limit of which least is left.
    pub(crate) told: Option<Told>,
    /// For the client.
    pub(crate) response_headers: Vec<(String, String)>,
    /// For the service behind, when the request goes on.
    pub(crate) request_headers: Vec<(String, String)>,
    /// The body of a refusal.
    pub(crate) body: Vec<u8>,
}

impl Ruling {
    /// Reads an answer.
    ///
    /// # Errors
    /// If it is no message.
    pub(crate) fn read(message: &[u8]) -> Result<Self> {
        let mut ruling =
            Self { allowed: true, told: None, response_headers: vec![], request_headers: vec![], body: vec![] };
        let (mut tightest, mut windows): (Option<Limit>, String) = (None, String::new());
        for field in fields(message) {
            match field? {
                (1, Value::Number(code)) => ruling.allowed = code != OVER_LIMIT,
                (2, Value::Bytes(bytes)) => {
                    if let Some(limit) = Limit::read(bytes)? {
                        windows += &limit.window();
                        if tightest.as_ref().is_none_or(|known| limit.remaining < known.remaining) {
                            tightest = Some(limit);
                        }
                    }
                }
                (3, Value::Bytes(bytes)) => ruling.response_headers.extend(header(bytes)?),
                (4, Value::Bytes(bytes)) => ruling.request_headers.extend(header(bytes)?),
                (5, Value::Bytes(bytes)) => ruling.body = bytes.to_vec(),
                _ => {}
            }
        }
        ruling.told = tightest.map(|Limit { requests, remaining, reset, .. }| Told {
            limit: format!("{requests}{windows}"),
            remaining,
            seconds: reset,
        });
        Ok(ruling)
    }
}

/// A `DescriptorStatus` that tells of a limit.
#[derive(Debug, Default)]
struct Limit {
    requests: u64,
    unit: u64,
    name: String,
    remaining: u64,
    /// Seconds until it begins anew.
    reset: u64,
}

impl Limit {
    fn read(status: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut limit = Self::default();
        let mut is_there = false;
        for field in fields(status) {
            match field? {
                (2, Value::Bytes(current)) => {
                    is_there = true;
                    limit.read_current(current)?;
                }
                (3, Value::Number(remaining)) => limit.remaining = remaining,
                (4, Value::Bytes(duration)) => {
                    for field in fields(duration) {
                        if let (1, Value::Number(seconds)) = field? {
                            limit.reset = seconds;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(is_there.then_some(limit))
    }

    fn read_current(&mut self, current: &[u8]) -> Result<(), Malformed> {
        for field in fields(current) {
            match field? {
                (1, Value::Number(requests)) => self.requests = requests,
                (2, Value::Number(unit)) => self.unit = unit,
                (3, Value::Bytes(name)) => self.name = String::from_utf8_lossy(name).into_owned(),
                _ => {}
            }
        }
        Ok(())
    }

    /// The limit with its window, as the draft lists it behind the one that counts: `, 10;w=60;name="per-ip"`.
    fn window(&self) -> String {
        let seconds = match self.unit {
            1 => 1,
            2 => 60,
            3 => 3600,
            4 => 86_400,
            5 => 30 * 86_400,
            6 => 365 * 86_400,
            7 => 7 * 86_400,
            _ => return String::new(),
        };
        let window = format!(", {};w={seconds}", self.requests);
        if self.name.is_empty() || self.name.contains(['"', '\\']) || !is_header_value(&self.name) {
            return window;
        }
        format!("{window};name=\"{}\"", self.name)
    }
}

/// A `HeaderValue`; `None` for one that cannot be sent.
fn header(bytes: &[u8]) -> Result<Option<(String, String)>, Malformed> {
    let (mut name, mut value) = (String::new(), String::new());
    for field in fields(bytes) {
        match field? {
            (1, Value::Bytes(bytes)) => name = String::from_utf8_lossy(bytes).into_owned(),
            // `raw_value` stands in the place of `value`.
            (2 | 3, Value::Bytes(bytes)) if !bytes.is_empty() => value = String::from_utf8_lossy(bytes).into_owned(),
            _ => {}
        }
    }
    Ok((is_header_name(&name) && is_header_value(&value)).then_some((name, value)))
}

#[cfg(test)]
mod tests {
    use super::Ruling;

    #[test]
    fn what_is_no_message_is_no_answer_and_unknown_fields_do_not_count() {
        for broken in [&[1 << 3][..], &[2 << 3 | 2, 9, 0], &[2 << 3 | 2, 2, 2 << 3 | 2, 5], &[3 << 3 | 2, 1, 0xff]] {
            assert!(Ruling::read(broken).is_err(), "{broken:?}");
        }
        assert!(Ruling::read(&[9 << 3, 1, 6 << 3 | 2, 0]).unwrap().allowed);
        assert!(Ruling::read(&[]).unwrap().allowed);
    }
}
