//! OTLP's `ExportTraceServiceRequest` on the wire.

use super::{Attribute, Span};
use crate::protobuf::{put_bytes, put_message, put_number};

/// Flag of a span that was drawn.
const SAMPLED: u32 = 1;
const STATUS_ERROR: u64 = 2;

/// The request that carries these spans of one resource.
pub(super) fn request(resource: &[(&'static str, String)], spans: &[&Span]) -> Vec<u8> {
    let mut attributes = Vec::new();
    for (name, value) in resource {
        put_message(&mut attributes, 1, &key_value(name, &Attribute::Text(value.clone())));
    }
    let mut scope = Vec::new();
    put_bytes(&mut scope, 1, b"sidegate");
    put_bytes(&mut scope, 2, env!("CARGO_PKG_VERSION").as_bytes());
    let mut scope_spans = Vec::new();
    put_message(&mut scope_spans, 1, &scope);
    for told in spans {
        put_message(&mut scope_spans, 2, &span(told));
    }
    let mut resource_spans = Vec::new();
    put_message(&mut resource_spans, 1, &attributes);
    put_message(&mut resource_spans, 2, &scope_spans);
    let mut out = Vec::with_capacity(resource_spans.len() + 8);
    put_message(&mut out, 1, &resource_spans);
    out
}

fn span(span: &Span) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    put_bytes(&mut out, 1, &span.trace.to_be_bytes());
    put_bytes(&mut out, 2, &span.id.to_be_bytes());
    if span.parent != 0 {
        put_bytes(&mut out, 4, &span.parent.to_be_bytes());
    }
    put_bytes(&mut out, 5, span.name.as_bytes());
    put_number(&mut out, 6, span.kind as u64);
    put_fixed64(&mut out, 7, span.begun);
    put_fixed64(&mut out, 8, span.ended);
    for (name, value) in &span.attributes.list {
        put_message(&mut out, 9, &key_value(name, value));
    }
    if span.is_error {
        let mut status = Vec::new();
        put_number(&mut status, 3, STATUS_ERROR);
        put_message(&mut out, 15, &status);
    }
    put_fixed32(&mut out, SAMPLED);
    out
}

fn key_value(name: &str, value: &Attribute) -> Vec<u8> {
    let mut any = Vec::new();
    match value {
        Attribute::Text(text) => put_message(&mut any, 1, text.as_bytes()),
        // A oneof: zero is written too.
        Attribute::Number(0) => any.extend_from_slice(&[3 << 3, 0]),
        Attribute::Number(number) => put_number(&mut any, 3, *number),
    }
    let mut out = Vec::with_capacity(name.len() + any.len() + 4);
    put_bytes(&mut out, 1, name.as_bytes());
    put_message(&mut out, 2, &any);
    out
}

/// Field numbers below 16 have a key of one byte.
fn put_fixed64(out: &mut Vec<u8>, number: u8, value: u64) {
    out.push(number << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Field 16, `flags`.
fn put_fixed32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&[0x85, 0x01]);
    out.extend_from_slice(&value.to_le_bytes());
}
