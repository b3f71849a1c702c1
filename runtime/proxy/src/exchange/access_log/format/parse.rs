//! Format strings as people write them.

use super::Piece;
use super::operator::{GrpcForm, Operator};
use super::time::TimeFormat;
use crate::worker::foreign::expression::LogExpression;

/// Pieces of one format: more than any log needs.
const MAX_PIECES: usize = 512;

pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        if pieces.len() > MAX_PIECES {
            return Err(format!("more than {MAX_PIECES} operators"));
        }
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
            (Some(open), Some(end)) if open < end => closing(after).ok_or("unclosed (")?,
            _ => 0,
        };
        let end = after.get(from..).and_then(|tail| tail.find('%')).ok_or("unclosed %")? + from;
        let (operator, tail) = after.split_at(end);
        pieces.push(piece(operator)?);
        rest = tail.strip_prefix('%').unwrap_or(tail);
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

/// Where the first parenthesis is closed again; expressions hold further ones.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    text.char_indices().find_map(|(at, letter)| {
        match letter {
            '(' => open += 1,
            ')' => open = open.saturating_sub(1),
            _ => return None,
        }
        (open == 0).then_some(at)
    })
}

fn piece(text: &str) -> Result<Piece, String> {
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
    let given = || if argument.is_empty() { Err(format!("%{name}()% needs an argument")) } else { Ok(argument) };
    let headers = || given().map(|names| names.split('?').map(str::to_ascii_lowercase).collect::<Vec<_>>());
    let operator = match name {
        "REQ" => Operator::Request(headers()?),
        "REQ_WITHOUT_QUERY" => Operator::RequestWithoutQuery(headers()?),
        "RESP" => Operator::Response(headers()?),
        "TRAILER" => Operator::Trailer(headers()?),
        "START_TIME" => Operator::StartTime(TimeFormat::parse(argument)?),
        "EMIT_TIME" => Operator::EmitTime(TimeFormat::parse(argument)?),
        "PROTOCOL" => Operator::Protocol,
        "RESPONSE_CODE" => Operator::ResponseCode,
        "RESPONSE_CODE_DETAILS" => Operator::ResponseCodeDetails,
        "RESPONSE_FLAGS" => Operator::ResponseFlags,
        "BYTES_RECEIVED" => Operator::BytesReceived,
        "BYTES_SENT" => Operator::BytesSent,
        "REQUEST_HEADERS_BYTES" | "DOWNSTREAM_HEADER_BYTES_RECEIVED" => Operator::RequestHeadBytes,
        "RESPONSE_HEADERS_BYTES" | "DOWNSTREAM_HEADER_BYTES_SENT" => Operator::ResponseHeadBytes,
        "DURATION" => Operator::Duration,
        "REQUEST_DURATION" => Operator::RequestDuration,
        "RESPONSE_DURATION" => Operator::ResponseDuration,
        "RESPONSE_TX_DURATION" => Operator::ResponseTxDuration,
        "UPSTREAM_HOST" | "UPSTREAM_REMOTE_ADDRESS" => Operator::UpstreamHost,
        "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => Operator::UpstreamIp,
        "UPSTREAM_LOCAL_ADDRESS" => Operator::UpstreamLocal,
        "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => Operator::UpstreamCluster,
        "ROUTE_NAME" => Operator::RouteName,
        "DOWNSTREAM_REMOTE_ADDRESS" | "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" => Operator::DownstreamRemote,
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" | "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT" => {
            Operator::DownstreamRemoteIp
        }
        "DOWNSTREAM_REMOTE_PORT" | "DOWNSTREAM_DIRECT_REMOTE_PORT" => Operator::DownstreamRemotePort,
        "DOWNSTREAM_LOCAL_ADDRESS" => Operator::DownstreamLocal,
        "DOWNSTREAM_LOCAL_PORT" => Operator::DownstreamLocalPort,
        "UPSTREAM_REQUEST_ATTEMPT_COUNT" => Operator::Attempts,
        "GRPC_STATUS" => Operator::GrpcStatus(match argument {
            "" | "CAMEL_STRING" => GrpcForm::Camel,
            "SNAKE_STRING" => GrpcForm::Snake,
            "NUMBER" => GrpcForm::Number,
            other => return Err(format!("%GRPC_STATUS({other})%: CAMEL_STRING, SNAKE_STRING or NUMBER")),
        }),
        "GRPC_STATUS_NUMBER" => Operator::GrpcStatus(GrpcForm::Number),
        "CONNECTION_ID" => Operator::ConnectionId,
        "HOSTNAME" => Operator::Text(rustix::system::uname().nodename().to_bytes().to_vec()),
        // It does not change, and reading it takes a lock.
        "ENVIRONMENT" => Operator::Text(std::env::var(given()?).unwrap_or_default().into_bytes()),
        "TRACE_ID" => Operator::TraceId,
        "SPAN_ID" => Operator::SpanId,
        "FILTER_STATE" => Operator::FilterState(filter_state(given()?)),
        "DYNAMIC_METADATA" => given().map(|_| Operator::Missing)?,
        "CONNECTION_TERMINATION_DETAILS"
        | "UPSTREAM_TRANSPORT_FAILURE_REASON"
        | "REQUESTED_SERVER_NAME"
        | "VIRTUAL_CLUSTER_NAME"
        | "DOWNSTREAM_PEER_URI_SAN"
        | "DOWNSTREAM_LOCAL_URI_SAN"
        | "DOWNSTREAM_PEER_SUBJECT"
        | "DOWNSTREAM_TLS_VERSION"
        | "DOWNSTREAM_TLS_CIPHER"
        | "DOWNSTREAM_TRANSPORT_FAILURE_REASON" => Operator::Missing,
        "CEL" => {
            let problem = |problem: String| format!("%CEL({argument})%: {problem}");
            Operator::Expression(Box::new(LogExpression::parse(given()?).map_err(problem)?))
        }
        _ => return Err(format!("unknown operator %{name}%")),
    };
    Ok(Piece::Operator(operator, length))
}

