//! Towards the services: the one entry is [`send`]. It takes a permit, picks an endpoint, takes a connection and sends.

pub mod balancer;
pub mod callout;
pub mod connect;
pub mod io;
pub mod pool;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::header::{self, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{Request, Response, Version};
use hyper::body::Incoming;

use self::pool::{Lease, SendError};
use crate::exchange::bodies::RequestBody;
use crate::exchange::reply::Failure;
use crate::snapshot::cluster::{Permit, Protocol};
use crate::snapshot::{Cluster, Endpoint};
use crate::worker::Worker;

/// How long an upstream may take to begin its response, unless a route or a callout says otherwise. gRPC is exempt.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(15);

/// Where a request goes, and how long it may take.
pub struct Target {
    pub cluster: Arc<Cluster>,
    pub subset: Option<String>,
    /// The whole request, retries included.
    pub timeout: Option<Duration>,
    pub per_try_timeout: Option<Duration>,
    /// The version that the client speaks.
    pub version: Version,
    pub grpc: bool,
}

impl Target {
    fn http2(&self) -> bool {
        match self.cluster.protocol {
            Protocol::Http1 => false,
            Protocol::Http2 => true,
            Protocol::Auto => self.version == Version::HTTP_2,
        }
    }
}

/// A response, and what it keeps busy until its body has ended.
pub struct Answer {
    pub response: Response<Incoming>,
    pub in_flight: InFlight,
}

/// What happened on the way, for logs and properties.
#[derive(Default)]
pub struct Trace {
    pub attempts: u32,
    pub endpoint: Option<Arc<Endpoint>>,
    pub pool_ready: Option<Instant>,
    /// The connection had served before: its end may have crossed with our request.
    pub reused: bool,
}

/// A request under way: its permits, its place in the endpoint's load, its connection.
pub struct InFlight {
    lease: Option<Lease>,
    load: Arc<Endpoint>,
    _permit: Permit,
}

impl InFlight {
    /// The response is complete: an HTTP/1.1 connection may serve again.
    pub fn complete(mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.load.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Sends a request to a cluster and waits for the head of its response.
pub async fn send(worker: &Worker, request: Request<RequestBody>, target: &Target) -> (Result<Answer, Failure>, Trace) {
    let mut trace = Trace::default();
    let limit = match (target.timeout, target.grpc) {
        (Some(limit), _) => Some(limit),
        (None, true) => None,
        (None, false) => Some(RESPONSE_TIMEOUT),
    };
    let answer = within(limit, Failure::ResponseTimeout, attempts(worker, request, target, &mut trace)).await;
    worker.counters.upstream(
        worker.index,
        &target.cluster,
        answer.as_ref().ok().map(|answer| answer.response.status()),
    );
    (answer, trace)
}

/// Runs `work` for at most `limit`.
async fn within<T>(
    limit: Option<Duration>,
    late: Failure,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match limit {
        None => work.await,
        Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or(Err(late)),
    }
}

/// Tries until the request has reached an upstream: a kept connection that turns out closed before anything was
/// written costs nothing but another connection.
async fn attempts(
    worker: &Worker,
    mut request: Request<RequestBody>,
    target: &Target,
    trace: &mut Trace,
) -> Result<Answer, Failure> {
    let cluster = &target.cluster;
    let permit = Permit::take(cluster, |load| &load.requests, cluster.limits.max_requests).ok_or(Failure::Overflow)?;
    let endpoint = balancer::pick(cluster, target.subset.as_deref(), worker).ok_or(Failure::NoEndpoint)?;
    endpoint.active.fetch_add(1, Ordering::Relaxed);
    let mut in_flight = InFlight { lease: None, load: endpoint.clone(), _permit: permit };
    trace.endpoint = Some(endpoint.clone());
    loop {
        trace.attempts = 1;
        let mut lease = match worker.pools.ready(cluster, &endpoint, target.http2()) {
            Some(lease) => lease,
            // Boxed: connecting is rare and its future large.
            None => Box::pin(worker.pools.lease(cluster, &endpoint, target.http2())).await?,
        };
        trace.pool_ready = Some(Instant::now());
        trace.reused = lease.was_reused();
        match lease.send(request).await {
            Ok(response) => {
                in_flight.lease = Some(lease);
                return Ok(Answer { response, in_flight });
            }
            Err(SendError { unsent: Some(unsent), .. }) if lease.was_reused() => request = unsent,
            Err(SendError { error, .. }) => return Err(failure_of(&error)),
        }
    }
}

fn failure_of(error: &hyper::Error) -> Failure {
    if error.is_parse() || error.is_parse_too_large() {
        Failure::UpstreamProtocol
    } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        Failure::UpstreamTerminated
    } else {
        Failure::UpstreamReset
    }
}

/// Writes the target of a request in the form that the upstream's protocol wants, and the fields that only the last
/// hop may write.
pub fn address_request(
    request: &mut Request<RequestBody>,
    path: &PathAndQuery,
    authority: &HeaderValue,
    target: &Target,
    upgrade: bool,
    trailers: bool,
) -> Result<(), Failure> {
    if target.http2() {
        let host = Authority::try_from(authority.as_bytes()).map_err(|_| Failure::FilterBrokeRequest)?;
        *request.uri_mut() = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(host)
            .path_and_query(path.clone())
            .build()
            .map_err(|_| Failure::FilterBrokeRequest)?;
        *request.version_mut() = Version::HTTP_2;
        if trailers {
            request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
        }
        return Ok(());
    }
    *request.uri_mut() = Uri::from(path.clone());
    *request.version_mut() = Version::HTTP_11;
    request.headers_mut().insert(header::HOST, authority.clone());
    if upgrade {
        request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        request.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    } else if trailers {
        request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
        request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    Ok(())
}
