//! What proxies tell each other of their workloads: Istio's `x-envoy-peer-metadata` and its `-id`. They are taken off
//! every message and put on anew, so that a service never sees them and a client cannot speak for us.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use sidegate_wasm_host::StreamKey;

use crate::protobuf::{self, Value};
use crate::snapshot::{Direction, Node};
use crate::worker::env::Env;

/// A base64 text of a protobuf `Struct`.
pub const METADATA: HeaderName = HeaderName::from_static("x-envoy-peer-metadata");
/// The name of the peer's proxy.
pub const METADATA_ID: HeaderName = HeaderName::from_static("x-envoy-peer-metadata-id");

/// Bytes of an introduction that is read; Istio's own have some 500.
const MAX_BYTES: usize = 4 << 10;
/// Bytes of one value: the longest label of Kubernetes has 63, a name 253.
const MAX_VALUE: usize = 253;
/// What is written has padding; what is read may lack it, as other proxies write it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);
/// Peers that a worker remembers; with more it begins anew.
const MAX_PEERS: usize = 512;

/// What came in the two fields.
#[derive(Clone, Debug, Default)]
pub struct Introduction {
    pub id: Option<HeaderValue>,
    pub metadata: Option<HeaderValue>,
}

impl Introduction {
    /// Takes the two fields off a message; `None`: neither was there.
    pub fn take(headers: &mut HeaderMap) -> Option<Self> {
        let found = Self { id: headers.remove(METADATA_ID), metadata: headers.remove(METADATA) };
        (found.id.is_some() || found.metadata.is_some()).then_some(found)
    }

    /// Whether a header is one of the two.
    pub fn is_part(name: &str) -> bool {
        name == METADATA_ID.as_str() || name == METADATA.as_str()
    }
}

/// A peer's workload as `key=value` pairs joined by commas, with Istio's keys: the property
/// `filter_state.downstream_peer` or `filter_state.upstream_peer`.
#[derive(Debug, PartialEq, Eq)]
pub struct Peer {
    pub text: String,
}

impl Peer {
    /// One of the values.
    pub fn value(&self, key: &str) -> Option<&str> {
        let mut pairs = self.text.split(',').filter_map(|pair| pair.split_once('='));
        pairs.find(|(known, _)| *known == key).map(|(_, value)| value)
    }

    fn read(introduction: &Introduction) -> Option<Self> {
        let encoded = introduction.metadata.as_ref()?.as_bytes();
        if encoded.len() > MAX_BYTES {
            return None;
        }
        let bytes = BASE64.decode(encoded.trim_ascii_end()).ok()?;
        let mut text = String::new();
        let mut add = |key: &str, value: &str| {
            let is_plain = value.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b',' | b'='));
            if !value.is_empty() && value.len() <= MAX_VALUE && is_plain {
                let separator = if text.is_empty() { "" } else { "," };
                text.extend([separator, key, "=", value]);
            }
        };
        each_entry(&bytes, |key, value| {
            let key = match key {
                "NAME" => "name",
                "NAMESPACE" => "namespace",
                "CLUSTER_ID" => "cluster",
                "WORKLOAD_NAME" => "workload",
                "LABELS" => {
                    if let Some(labels) = struct_of(value) {
                        each_entry(labels, |key, value| {
                            let key = match key {
                                "app" => "app",
                                "version" => "version",
                                "service.istio.io/canonical-name" => "service",
                                "service.istio.io/canonical-revision" => "revision",
                                _ => return,
                            };
                            add(key, text_of(value).unwrap_or_default());
                        });
                    }
                    return;
                }
                _ => return,
            };
            add(key, text_of(value).unwrap_or_default());
        });
        (!text.is_empty()).then_some(Self { text })
    }
}

/// Calls `each` with key and `google.protobuf.Value` of every field of a `Struct`.
fn each_entry<'a>(bytes: &'a [u8], mut each: impl FnMut(&'a str, &'a [u8])) {
    let _ = protobuf::read(bytes, |number, field| {
        let (1, Value::Bytes(entry)) = (number, field) else { return };
        let (mut key, mut value): (&[u8], &[u8]) = (b"", b"");
        let whole = protobuf::read(entry, |number, field| match (number, field) {
            (1, Value::Bytes(bytes)) => key = bytes,
            (2, Value::Bytes(bytes)) => value = bytes,
            _ => {}
        });
        if let (Ok(()), Ok(key)) = (whole, protobuf::text(key)) {
            each(key, value);
        }
    });
}

fn text_of(value: &[u8]) -> Option<&str> {
    kind_of(value, 3).and_then(|bytes| protobuf::text(bytes).ok())
}

fn struct_of(value: &[u8]) -> Option<&[u8]> {
    kind_of(value, 5)
}

fn kind_of(value: &[u8], kind: u64) -> Option<&[u8]> {
    let mut found = None;
    let _ = protobuf::read(value, |number, field| {
        if let (true, Value::Bytes(bytes)) = (number == kind, field) {
            found = Some(bytes);
        }
    });
    found
}

/// To whom we say which workload this proxy stands beside.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Introduces {
    Nobody,
    /// The client, which has introduced itself.
    Client,
    Upstream,
}

/// Notes what the client's proxy said in an exchange that begins, and whom to answer.
pub fn meet(env: &mut Env, key: StreamKey, introduction: Option<&Introduction>) -> Introduces {
    let peer = introduction.and_then(|introduction| env.peers.meet(introduction));
    let Some(view) = env.view(key) else { return Introduces::Nobody };
    match (view.facts.listener.direction, introduction) {
        (Direction::Outbound, _) => Introduces::Upstream,
        (Direction::Inbound, None) => Introduces::Nobody,
        (Direction::Inbound, Some(_)) => {
            view.facts.downstream_peer = peer;
            Introduces::Client
        }
    }
}

