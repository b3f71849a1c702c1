//! The thread that sends spans: gathers them for a moment, then one request to each collector. A collector that fails
//! loses its batch, not the others theirs; nobody waits for it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderName, Method, Request, Response, Version};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Span, otlp};
use crate::snapshot::provider::Collector;
use crate::snapshot::{Address, Endpoint};
use crate::telemetry::metrics::Series;

/// Spans of one round, some 1 MiB.
const BATCH: usize = 512;
/// How long a span may wait for others.
const GATHER: Duration = Duration::from_secs(1);
/// Bytes of an answer that are read.
const MAX_ANSWER: usize = 64 << 10;
/// A collector that is away is told of this often.
const QUIET: Duration = Duration::from_secs(60);
const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// What became of spans.
pub(super) struct Counts {
    pub(super) sent: Arc<Series>,
    pub(super) dropped: Arc<Series>,
}

/// Sends what comes until nobody can send any more.
pub(super) fn run(mut queue: Receiver<(Arc<Collector>, Span)>, counts: &Counts) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("spans are dropped: no runtime for them: {error}");
            return;
        }
    };
    runtime.block_on(async {
        let mut exporter = Exporter { counts, turn: 0, complained: None };
        while let Some(first) = queue.recv().await {
            let until = Instant::now() + GATHER;
            let mut batch = vec![first];
            while batch.len() < BATCH {
                match timeout_at(until, queue.recv()).await {
                    Ok(Some(span)) => batch.push(span),
                    Ok(None) | Err(_) => break,
                }
            }
            exporter.send_all(batch).await;
        }
    });
}

struct Exporter<'c> {
    counts: &'c Counts,
    /// Endpoints take turns.
    turn: usize,
    complained: Option<Instant>,
}

impl Exporter<'_> {
    async fn send_all(&mut self, mut batch: Vec<(Arc<Collector>, Span)>) {
        while let Some((collector, _)) = batch.first() {
            let collector = collector.clone();
            let (ours, others) = batch.into_iter().partition(|(known, _)| Arc::ptr_eq(known, &collector));
            batch = others;
            self.send(&collector, &ours).await;
        }
    }

    async fn send(&mut self, collector: &Collector, batch: &[(Arc<Collector>, Span)]) {
        let spans: Vec<&Span> = batch.iter().map(|(_, span)| span).collect();
        let message = Bytes::from(otlp::request(&collector.resource, &spans));
        let count = spans.len() as u64;
        let mut result = Err("no endpoint".to_owned());
        // A second try finds another endpoint, or a collector that has just been started anew.
        for _ in 0..2 {
            let endpoints = &collector.cluster.endpoints;
            let Some(endpoint) = endpoints.get(self.turn % endpoints.len().max(1)) else { break };
            self.turn = self.turn.wrapping_add(1);
            result = match timeout(collector.timeout, export(collector, endpoint, message.clone())).await {
                Ok(result) => result,
                Err(_) => Err(format!("no answer within {:?}", collector.timeout)),
            };
            if result.is_ok() {
                break;
            }
        }
        match result {
            Ok(()) => self.counts.sent.add_shared(count),
            Err(problem) => {
                self.counts.dropped.add_shared(count);
                if self.complained.is_none_or(|last| last.elapsed() > QUIET) {
                    self.complained = Some(Instant::now());
                    tracing::warn!(provider = collector.name, "{count} spans were dropped: {problem}");
                }
            }
        }
    }
}

async fn export(collector: &Collector, endpoint: &Endpoint, message: Bytes) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", endpoint.text);
    match &endpoint.address {
        Address::Tcp(address) => {
            let stream = tokio::net::TcpStream::connect(address).await.map_err(|error| failed(&error))?;
            over(stream, collector, message).await
        }
        Address::Unix(path) => {
            let stream = tokio::net::UnixStream::connect(path).await.map_err(|error| failed(&error))?;
            over(stream, collector, message).await
        }
    }
    .map_err(|error| failed(&error))
}

async fn over<S>(stream: S, collector: &Collector, message: Bytes) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    if collector.http.is_some() {
        let (mut sender, connection) = conn::http1::handshake(io).await.map_err(|error| error.to_string())?;
        let connection = tokio::spawn(connection);
        let answer = sender.send_request(request(collector, message)?).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        connection.abort();
        return if status.is_success() { Ok(()) } else { Err(format!("answered {status}")) };
    }
    let handshake = conn::http2::handshake(TokioExecutor::new(), io).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request(collector, message)?).await.map_err(|error| error.to_string())?;
    let result = grpc_result(answer).await;
    connection.abort();
    result
}

fn request(collector: &Collector, message: Bytes) -> Result<Request<Full<Bytes>>, String> {
    let (body, content_type) = match &collector.http {
        Some(_) => (message, "application/x-protobuf"),
        None => {
            let mut framed = Vec::with_capacity(message.len() + 5);
            framed.push(0);
            framed.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
            framed.extend_from_slice(&message);
            (framed.into(), "application/grpc")
        }
    };
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::USER_AGENT, HeaderValue::from_static("sidegate"));
    for field in collector.http.iter().flat_map(|http| &http.headers) {
        let name = HeaderName::try_from(&field.name).map_err(|error| error.to_string())?;
        headers.insert(name, HeaderValue::try_from(&field.value).map_err(|error| error.to_string())?);
    }
    let target = match &collector.http {
        Some(http) => {
            headers.insert(header::HOST, HeaderValue::try_from(&collector.host).map_err(|error| error.to_string())?);
            http.path.clone()
        }
        None => {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
            format!("http://{}{GRPC_PATH}", collector.host)
        }
    };
    *request.uri_mut() = target.parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
    *request.version_mut() = if collector.http.is_some() { Version::HTTP_11 } else { Version::HTTP_2 };
    Ok(request)
}

/// The status of a gRPC answer stands in its trailers, or in its head when there is nothing else.
async fn grpc_result(answer: Response<Incoming>) -> Result<(), String> {
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| error.to_string())?;
    let fields = body.trailers().unwrap_or(&head.headers);
    match fields.get("grpc-status").map(HeaderValue::as_bytes) {
        Some(b"0") => Ok(()),
        Some(status) => Err(format!("answered grpc-status {}", String::from_utf8_lossy(status))),
        None => Err(format!("answered {} without a grpc-status", head.status)),
    }
}
