//! A service that decides, in the words of an extension provider of `meshConfig`.

use std::collections::BTreeMap;

use sidegate_sdk::config;

/// A service that decides.
#[config]
#[derive(Default)]
pub struct ExtAuthz {
    /// Its name for CUSTOM policies. Without a CUSTOM policy that names it, it is asked about every request.
    #[serde(default)]
    pub name: String,
    /// It is asked over HTTP.
    pub envoy_ext_authz_http: Option<ExtAuthzHttp>,
    /// It is asked over gRPC.
    pub envoy_ext_authz_grpc: Option<ExtAuthzGrpc>,
}

/// An HTTP service that decides: 200 lets pass, 5xx is an error, anything else is the client's answer.
#[config]
#[derive(Default)]
pub struct ExtAuthzHttp {
    /// A cluster's name or one of its hosts.
    pub service: String,
    /// Looked up as `service:port` first.
    pub port: Option<u16>,
    /// How long an answer may take. Default 200ms.
    pub timeout: Option<String>,
    /// Stands before the path of the request. Default: nothing.
    #[serde(default)]
    pub path_prefix: String,
    /// Whether a request passes when there is no answer or a 5xx. Default false.
    #[serde(default)]
    pub fail_open: bool,
    /// What a client gets when there is no answer or a 5xx. Default 403.
    pub status_on_error: Option<StatusOnError>,
    /// Headers of the request that are sent: `name`, `prefix*` or `*suffix`. `Authorization` is sent anyway.
    #[serde(default, alias = "includeHeadersInCheck")]
    pub include_request_headers_in_check: Vec<String>,
    /// Headers that are added to the check.
    #[serde(default)]
    pub include_additional_headers_in_check: BTreeMap<String, String>,
    /// Whether the body is sent too. Default: it is not.
    pub include_request_body_in_check: Option<RequestBodyInCheck>,
    /// Headers of the answer that replace the request's. Default: none.
    #[serde(default)]
    pub headers_to_upstream_on_allow: Vec<String>,
    /// Headers of a refusal that the client gets. Absent: all.
    pub headers_to_downstream_on_deny: Option<Vec<String>>,
    /// Headers of the answer that the client gets with the response. Default: none.
    #[serde(default)]
    pub headers_to_downstream_on_allow: Vec<String>,
}

/// A gRPC service that decides: `envoy.service.auth.v3.Authorization`. It is told method, path, authority, addresses and
/// all headers of a request.
#[config]
#[derive(Default)]
pub struct ExtAuthzGrpc {
    /// A cluster's name or one of its hosts.
    pub service: String,
    /// Looked up as `service:port` first.
    pub port: Option<u16>,
    /// How long an answer may take. Default 200ms.
    pub timeout: Option<String>,
    /// Whether a request passes when there is no answer. Default false.
    #[serde(default)]
    pub fail_open: bool,
    /// What a client gets when there is no answer. Default 403.
    pub status_on_error: Option<StatusOnError>,
    /// Whether the service is told the body too. Default: it is not.
    pub include_request_body_in_check: Option<RequestBodyInCheck>,
    /// What else the service is told: `context_extensions`.
    #[serde(default)]
    pub context_extensions: BTreeMap<String, String>,
}

/// How much of a request's body the service is told.
#[config]
#[derive(Default)]
pub struct RequestBodyInCheck {
    /// Bytes that are held for it. A larger body is refused with 413, also with `failOpen`.
    pub max_request_bytes: u32,
    /// Instead, the service is told the beginning of a larger one. Default false.
    #[serde(default)]
    pub allow_partial_message: bool,
    /// Over gRPC, the body is told in `raw_body` instead of `body`, which is text. Default false.
    #[serde(default)]
    pub pack_as_bytes: bool,
}

/// A status, written as text (Istio's way) or number.
#[config]
#[serde(untagged)]
pub enum StatusOnError {
    /// `403`.
    Number(u16),
    /// `"403"`.
    Text(String),
}

/// The words that every way of asking has.
pub(crate) struct Words<'w> {
    pub(crate) service: &'w str,
    pub(crate) port: Option<u16>,
    pub(crate) timeout: Option<&'w str>,
    pub(crate) fail_open: bool,
    pub(crate) status_on_error: Option<&'w StatusOnError>,
    pub(crate) body: Option<&'w RequestBodyInCheck>,
}

macro_rules! words_of {
    ($($kind:ty),*) => {$(
        impl<'w> From<&'w $kind> for Words<'w> {
            fn from(written: &'w $kind) -> Self {
                Self {
                    service: &written.service,
                    port: written.port,
                    timeout: written.timeout.as_deref(),
                    fail_open: written.fail_open,
                    status_on_error: written.status_on_error.as_ref(),
                    body: written.include_request_body_in_check.as_ref(),
                }
            }
        }
    )*};
}
words_of!(ExtAuthzHttp, ExtAuthzGrpc);
