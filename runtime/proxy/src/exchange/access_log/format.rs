//! Envoy's format strings: text with `%OPERATOR%`, `%OPERATOR(ARGUMENT):LENGTH%`; what is missing prints as `-`.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use sidegate_wasm_host::Headers;

use crate::exchange::properties;
use crate::exchange::view::View;

/// Envoy's default, one line of text.
pub(super) const DEFAULT: &str = concat!(
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% ",
    "%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% ",
    "\"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" ",
    "\"%UPSTREAM_HOST%\"\n"
);

/// A compiled format.
#[derive(Debug)]
pub(super) enum Format {
    Text(Vec<Piece>),
    Json(Vec<(String, Vec<Piece>)>),
}

#[derive(Debug, PartialEq)]
pub(super) enum Piece {
    Text(String),
    Operator(Operator, Option<usize>),
}

#[derive(Debug, PartialEq)]
pub(super) enum Operator {
    /// The first of these headers that is there.
    Request(Vec<String>),
    Response(Vec<String>),
    Trailer(Vec<String>),
    StartTime,
    Protocol,
    ResponseCode,
    ResponseCodeDetails,
    ResponseFlags,
    BytesReceived,
    BytesSent,
    Duration,
    ResponseDuration,
    UpstreamHost,
    UpstreamCluster,
    RouteName,
    DownstreamRemote,
    DownstreamRemoteIp,
    DownstreamLocal,
    Attempts,
    GrpcStatus,
    ConnectionId,
    Hostname,
    /// Known to Envoy, always missing here.
    Missing,
}

impl Format {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        pieces(text).map(Self::Text)
    }

    pub(super) fn json(fields: &serde_json::Map<String, serde_json::Value>) -> Result<Self, String> {
        fields
            .iter()
            .map(|(name, value)| {
                let text = value.as_str().ok_or_else(|| format!("json.{name}: not a text"))?;
                Ok((name.clone(), pieces(text)?))
            })
            .collect::<Result<_, String>>()
            .map(Self::Json)
    }

    pub(super) fn render(&self, view: &View, out: &mut Vec<u8>) {
        match self {
            Self::Text(pieces) => pieces.iter().for_each(|piece| piece.render(view, out)),
            Self::Json(fields) => {
                let mut object = serde_json::Map::new();
                for (name, pieces) in fields {
                    let mut value = Vec::new();
                    pieces.iter().for_each(|piece| piece.render(view, &mut value));
                    object.insert(name.clone(), String::from_utf8_lossy(&value).into_owned().into());
                }
                out.extend_from_slice(serde_json::Value::Object(object).to_string().as_bytes());
            }
        }
    }
}

fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        if let Some(after) = after.strip_prefix('%') {
            pieces.push(Piece::Text("%".to_owned()));
            rest = after;
            continue;
        }
        // An argument may hold percent signs (time formats), so the end is looked for behind it.
        let from = match (after.find('('), after.find('%')) {
            (Some(open), Some(end)) if open < end => after.find(')').ok_or("unclosed (")?,
            _ => 0,
        };
        let end = after.get(from..).and_then(|tail| tail.find('%')).ok_or("unclosed %")? + from;
        let (operator, tail) = after.split_at(end);
        pieces.push(operator_piece(operator)?);
        rest = tail.strip_prefix('%').unwrap_or(tail);
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

fn operator_piece(text: &str) -> Result<Piece, String> {
    let (body, length) = match text.rsplit_once(':') {
        Some((body, digits)) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            (body, digits.parse().ok())
        }
        _ => (text, None),
    };
    let (name, argument) = match body.split_once('(') {
        Some((name, argument)) => (name, argument.strip_suffix(')').ok_or_else(|| format!("unclosed ( in {text}"))?),
        None => (body, ""),
    };
    let headers = || argument.split('?').map(str::to_ascii_lowercase).collect();
    let operator = match name {
        "REQ" => Operator::Request(headers()),
        "RESP" => Operator::Response(headers()),
        "TRAILER" => Operator::Trailer(headers()),
        "START_TIME" => Operator::StartTime,
        "PROTOCOL" => Operator::Protocol,
        "RESPONSE_CODE" => Operator::ResponseCode,
        "RESPONSE_CODE_DETAILS" => Operator::ResponseCodeDetails,
        "RESPONSE_FLAGS" => Operator::ResponseFlags,
        "BYTES_RECEIVED" => Operator::BytesReceived,
        "BYTES_SENT" => Operator::BytesSent,
        "DURATION" => Operator::Duration,
        "RESPONSE_DURATION" => Operator::ResponseDuration,
        "UPSTREAM_HOST" | "UPSTREAM_REMOTE_ADDRESS" => Operator::UpstreamHost,
        "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => Operator::UpstreamCluster,
        "ROUTE_NAME" => Operator::RouteName,
        "DOWNSTREAM_REMOTE_ADDRESS" | "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" => Operator::DownstreamRemote,
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" | "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT" => {
            Operator::DownstreamRemoteIp
        }
        "DOWNSTREAM_LOCAL_ADDRESS" => Operator::DownstreamLocal,
        "UPSTREAM_REQUEST_ATTEMPT_COUNT" => Operator::Attempts,
        "GRPC_STATUS" | "GRPC_STATUS_NUMBER" => Operator::GrpcStatus,
        "CONNECTION_ID" => Operator::ConnectionId,
        "HOSTNAME" => Operator::Hostname,
        "CONNECTION_TERMINATION_DETAILS"
        | "UPSTREAM_TRANSPORT_FAILURE_REASON"
        | "UPSTREAM_LOCAL_ADDRESS"
        | "REQUESTED_SERVER_NAME"
        | "VIRTUAL_CLUSTER_NAME"
        | "DOWNSTREAM_PEER_URI_SAN"
        | "DOWNSTREAM_TLS_VERSION"
        | "DYNAMIC_METADATA"
        | "FILTER_STATE"
        | "TRACE_ID" => Operator::Missing,
        _ => return Err(format!("unknown operator %{name}%")),
    };
    Ok(Piece::Operator(operator, length))
}

