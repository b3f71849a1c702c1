//! The written form: Istio's words for tokens and policies, Envoy's for the rest.

mod external;
mod policy;

use std::collections::BTreeMap;

use sidegate_sdk::config;
use sidegate_sdk::serde_json::Value;

pub(crate) use external::Words;
pub use external::{ExtAuthz, ExtAuthzGrpc, ExtAuthzHttp, RequestBodyInCheck, StatusOnError};
pub use policy::{Action, AuthorizationPolicy, From, Operation, Provider, Rule, Source, To, When};

/// The configuration of `builtin:auth`. Nothing written: every request passes.
#[config]
#[derive(Default)]
pub struct AuthConfig {
    /// `RequestAuthentication.spec`: which tokens are good. A request without a token passes; a policy may ask for one.
    #[serde(default)]
    pub request_authentication: RequestAuthentication,
    /// `AuthorizationPolicy.spec`, any number: CUSTOM first, then DENY, then ALLOW; with an ALLOW policy, what none of
    /// them allows is denied.
    #[serde(default)]
    pub authorization_policies: Vec<AuthorizationPolicy>,
    /// Keys that clients send in a header; the name of the key goes on in `x-auth-user`.
    pub api_keys: Option<ApiKeys>,
    /// User names and passwords; the name goes on in `x-auth-user`.
    pub basic: Option<Basic>,
    /// A service that is asked, by Istio's words of an extension provider.
    pub ext_authz: Option<ExtAuthz>,
    /// Proxies before this one whose `x-forwarded-for` is believed for `remoteIpBlocks` and `remote.ip`: the number of
    /// the listener. Default 0: the remote address is that of the connection.
    #[serde(default)]
    pub num_trusted_proxies: usize,
}

/// Which tokens are good.
#[config]
#[derive(Default)]
pub struct RequestAuthentication {
    /// Workloads this is for. Absent: all.
    pub selector: Option<Selector>,
    /// Not supported yet.
    pub target_refs: Option<Value>,
    /// One rule for each issuer; at most 32.
    #[serde(default)]
    pub jwt_rules: Vec<JwtRule>,
}

/// Workloads by their labels.
#[config]
#[derive(Default)]
pub struct Selector {
    /// Labels that all must be so.
    #[serde(default)]
    pub match_labels: BTreeMap<String, String>,
}

/// Tokens of one issuer.
#[config]
#[derive(Default)]
pub struct JwtRule {
    /// What the claim `iss` says. Absent: any issuer.
    #[serde(default)]
    pub issuer: String,
    /// One of them must be in the claim `aud`. Absent: any.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// The keys as a JSON Web Key Set. Either this or `jwksUri`.
    pub jwks: Option<String>,
    /// Where the keys are: fetched through the cluster that has the URI's host, every 5 minutes.
    pub jwks_uri: Option<String>,
    /// Headers with the token. Without `fromHeaders`, `fromParams` and `fromCookies`: `Authorization: Bearer` and the
    /// parameter `access_token`.
    #[serde(default)]
    pub from_headers: Vec<JwtHeader>,
    /// Query parameters with the token.
    #[serde(default)]
    pub from_params: Vec<String>,
    /// Cookies with the token.
    #[serde(default)]
    pub from_cookies: Vec<String>,
    /// Whether the service gets the token too. Default false: it is removed.
    #[serde(default)]
    pub forward_original_token: bool,
    /// Header that gets the payload as it stands in the token (base64url).
    pub output_payload_to_header: Option<String>,
    /// Headers that get claims.
    #[serde(default)]
    pub output_claim_to_headers: Vec<ClaimToHeader>,
    /// How long fetching keys may take. Default 5s.
    pub timeout: Option<String>,
    /// Further claims that are lists with spaces between; `scope` and `permission` are anyway.
    #[serde(default)]
    pub space_delimited_claims: Vec<String>,
}

/// A header with a token.
#[config]
pub struct JwtHeader {
    /// Its name.
    pub name: String,
    /// What stands before the token, such as `Bearer `. Default: nothing.
    #[serde(default)]
    pub prefix: String,
}

/// A claim for a header.
#[config]
pub struct ClaimToHeader {
    /// The header's name.
    pub header: String,
    /// The claim's name; `a.b` is the claim `b` inside `a`.
    pub claim: String,
}

/// Keys that clients send.
#[config]
#[derive(Default)]
pub struct ApiKeys {
    /// The header with the key. Default `x-api-key`.
    pub header: Option<String>,
    /// The keys; at most 10,000.
    #[serde(default)]
    pub keys: Vec<ApiKey>,
    /// Whether the header is removed before the request goes on. Default false.
    #[serde(default)]
    pub hide_credentials: bool,
}

/// One key: `key` or `sha256`.
#[config]
#[derive(Default)]
pub struct ApiKey {
    /// Who has it.
    pub name: String,
    /// The key itself.
    pub key: Option<String>,
    /// SHA-256 of the key in hexadecimal.
    pub sha256: Option<String>,
}

/// Users with passwords.
#[config]
#[derive(Default)]
pub struct Basic {
    /// What a browser shows. Default `sidegate`.
    pub realm: Option<String>,
    /// The users; at most 10,000.
    #[serde(default)]
    pub users: Vec<User>,
    /// Whether `Authorization` is removed before the request goes on. Default false.
    #[serde(default)]
    pub hide_credentials: bool,
}

/// A user with `sha256` and `salt`.
#[config]
#[derive(Default)]
pub struct User {
    /// The name, without a colon.
    pub name: String,
    /// SHA-256 of salt and password, one behind the other, in hexadecimal.
    pub sha256: String,
    /// The salt; own and random for each user.
    #[serde(default)]
    pub salt: String,
}
