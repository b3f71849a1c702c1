//! Extension providers: what filters refer to by name, with the words of Istio's mesh configuration.

mod ext_authz;

use std::{path::PathBuf, time::Duration};

pub use ext_authz::{ExtAuthzGrpc, ExtAuthzHttp, RequestBodyInCheck, Told};

use crate::{
    checks::{positive, printable},
    cursor::Cursor,
    read::section,
};

section! {
    /// Something outside that filters use by its name. Exactly one kind is given.
    pub struct ExtensionProvider {
        /// The name by which a filter's `providers` know it.
        pub name: String where printable,
        /// An access log in a file.
        pub envoy_file_access_log: Option<FileAccessLog> = None,
        /// A collector of spans that speaks OTLP.
        pub opentelemetry: Option<OpenTelemetry> = None,
        /// A service that is asked over HTTP whether requests may pass.
        pub envoy_ext_authz_http: Option<Told<ExtAuthzHttp>> = None,
        /// A service that is asked over gRPC whether requests may pass.
        pub envoy_ext_authz_grpc: Option<Told<ExtAuthzGrpc>> = None,
    }
    at location
    then one_kind
}

fn one_kind(provider: ExtensionProvider, at: &Cursor<'_>) -> Option<ExtensionProvider> {
    let kinds = [
        provider.envoy_file_access_log.is_some(),
        provider.opentelemetry.is_some(),
        provider.envoy_ext_authz_http.is_some(),
        provider.envoy_ext_authz_grpc.is_some(),
    ];
    if kinds.into_iter().filter(|is_given| *is_given).count() == 1 {
        return Some(provider);
    }
    let all = "envoyFileAccessLog, opentelemetry, envoyExtAuthzHttp and envoyExtAuthzGrpc";
    at.error(format!("exactly one of {all} must be given"), None);
    None
}

section! {
    /// An access log in a file.
    pub struct FileAccessLog {
        /// `/dev/stdout`, `/dev/stderr` or a file that lines are appended to.
        pub path: PathBuf,
        /// How a line looks. Default: Envoy's own format.
        pub log_format: LogFormat = LogFormat::default(),
        /// Whether what is missing is left out of a line, instead of `-` or null. Default: false.
        pub omit_empty_values: bool = false,
    }
}

section! {
    /// How a line looks: `text` or `labels`.
    pub struct LogFormat: Default {
        /// A line of text with Envoy's operators.
        pub text: Option<String> = None,
        /// A JSON object whose texts hold Envoy's operators; lists and maps may be nested.
        pub labels: Option<serde_json::Map<String, serde_json::Value>> = None,
    }
    then one_form
}

fn one_form(format: LogFormat, at: &Cursor<'_>) -> Option<LogFormat> {
    if format.text.is_some() && format.labels.is_some() {
        at.error("text and labels exclude each other", None);
        return None;
    }
    Some(format)
}

section! {
    /// A collector of spans that speaks OTLP: gRPC, or HTTP when `http` is given.
    pub struct OpenTelemetry {
        /// A cluster, by its name or one of its hosts.
        pub service: String where printable,
        /// The port of the service. The cluster's endpoints have ports of their own, so it is documentation here.
        pub port: u32 where positive = 4317,
        /// Bytes of a tag that are kept. Default: 256.
        pub max_tag_length: u32 where positive = 256,
        /// OTLP over HTTP instead of gRPC.
        pub http: Option<OtlpHttp> = None,
    }
}

section! {
    /// OTLP over HTTP.
    pub struct OtlpHttp {
        /// Default: /v1/traces.
        pub path: String where rooted = "/v1/traces".to_owned(),
        /// How long a request may take. Default: 10s.
        pub timeout: Duration = Duration::from_secs(10),
        /// Fields that each request carries.
        pub headers: Vec<OtlpHeader> = Vec::new(),
    }
}

section! {
    /// A header field.
    pub struct OtlpHeader {
        /// Its name.
        pub name: String where printable,
        /// Its value.
        pub value: String,
    }
}

fn rooted(path: &str) -> Result<(), String> {
    if path.starts_with('/') { Ok(()) } else { Err(format!("{path:?} does not begin with /")) }
}
