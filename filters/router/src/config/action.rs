//! What a route does with a request, besides sending it on as it came.

use sidegate_sdk::config;

/// What a request is changed into. The query is kept.
#[config]
#[derive(Debug, Clone, Default)]
pub struct HttpRewrite {
    /// Replaces the matched prefix; with an exact or regex match the whole path.
    pub uri: Option<String>,
    /// Replaces the host.
    pub authority: Option<String>,
    /// Replaces what an expression finds in the path.
    pub uri_regex_rewrite: Option<RegexRewrite>,
}

/// RE2 substitution.
#[config]
#[derive(Debug, Clone)]
pub struct RegexRewrite {
    /// What is looked for.
    #[serde(rename = "match")]
    pub pattern: String,
    /// What takes its place; `\1` to `\9` are groups.
    pub rewrite: String,
}

/// A redirect. What is not given stays as in the request.
#[config]
#[derive(Debug, Clone, Default)]
pub struct HttpRedirect {
    /// The whole path.
    pub uri: Option<String>,
    /// In place of the matched prefix.
    pub prefix_rewrite: Option<String>,
    /// The host.
    pub authority: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// Or where it is taken from.
    pub derive_port: Option<DerivePort>,
    /// `http` or `https`.
    pub scheme: Option<String>,
    /// 301, 302, 303, 307 or 308. Default 301.
    pub redirect_code: Option<u16>,
}

/// Where a redirect's port comes from.
#[config]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DerivePort {
    /// 80 or 443, by scheme.
    #[serde(rename = "FROM_PROTOCOL_DEFAULT")]
    FromProtocolDefault,
    /// The port of the request.
    #[serde(rename = "FROM_REQUEST_PORT")]
    FromRequestPort,
}

/// An answer without a service.
#[config]
#[derive(Debug, Clone)]
pub struct HttpDirectResponse {
    /// 200 to 599.
    pub status: u16,
    /// The body. Default: none.
    pub body: Option<HttpBody>,
}

/// A body as text or as base64.
#[config]
#[derive(Debug, Clone)]
pub struct HttpBody {
    /// As it is.
    pub string: Option<String>,
    /// Base64.
    pub bytes: Option<String>,
}
