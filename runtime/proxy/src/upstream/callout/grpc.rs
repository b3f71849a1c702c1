//! gRPC callouts: HTTP/2 to a cluster, messages in frames of five bytes and content, the status in the trailers.

mod messages;

use std::pin::pin;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{Method, Request, StatusCode, Version};
use hyper::body::Body;
use percent_encoding::percent_decode;
use sidegate_wasm_host::{GrpcCallout, GrpcStatus};

use self::messages::Received;
use super::outgoing::{Outgoing, frame};
use super::{MAX_TIME, Pairs, append, pairs};
use crate::exchange::bodies::RequestBody;
use crate::exchange::head::is_framing;
use crate::exchange::head::joined::{self, Part};
use crate::exchange::reply::{Failure, grpc_status_of};
use crate::upstream::retry::RetryPolicy;
use crate::upstream::{Target, Trace, address_request, send as send_request};
use crate::worker::Worker;

const OK: u32 = 0;
const UNKNOWN: u32 = 2;
const DEADLINE_EXCEEDED: u32 = 4;
const RESOURCE_EXHAUSTED: u32 = 8;
const INTERNAL: u32 = 13;
const UNAVAILABLE: u32 = 14;

/// Fields that the call itself writes, besides those of HTTP's framing.
const OWN_FIELDS: [&[u8]; 5] = [b"host", b"content-type", b"grpc-timeout", b"grpc-encoding", b"grpc-accept-encoding"];
/// The name of a cluster whose own name cannot be one, as in `outbound|80||auth`.
const NAMELESS: &str = "localhost";

/// What a stream brings, in order.
pub enum Event {
    InitialMetadata(Pairs),
    Message(Vec<u8>),
    TrailingMetadata(Pairs),
    Closed(GrpcStatus),
}

/// How a conversation ended: the trailers, empty when none came, and the status.
struct End {
    trailers: Pairs,
    status: GrpcStatus,
}

/// Makes a call with one message and waits for the one of its answer.
pub async fn call(worker: &Worker, mut call: GrpcCallout, of_root: bool) -> Result<Vec<u8>, GrpcStatus> {
    let limit = call.timeout.unwrap_or(MAX_TIME).min(MAX_TIME);
    let message = call.message.take().unwrap_or_default();
    let body = RequestBody::Full(Some(frame(&message)));
    drop(message);
    let (mut answer, mut count) = (None, 0);
    let end = converse(worker, call, of_root, body, Some(limit), |event| {
        if let Event::Message(message) = event {
            answer.get_or_insert(message);
            count += 1;
        }
    })
    .await;
    match (end.status.code, answer) {
        (OK, Some(answer)) if count == 1 => Ok(answer),
        (OK, _) => Err(status(INTERNAL, format!("{count} messages in place of one"))),
        _ => Err(end.status),
    }
}

/// Opens a stream and tells what it brings until it ends. The next message is read when `tell` has returned.
pub async fn stream(worker: &Worker, call: GrpcCallout, of_root: bool, body: Outgoing, mut tell: impl FnMut(Event)) {
    let limit = call.timeout;
    let end = converse(worker, call, of_root, RequestBody::Messages(body), limit, &mut tell).await;
    tell(Event::TrailingMetadata(end.trailers));
    tell(Event::Closed(end.status));
}

async fn converse(
    worker: &Worker,
    call: GrpcCallout,
    of_root: bool,
    body: RequestBody,
    limit: Option<Duration>,
    tell: impl FnMut(Event),
) -> End {
    let work = pin!(exchange(worker, call, of_root, body, limit, tell));
    let end = match limit {
        None => work.await,
        Some(limit) => tokio::time::timeout(limit, work)
            .await
            .unwrap_or_else(|_| Err(status(DEADLINE_EXCEEDED, "deadline exceeded"))),
    };
    end.unwrap_or_else(|status| End { trailers: Pairs::new(), status })
}

async fn exchange(
    worker: &Worker,
    call: GrpcCallout,
    of_root: bool,
    body: RequestBody,
    limit: Option<Duration>,
    mut tell: impl FnMut(Event),
) -> Result<End, GrpcStatus> {
    let cluster = worker.with_env(|env| env.clusters.find(&call.cluster).cloned()).ok_or_else(no_cluster)?;
    let target = Target {
        cluster,
        subset: None,
        timeout: limit,
        retries: RetryPolicy::default(),
        version: Version::HTTP_2,
        only_http2: true,
        background: of_root,
        grpc: true,
    };
    let mut request = Some(build(call, body, limit, &target)?);
    let mut trace = Trace::default();
    let answer = Box::pin(send_request(worker, &mut request, &target, &mut trace)).await.map_err(failed)?;
    let _in_flight = answer.in_flight;
    let (mut head, body) = answer.response.into_parts();
    joined::join(&mut head.headers, Part::Response);
    if body.is_end_stream() {
        // The head is all there is: its fields are the trailers.
        tell(Event::InitialMetadata(Pairs::new()));
        return Ok(ended(head.status, &head.headers));
    }
    let mut initial = vec![(b":status".to_vec(), head.status.as_str().as_bytes().to_vec())];
    initial.append(&mut pairs(&head.headers));
    tell(Event::InitialMetadata(initial));
    refuse_foreign(&head.headers, head.status)?;
    let mut received = Received::new(body);
    while let Some(message) = received.next().await? {
        tell(Event::Message(message));
        // A frame may hold thousands of messages: others have their turn between them.
        tokio::task::yield_now().await;
    }
    Ok(ended(head.status, received.trailers().unwrap_or(&head.headers)))
}

