//! What a format can ask of an exchange that is over.

use std::io::Write;
use std::time::{Duration, SystemTime};

use sidegate_wasm_host::{Headers, Open};

use super::time::TimeFormat;
use crate::exchange::properties;
use crate::exchange::view::View;
use crate::snapshot::Address;
use crate::worker::foreign::expression::LogExpression;

#[derive(Debug, PartialEq)]
pub(super) enum Operator {
    /// The first of these headers that is there.
    Request(Vec<String>),
    RequestWithoutQuery(Vec<String>),
    Response(Vec<String>),
    Trailer(Vec<String>),
    StartTime(TimeFormat),
    EmitTime(TimeFormat),
    Protocol,
    ResponseCode,
    ResponseCodeDetails,
    ResponseFlags,
    BytesReceived,
    BytesSent,
    RequestHeadBytes,
    ResponseHeadBytes,
    Duration,
    RequestDuration,
    ResponseDuration,
    ResponseTxDuration,
    UpstreamHost,
    UpstreamIp,
    UpstreamLocal,
    UpstreamCluster,
    RouteName,
    DownstreamRemote,
    DownstreamRemoteIp,
    DownstreamRemotePort,
    DownstreamLocal,
    DownstreamLocalPort,
    Attempts,
    GrpcStatus(GrpcForm),
    ConnectionId,
    TraceId,
    SpanId,
    Expression(Box<LogExpression>),
    /// The path of a property.
    FilterState(Vec<u8>),
    /// Known since the format was read.
    Text(Vec<u8>),
    /// Known to Envoy, always missing here.
    Missing,
}

/// How a gRPC status is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum GrpcForm {
    Camel,
    Snake,
    Number,
}

/// gRPC's statuses by number.
const GRPC: [(&str, &str); 17] = [
    ("OK", "OK"),
    ("Canceled", "CANCELLED"),
    ("Unknown", "UNKNOWN"),
    ("InvalidArgument", "INVALID_ARGUMENT"),
    ("DeadlineExceeded", "DEADLINE_EXCEEDED"),
    ("NotFound", "NOT_FOUND"),
    ("AlreadyExists", "ALREADY_EXISTS"),
    ("PermissionDenied", "PERMISSION_DENIED"),
    ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
    ("FailedPrecondition", "FAILED_PRECONDITION"),
    ("Aborted", "ABORTED"),
    ("OutOfRange", "OUT_OF_RANGE"),
    ("Unimplemented", "UNIMPLEMENTED"),
    ("Internal", "INTERNAL"),
    ("Unavailable", "UNAVAILABLE"),
    ("DataLoss", "DATA_LOSS"),
    ("Unauthenticated", "UNAUTHENTICATED"),
];

impl Operator {
    /// Whether JSON shows it as a number.
    pub(super) fn is_number(&self) -> bool {
        matches!(
            self,
            Self::ResponseCode
                | Self::BytesReceived
                | Self::BytesSent
                | Self::RequestHeadBytes
                | Self::ResponseHeadBytes
                | Self::Duration
                | Self::RequestDuration
                | Self::ResponseDuration
                | Self::ResponseTxDuration
                | Self::Attempts
                | Self::GrpcStatus(GrpcForm::Number)
                | Self::ConnectionId
                | Self::DownstreamRemotePort
                | Self::DownstreamLocalPort
        )
    }

