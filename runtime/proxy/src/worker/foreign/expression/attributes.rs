//! What an expression can name: the properties of the exchange, the plugin and the proxy, with their types.

use std::rc::Rc;

use sidegate_wasm_host::abi::Status;
use sidegate_wasm_host::{Open, StreamKey, VmSpec, pairs};

use super::value::Value;
use crate::exchange::properties;
use crate::exchange::stored::Place;
use crate::exchange::view::View;
use crate::snapshot::Node;
use crate::worker::env::Env;
use crate::worker::node;

/// Bytes of one attribute: as those of a property.
const ATTRIBUTE_BYTES: usize = sidegate_wasm_host::limits::PROPERTY_BYTES;

/// Everything that can be read in one evaluation.
pub(in crate::worker::foreign) struct Attributes<'a> {
    view: Option<(&'a View, Open)>,
    /// Who asks: a plugin of a proxy. An access log is written for nobody in particular.
    asker: Option<(&'a VmSpec, &'a Node)>,
}

/// How a property's bytes become a value.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Int,
    Uint,
    Bool,
    Duration,
    Timestamp,
    Bytes,
    Message,
    /// A map of texts, which can also be asked for one of its keys.
    Headers,
    /// No value: it only has attributes below it.
    Group,
}

impl<'a> Attributes<'a> {
    pub(in crate::worker::foreign) fn of(env: &'a Env, spec: &'a VmSpec, stream: Option<(StreamKey, Open)>) -> Self {
        let view = stream.and_then(|(key, open)| Some((env.views.get(key as usize)?, open)));
        Self { view, asker: Some((spec, &env.node)) }
    }

    /// Those of an exchange that is over.
    pub(super) fn of_log(view: &'a View) -> Self {
        Self { view: Some((view, Open::LOG)), asker: None }
    }

    /// An attribute by its path, segments joined by NUL; `None` if there is none now.
    pub(super) fn read(&self, path: &[u8]) -> Option<Value> {
        if let Some(rest) = node::below(path) {
            return self.node(rest);
        }
        let text = |text: &str| Some(Value::Text(text.into()));
        match path {
            // The one group with something below it where there is no exchange.
            b"xds" => return Some(Value::Group(path.into())),
            b"plugin_name" => return text(&self.asker?.0.plugin),
            b"plugin_root_id" => return text(&self.asker?.0.root_id),
            b"plugin_vm_id" => return text(&self.asker?.0.vm_id),
            _ => {}
        }
        let (view, open) = self.view?;
        match kind(path) {
            Some(Kind::Group | Kind::Headers) => Some(Value::Group(path.into())),
            Some(kind) => decode(kind, &property(view, path, open)?),
            None => stored(view, path),
        }
    }

    /// All of a group that is a map or a message; `None` for other groups.
    pub(super) fn whole(&self, path: &[u8]) -> Option<Value> {
        match node::below(path) {
            Some(b"") => return Some(Value::Message(node::message(self.asker?.1).into())),
            Some(b"locality") => return Some(Value::Message(node::locality(&self.asker?.1.locality).into())),
            _ => {}
        }
        let (view, open) = self.view?;
        match kind(path) {
            Some(Kind::Headers) => {
                let bytes = property(view, path, open)?;
                let fields = pairs::decode(&bytes).unwrap_or_default();
                Value::map(fields.into_iter().map(|(name, value)| (lossy(name), lossy(value))).collect())
            }
            // A message, whose fields can be asked for too.
            Some(Kind::Group) if path == b"metadata" => decode(Kind::Message, &property(view, path, open)?),
            _ => None,
        }
    }

    fn node(&self, rest: &[u8]) -> Option<Value> {
        let (_, own) = self.asker?;
        let mut segments = rest.split(|byte| *byte == 0);
        match (segments.next()?, segments.clone().next()) {
            (b"", None) => {
                let below: Rc<[u8]> = b"xds\0node"[..].into();
                Some(Value::Group(below))
            }
            (b"id", None) => Some(Value::Text(own.id.as_str().into())),
            (b"cluster", None) => Some(Value::Text(own.cluster.as_str().into())),
            (b"user_agent_name", None) => Some(Value::Text(node::USER_AGENT.into())),
            (b"locality", None) => Some(Value::Group(b"xds\0node\0locality"[..].into())),
            (b"locality", Some(name)) => Some(Value::Text(node::place(&own.locality, name)?.into())),
            (b"metadata", None) => object(&own.metadata),
            (b"metadata", Some(_)) => json(node::metadata(own, segments)?),
            _ => None,
        }
    }
}

