//! Properties of the proxy itself: `xds.node`, also under its old name `node`, and `sidegate.clusters`.

use sidegate_wasm_host::abi::Status;
use sidegate_wasm_host::pairs;

use crate::protobuf;
use crate::snapshot::{Clusters, Node};

/// What this proxy calls itself.
pub const USER_AGENT: &str = "sidegate";

/// Reads one property into `out`.
pub fn property(node: &Node, clusters: &Clusters, path: &[u8], out: &mut Vec<u8>) -> Status {
    if path == b"sidegate.clusters" {
        out.extend_from_slice(clusters.listing.as_bytes());
        return Status::Ok;
    }
    // A group has no value of its own, and this one exists without an exchange too.
    if path == b"xds" {
        return Status::SerializationFailure;
    }
    let Some(path) = below(path) else { return Status::NotFound };
    let mut segments = path.split(|byte| *byte == 0);
    match (segments.next(), segments.clone().next()) {
        (Some(b""), None) => out.extend_from_slice(&message(node)),
        (Some(b"id"), None) => out.extend_from_slice(node.id.as_bytes()),
        (Some(b"cluster"), None) => out.extend_from_slice(node.cluster.as_bytes()),
        (Some(b"user_agent_name"), None) => out.extend_from_slice(USER_AGENT.as_bytes()),
        (Some(b"locality"), None) => out.extend_from_slice(&locality(&node.locality)),
        (Some(b"locality"), Some(name)) => match (place(&node.locality, name), segments.nth(1)) {
            (Some(text), None) => out.extend_from_slice(text.as_bytes()),
            _ => return Status::NotFound,
        },
        (Some(b"metadata"), None) => map(&node.metadata, out),
        (Some(b"metadata"), Some(_)) => match metadata(node, segments) {
            None | Some(serde_json::Value::Null) => return Status::NotFound,
            Some(value) => json(value, out),
        },
        _ => return Status::NotFound,
    }
    Status::Ok
}

/// What stands below `xds.node` or `node`, empty for the node itself.
pub fn below(path: &[u8]) -> Option<&[u8]> {
    let rest = path.strip_prefix(b"xds\0").unwrap_or(path).strip_prefix(b"node")?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b"\0") }
}

/// A value of the node's metadata by its keys.
pub fn metadata<'n, 's>(node: &'n Node, keys: impl Iterator<Item = &'s [u8]>) -> Option<&'n serde_json::Value> {
    let (mut map, mut value) = (Some(&node.metadata), None);
    for key in keys {
        value = Some(map?.get(std::str::from_utf8(key).ok()?)?);
        map = value.and_then(serde_json::Value::as_object);
    }
    value
}

/// `envoy.config.core.v3.Node` with its id, cluster, metadata, locality and the proxy's own name.
pub fn message(node: &Node) -> Vec<u8> {
    let mut out = Vec::new();
    protobuf::put_bytes(&mut out, 1, node.id.as_bytes());
    protobuf::put_bytes(&mut out, 2, node.cluster.as_bytes());
    if !node.metadata.is_empty() {
        protobuf::put_message(&mut out, 3, &protobuf::json_struct(&node.metadata));
    }
    if !node.locality.is_empty() {
        protobuf::put_message(&mut out, 4, &locality(&node.locality));
    }
    protobuf::put_bytes(&mut out, 6, USER_AGENT.as_bytes());
    out
}

/// A field of a locality, empty where it is not said.
pub fn place<'t>(locality: &'t str, name: &[u8]) -> Option<&'t str> {
    let at = [&b"region"[..], b"zone", b"sub_zone"].iter().position(|known| *known == name)?;
    Some(locality.splitn(3, '/').nth(at).unwrap_or_default())
}

/// `envoy.config.core.v3.Locality` of `region/zone/subzone`.
pub fn locality(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, part) in (1..).zip(text.splitn(3, '/')) {
        protobuf::put_bytes(&mut out, number, part.as_bytes());
    }
    out
}

