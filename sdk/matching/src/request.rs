//! The written form: field names and order of Istio's `HTTPMatchRequest`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::compile::{self, MatchProblem, Matcher};

/// One entry of a `match` list. All conditions of an entry must hold; of several entries one is enough.
///
/// An entry without a condition matches every request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HttpMatchRequest {
    /// A name for logs; the final route name is `ROUTE.MATCH`.
    pub name: Option<String>,
    /// The path without its query, case-sensitive.
    pub uri: Option<StringMatch>,
    /// `http` or `https`, case-sensitive.
    pub scheme: Option<StringMatch>,
    /// The method, case-sensitive.
    pub method: Option<StringMatch>,
    /// The authority (`Host`), case-sensitive, with a port if the client wrote one.
    pub authority: Option<StringMatch>,
    /// Headers by name; `{}` or regex `*` asks for presence. `@request.auth.claims.NAME` means a verified JWT claim.
    pub headers: BTreeMap<String, ValueMatch>,
    /// The port of the listener.
    pub port: Option<u16>,
    /// Labels of the workload this entry is for; chosen when the configuration is built, not by request.
    pub source_labels: BTreeMap<String, String>,
    /// Gateways this entry is for; chosen when the configuration is built.
    pub gateways: Vec<String>,
    /// Query parameters by name, undecoded; `{}` or regex `*` asks for presence.
    pub query_params: BTreeMap<String, ValueMatch>,
    /// Compares `exact` and `prefix` of `uri` without regard to ASCII case. Default false.
    pub ignore_uri_case: bool,
    /// Headers that must not be so; a missing header counts as an empty value.
    pub without_headers: BTreeMap<String, ValueMatch>,
    /// Namespace of the workload this entry is for; chosen when the configuration is built.
    pub source_namespace: Option<String>,
    /// Prefix of statistics of this entry.
    pub stat_prefix: Option<String>,
}

impl HttpMatchRequest {
    /// Checks the conditions and makes them ready for use.
    ///
    /// # Errors
    /// The first condition that cannot be used, with its JSON pointer inside this entry.
    pub fn compile(&self) -> Result<Matcher, MatchProblem> {
        compile::compile(self)
    }
}

/// A condition on a text, written `{exact: x}`, `{prefix: x}` or `{regex: x}`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "Written")]
pub enum StringMatch {
    /// The same text.
    Exact(String),
    /// A text that begins so; `/foo` also begins `/foobar`.
    Prefix(String),
    /// A regular expression that matches the whole text.
    Regex(String),
}

/// A condition on a header or parameter that may also ask only for presence, written `{}` or null.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "Option<Written>")]
pub enum ValueMatch {
    /// Any value will do.
    Present,
    /// The value has to satisfy this.
    Is(StringMatch),
}

/// The three spellings side by side, so that none or two of them is told in words.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename = "StringMatch")]
struct Written {
    /// The same text.
    exact: Option<String>,
    /// A text that begins so.
    prefix: Option<String>,
    /// A regular expression (RE2) that matches the whole text.
    regex: Option<String>,
}

impl Written {
    fn one(self) -> Result<Option<StringMatch>, &'static str> {
        match (self.exact, self.prefix, self.regex) {
            (None, None, None) => Ok(None),
            (Some(text), None, None) => Ok(Some(StringMatch::Exact(text))),
            (None, Some(text), None) => Ok(Some(StringMatch::Prefix(text))),
            (None, None, Some(text)) => Ok(Some(StringMatch::Regex(text))),
            _ => Err("only one of exact, prefix and regex may be given"),
        }
    }
}

impl TryFrom<Written> for StringMatch {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        written.one()?.ok_or("one of exact, prefix and regex is needed")
    }
}

impl TryFrom<Option<Written>> for ValueMatch {
    type Error = &'static str;

    fn try_from(written: Option<Written>) -> Result<Self, Self::Error> {
        let condition = written.map_or(Ok(None), Written::one)?;
        Ok(match condition {
            None => Self::Present,
            Some(StringMatch::Regex(all)) if all == "*" => Self::Present,
            Some(condition) => Self::Is(condition),
        })
    }
}
