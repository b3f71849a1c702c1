//! What the service is told of a request: a `CheckRequest` with the fields that Envoy fills.

use std::net::{IpAddr, SocketAddr};
use std::time::UNIX_EPOCH;

use sidegate_sdk::RequestHead;
use sidegate_sdk::matching::RequestView;
use sidegate_sdk::protobuf::Writer;

use super::super::body::ToldBody;

/// A question, beside what the host tells of the request.
pub(super) struct Question<'q> {
    pub(super) headers: &'q [(String, String)],
    pub(super) context: &'q [(String, String)],
    pub(super) body: &'q ToldBody,
    /// The body stands in `raw_body`.
    pub(super) is_packed: bool,
}

impl Question<'_> {
    /// Writes it.
    pub(super) fn write(&self, head: &RequestHead<'_>) -> Vec<u8> {
        let mut question = Writer::new();
        question.message(1, |attributes| {
            let service = head.first("x-envoy-downstream-service-cluster").unwrap_or_default();
            attributes.message(1, |source| peer(source, head, "source", &service, &PEER));
            attributes.message(2, |destination| peer(destination, head, "destination", "", &LOCAL));
            attributes.message(4, |request| {
                request.message(1, |time| timestamp(time, head));
                request.message(2, |http| self.http_request(http, head));
            });
            for (key, value) in self.context {
                attributes.entry(10, key, value);
            }
        });
        question.into_bytes()
    }

    /// `AttributeContext.HttpRequest`. Several values of a header are one with commas between.
    fn http_request(&self, out: &mut Writer, head: &RequestHead<'_>) {
        let id = head.property(["request", "id"]).or_else(|| head.first("x-request-id")).unwrap_or_default();
        out.bytes(1, &*id).bytes(2, head.method());
        for (at, (name, value)) in self.headers.iter().enumerate() {
            let same = |other: &&(String, String)| other.0 == *name;
            if self.headers.iter().take(at).any(|other| same(&other)) {
                continue;
            }
            let mut joined = value.clone();
            for (_, further) in self.headers.iter().skip(at + 1).filter(same) {
                joined.push(',');
                joined.push_str(further);
            }
            out.entry(3, name, &joined);
        }
        out.bytes(4, head.path()).bytes(5, head.authority()).bytes(6, head.scheme());
        out.bytes(10, &*head.property(["request", "protocol"]).unwrap_or_default());
        match (&self.body.bytes, self.is_packed) {
            (none, _) if none.is_empty() => {}
            (bytes, true) => {
                out.bytes(12, bytes);
            }
            // A text has to be one.
            (bytes, false) => {
                out.bytes(11, &*String::from_utf8_lossy(bytes));
            }
        }
    }
}

/// Properties of `connection` with the names in a certificate, the first that is there counts.
const PEER: [&str; 3] = ["uri_san_peer_certificate", "dns_san_peer_certificate", "subject_peer_certificate"];
const LOCAL: [&str; 3] = ["uri_san_local_certificate", "dns_san_local_certificate", "subject_local_certificate"];

/// `AttributeContext.Peer`.
fn peer(out: &mut Writer, head: &RequestHead<'_>, side: &str, service: &str, names: &[&str]) {
    if let Some(text) = head.property([side, "address"]) {
        let alone = || text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 0));
        out.message(1, |address| match text.parse().ok().or_else(alone) {
            Some(ip) => {
                address.message(1, |socket| {
                    socket.bytes(2, ip.ip().to_string()).number(3, ip.port().into());
                });
            }
            None => {
                address.message(2, |pipe| {
                    pipe.bytes(1, &*text);
                });
            }
        });
    }
    if !service.is_empty() {
        out.bytes(2, service);
    }
    // A certificate that nobody verified proves nothing.
    if head.bool(["connection", "mtls"]) == Some(true) {
        let name = names.iter().find_map(|name| head.property(["connection", name]).filter(|name| !name.is_empty()));
        if let Some(name) = name {
            out.bytes(4, &*name);
        }
    }
}

/// When the request came.
fn timestamp(out: &mut Writer, head: &RequestHead<'_>) {
    let of_host = head.int(["request", "time"]).and_then(|nanos| u64::try_from(nanos).ok());
    let nanos = of_host.unwrap_or_else(|| {
        let since = sidegate_sdk::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(0)
    });
    out.number(1, nanos / 1_000_000_000).number(2, nanos % 1_000_000_000);
}
