//! What an exchange is counted under: Istio's labels, plain.

use std::borrow::Cow;

use sidegate_sdk::properties;

use crate::direction::Direction;

const UNKNOWN: &str = "unknown";

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
    /// What the other side's proxy said of its workload, `key=value` joined by commas, or empty.
    pub peer: &'f str,
    /// Values of labels that an operator added.
    pub values: &'f [Cow<'f, str>],
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
        for text in [self.flags, self.authority, self.peer_principal, self.own_principal, self.peer] {
            out.extend_from_slice(text.as_bytes());
            out.push(0);
        }
        for value in self.values {
            out.extend_from_slice(value.as_bytes());
            out.push(0);
        }
    }

    /// The same without what a client or a peer can choose freely.
    #[must_use]
    pub fn collapsed(&self) -> Self {
        Self { authority: "", peer_principal: "", peer: "", values: &[], ..*self }
    }

    /// All labels of Istio's request metrics.
    #[must_use]
    pub fn labels<'l>(&'l self, own: &'l Workload) -> Vec<(&'static str, Cow<'l, str>)> {
        let peer = Side::of_peer(self.peer, self.peer_principal);
        let here = Side::of_workload(own, self.own_principal);
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
            Direction::Outbound => {
                let named = parts.next().filter(|_| !is_address && parts.next() == Some("svc"));
                named.unwrap_or(peer.namespace)
            }
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
            ("source_workload", known(source.workload)),
            ("source_canonical_service", known(source.canonical_service)),
            ("source_canonical_revision", known(source.canonical_revision)),
            ("source_workload_namespace", known(source.namespace)),
            ("source_principal", known(source.principal)),
            ("source_app", known(source.app)),
            ("source_version", known(source.version)),
            ("source_cluster", known(source.cluster)),
            ("destination_workload", known(destination.workload)),
            ("destination_workload_namespace", known(destination.namespace)),
            ("destination_principal", known(destination.principal)),
            ("destination_app", known(destination.app)),
            ("destination_version", known(destination.version)),
            ("destination_service", known(service)),
            ("destination_canonical_service", known(destination.canonical_service)),
            ("destination_canonical_revision", known(destination.canonical_revision)),
            ("destination_service_name", known(name)),
            ("destination_service_namespace", known(service_namespace)),
            ("destination_cluster", known(destination.cluster)),
            ("request_protocol", if self.grpc_status.is_some() { "grpc" } else { "http" }.into()),
            ("response_code", self.status.to_string().into()),
            ("grpc_response_status", grpc_status.into()),
            ("response_flags", self.flags.into()),
            ("connection_security_policy", policy.into()),
        ]
    }
}

/// One end of a request; what is not known is empty.
#[derive(Clone, Copy, Default)]
struct Side<'s> {
    workload: &'s str,
    namespace: &'s str,
    principal: &'s str,
    app: &'s str,
    version: &'s str,
    cluster: &'s str,
    canonical_service: &'s str,
    canonical_revision: &'s str,
}

impl<'s> Side<'s> {
    fn of_workload(own: &'s Workload, principal: &'s str) -> Self {
        Self {
            workload: &own.name,
            namespace: &own.namespace,
            principal,
            app: &own.app,
            version: &own.version,
            cluster: &own.cluster,
            canonical_service: &own.canonical_service,
            canonical_revision: &own.canonical_revision,
        }
    }

    fn of_peer(told: &'s str, principal: &'s str) -> Self {
        let mut side = Self { principal, ..Self::default() };
        for (key, value) in told.split(',').filter_map(|pair| pair.split_once('=')) {
            match key {
                "workload" => side.workload = value,
                "namespace" => side.namespace = value,
                "app" => side.app = value,
                "version" => side.version = value,
                "cluster" => side.cluster = value,
                "service" => side.canonical_service = value,
                "revision" => side.canonical_revision = value,
                _ => {}
            }
        }
        // A certificate proves what the other end only says.
        let proven = namespace_of(principal);
        side.namespace = if proven.is_empty() { side.namespace } else { proven };
        side
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