/// Text raw, booleans one byte, numbers eight, a map as pairs and a list as pairs without values. Whoever writes the
/// configuration decides how deep they nest, and its parser has a bound.
fn json(value: &serde_json::Value, out: &mut Vec<u8>) {
    match value {
        serde_json::Value::Null => {}
        serde_json::Value::String(text) => out.extend_from_slice(text.as_bytes()),
        serde_json::Value::Bool(flag) => out.push(u8::from(*flag)),
        serde_json::Value::Number(number) => {
            out.extend_from_slice(&number.as_f64().unwrap_or_default().to_le_bytes());
        }
        serde_json::Value::Object(object) => map(object, out),
        serde_json::Value::Array(list) => {
            let items: Vec<_> = list.iter().map(|item| (bytes(item), [])).collect();
            pairs::encode_value(&items, out);
        }
    }
}

fn map(object: &serde_json::Map<String, serde_json::Value>, out: &mut Vec<u8>) {
    let items: Vec<_> = object.iter().map(|(key, value)| (key, bytes(value))).collect();
    pairs::encode_value(&items, out);
}

fn bytes(value: &serde_json::Value) -> Vec<u8> {
    let mut out = Vec::new();
    json(value, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_by_both_names() {
        let metadata = serde_json::json!({"NAME": "app", "LABELS": {"app": "shop"}, "ready": true, "zones": ["a", 1]});
        let node = Node {
            id: "app-1".into(),
            cluster: "shop".into(),
            locality: "eu/a".into(),
            metadata: metadata.as_object().unwrap().clone(),
        };
        let read = |path: &str| {
            let mut out = Vec::new();
            let path = path.replace('.', "\0");
            let status = property(&node, &Clusters::default(), path.as_bytes(), &mut out);
            (status, String::from_utf8_lossy(&out).into_owned())
        };
        for prefix in ["node", "xds.node"] {
            let below = |rest: &str| read(&format!("{prefix}{rest}"));
            assert_eq!(below(".id"), (Status::Ok, "app-1".into()));
            assert_eq!(below(".metadata.LABELS.app"), (Status::Ok, "shop".into()));
            assert_eq!(below(".metadata.ready"), (Status::Ok, "\u{1}".into()));
            let labels = "\u{1}\0\0\0\u{3}\0\0\0\u{4}\0\0\0app\0shop\0";
            assert_eq!(below(".metadata.LABELS"), (Status::Ok, labels.into()));
            assert!(below(".metadata").1.contains(labels), "maps within the map are maps");
            let zones = "\u{2}\0\0\0\u{1}\0\0\0\0\0\0\0\u{8}\0\0\0\0\0\0\0a\0\0\0\0\0\0\0\0\u{fffd}?\0\0";
            assert_eq!(below(".metadata.zones"), (Status::Ok, zones.into()));
            assert_eq!(below(".locality"), (Status::Ok, "\n\u{2}eu\u{12}\u{1}a".into()));
            for (name, text) in [("region", "eu"), ("zone", "a"), ("sub_zone", "")] {
                assert_eq!(below(&format!(".locality.{name}")), (Status::Ok, text.into()));
            }
            assert_eq!(below(".user_agent_name"), (Status::Ok, "sidegate".into()));
            for absent in
                [".none", ".metadata.none", ".metadata.NAME.x", ".id.x", ".locality.x", ".locality.zone.x", "ly"]
            {
                assert_eq!(below(absent), (Status::NotFound, String::new()), "{absent}");
            }
            let (status, whole) = below("");
            assert!(status == Status::Ok && whole.starts_with("\n\u{5}app-1\u{12}\u{4}shop\u{1a}"), "{whole:?}");
            assert!(whole.ends_with("\"\u{7}\n\u{2}eu\u{12}\u{1}a2\u{8}sidegate"), "{whole:?}");
        }
        assert_eq!(read("xds").0, Status::SerializationFailure);
    }
}
