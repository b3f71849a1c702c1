//! Towards the services: the one entry is [`send`]. It takes a permit, picks an endpoint, takes a connection and sends.

pub mod balancer;
pub mod callout;
pub mod connect;
pub mod io;
pub mod pool;
pub mod retry;

use std::error::Error;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::header::{self, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{Request, Response, Version};
use hyper::body::Incoming;
use smallvec::SmallVec;

use self::pool::{Lease, SendError};
use self::retry::RetryPolicy;
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
    pub retries: RetryPolicy,
    /// The version that the client speaks.
    pub version: Version,
    /// HTTP/2 whatever the cluster's protocol: gRPC callouts.
    pub only_http2: bool,
    /// No exchange waits for it: half of what the cluster takes is left to those that do.
    pub background: bool,
    pub grpc: bool,
}

impl Target {
    fn http2(&self) -> bool {
        match self.cluster.protocol {
            _ if self.only_http2 => true,
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
pub struct Trace<'a> {
    /// Told when there is a connection, before anything is sent on it.
    pub connected: Option<&'a dyn Fn(&Trace<'_>)>,
    pub attempts: u32,
    pub endpoint: Option<Arc<Endpoint>>,
    /// Our end of the connection.
    pub local: Option<Arc<str>>,
    pub pool_ready: Option<Instant>,
    /// The connection had served before: its end may have crossed with our request.
    pub reused: bool,
    /// The policy wanted another try, but there was none left.
    pub exhausted: bool,
    /// Endpoints that failed this request.
    pub failed: SmallVec<[usize; 4]>,
}

/// A request under way: its permits, its place in the endpoint's load, its connection.
pub struct InFlight {
    /// When the response must have ended.
    pub deadline: Option<Instant>,
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

impl InFlight {
    fn move_to(&mut self, endpoint: Arc<Endpoint>) {
        endpoint.active.fetch_add(1, Ordering::Relaxed);
        std::mem::replace(&mut self.load, endpoint).active.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.load.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Sends a request to a cluster once and waits for the head of its response; `trace` carries over from try to try.
/// The request is taken out of its place when it is sent: handed on by value, every future on the way would keep a copy.
pub async fn send(
    worker: &Worker,
    request: &mut Option<Request<RequestBody>>,
    target: &Target,
    trace: &mut Trace<'_>,
) -> Result<Answer, Failure> {
    let limit = match (target.retries.per_try_timeout, target.timeout, target.grpc) {
        (Some(limit), _, _) => Some(limit),
        // The route's own timeout runs outside, over all tries.
        (None, Some(_), _) | (None, None, true) => None,
        (None, None, false) => Some(RESPONSE_TIMEOUT),
    };
    let work = pin!(attempts(worker, request, target, trace));
    let answer = within(limit, Failure::ResponseTimeout, work).await;
    if matches!(answer, Err(Failure::Overflow)) {
        worker.counters.overflow(worker.index, &target.cluster);
    }
    worker.counters.upstream(
        worker.index,
        &target.cluster,
        answer.as_ref().ok().map(|answer| answer.response.status()),
    );
    answer
}

/// Runs `work` for at most `limit`. By reference: a future that is passed on by value is kept twice.
pub async fn within<T>(
    limit: Option<Duration>,
    late: Failure,
    work: Pin<&mut impl Future<Output = Result<T, Failure>>>,
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
    request: &mut Option<Request<RequestBody>>,
    target: &Target,
    trace: &mut Trace<'_>,
) -> Result<Answer, Failure> {
    let cluster = &target.cluster;
    let all = cluster.limits.max_requests;
    let limit = if target.background { all.div_ceil(2) } else { all };
    let permit = Permit::take(cluster, |load| &load.requests, limit).ok_or(Failure::Overflow)?;
    let endpoint =
        balancer::pick(cluster, target.subset.as_deref(), worker, &trace.failed).ok_or(Failure::NoEndpoint)?;
    endpoint.active.fetch_add(1, Ordering::Relaxed);
    let mut in_flight = InFlight { deadline: None, lease: None, load: endpoint, _permit: permit };
    trace.attempts += 1;
    loop {
        let endpoint = in_flight.load.clone();
        trace.endpoint = Some(endpoint.clone());
        let mut lease = match worker.pools.ready(cluster, &endpoint, target.http2()) {
            Some(lease) => lease,
            // Boxed: connecting is rare and its future large.
            None => match Box::pin(worker.pools.lease(cluster, &endpoint, target.http2())).await {
                Ok(lease) => lease,
                Err(failure) => {
                    // Nothing was sent: another endpoint may take the request, body and all.
                    let elsewhere = elsewhere(worker, target, failure, &endpoint, trace).ok_or(failure)?;
                    in_flight.move_to(elsewhere);
                    continue;
                }
            },
        };
        trace.pool_ready = Some(Instant::now());
        trace.local = lease.local().cloned();
        trace.reused = lease.was_reused();
        if let Some(tell) = trace.connected {
            tell(trace);
        }
        let Some(sending) = request.take() else { return Err(Failure::UpstreamReset) };
        match lease.send(sending).await {
            Ok(response) => {
                in_flight.lease = Some(lease);
                return Ok(Answer { response, in_flight });
            }
            Err(SendError { unsent: Some(unsent), .. }) if lease.was_reused() => *request = Some(unsent),
            Err(SendError { error, .. }) => return Err(failure_of(&error)),
        }
    }
}

/// An endpoint for a request whose connection could not be made, as long as the policy and the breaker allow it.
fn elsewhere(
    worker: &Worker,
    target: &Target,
    failure: Failure,
    endpoint: &Endpoint,
    trace: &mut Trace<'_>,
) -> Option<Arc<Endpoint>> {
    let connecting = matches!(failure, Failure::ConnectFailure | Failure::ConnectTimeout);
    if !connecting || !target.retries.wants_reconnect() || trace.attempts > target.retries.attempts {
        return None;
    }
    trace.failed.push(endpoint.id);
    let next = balancer::pick(&target.cluster, target.subset.as_deref(), worker, &trace.failed)?;
    // Trying the same endpoint again at once would only fail again.
    if trace.failed.contains(&next.id) {
        return None;
    }
    trace.attempts += 1;
    Some(next)
}

fn failure_of(error: &hyper::Error) -> Failure {
    if error.is_parse() || error.is_parse_too_large() {
        Failure::UpstreamProtocol
    } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() || is_of_connection(error) {
        Failure::UpstreamTerminated
    } else {
        Failure::UpstreamReset
    }
}

/// Whether the connection broke, and not only one stream on it.
fn is_of_connection(error: &hyper::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<std::io::Error>() || error.downcast_ref::<h2::Error>().is_some_and(h2::Error::is_io) {
            return true;
        }
        cause = error.source();
    }
    false
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