/// The types of Envoy's attributes.
fn kind(path: &[u8]) -> Option<Kind> {
    let path = std::str::from_utf8(path).ok()?;
    let (group, name) = match path.split_once('\0') {
        None => {
            return Some(match path {
                "request" | "response" | "source" | "destination" | "connection" | "upstream" | "xds"
                | "filter_state" | "metadata" => Kind::Group,
                "connection_id" => Kind::Uint,
                "cluster_name" | "route_name" => Kind::Text,
                "listener_direction" => Kind::Int,
                "cluster_metadata" | "route_metadata" | "listener_metadata" | "upstream_host_metadata" => Kind::Message,
                _ => return None,
            });
        }
        Some(parts) => parts,
    };
    Some(match (group, name) {
        ("request" | "response", "headers") | ("response", "trailers") => Kind::Headers,
        ("metadata", "filter_metadata" | "typed_filter_metadata") => Kind::Headers,
        ("request", "time") => Kind::Timestamp,
        ("request", "duration") | ("response", "backend_latency") | ("upstream", "cx_pool_ready_duration") => {
            Kind::Duration
        }
        ("request" | "response", "size" | "total_size") | ("response", "code" | "flags" | "grpc_status") => Kind::Int,
        ("source" | "destination" | "upstream", "port") | ("xds", "listener_direction") => Kind::Int,
        ("connection", "id") | ("upstream", "request_attempt_count") => Kind::Uint,
        ("connection", "mtls") => Kind::Bool,
        ("upstream", "locality") => Kind::Message,
        // Istio's objects, whose fields are texts.
        ("filter_state", "downstream_peer" | "upstream_peer") => Kind::Group,
        ("filter_state", name) if is_of_peer(name) => Kind::Text,
        ("filter_state", _) => Kind::Bytes,
        ("xds", name) if name.ends_with("_metadata") => Kind::Message,
        _ => Kind::Text,
    })
}

fn is_of_peer(name: &str) -> bool {
    ["downstream_peer\0", "upstream_peer\0"].iter().any(|object| name.starts_with(object))
}

fn property(view: &View, path: &[u8], open: Open) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let found = properties::read(view, path, open, &mut bytes) == Status::Ok && bytes.len() <= ATTRIBUTE_BYTES;
    found.then_some(bytes)
}

fn decode(kind: Kind, bytes: &[u8]) -> Option<Value> {
    let number = || bytes.first_chunk::<8>().map(|eight| i64::from_le_bytes(*eight));
    Some(match kind {
        Kind::Text => lossy(bytes),
        Kind::Int => Value::Int(number()?),
        Kind::Uint => Value::Uint(number()?.cast_unsigned()),
        Kind::Bool => Value::Bool(*bytes.first()? != 0),
        Kind::Duration => Value::Duration(number()?),
        Kind::Timestamp => Value::Timestamp(number()?),
        Kind::Bytes => Value::Bytes(bytes.into()),
        Kind::Message => Value::Message(bytes.into()),
        Kind::Headers | Kind::Group => return None,
    })
}

/// What a filter stored under one name: bytes, unless it was declared a text.
fn stored(view: &View, path: &[u8]) -> Option<Value> {
    let (value, declared) = view.stored.find(Place::Property, path)?;
    Some(if declared.text { lossy(value) } else { Value::Bytes(value.into()) })
}

fn lossy(bytes: &[u8]) -> Value {
    Value::Text(String::from_utf8_lossy(bytes).into())
}

fn json(value: &serde_json::Value) -> Option<Value> {
    Some(match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(flag) => Value::Bool(*flag),
        serde_json::Value::Number(number) => Value::Double(number.as_f64()?),
        serde_json::Value::String(text) => Value::Text(text.as_str().into()),
        serde_json::Value::Array(list) => return Value::list(list.iter().map(json).collect::<Option<_>>()?),
        serde_json::Value::Object(map) => return object(map),
    })
}

fn object(map: &serde_json::Map<String, serde_json::Value>) -> Option<Value> {
    let entry = |(key, value): (&String, _)| Some((Value::Text(key.as_str().into()), json(value)?));
    Value::map(map.iter().map(entry).collect::<Option<_>>()?)
}
