//! The compiled form: what is asked rarely is boxed away, so that a table of ten thousand routes stays small.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use crate::claims::{claim_path, claim_satisfies};
use crate::pattern::Pattern;
use crate::query::query_value;
use crate::request::{HttpMatchRequest, StringMatch, ValueMatch};
use crate::view::{RequestView, path_only};

/// Why a match entry cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchProblem {
    /// JSON pointer inside the entry, for example `/uri/regex`.
    pub pointer: String,
    /// What is wrong, in lower case and without a final dot.
    pub text: String,
}

impl fmt::Display for MatchProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.pointer, self.text)
    }
}

impl std::error::Error for MatchProblem {}

/// A compiled [`HttpMatchRequest`].
#[derive(Debug, Clone)]
pub struct Matcher {
    uri: Option<Text>,
    ignore_uri_case: bool,
    rest: Option<Box<Rest>>,
}

/// How a matcher looks at the path, which decides what a rewrite replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UriMatch<'m> {
    /// No condition on the path; Istio treats it as the prefix `/`.
    Any,
    /// The whole path is this.
    Exact(&'m str),
    /// The path begins so.
    Prefix(&'m str),
    /// The whole path matches an expression.
    Regex,
}

// === impl Matcher ===

impl Matcher {
    /// Whether all conditions hold. Asks the view only for what the conditions name.
    pub fn matches(&self, request: &impl RequestView) -> bool {
        if let Some(uri) = &self.uri {
            let path = path_only(request.path());
            let holds = if self.ignore_uri_case { uri.matches_ignoring_case(path) } else { uri.matches(path) };
            if !holds {
                return false;
            }
        }
        self.rest.as_ref().is_none_or(|rest| rest.matches(request))
    }

    /// Whether every request matches.
    #[must_use]
    pub fn is_catch_all(&self) -> bool {
        self.rest.is_none() && matches!(self.uri(), UriMatch::Any | UriMatch::Prefix("" | "/"))
    }

    /// Whether only the path is looked at.
    #[must_use]
    pub fn is_path_only(&self) -> bool {
        self.rest.is_none()
    }

    /// Whether the path is compared without regard to case.
    #[must_use]
    pub fn ignores_uri_case(&self) -> bool {
        self.ignore_uri_case
    }

    /// The condition on the path.
    #[must_use]
    pub fn uri(&self) -> UriMatch<'_> {
        match &self.uri {
            None => UriMatch::Any,
            Some(Text::Exact(text)) => UriMatch::Exact(text),
            Some(Text::Prefix(text)) => UriMatch::Prefix(text),
            Some(Text::Regex(_)) => UriMatch::Regex,
        }
    }
}

/// Everything but the path.
#[derive(Debug, Clone)]
struct Rest {
    scheme: Option<Text>,
    method: Option<Text>,
    authority: Option<Text>,
    port: Option<u16>,
    headers: Box<[(Field, Value)]>,
    without_headers: Box<[(Field, Value)]>,
    query_params: Box<[(Box<str>, Value)]>,
}

impl Rest {
    fn matches(&self, request: &impl RequestView) -> bool {
        self.method.as_ref().is_none_or(|text| text.matches(request.method()))
            && self.scheme.as_ref().is_none_or(|text| text.matches(request.scheme()))
            && self.authority.as_ref().is_none_or(|text| text.matches(request.authority()))
            && self.port.is_none_or(|port| request.local_port() == Some(port))
            && self
                .query_params
                .iter()
                .all(|(name, value)| query_value(request.path(), name).is_some_and(|found| value.matches(found)))
            && self.headers.iter().all(|(field, value)| field.is_so(request, value))
            && self.without_headers.iter().all(|(field, value)| field.is_not_so(request, value))
    }

    fn is_empty(&self) -> bool {
        self.scheme.is_none()
            && self.method.is_none()
            && self.authority.is_none()
            && self.port.is_none()
            && self.headers.is_empty()
            && self.without_headers.is_empty()
            && self.query_params.is_empty()
    }
}

#[derive(Debug, Clone)]
enum Field {
    Header(Box<str>),
    Claim(Box<[String]>),
}

impl Field {
    fn is_so(&self, request: &impl RequestView, value: &Value) -> bool {
        match self {
            Self::Header(name) => request.header(name).is_some_and(|found| value.matches(&found)),
            Self::Claim(path) => {
                request.claims().is_some_and(|claims| claim_satisfies(&claims, path, |found| value.matches(found)))
            }
        }
    }

    fn is_not_so(&self, request: &impl RequestView, value: &Value) -> bool {
        match (self, value) {
            (Self::Header(name), Value::Present) => request.header(name).is_none(),
            (Self::Header(name), Value::Is(text)) => !text.matches(&request.header(name).unwrap_or(Cow::Borrowed(""))),
            (Self::Claim(_), _) => !self.is_so(request, value),
        }
    }
}

