//! One rule: the tokens of one issuer.

use std::borrow::Cow;
use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding};
use sidegate_sdk::serde_json::Value;
use sidegate_sdk::{Request, Result, Setup, debug, parse_duration};

use super::source::{Source, Target};
use super::{Claims, Verified, keys};
use crate::config::JwtRule;
use crate::names;
use crate::surroundings::Surroundings;

/// Rules of one filter.
pub(crate) const RULES: usize = 32;
/// How long fetching keys may take, where nothing is written.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a header that is made of a claim.
const OUTPUT_BYTES: usize = 8 * 1024;

/// A compiled rule.
pub(crate) struct Rule {
    issuer: String,
    audiences: Vec<String>,
    pub(crate) source: Source,
    pub(crate) forwards: bool,
    pub(crate) space_delimited: Vec<String>,
    payload_header: Option<String>,
    claim_headers: Vec<(String, String)>,
}

impl Rule {
    pub(crate) fn compile(written: &JwtRule, pointer: &str, of: &Surroundings, setup: &mut Setup) -> Self {
        if written.issuer.is_empty() {
            setup.error(format!("{pointer}/issuer"), "an issuer is needed: what the claim iss says");
        }
        for (at, audience) in written.audiences.iter().enumerate() {
            if audience.is_empty() {
                setup.error(format!("{pointer}/audiences/{at}"), "an audience cannot be empty");
            }
        }
        let mut output = |key: String, name: &str| {
            if !names::is_writable(name) {
                setup.error(format!("{pointer}/{key}"), format!("`{name}` is no header that can be written"));
            }
            name.to_ascii_lowercase()
        };
        let payload_header =
            written.output_payload_to_header.as_ref().map(|name| output("outputPayloadToHeader".to_owned(), name));
        let claim_headers: Vec<_> = (written.output_claim_to_headers.iter().enumerate())
            .map(|(at, entry)| {
                (output(format!("outputClaimToHeaders/{at}/header"), &entry.header), entry.claim.clone())
            })
            .collect();
        for (at, (_, claim)) in claim_headers.iter().enumerate() {
            if claim.is_empty() {
                setup.error(format!("{pointer}/outputClaimToHeaders/{at}/claim"), "a claim needs a name");
            }
        }
        Self {
            issuer: written.issuer.clone(),
            audiences: written.audiences.iter().map(|audience| bare(audience).to_owned()).collect(),
            source: source(written, pointer, of, setup),
            forwards: written.forward_original_token,
            space_delimited: written.space_delimited_claims.clone(),
            payload_header,
            claim_headers,
        }
    }

    pub(crate) fn is_of(&self, issuer: &str) -> bool {
        self.issuer == issuer
    }

    pub(crate) fn takes_audience(&self, claims: &Claims) -> bool {
        let is_ours = |audience: &str| self.audiences.iter().any(|own| own == bare(audience));
        self.audiences.is_empty() || claims.audiences().any(is_ours)
    }

    /// Headers that only this rule may write, lower-case.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = &str> {
        self.payload_header.as_deref().into_iter().chain(self.claim_headers.iter().map(|(header, _)| &**header))
    }

    /// Tells the service what the token says.
    pub(crate) fn write_outputs(&self, verified: &Verified, req: &mut Request) -> Result<()> {
        if let Some(header) = &self.payload_header {
            req.headers_mut().set(header, &verified.payload)?;
        }
        for (header, name) in &self.claim_headers {
            let literal = verified.claims.get(&[name]);
            let Some(value) = literal.or_else(|| verified.claims.get(&name.split('.').collect::<Vec<_>>())) else {
                continue;
            };
            let text = as_header(value);
            if names::is_value(&text) && text.len() <= OUTPUT_BYTES {
                req.headers_mut().set(header, &text)?;
            } else {
                debug!("claim {name} does not fit into a header");
            }
        }
        Ok(())
    }
}

fn source(written: &JwtRule, pointer: &str, of: &Surroundings, setup: &mut Setup) -> Source {
    match (&written.jwks, &written.jwks_uri) {
        (Some(set), None) => match keys::read(set.as_bytes()) {
            Ok(keys) => return Source::inline(keys),
            Err(problem) => setup.error(format!("{pointer}/jwks"), problem),
        },
        (None, Some(uri)) => {
            let timeout = match written.timeout.as_deref().map(parse_duration).unwrap_or(Ok(TIMEOUT)) {
                Ok(timeout) if timeout >= Duration::from_millis(1) => timeout,
                Ok(_) => {
                    setup.error(format!("{pointer}/timeout"), "a timeout has at least 1ms");
                    TIMEOUT
                }
                Err(problem) => {
                    setup.error(format!("{pointer}/timeout"), problem);
                    TIMEOUT
                }
            };
            match target(uri, of) {
                Ok(target) => return Source::remote(target, timeout),
                Err(Wrong::Uri(problem)) => setup.error(format!("{pointer}/jwksUri"), problem),
                Err(Wrong::Cluster(target, problem)) => {
                    setup.warning(format!("{pointer}/jwksUri"), problem);
                    return Source::remote(target, timeout);
                }
            }
        }
        (Some(_), Some(_)) => setup.error(format!("{pointer}/jwksUri"), "jwks and jwksUri exclude each other"),
        (None, None) => {
            setup.error(pointer, "jwks or jwksUri is needed; finding the keys by the issuer is not supported yet");
        }
    }
    Source::default()
}

enum Wrong {
    Uri(String),
    Cluster(Target, String),
}

fn target(uri: &str, of: &Surroundings) -> Result<Target, Wrong> {
    let wrong = || Wrong::Uri(format!("`{uri}` is no URI of keys; write for example https://issuer.example.com/keys"));
    let (scheme, rest) = uri.split_once("://").ok_or_else(wrong)?;
    let default_port = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return Err(wrong()),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = path.split('#').next().unwrap_or_default();
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| wrong())?),
        _ => (authority, default_port),
    };
    if host.is_empty() || !authority.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'@') {
        return Err(wrong());
    }
    let target = |cluster: String| Target { cluster, authority: authority.to_owned(), path: path.clone() };
    match of.cluster_of(host, Some(port)) {
        Some(cluster) => Ok(target(cluster)),
        None => {
            let problem = format!("no cluster has `{host}` among its hosts: the keys cannot be fetched");
            Err(Wrong::Cluster(target(host.to_owned()), problem))
        }
    }
}

/// An audience as Envoy compares it: without scheme and slash at the end.
fn bare(audience: &str) -> &str {
    let rest = audience.strip_prefix("https://").or_else(|| audience.strip_prefix("http://")).unwrap_or(audience);
    rest.strip_suffix('/').unwrap_or(rest)
}

/// Texts as they are, numbers and booleans as JSON, lists and objects as base64url of their JSON.
fn as_header(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        Value::Bool(_) | Value::Number(_) => Cow::Owned(value.to_string()),
        Value::Null => Cow::Borrowed(""),
        Value::Array(_) | Value::Object(_) => Base64UrlUnpadded::encode_string(value.to_string().as_bytes()).into(),
    }
}