/// `KEY`, `KEY:PLAIN`, `KEY:TYPED` or `KEY:FIELD:NAME` as the path of a property.
fn filter_state(argument: &str) -> Vec<u8> {
    let mut parts = argument.split(':');
    let mut path = b"filter_state\0".to_vec();
    path.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    if let (Some("FIELD"), Some(field)) = (parts.next(), parts.next()) {
        path.push(0);
        path.extend_from_slice(field.as_bytes());
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syntax() {
        let one = |text: &str| pieces(text).map(|mut pieces| pieces.remove(0));
        assert_eq!(one("%%"), Ok(Piece::Text("%".into())));
        assert!(matches!(one("%START_TIME(%Y-%m)%"), Ok(Piece::Operator(Operator::StartTime(_), None))));
        let path = Operator::Request(vec!["x-a".into(), ":path".into()]);
        assert_eq!(one("%REQ(X-A?:PATH):10%"), Ok(Piece::Operator(path, Some(10))));
        let state = Operator::FilterState(b"filter_state\0wasm.a".to_vec());
        assert_eq!(one("%FILTER_STATE(wasm.a:PLAIN):5%"), Ok(Piece::Operator(state, Some(5))));
        let field = Operator::FilterState(b"filter_state\0upstream_peer\0app".to_vec());
        assert_eq!(one("%FILTER_STATE(upstream_peer:FIELD:app)%"), Ok(Piece::Operator(field, None)));
        let cel = "request.headers['x-a'].startsWith('b') ? 'c:1' : string(response.code)";
        let parsed = Operator::Expression(Box::new(LogExpression::parse(cel).unwrap()));
        assert_eq!(one(&format!("%CEL({cel}):7%")), Ok(Piece::Operator(parsed, Some(7))));
        assert_eq!(one("%DYNAMIC_METADATA(a:b)%"), Ok(Piece::Operator(Operator::Missing, None)));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, part) in [
            ("%NOPE%", "NOPE"),
            ("%REQ(X%", "unclosed"),
            ("%PROTOCOL", "unclosed"),
            ("%REQ()%", "argument"),
            ("%REQ%", "argument"),
            ("%GRPC_STATUS(x)%", "CAMEL_STRING"),
            ("%START_TIME(%Q)%", "%Q"),
            ("%CEL()%", "argument"),
            ("%CEL(request.)%", "%CEL(request.)%"),
            ("%CEL(nope(1))%", "no function nope"),
        ] {
            assert!(pieces(text).is_err_and(|problem| problem.contains(part)), "{text}");
        }
    }
}
