//! HTTP callouts: answered in one piece.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use sidegate_wasm_host::Callout;
use sidegate_wasm_host::hooks::CalloutAnswer;

use super::{MAX_TIME, append, pairs};
use crate::exchange::bodies::RequestBody;
use crate::exchange::head::joined::{self, Part};
use crate::exchange::head::{Trailers, is_framing};
use crate::exchange::held::Share;
use crate::exchange::reply::Failure;
use crate::upstream::retry::RetryPolicy;
use crate::upstream::{Target, Trace, address_request, send as send_request, within};
use crate::worker::Worker;

/// Bytes of an answer's body: what a guest with the default memory can take.
const MAX_BODY: usize = 4 << 20;

/// Whether a callout can be sent at all: no tunnel, and names that are tokens.
pub fn is_sendable(call: &Callout) -> bool {
    call.headers.iter().all(|(name, value)| match name.as_slice() {
        b":method" => Method::from_bytes(value).is_ok_and(|method| method != Method::CONNECT),
        name => name.starts_with(b":") || HeaderName::from_bytes(name).is_ok(),
    })
}

/// Sends a callout. What goes wrong is an answer that says so; one that is cut or too large is an error. The answer's
/// body counts among what filters keep back as long as `share` lives.
pub async fn send(worker: &Worker, call: Callout, of_root: bool, share: &mut Share) -> Result<CalloutAnswer, String> {
    let limit = call.timeout.unwrap_or(MAX_TIME).min(MAX_TIME);
    match tokio::time::timeout(limit, exchange(worker, call, of_root, limit, share)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(failure)) => Ok(failed(failure)),
        Err(_) => Ok(failed(Failure::ResponseTimeout)),
    }
}

async fn exchange(
    worker: &Worker,
    call: Callout,
    of_root: bool,
    limit: Duration,
    share: &mut Share,
) -> Result<Result<CalloutAnswer, String>, Failure> {
    let cluster = worker.with_env(|env| env.clusters.find(&call.cluster).cloned()).ok_or(Failure::NoCluster)?;
    let target = Target {
        cluster,
        subset: None,
        timeout: Some(limit),
        retries: RetryPolicy::default(),
        version: Version::HTTP_11,
        only_http2: false,
        background: of_root,
        grpc: false,
    };
    let mut request = Some(build(call, &target)?);
    let mut trace = Trace::default();
    let answer = pin!(send_request(worker, &mut request, &target, &mut trace));
    let answer = within(Some(limit), Failure::ResponseTimeout, answer).await?;
    let (mut parts, body) = answer.response.into_parts();
    joined::join(&mut parts.headers, Part::Response);
    let Some((body, trailers)) = gather(body, share).await else { return Ok(Err("reset".to_owned())) };
    answer.in_flight.complete();
    let trailers = pairs(&Trailers::received(trailers).fields);
    let mut headers = vec![(b":status".to_vec(), parts.status.as_str().as_bytes().to_vec())];
    headers.append(&mut pairs(&parts.headers));
    Ok(Ok(CalloutAnswer { headers, body, trailers }))
}

/// The whole of an answer; `None` for one that is cut or too large, or when the worker holds too much already.
async fn gather(mut body: Incoming, share: &mut Share) -> Option<(Vec<u8>, HeaderMap)> {
    let (mut bytes, mut trailers) = (Vec::new(), HeaderMap::new());
    while let Some(frame) = body.frame().await {
        match frame.ok()?.into_data() {
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
        if bytes.len() > MAX_BODY || !share.set(bytes.capacity()) {
            return None;
        }
    }
    Some((bytes, trailers))
}

fn build(call: Callout, target: &Target) -> Result<Request<RequestBody>, Failure> {
    let mut method = Method::GET;
    let (mut path, mut authority) = (None, None);
    let mut headers = HeaderMap::new();
    for (name, value) in &call.headers {
        match name.as_slice() {
            b":method" => method = Method::from_bytes(value).map_err(|_| Failure::FilterBrokeRequest)?,
            b":path" => path = PathAndQuery::try_from(value.as_slice()).ok().filter(|_| value.starts_with(b"/")),
            b":authority" | b"host" => authority = authority.or_else(|| HeaderValue::from_bytes(value).ok()),
            name if name.starts_with(b":") || is_framing(name) => {}
            name => append(&mut headers, name, value),
        }
    }
    joined::join(&mut headers, Part::Request);
    let (Some(path), Some(authority)) = (path, authority) else { return Err(Failure::FilterBrokeRequest) };
    let body = if call.body.is_empty() { RequestBody::Empty } else { RequestBody::Full(Some(Bytes::from(call.body))) };
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.headers_mut() = headers;
    address_request(&mut request, &path, &authority, target, false, false)?;
    Ok(request)
}

/// The status and the text of Envoy's router.
fn failed(failure: Failure) -> CalloutAnswer {
    let reason = match failure {
        Failure::ResponseTimeout | Failure::RouteTimeout => return made("504", "upstream request timeout"),
        Failure::NoEndpoint => return made("503", "no healthy upstream"),
        Failure::ConnectFailure => "remote connection failure",
        Failure::ConnectTimeout => "connection timeout",
        Failure::Overflow => "overflow",
        Failure::UpstreamReset => "remote reset",
        Failure::UpstreamProtocol => "protocol error",
        Failure::FilterBrokeRequest => "local reset",
        _ => "connection termination",
    };
    let status = if failure == Failure::UpstreamProtocol { "502" } else { "503" };
    made(status, &format!("upstream connect error or disconnect/reset before headers. reset reason: {reason}"))
}

/// An answer without an upstream, as Envoy makes it: three headers and a text.
fn made(status: &str, text: &str) -> CalloutAnswer {
    let field = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    CalloutAnswer {
        headers: vec![
            field(":status", status),
            field("content-length", &text.len().to_string()),
            field("content-type", "text/plain"),
        ],
        body: text.into(),
        trailers: Vec::new(),
    }
}
