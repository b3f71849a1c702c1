//! A configuration is read into a type; what is wrong with it is reported with its place.

mod place;

use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::body::Bodies;
use crate::host::{self, Hook};
use crate::log::Level;

/// What a filter can do while it is configured.
///
/// ```
/// use sidegate_sdk::{Filter, Result, Setup, config, filter, testing};
///
/// #[config]
/// struct Quota { requests: u32, burst: u32 }
///
/// #[filter]
/// impl Filter for Quota {
///     fn configure(config: Quota, setup: &mut Setup) -> Result<Self> {
///         if config.burst > config.requests {
///             setup.error("/burst", "burst is larger than requests");
///         }
///         Ok(config)
///     }
/// }
///
/// let problems = testing::Filter::<Quota>::configure(r#"{"requests": 1, "burst": 2}"#).unwrap_err();
/// assert_eq!(problems[0].pointer, "/burst");
/// let problems = testing::Filter::<Quota>::configure(r#"{"request": 1, "burst": 2}"#).unwrap_err();
/// assert_eq!(problems[0].to_string(), "/request: unknown key `request`; did you mean `requests`?");
/// ```
#[derive(Debug, Default)]
pub struct Setup {
    pub(crate) problems: Vec<Problem>,
    pub(crate) every: Option<Duration>,
    pub(crate) bodies: Option<Bodies>,
}

impl Setup {
    /// Reports an error at a place, given as JSON pointer (`/rules/0/host`; the whole configuration is `""`). The
    /// configuration is refused, after all problems have been reported.
    pub fn error(&mut self, pointer: impl Into<String>, text: impl Into<String>) {
        self.problems.push(Problem { severity: Severity::Error, pointer: pointer.into(), text: text.into() });
    }

    /// Reports something odd that does not refuse the configuration.
    pub fn warning(&mut self, pointer: impl Into<String>, text: impl Into<String>) {
        self.problems.push(Problem { severity: Severity::Warning, pointer: pointer.into(), text: text.into() });
    }

    /// What was reported so far.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Calls [`Filter::tick`](crate::Filter::tick) in this period, at least a millisecond. Default: never.
    pub fn every(&mut self, period: Duration) {
        self.every = Some(period);
    }

    /// Says which of the bodies named in [`Filter::body`](crate::Filter::body) are taken with this configuration. What
    /// is left out passes without entering the filter, in a host that can be told so. Default: all of them.
    ///
    /// ```
    /// use sidegate_sdk::{Bodies, Filter, Mode, Next, Request, Response, Result, Setup, config, filter, testing};
    ///
    /// #[config]
    /// struct Scan { limit: usize }
    ///
    /// #[filter]
    /// impl Filter for Scan {
    ///     fn body() -> Bodies {
    ///         Bodies::none().request(Mode::Buffered { limit: 0 })
    ///     }
    ///
    ///     fn configure(config: Scan, setup: &mut Setup) -> Result<Self> {
    ///         setup.bodies(match config.limit {
    ///             0 => Bodies::none(),
    ///             limit => Bodies::none().request(Mode::Buffered { limit }),
    ///         });
    ///         Ok(config)
    ///     }
    ///
    ///     async fn handle(&self, mut req: Request, next: Next) -> Result<Response> {
    ///         let is_bad = self.limit > 0 && req.body().await?.starts_with(b"bad");
    ///         if is_bad { Ok(Response::new(403)) } else { Ok(next.forward(req)) }
    ///     }
    /// }
    ///
    /// let scans = testing::Filter::<Scan>::configure(r#"{"limit": 9}"#).unwrap();
    /// assert_eq!(scans.post("/").body("bad things").run().status(), 413);
    /// assert_eq!(scans.post("/").body("bad").run().status(), 403);
    /// let never = testing::Filter::<Scan>::configure(r#"{"limit": 0}"#).unwrap();
    /// assert_eq!(never.post("/").body("bad things").run().status(), 200);
    /// ```
    pub fn bodies(&mut self, bodies: Bodies) {
        self.bodies = Some(bodies);
    }
}

/// Something wrong in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether it refuses the configuration.
    pub severity: Severity,
    /// Where, as JSON pointer.
    pub pointer: String,
    /// What, in lower case and without a final dot.
    pub text: String,
}

/// How bad a [`Problem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// It is taken.
    Warning,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pointer.is_empty() { f.write_str(&self.text) } else { write!(f, "{}: {}", self.pointer, self.text) }
    }
}

