//! Properties of an exchange, with Envoy's names, types and moments.
//!
//! Encodings: text raw; integers 8 bytes little endian; booleans one byte; durations and times nanoseconds as 8
//! bytes; maps as serialized pairs. `NotFound` lets the caller go on with properties of the plugin and the worker.

use std::time::{Duration, UNIX_EPOCH};

use sidegate_wasm_host::abi::Status;
use sidegate_wasm_host::{Headers, Open, pairs};

use super::head::{ResponseHead, Trailers};
use super::stored::Place;
use super::view::View;
use crate::snapshot::Direction;

/// Reads one property into `out`.
pub fn read(view: &View, path: &[u8], open: Open, out: &mut Vec<u8>) -> Status {
    let (group, rest) = match memchr::memchr(0, path) {
        Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..)),
        None => (path, None),
    };
    match (group, rest) {
        (b"request", Some(name)) => request(view, name, open, out),
        (b"response", Some(name)) => response(view, name, open, out),
        (b"source", Some(name)) => address(&view.facts.connection.remote, view.facts.connection.remote_port, name, out),
        (b"destination", Some(name)) => {
            address(&view.facts.connection.local, view.facts.connection.local_port, name, out)
        }
        (b"connection", Some(name)) => connection(view, name, out),
        (b"upstream", Some(name)) => upstream(view, name, out),
        (b"xds", Some(name)) => xds(view, name, out),
        (b"filter_state", Some(name)) => match name.strip_prefix(b"wasm.") {
            Some(name) => stored(view, name, out),
            None => match filter_state(view, name, out) {
                Status::NotFound => kept(view, Place::FilterState, name, out),
                status => status,
            },
        },
        (b"metadata", None) => message(out),
        // There is no metadata of filters: the maps of it are empty.
        (b"metadata", Some(b"filter_metadata" | b"typed_filter_metadata")) => {
            out.extend_from_slice(&[0; 4]);
            Status::Ok
        }
        (
            b"request" | b"response" | b"source" | b"destination" | b"connection" | b"upstream" | b"xds"
            | b"filter_state",
            None,
        ) => Status::SerializationFailure,
        (b"upstream_filter_state", None) if view.facts.upstream.is_some() => Status::SerializationFailure,
        (b"connection_id", None) => integer(view.facts.connection.id, out),
        // Names that Envoy removed in 1.33 and older filters still use.
        (
            b"cluster_name"
            | b"cluster_metadata"
            | b"route_name"
            | b"route_metadata"
            | b"listener_direction"
            | b"listener_metadata",
            None,
        ) => xds(view, group, out),
        (_, None) => match view.steering.read(path) {
            Some(value) => text(value, out),
            None if path == b"sidegate.trace.sampled" => match &view.span {
                Some(span) => text(if span.context.sampled { "true" } else { "false" }, out),
                None => Status::NotFound,
            },
            None if path == b"sidegate.response_flag" => {
                if view.facts.flags.is_empty() {
                    return Status::NotFound;
                }
                view.facts.flags.write(out);
                Status::Ok
            }
            None => stored(view, path, out),
        },
        _ => Status::NotFound,
    }
}

/// What Envoy's own filters leave behind, as far as we know it: peers of a mesh and messages of gRPC.
fn filter_state(view: &View, name: &[u8], out: &mut Vec<u8>) -> Status {
    let facts = &view.facts;
    let mut segments = name.splitn(2, |byte| *byte == 0);
    let (object, field) = (segments.next().unwrap_or_default(), segments.next());
    let peer = match object {
        b"downstream_peer" => &facts.downstream_peer,
        b"upstream_peer" => &facts.upstream_peer,
        b"envoy.filters.http.grpc_stats" => {
            let Some([request, response]) = facts.grpc_messages.as_deref() else { return Status::NotFound };
            return match field {
                None => text(&format!("{},{}", request.count, response.count), out),
                Some(b"request_message_count") => integer(request.count, out),
                Some(b"response_message_count") => integer(response.count, out),
                _ => Status::NotFound,
            };
        }
        _ => return Status::NotFound,
    };
    let Some(peer) = peer else { return Status::NotFound };
    match field.map(std::str::from_utf8) {
        None => text(&peer.text, out),
        Some(Ok(key)) => peer.value(key).map_or(Status::NotFound, |value| text(value, out)),
        Some(Err(_)) => Status::NotFound,
    }
}