impl Piece {
    fn render(&self, view: &View, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => out.extend_from_slice(text.as_bytes()),
            Self::Operator(operator, length) => {
                let start = out.len();
                operator.render(view, out);
                if out.len() == start {
                    out.push(b'-');
                }
                if let Some(length) = length {
                    out.truncate(start + length);
                }
            }
        }
    }
}

impl Operator {
    /// Appends the value, or nothing when there is none.
    fn render(&self, view: &View, out: &mut Vec<u8>) {
        let facts = &view.facts;
        match self {
            Self::Request(names) => header(Some(&view.request), names, out),
            Self::Response(names) => header(view.response.as_ref().map(|head| head as &dyn Headers), names, out),
            Self::Trailer(names) => {
                header(view.response_trailers.as_ref().map(|trailers| trailers as &dyn Headers), names, out);
            }
            Self::StartTime => out.extend_from_slice(timestamp(facts.started_wall).as_bytes()),
            Self::Protocol => out.extend_from_slice(properties::protocol(facts.protocol).as_bytes()),
            Self::ResponseCode => {
                let status = view.response.as_ref().and_then(|head| head.status);
                number(status.map_or(0, |status| status.as_u16().into()), out);
            }
            Self::ResponseCodeDetails => out.extend_from_slice(facts.details.as_bytes()),
            Self::ResponseFlags => facts.flags.write(out),
            Self::BytesReceived => number(facts.request_bytes, out),
            Self::BytesSent => number(facts.response_bytes, out),
            Self::Duration => milliseconds(facts.duration, out),
            Self::ResponseDuration => milliseconds(facts.upstream_time, out),
            Self::UpstreamHost => {
                out.extend_from_slice(facts.upstream.as_ref().map_or("", |endpoint| endpoint.text.as_str()).as_bytes());
            }
            Self::UpstreamCluster => {
                out.extend_from_slice(facts.cluster.as_ref().map_or("", |cluster| cluster.name.as_str()).as_bytes());
            }
            Self::RouteName => {
                out.extend_from_slice(view.steering.route_name.as_deref().unwrap_or_default().as_bytes());
            }
            Self::DownstreamRemote => out.extend_from_slice(facts.connection.remote.as_bytes()),
            Self::DownstreamRemoteIp => out.extend_from_slice(facts.connection.remote_ip.as_bytes()),
            Self::DownstreamLocal => out.extend_from_slice(facts.connection.local.as_bytes()),
            Self::Attempts => number(facts.attempts.into(), out),
            Self::GrpcStatus => {
                if let (true, Some(head)) = (facts.grpc, &view.response)
                    && let Some(status) = properties::grpc_status(head, view.response_trailers.as_ref())
                {
                    number(status.into(), out);
                }
            }
            Self::ConnectionId => number(facts.connection.id, out),
            Self::Hostname => out.extend_from_slice(rustix::system::uname().nodename().to_bytes()),
            Self::Missing => {}
        }
    }
}

fn header(head: Option<&dyn Headers>, names: &[String], out: &mut Vec<u8>) {
    let value = head.and_then(|head| names.iter().find_map(|name| head.first(name.as_bytes())));
    // A header may hold bytes that would forge a line or end a quoted field.
    for byte in value.unwrap_or_default() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            0..=31 | 127 => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
            byte => out.push(*byte),
        }
    }
}

fn number(value: u64, out: &mut Vec<u8>) {
    let mut text = String::new();
    let _ = write!(text, "{value}");
    out.extend_from_slice(text.as_bytes());
}

fn milliseconds(value: Option<Duration>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        number(u64::try_from(value.as_millis()).unwrap_or(u64::MAX), out);
    }
}

/// `2026-11-20T18:48:35.123Z`
fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_millis()
    )
}

/// Days since 1970-01-01 as a date of the Gregorian calendar: counted in eras of 400 years that begin in March, so
/// that the leap day is the last of a year.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let at = |seconds| timestamp(SystemTime::UNIX_EPOCH + Duration::from_millis(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(at(951_868_800_000), "2000-03-01T00:00:00.000Z");
        assert_eq!(at(1_795_200_515_123), "2026-11-20T18:48:35.123Z");
    }

    #[test]
    fn the_default_parses() {
        let Ok(Format::Text(pieces)) = Format::parse(DEFAULT) else { panic!("does not parse") };
        let operators = pieces.iter().filter(|piece| matches!(piece, Piece::Operator(..))).count();
        assert_eq!(operators, 15);
    }

    #[test]
    fn syntax() {
        let one = |text: &str| pieces(text).map(|mut pieces| pieces.remove(0));
        assert_eq!(one("%%"), Ok(Piece::Text("%".into())));
        assert_eq!(one("%START_TIME(%Y)%"), Ok(Piece::Operator(Operator::StartTime, None)));
        let path = Operator::Request(vec!["x-a".into(), ":path".into()]);
        assert_eq!(one("%REQ(X-A?:PATH):10%"), Ok(Piece::Operator(path, Some(10))));
        assert!(one("%NOPE%").is_err_and(|error| error.contains("NOPE")));
        assert!(pieces("%REQ(x").is_err());
    }
}