/// The peers that a worker has met, and what it says of itself.
#[derive(Default)]
pub struct Peers {
    known: HashMap<Box<[u8]>, Option<Arc<Peer>>>,
    own: Option<Introduction>,
}

impl Peers {
    /// What this proxy says of itself from now on. A node without metadata says nothing.
    pub fn introduce(&mut self, node: &Node) {
        self.own = own(node);
    }

    /// Puts our own words on a message.
    pub fn stamp(&self, headers: &mut HeaderMap) {
        let Some(own) = &self.own else { return };
        for (name, value) in [(METADATA_ID, &own.id), (METADATA, &own.metadata)] {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
    }

    /// Who introduced themselves so; `None`: nothing can be read.
    pub fn meet(&mut self, introduction: &Introduction) -> Option<Arc<Peer>> {
        let key = introduction.metadata.as_ref()?.as_bytes();
        if let Some(known) = self.known.get(key) {
            return known.clone();
        }
        if key.len() > MAX_BYTES {
            return None;
        }
        if self.known.len() >= MAX_PEERS {
            self.known.clear();
        }
        let peer = Peer::read(introduction).map(Arc::new);
        self.known.insert(key.into(), peer.clone());
        peer
    }
}

fn own(node: &Node) -> Option<Introduction> {
    let keys = ["NAME", "NAMESPACE", "CLUSTER_ID", "OWNER", "WORKLOAD_NAME"];
    let mut told: serde_json::Map<_, _> =
        keys.iter().filter_map(|key| Some(((*key).to_owned(), node.metadata.get(*key)?.clone()))).collect();
    let labels = ["app", "version", "service.istio.io/canonical-name", "service.istio.io/canonical-revision"];
    if let Some(all) = node.metadata.get("LABELS").and_then(serde_json::Value::as_object) {
        let labels = labels.iter().filter_map(|key| Some(((*key).to_owned(), all.get(*key)?.clone())));
        told.insert("LABELS".to_owned(), serde_json::Value::Object(labels.collect()));
    }
    if told.is_empty() {
        return None;
    }
    let metadata = HeaderValue::try_from(BASE64.encode(protobuf::json_struct(&told))).ok();
    Some(Introduction { id: HeaderValue::try_from(&node.id).ok().filter(|id| !id.is_empty()), metadata })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(json: &str) -> Node {
        Node { id: "sidecar~a".to_owned(), metadata: serde_json::from_str(json).unwrap(), ..Node::default() }
    }

    #[test]
    fn what_one_proxy_says_another_understands() {
        let mut peers = Peers::default();
        let labels = r#"{"app": "shop", "version": "v1", "team": "x", "service.istio.io/canonical-name": "shop"}"#;
        let all = format!(r#"{{"WORKLOAD_NAME": "shop-v1", "NAMESPACE": "prod", "SECRET": "s", "LABELS": {labels}}}"#);
        peers.introduce(&node(&all));
        let mut headers = HeaderMap::new();
        peers.stamp(&mut headers);
        let said = Introduction::take(&mut headers).unwrap();
        assert!(headers.is_empty());
        assert_eq!(said.id.as_ref().unwrap(), "sidecar~a");
        let peer = peers.meet(&said).unwrap();
        assert_eq!(peer.value("workload"), Some("shop-v1"));
        assert_eq!((peer.value("namespace"), peer.value("version")), (Some("prod"), Some("v1")));
        assert_eq!((peer.value("service"), peer.value("team")), (Some("shop"), None), "only what metrics need");
        assert!(!peer.text.contains('s') || !peer.text.contains("SECRET"));
    }

    #[test]
    fn nothing_and_nonsense_say_nothing() {
        let mut peers = Peers::default();
        peers.introduce(&node("{}"));
        let mut headers = HeaderMap::new();
        peers.stamp(&mut headers);
        assert!(headers.is_empty(), "a proxy without metadata stays silent");
        for nonsense in ["", "!!!", "AAAA", &"A".repeat(MAX_BYTES + 1)] {
            let metadata = HeaderValue::try_from(nonsense).ok();
            assert_eq!(peers.meet(&Introduction { id: None, metadata }), None, "{nonsense}");
        }
        for number in 0..MAX_PEERS + 10 {
            let metadata = HeaderValue::try_from(format!("{number:04}")).ok();
            peers.meet(&Introduction { id: None, metadata });
        }
        assert!(peers.known.len() <= MAX_PEERS);
    }

    #[test]
    fn values_that_would_break_a_list_are_left_out() {
        let mut peers = Peers::default();
        peers.introduce(&node(r#"{"WORKLOAD_NAME": "a,namespace=b", "NAMESPACE": "prod"}"#));
        let mut headers = HeaderMap::new();
        peers.stamp(&mut headers);
        assert_eq!(peers.meet(&Introduction::take(&mut headers).unwrap()).unwrap().text, "namespace=prod");
    }

    #[test]
    fn padding_may_be_left_out() {
        let mut peers = Peers::default();
        peers.introduce(&node(r#"{"NAMESPACE": "stage"}"#));
        let mut headers = HeaderMap::new();
        peers.stamp(&mut headers);
        let said = headers[METADATA].to_str().unwrap().to_owned();
        assert!(said.ends_with('='), "{said}");
        for text in [said.as_str(), said.trim_end_matches('=')] {
            let metadata = HeaderValue::try_from(text).ok();
            assert_eq!(peers.meet(&Introduction { id: None, metadata }).unwrap().text, "namespace=stage");
        }
    }
}
