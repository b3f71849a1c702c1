//! Extension providers as workers use them: what filters refer to by name.

use std::sync::Arc;
use std::time::Duration;

use sidegate_config as config;

use super::Cluster;

/// How long a collector may take when nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(10);

/// One provider.
pub struct Provider {
    pub name: String,
    pub kind: ProviderKind,
}

pub enum ProviderKind {
    FileLog(Arc<config::FileAccessLog>),
    Collector(Arc<Collector>),
    /// A service that filters ask: what it is stands in the listing alone.
    ExtAuthz {
        key: &'static str,
        written: serde_json::Map<String, serde_json::Value>,
    },
}

/// A collector of spans.
pub struct Collector {
    pub name: String,
    pub cluster: Arc<Cluster>,
    /// The authority of requests.
    pub host: String,
    /// Bytes of a tag that are kept.
    pub max_tag: usize,
    pub timeout: Duration,
    /// OTLP over HTTP; `None`: over gRPC.
    pub http: Option<config::OtlpHttp>,
    /// What every span says of this proxy.
    pub resource: Vec<(&'static str, String)>,
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Fields of requests may hold secrets.
        f.debug_struct("Collector").field("name", &self.name).field("host", &self.host).finish()
    }
}

impl Provider {
    /// `Err`: the cluster that it names does not exist.
    pub(super) fn compile(
        written: &config::ExtensionProvider,
        node: &config::Node,
        find: impl Fn(&str) -> Option<Arc<Cluster>>,
    ) -> Result<Self, String> {
        let kind = if let Some(log) = &written.envoy_file_access_log {
            ProviderKind::FileLog(Arc::new(log.clone()))
        } else if let Some(otlp) = &written.opentelemetry {
            let cluster =
                find(&otlp.service).ok_or_else(|| format!("no cluster is named or serves \"{}\"", otlp.service))?;
            ProviderKind::Collector(Arc::new(Collector {
                name: written.name.clone(),
                cluster,
                host: format!("{}:{}", otlp.service, otlp.port),
                max_tag: otlp.max_tag_length as usize,
                timeout: otlp.http.as_ref().map_or(TIMEOUT, |http| http.timeout),
                http: otlp.http.clone(),
                resource: resource(node),
            }))
        } else if let Some(told) = &written.envoy_ext_authz_http {
            ProviderKind::ExtAuthz { key: "envoyExtAuthzHttp", written: told.written.clone() }
        } else if let Some(told) = &written.envoy_ext_authz_grpc {
            ProviderKind::ExtAuthz { key: "envoyExtAuthzGrpc", written: told.written.clone() }
        } else {
            return Err("no kind of provider is given".to_owned());
        };
        Ok(Self { name: written.name.clone(), kind })
    }

    /// What a plugin with this configuration is told of it: name and kind, and what is needed to ask it to the plugin
    /// that names it. What the proxy uses in its place is nobody's business, since it may hold secrets.
    pub fn told(&self, configuration: Option<&[u8]>) -> serde_json::Value {
        let (key, words) = match &self.kind {
            ProviderKind::FileLog(_) => ("envoyFileAccessLog", serde_json::Map::new()),
            ProviderKind::Collector(_) => ("opentelemetry", serde_json::Map::new()),
            ProviderKind::ExtAuthz { key, written } if self.is_named_in(configuration) => (*key, written.clone()),
            ProviderKind::ExtAuthz { key, .. } => (*key, serde_json::Map::new()),
        };
        serde_json::json!({"name": self.name, key: words})
    }

    /// Whether a configuration has its name as a text, whatever it means there.
    pub fn is_named_in(&self, configuration: Option<&[u8]>) -> bool {
        let name = serde_json::Value::from(self.name.as_str()).to_string();
        configuration.is_some_and(|bytes| bytes.windows(name.len()).any(|part| part == name.as_bytes()))
    }
}

/// Istio's service name, `SERVICE.NAMESPACE`, and who this proxy is.
fn resource(node: &config::Node) -> Vec<(&'static str, String)> {
    let text =
        |value: Option<&serde_json::Value>| value.and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    let labels = node.metadata.get("LABELS").and_then(|labels| labels.as_object());
    let label = |name: &str| text(labels.and_then(|labels| labels.get(name)));
    let workload = text(node.metadata.get("WORKLOAD_NAME"));
    let names = [label("service.istio.io/canonical-name"), label("app"), workload.clone(), node.cluster.clone()];
    let service = names.into_iter().find(|name| !name.is_empty()).unwrap_or_else(|| "sidegate".to_owned());
    let namespace = text(node.metadata.get("NAMESPACE"));
    let name = if namespace.is_empty() { service } else { format!("{service}.{namespace}") };
    let all = [
        ("service.name", name),
        ("service.instance.id", node.id.clone()),
        ("k8s.namespace.name", namespace),
        ("k8s.workload.name", workload),
    ];
    all.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::{Provider, ProviderKind};

    #[test]
    fn the_words_of_a_service_are_for_who_names_it() {
        let written = serde_json::json!({"service": "opa"}).as_object().unwrap().clone();
        let kind = ProviderKind::ExtAuthz { key: "envoyExtAuthzHttp", written };
        let provider = Provider { name: "opa".to_owned(), kind };
        let told = |configuration: &str| provider.told(Some(configuration.as_bytes()));
        let all = serde_json::json!({"name": "opa", "envoyExtAuthzHttp": {"service": "opa"}});
        assert_eq!(told(r#"{"provider":{"name":"opa"}}"#), all);
        let nothing = serde_json::json!({"name": "opa", "envoyExtAuthzHttp": {}});
        assert_eq!(told(r#"{"provider":{"name":"opal"}}"#), nothing);
        assert_eq!(provider.told(None), provider.told(Some(b"{}")));
    }
}
