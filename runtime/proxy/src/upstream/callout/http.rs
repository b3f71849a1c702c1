//! HTTP callouts: answered in one piece.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Version};
use http_body_util::{BodyExt, Limited};
use sidegate_wasm_host::Callout;
use sidegate_wasm_host::hooks::CalloutAnswer;

use super::{MAX_TIME, append, pairs};
use crate::exchange::bodies::RequestBody;
use crate::exchange::head::is_framing;
use crate::exchange::reply::Failure;
use crate::upstream::retry::RetryPolicy;
use crate::upstream::{Target, Trace, address_request, send as send_request, within};
use crate::worker::Worker;

/// Bytes of an answer's body: what a guest with the default memory can take.
const MAX_BODY: usize = 4 << 20;

/// Sends a callout. A timeout is a 504 and a failure a 503, both with text; an answer that is too large is an error.
pub async fn send(worker: &Worker, call: Callout) -> Result<CalloutAnswer, String> {
    let limit = call.timeout.unwrap_or(MAX_TIME).min(MAX_TIME);
    match tokio::time::timeout(limit, exchange(worker, call, limit)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(Failure::ResponseTimeout | Failure::ConnectTimeout)) | Err(_) => {
            Ok(made("504", "upstream request timeout"))
        }
        Ok(Err(failure)) => {
            let text = "upstream connect error or disconnect/reset before headers";
            Ok(made("503", &format!("{text}: {failure:?}")))
        }
    }
}

async fn exchange(worker: &Worker, call: Callout, limit: Duration) -> Result<Result<CalloutAnswer, String>, Failure> {
    let cluster = worker.with_env(|env| env.clusters.find(&call.cluster).cloned()).ok_or(Failure::NoCluster)?;
    let target = Target {
        cluster,
        subset: None,
        timeout: Some(limit),
        retries: RetryPolicy::default(),
        version: Version::HTTP_11,
        only_http2: false,
        grpc: false,
    };
    let mut request = Some(build(call, &target)?);
    let mut trace = Trace::default();
    let answer = pin!(send_request(worker, &mut request, &target, &mut trace));
    let answer = within(Some(limit), Failure::ResponseTimeout, answer).await?;
    let (parts, body) = answer.response.into_parts();
    let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
        return Ok(Err("reset".to_owned()));
    };
    answer.in_flight.complete();
    let trailers = body.trailers().map(pairs).unwrap_or_default();
    let mut headers = vec![(b":status".to_vec(), parts.status.as_str().as_bytes().to_vec())];
    headers.append(&mut pairs(&parts.headers));
    Ok(Ok(CalloutAnswer { headers, body: body.to_bytes().into(), trailers }))
}

fn build(call: Callout, target: &Target) -> Result<Request<RequestBody>, Failure> {
    let mut method = Method::GET;
    let (mut path, mut authority) = (None, None);
    let mut headers = HeaderMap::new();
    for (name, value) in &call.headers {
        match name.as_slice() {
            b":method" => method = Method::from_bytes(value).map_err(|_| Failure::FilterBrokeRequest)?,
            b":path" => path = PathAndQuery::try_from(value.as_slice()).ok(),
            b":authority" => authority = HeaderValue::from_bytes(value).ok(),
            name if name.starts_with(b":") || is_framing(name) || name == b"host" => {}
            name => append(&mut headers, name, value),
        }
    }
    let (Some(path), Some(authority)) = (path, authority) else { return Err(Failure::FilterBrokeRequest) };
    let body = if call.body.is_empty() { RequestBody::Empty } else { RequestBody::Full(Some(Bytes::from(call.body))) };
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.headers_mut() = headers;
    address_request(&mut request, &path, &authority, target, false, false)?;
    Ok(request)
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