impl Problem {
    /// Tells the host, which knows the place in its own files, and the log, for hosts that do not.
    pub(crate) fn report(&self) {
        let (severity, level) = match self.severity {
            Severity::Error => (0_u8, Level::Error),
            Severity::Warning => (1, Level::Warn),
        };
        let pointer = self.pointer.get(..usize::from(u16::MAX)).unwrap_or(&self.pointer);
        let length = u16::try_from(pointer.len()).unwrap_or(u16::MAX);
        let mut argument = vec![severity];
        argument.extend_from_slice(&length.to_le_bytes());
        argument.extend_from_slice(pointer.as_bytes());
        argument.extend_from_slice(self.text.as_bytes());
        let hook = Hook::running();
        // Only Sidegate knows the function; the log line below is for everybody.
        let _ = host::foreign(&hook, "sidegate_config_problem", &argument);
        crate::log::write(level, format_args!("configuration: {self}"));
    }
}

/// Reads a configuration; absent bytes are `{}`.
pub(crate) fn read<C: DeserializeOwned>(bytes: &[u8]) -> Result<C, Problem> {
    let bytes = if bytes.is_empty() { b"{}" } else { bytes };
    serde_json::from_slice(bytes).map_err(|error: serde_json::Error| {
        let mut pointer = place::pointer(bytes, error.line(), error.column());
        let text = told(&error.to_string());
        if let Some(key) = unknown_key(&text) {
            let segment = format!("/{}", escape(key));
            if !pointer.ends_with(&segment) {
                pointer.push_str(&segment);
            }
        }
        Problem { severity: Severity::Error, pointer, text: suggest(text) }
    })
}

/// A key as a segment of a JSON pointer.
///
/// ```
/// assert_eq!(sidegate_sdk::escape_pointer("a/b"), "a~1b");
/// ```
#[must_use]
pub fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// serde's text without the line and column of JSON that no human wrote.
fn told(text: &str) -> String {
    match text.rfind(" at line ") {
        Some(end) => text.get(..end).unwrap_or(text).to_owned(),
        None => text.to_owned(),
    }
}

fn unknown_key(text: &str) -> Option<&str> {
    text.strip_prefix("unknown field `")?.split('`').next()
}

/// Names the nearest known key where serde lists them all.
fn suggest(text: String) -> String {
    let Some(key) = unknown_key(&text) else { return text };
    let known = text.split('`').skip(3).step_by(2);
    let nearest = known.map(|name| (distance(key, name), name)).min();
    match nearest {
        Some((far, name)) if far <= key.len().max(name.len()).div_ceil(2) => {
            format!("unknown key `{key}`; did you mean `{name}`?")
        }
        _ => format!("unknown key `{key}`"),
    }
}

/// How many letters to change, add or remove.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.chars().enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, against) in row.iter_mut().skip(1).zip(&other) {
            let changed = diagonal + usize::from(letter != *against);
            diagonal = *cell;
            left = changed.min(left + 1).min(*cell + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::{distance, read};

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    #[allow(dead_code, reason = "only reading it matters")]
    struct Rules {
        rules: Vec<Rule>,
        #[serde(default)]
        by_name: BTreeMap<String, Rule>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only reading it matters")]
    struct Rule {
        weight: u32,
    }

    #[test]
    fn a_problem_points_at_the_key_or_value_that_is_wrong() {
        for (json, told) in [
            (
                r#"{"rules": [{"weight": 1}, {"wieght": 1}]}"#,
                "/rules/1/wieght: unknown key `wieght`; did you mean `weight`?",
            ),
            (r#"{"rules": [{"weight": -1}]}"#, "/rules/0/weight: invalid value: integer `-1`, expected u32"),
            (r#"{"rules": [{}]}"#, "/rules/0: missing field `weight`"),
            (r#"{"rules": [], "byName": {"a/b": 3}}"#, "/byName/a~1b: invalid type: integer `3`, expected struct Rule"),
            (r#"{"rules": [], "zzzzzzzzz": 3}"#, "/zzzzzzzzz: unknown key `zzzzzzzzz`"),
            ("", "missing field `rules`"),
        ] {
            assert_eq!(read::<Rules>(json.as_bytes()).unwrap_err().to_string(), told);
        }
    }

    #[test]
    fn distance_counts_letters() {
        assert_eq!(distance("wieght", "weight"), 2);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }
}