#[derive(Debug, Clone)]
enum Value {
    Present,
    Is(Text),
}

impl Value {
    fn matches(&self, found: &str) -> bool {
        match self {
            Self::Present => true,
            Self::Is(text) => text.matches(found),
        }
    }
}

#[derive(Debug, Clone)]
enum Text {
    Exact(Box<str>),
    Prefix(Box<str>),
    Regex(Box<Pattern>),
}

impl Text {
    fn matches(&self, found: &str) -> bool {
        match self {
            Self::Exact(text) => found == &**text,
            Self::Prefix(text) => found.starts_with(&**text),
            Self::Regex(pattern) => pattern.matches(found),
        }
    }

    fn matches_ignoring_case(&self, found: &str) -> bool {
        match self {
            Self::Exact(text) => found.eq_ignore_ascii_case(text),
            Self::Prefix(text) => {
                found.as_bytes().get(..text.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(text.as_bytes()))
            }
            Self::Regex(pattern) => pattern.matches(found),
        }
    }
}

// === compiling ===

pub(crate) fn compile(written: &HttpMatchRequest) -> Result<Matcher, MatchProblem> {
    let uri = written.uri.as_ref().map(compile_uri).transpose()?;
    let one = |text: &Option<StringMatch>, pointer: &str| {
        text.as_ref().map(|text| compile_text(text, || pointer.to_owned())).transpose()
    };
    let rest = Rest {
        scheme: one(&written.scheme, "/scheme")?,
        method: one(&written.method, "/method")?,
        authority: one(&written.authority, "/authority")?,
        port: written.port,
        headers: fields(&written.headers, "/headers")?,
        without_headers: fields(&written.without_headers, "/withoutHeaders")?,
        query_params: written
            .query_params
            .iter()
            .map(|(name, value)| Ok((name.as_str().into(), compile_value(value, "/queryParams", name)?)))
            .collect::<Result<_, MatchProblem>>()?,
    };
    let rest = (!rest.is_empty()).then(|| Box::new(rest));
    Ok(Matcher { uri, ignore_uri_case: written.ignore_uri_case, rest })
}

/// An empty prefix is fine for the path (every path begins so), and for nothing else.
fn compile_uri(text: &StringMatch) -> Result<Text, MatchProblem> {
    match text {
        StringMatch::Prefix(empty) if empty.is_empty() => Ok(Text::Prefix("".into())),
        text => compile_text(text, || "/uri".to_owned()),
    }
}

fn compile_text(text: &StringMatch, pointer: impl Fn() -> String) -> Result<Text, MatchProblem> {
    match text {
        StringMatch::Exact(text) => Ok(Text::Exact(text.as_str().into())),
        StringMatch::Prefix(text) if text.is_empty() => Err(MatchProblem {
            pointer: pointer() + "/prefix",
            text: "an empty prefix matches everything; write {} for presence".to_owned(),
        }),
        StringMatch::Prefix(text) => Ok(Text::Prefix(text.as_str().into())),
        StringMatch::Regex(text) => match Pattern::full(text) {
            Ok(pattern) => Ok(Text::Regex(Box::new(pattern))),
            Err(text) => Err(MatchProblem { pointer: pointer() + "/regex", text }),
        },
    }
}

fn compile_value(value: &ValueMatch, map: &str, name: &str) -> Result<Value, MatchProblem> {
    match value {
        ValueMatch::Present => Ok(Value::Present),
        ValueMatch::Is(text) => Ok(Value::Is(compile_text(text, || format!("{map}/{}", escape(name)))?)),
    }
}

fn fields(map: &BTreeMap<String, ValueMatch>, pointer: &str) -> Result<Box<[(Field, Value)]>, MatchProblem> {
    // Istio ignores these four here: the fields of the entry itself are the way to say it.
    let ignored = |name: &str| matches!(name, "uri" | "scheme" | "method" | "authority");
    map.iter()
        .filter(|(name, _)| !ignored(name))
        .map(|(name, value)| {
            let problem =
                |text: &str| MatchProblem { pointer: format!("{pointer}/{}", escape(name)), text: text.to_owned() };
            let field = match claim_path(name) {
                Some(path) => Field::Claim(path.into_boxed_slice()),
                None if name.is_empty() => return Err(problem("a header needs a name")),
                None if name.starts_with('@') => return Err(problem("only @request.auth.claims can be named here")),
                None => Field::Header(name.to_ascii_lowercase().into()),
            };
            Ok((field, compile_value(value, pointer, name)?))
        })
        .collect()
}

/// A key as a segment of a JSON pointer.
fn escape(key: &str) -> Cow<'_, str> {
    if key.contains(['~', '/']) { key.replace('~', "~0").replace('/', "~1").into() } else { key.into() }
}
