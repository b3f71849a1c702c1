//! `set_envoy_filter_state` and `declare_property`: values of an exchange with Envoy's names and types.

use std::collections::HashMap;
use std::net::SocketAddr;

use sidegate_wasm_host::abi::Status;

use super::Guest;
use crate::exchange::stored::{Declared, Place};
use crate::exchange::view::View;
use crate::protobuf::{self, Value};

/// Properties that one VM may declare, and bytes of a name: what `proxy_set_property` could ever write to.
const DECLARATIONS: usize = 256;
const NAME_BYTES: usize = 1 << 10;
/// Bytes of a value: as those of a property.
const VALUE_BYTES: usize = sidegate_wasm_host::limits::PROPERTY_BYTES;

/// Properties declared by one VM, by name.
#[derive(Debug, Default)]
pub(in crate::worker) struct Declarations(HashMap<Vec<u8>, Declared>);

impl Declarations {
    pub(in crate::worker) fn of(&self, name: &[u8]) -> Declared {
        self.0.get(name).copied().unwrap_or_default()
    }
}

/// Argument: `SetEnvoyFilterStateArguments`. A value lives as long as its exchange, whatever span is asked for.
pub(super) fn set(view: Option<&mut View>, argument: &[u8]) -> Status {
    let (mut path, mut value): (&[u8], &[u8]) = (b"", b"");
    let read = protobuf::read(argument, |number, field| match (number, field) {
        (1, Value::Bytes(bytes)) => path = bytes,
        (2, Value::Bytes(bytes)) => value = bytes,
        _ => {}
    });
    let (Ok(()), Ok(path), Ok(text)) = (read, protobuf::text(path), protobuf::text(value)) else {
        return Status::BadArgument;
    };
    let Some(object) = Object::named(path) else { return Status::NotFound };
    if value.len() > VALUE_BYTES || !object.takes(text) {
        return Status::BadArgument;
    }
    let Some(view) = view else { return Status::NotFound };
    view.remember_stored();
    view.stored.set(Place::FilterState, path.as_bytes(), value, Declared::default())
}

/// Argument: `DeclarePropertyArguments`. It holds for later writes of this VM; a name is declared once.
pub(super) fn declare(guest: &mut Guest, argument: &[u8]) -> Status {
    let (mut name, mut declared): (&[u8], _) = (b"", Declared::default());
    let read = protobuf::read(argument, |number, field| match (number, field) {
        (1, Value::Bytes(bytes)) => name = bytes,
        (2, Value::Number(readonly)) => declared.readonly = readonly != 0,
        (3, Value::Number(kind)) => declared.text = kind == 1,
        _ => {}
    });
    if read.is_err() || protobuf::text(name).is_err() || name.len() > NAME_BYTES {
        return Status::BadArgument;
    }
    let known = &mut guest.declarations.0;
    if known.contains_key(name) {
        return Status::BadArgument;
    }
    if known.len() >= DECLARATIONS {
        return Status::InternalFailure;
    }
    known.insert(name.to_vec(), declared);
    Status::Ok
}

/// What Envoy makes of a value, as far as it can refuse one.
#[derive(Clone, Copy)]
enum Object {
    Text,
    Number32,
    Number64,
    Address,
}

impl Object {
    /// The names that Envoy has a factory for.
    fn named(path: &str) -> Option<Self> {
        Some(match path {
            "envoy.string"
            | "envoy.hashable_string"
            | "envoy.tcp_proxy.cluster"
            | "envoy.network.upstream_server_name"
            | "envoy.network.upstream_subject_alt_names"
            | "envoy.network.application_protocols"
            | "envoy.network.network_namespace"
            | "envoy.upstream.dynamic_host" => Self::Text,
            "envoy.upstream.dynamic_port" => Self::Number32,
            "envoy.tcp_proxy.per_connection_idle_timeout_ms" | "envoy.ratelimit.hits_addend" => Self::Number64,
            "envoy.network.transport_socket.original_dst_address"
            | "envoy.filters.listener.original_dst.local_ip"
            | "envoy.filters.listener.original_dst.remote_ip" => Self::Address,
            _ => return None,
        })
    }

    fn takes(self, text: &str) -> bool {
        match self {
            Self::Text => true,
            Self::Number32 => text.parse::<u32>().is_ok(),
            Self::Number64 => text.parse::<u64>().is_ok(),
            Self::Address => text.parse::<SocketAddr>().is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(fields: &[(u64, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (number, value) in fields {
            protobuf::put_bytes(&mut out, *number, value);
        }
        out
    }

    #[test]
    fn only_names_and_values_that_envoy_knows() {
        for (path, value, expected) in [
            ("envoy.string", "x", Status::NotFound),
            ("envoy.none", "x", Status::NotFound),
            ("envoy.upstream.dynamic_port", "eighty", Status::BadArgument),
            ("envoy.network.transport_socket.original_dst_address", "10.0.0.1", Status::BadArgument),
        ] {
            // Without an exchange, what could be set finds none.
            assert_eq!(set(None, &message(&[(1, path.as_bytes()), (2, value.as_bytes())])), expected, "{path}");
        }
        assert_eq!(set(None, b"\xff"), Status::BadArgument);
        assert_eq!(set(None, &message(&[(1, b"\xff")])), Status::BadArgument);
    }

    #[test]
    fn a_name_is_declared_once() {
        let mut guest = Guest::default();
        let mut argument = message(&[(1, b"name")]);
        protobuf::put_number(&mut argument, 2, 1);
        protobuf::put_number(&mut argument, 3, 1);
        assert_eq!(declare(&mut guest, &argument), Status::Ok);
        assert_eq!(guest.declarations.of(b"name"), Declared { readonly: true, text: true });
        assert_eq!(declare(&mut guest, &argument), Status::BadArgument);
        assert_eq!(declare(&mut guest, b"\x0a\x09"), Status::BadArgument);
        for at in 1..DECLARATIONS {
            assert_eq!(declare(&mut guest, &message(&[(1, at.to_string().as_bytes())])), Status::Ok);
        }
        assert_eq!(declare(&mut guest, &message(&[(1, b"more")])), Status::InternalFailure);
    }
}
