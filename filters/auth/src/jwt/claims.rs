//! What a token says.

use std::time::Duration;

use sidegate_sdk::serde_json::{Map, Value};

use crate::reason::Reason;

/// How far the clocks of issuer and proxy may be apart.
const CLOCK_SKEW: Duration = Duration::from_secs(60);
/// Claims that are lists with spaces between, by their standard.
const SPACE_DELIMITED: [&str; 2] = ["scope", "permission"];

/// The claims of a token.
#[derive(Debug)]
pub struct Claims {
    all: Value,
    principal: Option<String>,
    /// In seconds since 1970.
    expires: Option<f64>,
    not_before: Option<f64>,
}

impl Claims {
    /// Takes a payload; the claims named, and those that are such by their standard, become lists.
    #[must_use]
    pub fn new(mut payload: Map<String, Value>, space_delimited: &[String]) -> Self {
        for name in SPACE_DELIMITED.into_iter().chain(space_delimited.iter().map(String::as_str)) {
            if let Some(Value::String(text)) = payload.get(name) {
                let list = text.split(' ').filter(|item| !item.is_empty()).map(Value::from).collect();
                payload.insert(name.to_owned(), list);
            }
        }
        let text = |name: &str| payload.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let principal = text("iss").zip(text("sub")).map(|(issuer, subject)| format!("{issuer}/{subject}"));
        // A time that is no number has passed, or never comes.
        let time = |name: &str, otherwise: f64| payload.get(name).map(|time| time.as_f64().unwrap_or(otherwise));
        let (expires, not_before) = (time("exp", 0.0), time("nbf", f64::INFINITY));
        Self { all: Value::Object(payload), principal, expires, not_before }
    }

    /// `<iss>/<sub>`, if it says both.
    #[must_use]
    pub fn principal(&self) -> Option<&str> {
        self.principal.as_deref()
    }

    /// Those it is for.
    pub fn audiences(&self) -> impl Iterator<Item = &str> {
        self.texts(&["aud"])
    }

    /// A claim by its path.
    #[must_use]
    pub fn get(&self, path: &[impl AsRef<str>]) -> Option<&Value> {
        path.iter().try_fold(&self.all, |at, name| at.as_object()?.get(name.as_ref()))
    }

    /// A claim that is a text, or the texts of a list.
    pub fn texts(&self, path: &[impl AsRef<str>]) -> impl Iterator<Item = &str> {
        let value = self.get(path);
        let list = value.and_then(Value::as_array).into_iter().flatten();
        value.and_then(Value::as_str).into_iter().chain(list.filter_map(Value::as_str))
    }

    /// All of it as JSON.
    #[must_use]
    pub fn json(&self) -> String {
        self.all.to_string()
    }

    pub(crate) fn check_times(&self, now: Duration) -> Result<(), Reason> {
        let (now, skew) = (now.as_secs_f64(), CLOCK_SKEW.as_secs_f64());
        if self.expires.is_some_and(|time| now >= time + skew) {
            return Err(Reason::JwtExpired);
        }
        if self.not_before.is_some_and(|time| now + skew < time) {
            return Err(Reason::JwtNotYetValid);
        }
        Ok(())
    }
}