fn request(view: &View, name: &[u8], open: Open, out: &mut Vec<u8>) -> Status {
    let facts = &view.facts;
    match name {
        b"time" => return nanoseconds(facts.started_wall.duration_since(UNIX_EPOCH).unwrap_or_default(), out),
        b"protocol" => return text(protocol(facts.protocol), out),
        b"duration" => return facts.duration.map_or(Status::NotFound, |duration| nanoseconds(duration, out)),
        // What the client announced, as long as its head can be seen; else what came so far.
        b"size" => {
            let head = open.has(Open::REQUEST_HEADERS).then(|| view.request.first(b"content-length")).flatten();
            let announced = head.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
            return integer(announced.unwrap_or(facts.request_bytes), out);
        }
        b"total_size" => {
            let head = if open.has(Open::REQUEST_HEADERS) { facts.request_head_bytes } else { 0 };
            return integer(head + facts.request_bytes, out);
        }
        b"headers" => {
            if open.has(Open::REQUEST_HEADERS) {
                joined(&view.request, out);
            } else {
                out.extend_from_slice(&[0; 4]);
            }
            return Status::Ok;
        }
        _ => {}
    }
    if !open.has(Open::REQUEST_HEADERS) {
        return Status::NotFound;
    }
    let head = &view.request;
    let path = head.path.as_ref();
    match name {
        b"path" => path.map_or(Status::NotFound, |path| text(path.as_str(), out)),
        b"url_path" => path.map_or(Status::NotFound, |path| text(path.path(), out)),
        b"query" => text(path.and_then(|path| path.query()).unwrap_or_default(), out),
        b"host" => header(head, b":authority", out),
        b"scheme" => header(head, b":scheme", out),
        b"method" => header(head, b":method", out),
        b"id" => header(head, b"x-request-id", out),
        b"referer" => header(head, b"referer", out),
        b"useragent" => header(head, b"user-agent", out),
        _ => match name.strip_prefix(b"headers\0") {
            Some(name) => values(head, name, out),
            None => Status::NotFound,
        },
    }
}

fn response(view: &View, name: &[u8], open: Open, out: &mut Vec<u8>) -> Status {
    let facts = &view.facts;
    let head = view.response.as_ref();
    let status = head.and_then(|head| head.status);
    match name {
        b"code" => status.map_or(Status::NotFound, |status| integer(status.as_u16().into(), out)),
        b"code_details" if facts.details.is_empty() && head.is_none() => Status::NotFound,
        b"code_details" => text(&facts.details, out),
        b"flags" => integer(facts.flags.bits(), out),
        b"size" => integer(facts.response_bytes, out),
        b"total_size" => integer(facts.response_bytes + head.map_or(0, |head| head.byte_size() as u64), out),
        // Known when the upstream's response has ended.
        b"backend_latency" => facts.backend_latency.map_or(Status::NotFound, |time| nanoseconds(time, out)),
        b"grpc_status" => match head.and_then(|head| grpc_status(head, view.response_trailers.as_ref())) {
            Some(status) => integer(status.into(), out),
            None => Status::NotFound,
        },
        b"headers" => {
            match head.filter(|_| open.has(Open::RESPONSE_HEADERS)) {
                Some(head) => joined(head, out),
                None => out.extend_from_slice(&[0; 4]),
            }
            Status::Ok
        }
        b"trailers" => {
            match view.response_trailers.as_ref().filter(|_| open.has(Open::RESPONSE_TRAILERS)) {
                Some(trailers) => joined(trailers, out),
                None => out.extend_from_slice(&[0; 4]),
            }
            Status::Ok
        }
        _ => match (name.strip_prefix(b"headers\0"), head) {
            (Some(name), Some(head)) if open.has(Open::RESPONSE_HEADERS) => values(head, name, out),
            _ => match (name.strip_prefix(b"trailers\0"), &view.response_trailers) {
                (Some(name), Some(trailers)) if open.has(Open::RESPONSE_TRAILERS) => values(trailers, name, out),
                _ => Status::NotFound,
            },
        },
    }
}

/// The gRPC status of a response: from trailers, else from headers, else derived from the HTTP status.
pub fn grpc_status(head: &ResponseHead, trailers: Option<&Trailers>) -> Option<u32> {
    let given = trailers
        .and_then(|trailers| trailers.fields.get("grpc-status"))
        .or_else(|| head.headers.get("grpc-status"))
        .and_then(|value| value.to_str().ok()?.parse().ok());
    given.or_else(|| head.status.map(|status| super::reply::grpc_status_of(status.as_u16())))
}

fn address(full: &str, port: u16, name: &[u8], out: &mut Vec<u8>) -> Status {
    match name {
        b"address" => text(full, out),
        b"port" => integer(port.into(), out),
        _ => Status::NotFound,
    }
}

fn connection(view: &View, name: &[u8], out: &mut Vec<u8>) -> Status {
    match name {
        b"id" => integer(view.facts.connection.id, out),
        b"mtls" => {
            out.push(0);
            Status::Ok
        }
        b"requested_server_name" => Status::Ok,
        _ => Status::NotFound,
    }
}

