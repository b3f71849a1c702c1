//! `AuthorizationPolicy.spec`.

use sidegate_sdk::config;
use sidegate_sdk::serde_json::Value;

use super::Selector;

/// `AuthorizationPolicy.spec`.
#[config]
#[derive(Default)]
pub struct AuthorizationPolicy {
    /// Workloads this is for. Absent: all.
    pub selector: Option<Selector>,
    /// Not supported yet.
    pub target_refs: Option<Value>,
    /// What is done with a request that matches. Default ALLOW.
    #[serde(default)]
    pub action: Action,
    /// Who is asked by a CUSTOM policy: the name of `extAuthz` or of one of the proxy's `extensionProviders`.
    pub provider: Option<Provider>,
    /// One of them must match. None: the policy matches no request.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// What a policy does.
#[config]
#[derive(Default, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Lets requests that match pass, and no others.
    #[default]
    #[serde(rename = "ALLOW")]
    Allow,
    /// Refuses requests that match.
    #[serde(rename = "DENY")]
    Deny,
    /// Counts and logs requests that match.
    #[serde(rename = "AUDIT")]
    Audit,
    /// Asks its provider about requests that match.
    #[serde(rename = "CUSTOM")]
    Custom,
}

/// A provider by name.
#[config]
pub struct Provider {
    /// Its name.
    pub name: String,
}

/// A rule: `from`, `to` and `when` must all match. An empty rule matches every request.
#[config]
#[derive(Default)]
pub struct Rule {
    /// One of them must match. Absent: any source.
    pub from: Option<Vec<From>>,
    /// One of them must match. Absent: any operation.
    pub to: Option<Vec<To>>,
    /// All of them must match.
    #[serde(default)]
    pub when: Vec<When>,
}

/// Where a request comes from.
#[config]
pub struct From {
    /// The source.
    pub source: Source,
}

/// What a request wants.
#[config]
pub struct To {
    /// The operation.
    pub operation: Operation,
}

/// A source: all fields that are written must match. Values are `text`, `prefix*`, `*suffix` or `*` (present).
#[config]
#[derive(Default)]
pub struct Source {
    /// Identities from client certificates, `<trust domain>/ns/<namespace>/sa/<account>`.
    pub principals: Option<Vec<String>>,
    /// None of these.
    pub not_principals: Option<Vec<String>>,
    /// Identities from tokens, `<iss>/<sub>`.
    pub request_principals: Option<Vec<String>>,
    /// None of these.
    pub not_request_principals: Option<Vec<String>>,
    /// Namespaces of client certificates.
    pub namespaces: Option<Vec<String>>,
    /// None of these.
    pub not_namespaces: Option<Vec<String>>,
    /// Service accounts of client certificates: `<namespace>/<account>`, or `<account>` of our own namespace.
    pub service_accounts: Option<Vec<String>>,
    /// None of these.
    pub not_service_accounts: Option<Vec<String>>,
    /// Trust domains of client certificates.
    pub trust_domains: Option<Vec<String>>,
    /// None of these.
    pub not_trust_domains: Option<Vec<String>>,
    /// Addresses or blocks (`10.0.0.0/8`) of the connection.
    pub ip_blocks: Option<Vec<String>>,
    /// None of these.
    pub not_ip_blocks: Option<Vec<String>>,
    /// Addresses or blocks of the client before trusted proxies.
    pub remote_ip_blocks: Option<Vec<String>>,
    /// None of these.
    pub not_remote_ip_blocks: Option<Vec<String>>,
}

/// An operation: all fields that are written must match.
#[config]
#[derive(Default)]
pub struct Operation {
    /// Hosts in any case; one without port means every port.
    pub hosts: Option<Vec<String>>,
    /// None of these.
    pub not_hosts: Option<Vec<String>>,
    /// Ports of the listener.
    pub ports: Option<Vec<String>>,
    /// None of these.
    pub not_ports: Option<Vec<String>>,
    /// Methods.
    pub methods: Option<Vec<String>>,
    /// None of these.
    pub not_methods: Option<Vec<String>>,
    /// Paths without query; `{*}` is one segment, `{**}` any number.
    pub paths: Option<Vec<String>>,
    /// None of these.
    pub not_paths: Option<Vec<String>>,
}

/// A further condition: one of `values`, none of `notValues`.
#[config]
#[derive(Default)]
pub struct When {
    /// What is looked at, such as `request.headers[x-role]` or `request.auth.claims[group]`.
    pub key: String,
    /// One of these.
    #[serde(default)]
    pub values: Vec<String>,
    /// None of these.
    #[serde(default)]
    pub not_values: Vec<String>,
}