fn build(
    call: GrpcCallout,
    body: RequestBody,
    limit: Option<Duration>,
    target: &Target,
) -> Result<Request<RequestBody>, GrpcStatus> {
    let unfit = || status(INTERNAL, "service, method or authority cannot be written into a request");
    let path = PathAndQuery::try_from(format!("/{}/{}", call.service, call.method)).map_err(|_| unfit())?;
    let fallback = if Authority::try_from(call.cluster.as_str()).is_ok() { &call.cluster } else { NAMELESS };
    let authority = call.authority.as_deref().unwrap_or(fallback);
    let authority = HeaderValue::from_str(authority).map_err(|_| unfit())?;
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    let headers = request.headers_mut();
    for (name, value) in &call.metadata {
        if !name.starts_with(b":") && !is_framing(name) && !OWN_FIELDS.contains(&name.as_slice()) {
            append(headers, name, value);
        }
    }
    joined::join(headers, Part::Request);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    if let Some(value) = limit.and_then(|limit| HeaderValue::try_from(timeout(limit)).ok()) {
        headers.insert("grpc-timeout", value);
    }
    address_request(&mut request, &path, &authority, target, false, true).map_err(|_| unfit())?;
    Ok(request)
}

/// `grpc-timeout`: at most eight digits and a unit.
fn timeout(limit: Duration) -> String {
    match limit.as_millis() {
        millis @ ..=99_999_999 => format!("{millis}m"),
        _ => format!("{}S", limit.as_secs().min(99_999_999)),
    }
}

/// An answer that is not gRPC's has no messages: its HTTP status is what it says.
fn refuse_foreign(headers: &HeaderMap, code: StatusCode) -> Result<(), GrpcStatus> {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if code == StatusCode::OK && kind.starts_with(b"application/grpc") {
        return Ok(());
    }
    Err(by_http(code))
}

fn by_http(code: StatusCode) -> GrpcStatus {
    status(grpc_status_of(code.as_u16()), format!("HTTP status {} and no gRPC status", code.as_u16()))
}

/// The end that these fields tell of: those of the trailers, or of a head that stands alone.
fn ended(code: StatusCode, fields: &HeaderMap) -> End {
    let said = fields.get("grpc-status").map(|value| value.to_str().ok().and_then(|text| text.parse().ok()));
    let status = match said {
        Some(Some(code)) => {
            let message = fields.get("grpc-message").map(|value| percent_decoded(value.as_bytes()));
            GrpcStatus { code, message: message.unwrap_or_default() }
        }
        Some(None) => status(UNKNOWN, "grpc-status is not a number"),
        None => by_http(code),
    };
    End { trailers: pairs(fields), status }
}

/// gRPC's encoding of `grpc-message`; what is not well formed stays as it is.
fn percent_decoded(text: &[u8]) -> String {
    percent_decode(text).decode_utf8_lossy().into_owned()
}

fn failed(failure: Failure) -> GrpcStatus {
    match failure {
        Failure::NoCluster => no_cluster(),
        Failure::NoEndpoint => status(UNAVAILABLE, "no endpoint"),
        Failure::Overflow => status(UNAVAILABLE, "the cluster's limits are reached"),
        Failure::ConnectFailure => status(UNAVAILABLE, "connection failed"),
        Failure::ConnectTimeout => status(UNAVAILABLE, "connection timed out"),
        _ => lost(),
    }
}

fn no_cluster() -> GrpcStatus {
    status(UNAVAILABLE, "no such cluster")
}

/// The stream was reset or its connection lost.
fn lost() -> GrpcStatus {
    status(UNAVAILABLE, "reset by the upstream, or the connection was lost")
}

fn status(code: u32, message: impl Into<String>) -> GrpcStatus {
    GrpcStatus { code, message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_status_is_what_the_fields_say_or_else_http() {
        let end = |code: u16, list: &[_]| ended(StatusCode::from_u16(code).unwrap(), &fields(list)).status;
        assert_eq!(end(200, &[("grpc-status", "0")]), GrpcStatus::default());
        assert_eq!(end(503, &[("grpc-status", "7"), ("grpc-message", "a%20b%")]), status(7, "a b%"));
        assert_eq!(end(200, &[("grpc-status", "none")]).code, 2);
        for (http, grpc) in [(200, 2), (400, 13), (401, 16), (403, 7), (404, 12), (429, 14), (503, 14), (500, 2)] {
            assert_eq!(end(http, &[]).code, grpc, "{http}");
        }
    }

    #[test]
    fn messages_are_percent_decoded_as_far_as_they_are_well_formed() {
        for (text, decoded) in [("100%25", "100%"), ("%C3%a4", "ä"), ("%", "%"), ("%4", "%4"), ("%zz%41", "%zzA")] {
            assert_eq!(percent_decoded(text.as_bytes()), decoded);
        }
    }

    #[test]
    fn timeouts_have_at_most_eight_digits() {
        assert_eq!(timeout(Duration::from_millis(1500)), "1500m");
        assert_eq!(timeout(Duration::from_millis(99_999_999)), "99999999m");
        assert_eq!(timeout(Duration::from_secs(100_000)), "100000S");
        assert_eq!(timeout(Duration::MAX), "99999999S");
    }
}