fn upstream(view: &View, name: &[u8], out: &mut Vec<u8>) -> Status {
    let facts = &view.facts;
    if name == b"request_attempt_count" {
        return integer(facts.attempts.into(), out);
    }
    let Some(endpoint) = &facts.upstream else { return Status::NotFound };
    match name {
        b"address" => text(&endpoint.text, out),
        b"port" => match &endpoint.address {
            crate::snapshot::Address::Tcp(address) => integer(address.port().into(), out),
            crate::snapshot::Address::Unix(_) => integer(0, out),
        },
        b"local_address" => facts.upstream_local.as_deref().map_or(Status::NotFound, |local| text(local, out)),
        b"locality" => {
            out.extend_from_slice(&crate::worker::node::locality(&endpoint.locality));
            Status::Ok
        }
        b"transport_failure_reason" => Status::Ok,
        b"cx_pool_ready_duration" => facts.pool_ready.map_or(Status::NotFound, |time| nanoseconds(time, out)),
        _ => Status::NotFound,
    }
}

fn xds(view: &View, name: &[u8], out: &mut Vec<u8>) -> Status {
    match name {
        b"cluster_name" => match view.facts.cluster.as_ref().map(|cluster| cluster.name.as_str()) {
            Some(name) => text(name, out),
            None => match view.steering.cluster.as_deref() {
                Some(name) => text(name, out),
                None => {
                    view.facts.listener.cluster.as_ref().map_or(Status::NotFound, |cluster| text(&cluster.name, out))
                }
            },
        },
        b"route_name" => text(view.steering.route_name.as_deref().unwrap_or_default(), out),
        b"virtual_host_name" => text("", out),
        b"filter_chain_name" => text("", out),
        b"listener_direction" => integer(
            match view.facts.listener.direction {
                Direction::Inbound => 1,
                Direction::Outbound => 2,
            },
            out,
        ),
        b"cluster_metadata" | b"route_metadata" | b"virtual_host_metadata" | b"listener_metadata" => message(out),
        // Of an endpoint that was chosen and has none.
        b"upstream_host_metadata" if view.facts.upstream.is_some() => Status::SerializationFailure,
        _ => Status::NotFound,
    }
}

fn stored(view: &View, name: &[u8], out: &mut Vec<u8>) -> Status {
    // Envoy keeps what was written under several segments, but cannot find it again.
    if memchr::memchr(0, name).is_some() {
        return Status::NotFound;
    }
    kept(view, Place::Property, name, out)
}

fn kept(view: &View, place: Place, name: &[u8], out: &mut Vec<u8>) -> Status {
    match view.stored.find(place, name) {
        Some((value, _)) => {
            out.extend_from_slice(value);
            Status::Ok
        }
        None => Status::NotFound,
    }
}

fn text(value: &str, out: &mut Vec<u8>) -> Status {
    out.extend_from_slice(value.as_bytes());
    Status::Ok
}

fn integer(value: u64, out: &mut Vec<u8>) -> Status {
    out.extend_from_slice(&value.to_le_bytes());
    Status::Ok
}

fn nanoseconds(value: Duration, out: &mut Vec<u8>) -> Status {
    integer(u64::try_from(value.as_nanos()).unwrap_or(u64::MAX), out)
}

/// A protobuf message without fields has no bytes.
fn message(_out: &mut Vec<u8>) -> Status {
    Status::Ok
}

fn header(head: &dyn Headers, name: &[u8], out: &mut Vec<u8>) -> Status {
    match head.first(name) {
        Some(value) => {
            out.extend_from_slice(value);
            Status::Ok
        }
        None => Status::NotFound,
    }
}

/// A header by its name as a path has it: any case, and the values of a repeated one joined by commas.
fn values(head: &dyn Headers, name: &[u8], out: &mut Vec<u8>) -> Status {
    let mut found = false;
    head.visit(&mut |known, value| {
        if known.eq_ignore_ascii_case(name) {
            if found {
                out.push(b',');
            }
            found = true;
            out.extend_from_slice(value);
        }
    });
    // `host` stands for the authority.
    if found { Status::Ok } else { header(head, name, out) }
}

/// A header map as a property: values of a repeated name joined by commas.
fn joined(head: &dyn Headers, out: &mut Vec<u8>) {
    let mut list: Vec<(Vec<u8>, Vec<u8>)> = Vec::with_capacity(head.count());
    head.visit(&mut |name, value| match list.iter_mut().find(|(known, _)| known == name) {
        Some((_, known)) => {
            known.push(b',');
            known.extend_from_slice(value);
        }
        None => list.push((name.to_vec(), value.to_vec())),
    });
    pairs::encode_value(&list, out);
}

pub fn protocol(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_10 => "HTTP/1.0",
        http::Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}