    /// Appends the value, or nothing when there is none.
    pub(super) fn render(&self, view: &View, out: &mut Vec<u8>) {
        let facts = &view.facts;
        let mut put = |bytes: &[u8]| out.extend_from_slice(bytes);
        match self {
            Self::Request(names) => put(header(Some(&view.request), names)),
            Self::RequestWithoutQuery(names) => {
                let value = header(Some(&view.request), names);
                put(value.split(|byte| *byte == b'?').next().unwrap_or_default());
            }
            Self::Response(names) => put(header(view.response.as_ref().map(|head| head as &dyn Headers), names)),
            Self::Trailer(names) => {
                put(header(view.response_trailers.as_ref().map(|trailers| trailers as &dyn Headers), names));
            }
            Self::StartTime(format) => format.render(facts.started_wall, out),
            Self::EmitTime(format) => format.render(SystemTime::now(), out),
            Self::Protocol => put(properties::protocol(facts.protocol).as_bytes()),
            Self::ResponseCode => {
                let status = view.response.as_ref().and_then(|head| head.status);
                number(status.map_or(0, |status| status.as_u16().into()), out);
            }
            // Spaces would look like the next field.
            Self::ResponseCodeDetails => {
                out.extend(facts.details.bytes().map(|byte| if byte.is_ascii_whitespace() { b'_' } else { byte }));
            }
            Self::ResponseFlags => facts.flags.write(out),
            Self::BytesReceived => number(facts.request_bytes, out),
            Self::BytesSent => number(facts.response_bytes, out),
            Self::RequestHeadBytes => number(facts.request_head_bytes, out),
            Self::ResponseHeadBytes => {
                number(view.response.as_ref().map_or(0, |head| head.byte_size() as u64), out);
            }
            Self::Duration => milliseconds(facts.duration, out),
            // A request without a body has ended when it began.
            Self::RequestDuration => {
                let none = (facts.request_bytes == 0).then_some(Duration::ZERO);
                milliseconds(facts.request_end.or(none), out);
            }
            Self::ResponseDuration => milliseconds(facts.upstream_time, out),
            Self::ResponseTxDuration => {
                let first = facts.upstream_time;
                milliseconds(facts.duration.zip(first).map(|(all, first)| all.saturating_sub(first)), out);
            }
            Self::UpstreamHost => {
                put(facts.upstream.as_ref().map_or("", |endpoint| endpoint.text.as_str()).as_bytes());
            }
            Self::UpstreamIp => {
                if let Some(endpoint) = &facts.upstream {
                    match &endpoint.address {
                        Address::Tcp(address) => put(address.ip().to_string().as_bytes()),
                        Address::Unix(_) => put(endpoint.text.as_bytes()),
                    }
                }
            }
            Self::UpstreamLocal => put(facts.upstream_local.as_deref().unwrap_or_default().as_bytes()),
            Self::UpstreamCluster => {
                put(facts.cluster.as_ref().map_or("", |cluster| cluster.name.as_str()).as_bytes());
            }
            Self::RouteName => put(view.steering.route_name.as_deref().unwrap_or_default().as_bytes()),
            Self::DownstreamRemote => put(facts.connection.remote.as_bytes()),
            Self::DownstreamRemoteIp => put(facts.connection.remote_ip.as_bytes()),
            Self::DownstreamRemotePort => number(facts.connection.remote_port.into(), out),
            Self::DownstreamLocal => put(facts.connection.local.as_bytes()),
            Self::DownstreamLocalPort => number(facts.connection.local_port.into(), out),
            Self::Attempts => number(facts.attempts.into(), out),
            Self::GrpcStatus(form) => {
                if let (true, Some(head)) = (facts.grpc, &view.response)
                    && let Some(status) = properties::grpc_status(head, view.response_trailers.as_ref())
                {
                    match (form, GRPC.get(status as usize)) {
                        (GrpcForm::Camel, Some((camel, _))) => put(camel.as_bytes()),
                        (GrpcForm::Snake, Some((_, snake))) => put(snake.as_bytes()),
                        (GrpcForm::Number, _) | (_, None) => number(status.into(), out),
                    }
                }
            }
            Self::ConnectionId => number(facts.connection.id, out),
            Self::TraceId => {
                if let Some(span) = &view.span {
                    let _ = write!(out, "{:032x}", span.context.trace);
                }
            }
            Self::SpanId => {
                if let Some(span) = &view.span {
                    let _ = write!(out, "{:016x}", span.context.id);
                }
            }
            Self::Expression(expression) => expression.render(view, out),
            Self::FilterState(path) => {
                let _ = properties::read(view, path, Open::LOG, out);
            }
            Self::Text(text) => put(text),
            Self::Missing => {}
        }
    }
}

fn header<'h>(head: Option<&'h dyn Headers>, names: &[String]) -> &'h [u8] {
    head.and_then(|head| names.iter().find_map(|name| head.first(name.as_bytes()))).unwrap_or_default()
}

fn number(value: u64, out: &mut Vec<u8>) {
    let _ = write!(out, "{value}");
}

fn milliseconds(value: Option<Duration>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        number(u64::try_from(value.as_millis()).unwrap_or(u64::MAX), out);
    }
}
