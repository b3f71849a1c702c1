//! What an exchange is counted under: Istio's labels, plain.

use std::borrow::Cow;

use sidegate_sdk::properties;

const UNKNOWN: &str = "unknown";

/// Where the listener stands, as seen from the workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Requests come to the workload: it is the destination.
    Inbound,
    /// Requests leave the workload: it is the source.
    Outbound,
}

impl Direction {
    /// From `xds.listener_direction`; what is not said is inbound.
    #[must_use]
    pub fn from_property(value: Option<i64>) -> Self {
        if value == Some(2) { Self::Outbound } else { Self::Inbound }
    }
}

/// The workload that this proxy stands beside; what is not known is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Workload {
    /// `WORKLOAD_NAME`.
    pub name: String,
    /// `NAMESPACE`.
    pub namespace: String,
    /// Label `app`.
    pub app: String,
    /// Label `version`.
    pub version: String,
    /// `CLUSTER_ID`.
    pub cluster: String,
    /// Label `service.istio.io/canonical-name`.
    pub canonical_service: String,
    /// Label `service.istio.io/canonical-revision`.
    pub canonical_revision: String,
}

impl Workload {
    /// Asks the host for the node's metadata.
    #[must_use]
    pub fn of_host() -> Self {
        let metadata = |key: &str| properties::text(["xds", "node", "metadata", key]).unwrap_or_default();
        let label = |key: &str| properties::text(["xds", "node", "metadata", "LABELS", key]).unwrap_or_default();
        let first = |values: [String; 3]| values.into_iter().find(|value| !value.is_empty()).unwrap_or_default();
        let (name, app, version) = (metadata("WORKLOAD_NAME"), label("app"), label("version"));
        Self {
            namespace: metadata("NAMESPACE"),
            cluster: metadata("CLUSTER_ID"),
            canonical_service: first([label("service.istio.io/canonical-name"), app.clone(), name.clone()]),
            canonical_revision: first([
                label("service.istio.io/canonical-revision"),
                version.clone(),
                "latest".to_owned(),
            ]),
            name,
            app,
            version,
        }
    }
}

/// What is known of an exchange.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'f> {
    /// Of the listener.
    pub direction: Direction,
    /// The authority with its port, or empty.
    pub authority: &'f str,
    /// The HTTP status; 0 if the client got none.
    pub status: u16,
    /// For gRPC, its status, if there was one.
    pub grpc_status: Option<Option<i64>>,
    /// Response flags, or `-`.
    pub flags: &'f str,
    /// Whether the client proved who it is; `None` where that is not seen.
    pub is_mtls: Option<bool>,
    /// SPIFFE id of the other side, or empty.
    pub peer_principal: &'f str,
    /// Our own, or empty.
    pub own_principal: &'f str,
}

impl Facts<'_> {
    /// The part of the facts that makes a series, as bytes to look it up by.
    pub fn key(&self, out: &mut Vec<u8>) {
        let grpc = self.grpc_status.map_or(i64::MIN, |status| status.unwrap_or(-1));
        out.clear();
        out.push(self.direction as u8);
        out.push(self.is_mtls.map_or(2, u8::from));
        out.extend_from_slice(&self.status.to_le_bytes());
        out.extend_from_slice(&grpc.to_le_bytes());
        for text in [self.flags, self.authority, self.peer_principal, self.own_principal] {
            out.extend_from_slice(text.as_bytes());
            out.push(0);
        }
    }

    /// All labels of Istio's request metrics.
    #[must_use]
    pub fn labels<'l>(&'l self, own: &'l Workload) -> Vec<(&'static str, Cow<'l, str>)> {
        let peer_namespace = namespace_of(self.peer_principal);
        let peer = Side { namespace: peer_namespace, principal: self.peer_principal, workload: None };
        let here = Side { namespace: &own.namespace, principal: self.own_principal, workload: Some(own) };
        let (reporter, source, destination) = match self.direction {
            Direction::Inbound => ("destination", peer, here),
            Direction::Outbound => ("source", here, peer),
        };
        let service = without_port(self.authority);
        let is_address = service.starts_with('[') || service.parse::<std::net::Ipv4Addr>().is_ok();
        let mut parts = service.split('.');
        let name = if is_address { service } else { parts.next().unwrap_or(service) };
        let service_namespace = match self.direction {
            Direction::Inbound => &own.namespace,
            // `name.namespace.svc.cluster.local` is the only host name that tells.
            Direction::Outbound => parts.next().filter(|_| !is_address && parts.next() == Some("svc")).unwrap_or(""),
        };
        let grpc_status = match self.grpc_status {
            Some(Some(status)) => status.to_string(),
            Some(None) | None => String::new(),
        };
        let policy = match self.is_mtls {
            Some(true) => "mutual_tls",
            Some(false) => "none",
            None => UNKNOWN,
        };
        vec![
            ("reporter", reporter.into()),
            ("source_workload", known(source.own(|own| &own.name))),
            ("source_canonical_service", known(source.own(|own| &own.canonical_service))),
            ("source_canonical_revision", known(source.own(|own| &own.canonical_revision))),
            ("source_workload_namespace", known(source.namespace)),
            ("source_principal", known(source.principal)),
            ("source_app", known(source.own(|own| &own.app))),
            ("source_version", known(source.own(|own| &own.version))),
            ("source_cluster", known(source.own(|own| &own.cluster))),
            ("destination_workload", known(destination.own(|own| &own.name))),
            ("destination_workload_namespace", known(destination.namespace)),
            ("destination_principal", known(destination.principal)),
            ("destination_app", known(destination.own(|own| &own.app))),
            ("destination_version", known(destination.own(|own| &own.version))),
            ("destination_service", known(service)),
            ("destination_canonical_service", known(destination.own(|own| &own.canonical_service))),
            ("destination_canonical_revision", known(destination.own(|own| &own.canonical_revision))),
            ("destination_service_name", known(name)),
            ("destination_service_namespace", known(service_namespace)),
            ("destination_cluster", known(destination.own(|own| &own.cluster))),
            ("request_protocol", if self.grpc_status.is_some() { "grpc" } else { "http" }.into()),
            ("response_code", self.status.to_string().into()),
            ("grpc_response_status", grpc_status.into()),
            ("response_flags", self.flags.into()),
            ("connection_security_policy", policy.into()),
        ]
    }
}

#[derive(Clone, Copy)]
struct Side<'s> {
    namespace: &'s str,
    principal: &'s str,
    workload: Option<&'s Workload>,
}

impl<'s> Side<'s> {
    fn own(&self, field: impl Fn(&'s Workload) -> &'s str) -> &'s str {
        self.workload.map_or("", field)
    }
}

fn known(value: &str) -> Cow<'_, str> {
    Cow::Borrowed(if value.is_empty() { UNKNOWN } else { value })
}

/// The namespace in `spiffe://DOMAIN/ns/NAMESPACE/sa/ACCOUNT`.
fn namespace_of(principal: &str) -> &str {
    let mut segments = principal.strip_prefix("spiffe://").unwrap_or_default().split('/').skip(1);
    match (segments.next(), segments.next()) {
        (Some("ns"), Some(namespace)) => namespace,
        _ => "",
    }
}

fn without_port(authority: &str) -> &str {
    let end_of_address = authority.rfind(']').unwrap_or(0);
    match authority.rfind(':') {
        Some(colon) if colon > end_of_address => authority.get(..colon).unwrap_or(authority),
        _ => authority,
    }
}
