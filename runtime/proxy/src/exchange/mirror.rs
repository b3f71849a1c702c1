//! Copies of a request for other clusters: sent beside the original, answered to nobody, and never in its way.

mod feed;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::{Authority, Uri};
use http::{Request, Version};
use http_body::Frame;
use http_body_util::BodyExt;
use serde::Deserialize;
use smallvec::SmallVec;

pub use self::feed::{Copies, Feed};
use super::bodies::RequestBody;
use super::{BodyError, Exchange};
use crate::snapshot::Cluster;
use crate::upstream::retry::RetryPolicy;
use crate::upstream::{self, Answer, Target, Trace};
use crate::worker::Worker;

/// Mirrors of one request: each is a whole request more.
const MAX_MIRRORS: usize = 4;
/// Copies under way on one worker, so at most 16 MiB of bodies; more are not begun.
const MAX_UNDER_WAY: usize = 256;
/// How long a copy may take in all when the route sets no timeout.
const MAX_TIME: Duration = Duration::from_secs(60);
/// Shares are drawn in millionths.
const MILLION: usize = 1_000_000;

/// An entry of `sidegate.upstream.mirrors`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mirror {
    cluster: String,
    subset: Option<String>,
    /// Share of the requests in percent.
    #[serde(default = "all")]
    percentage: f64,
}

fn all() -> f64 {
    100.0
}

/// Reads the property; `None`: it cannot be understood.
pub fn parse(json: &str) -> Option<Vec<Mirror>> {
    let mirrors: Vec<Mirror> = serde_json::from_str(json).ok()?;
    let is_share = |mirror: &Mirror| (0.0..=100.0).contains(&mirror.percentage);
    (mirrors.len() <= MAX_MIRRORS && mirrors.iter().all(is_share)).then_some(mirrors)
}

impl Exchange {
    /// Begins the copies that filters asked for. What is lacking for one of them, a cluster or a place, is no matter
    /// of the original.
    pub(super) fn mirror(&self, body: &RequestBody, original: &Target, trailers: bool) {
        let mut feeds = Copies::default();
        for (cluster, subset) in self.draw_mirrors() {
            let Some(place) = UnderWay::take(&self.worker) else {
                self.worker.counters.mirror_dropped(self.worker.index, &cluster);
                continue;
            };
            let copy = match body {
                RequestBody::Empty => RequestBody::Empty,
                RequestBody::Full(bytes) => RequestBody::Full(bytes.clone()),
                RequestBody::Direct { .. } | RequestBody::Pumped { .. } => RequestBody::Copied(feeds.another(&cluster)),
                // Of callouts and of copies: no client sends such a body.
                RequestBody::Messages(_) | RequestBody::Copied(_) => continue,
            };
            let target = Target {
                cluster,
                subset,
                timeout: original.timeout,
                retries: RetryPolicy::never(),
                version: original.version,
                only_http2: false,
                background: false,
                grpc: original.grpc,
            };
            let Ok(mut request) = self.outgoing(copy, &target, false, trailers) else { continue };
            if matches!(body, RequestBody::Pumped { .. }) {
                // Filters may change its length on the way.
                request.headers_mut().remove(header::CONTENT_LENGTH);
            }
            mark_as_copy(&mut request);
            tokio::task::spawn_local(carry(place, request, target));
        }
        if !feeds.is_empty() {
            *self.copies.borrow_mut() = Some(feeds);
        }
    }

    /// The mirrors whose turn it is, as far as they exist.
    fn draw_mirrors(&self) -> SmallVec<[(Arc<Cluster>, Option<String>); 1]> {
        self.worker.with_env(|env| {
            let mirrors = match env.view(self.key) {
                Some(view) if !view.steering.mirrors.is_empty() => std::mem::take(&mut view.steering.mirrors),
                _ => return SmallVec::new(),
            };
            let drawn = mirrors.into_iter().filter(|mirror| {
                // At most a million by the check when it was read.
                env.rng().below(MILLION) < (mirror.percentage * 10_000.0).round() as usize
            });
            let existing = drawn.filter_map(|mirror| {
                let cluster = self.snapshot.shared.clusters.find(&mirror.cluster)?;
                let is_there = mirror.subset.as_ref().is_none_or(|subset| cluster.subsets.contains_key(subset));
                is_there.then(|| (cluster.clone(), mirror.subset))
            });
            existing.collect()
        })
    }

    /// Shows copies what goes up. `ended`: nothing comes behind it.
    pub(super) fn copy(&self, frame: &Option<Result<Frame<Bytes>, BodyError>>, ended: bool) {
        let mut place = self.copies.borrow_mut();
        let Some(copies) = place.as_mut() else { return };
        match frame {
            Some(Ok(frame)) => {
                copies.push(frame, |cluster| self.worker.counters.mirror_dropped(self.worker.index, cluster));
                if ended {
                    copies.end();
                }
            }
            None => copies.end(),
            Some(Err(_)) => *place = None,
        }
    }
}

/// Sends a copy and reads its answer away.
async fn carry(place: UnderWay, request: Request<RequestBody>, target: Target) {
    let limit = target.timeout.unwrap_or(MAX_TIME);
    let work = async {
        let mut request = Some(request);
        let mut trace = Trace::default();
        let sent = upstream::send(&place.0, &mut request, &target, &mut trace).await;
        let Ok(Answer { response, in_flight }) = sent else { return };
        let mut body = response.into_body();
        loop {
            match body.frame().await {
                None => break in_flight.complete(),
                Some(Ok(_)) => {}
                Some(Err(_)) => break,
            }
        }
    };
    // Whether it was in time is nobody's concern; the counters of its cluster tell.
    let _ = tokio::time::timeout(limit, work).await;
}

/// What tells a copy from its original: the host, as Envoy writes it, and that it is not to be traced.
fn mark_as_copy(request: &mut Request<RequestBody>) {
    if request.version() == Version::HTTP_2 {
        let mut parts = request.uri().clone().into_parts();
        parts.authority = parts.authority.and_then(|host| Authority::try_from(shadow(host.as_str())).ok());
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    } else if let Some(host) = request.headers().get(header::HOST).and_then(|host| host.to_str().ok())
        && let Ok(host) = HeaderValue::try_from(shadow(host))
    {
        request.headers_mut().insert(header::HOST, host);
    }
    let headers = request.headers_mut();
    // The original has asked already whether its body is wanted.
    headers.remove(header::EXPECT);
    unsample(headers);
}

/// `shop.test:8080` becomes `shop.test-shadow:8080`.
fn shadow(host: &str) -> String {
    let end_of_address = host.rfind(']').unwrap_or(0);
    match host.rfind(':') {
        Some(colon) if colon > end_of_address => {
            let (name, port) = host.split_at(colon);
            format!("{name}-shadow{port}")
        }
        _ => format!("{host}-shadow"),
    }
}

/// Whoever gets a copy adds nothing to the trace of the original.
fn unsample(headers: &mut HeaderMap) {
    let parent = headers.get("traceparent").and_then(|value| value.to_str().ok());
    if let Some((trace, _)) = parent.and_then(|value| value.rsplit_once('-'))
        && let Ok(value) = HeaderValue::try_from(format!("{trace}-00"))
    {
        headers.insert("traceparent", value);
    }
    if headers.contains_key("x-b3-sampled") {
        headers.insert("x-b3-sampled", HeaderValue::from_static("0"));
    }
}

/// One of the places for copies of a worker; given back when dropped.
struct UnderWay(Rc<Worker>);

impl UnderWay {
    fn take(worker: &Rc<Worker>) -> Option<Self> {
        let taken = worker.mirrors.get();
        (taken < MAX_UNDER_WAY).then(|| {
            worker.mirrors.set(taken + 1);
            Self(worker.clone())
        })
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.mirrors.set(self.0.mirrors.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_is_a_short_list_of_shares() {
        let mirrors = parse(r#"[{"cluster": "a"}, {"cluster": "b", "subset": "v2", "percentage": 0.5}]"#).unwrap();
        assert_eq!((mirrors.len(), mirrors[0].percentage, mirrors[1].percentage), (2, 100.0, 0.5));
        for wrong in ["a", "{}", r#"[{}]"#, r#"[{"cluster": "a", "percentage": 101}]"#] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
        let many = [r#"{"cluster": "a"}"#; MAX_MIRRORS + 1].join(",");
        assert!(parse(&format!("[{many}]")).is_none());
    }

    #[test]
    fn a_copy_is_told_by_its_host() {
        for (host, wanted) in [
            ("shop.test", "shop.test-shadow"),
            ("shop.test:80", "shop.test-shadow:80"),
            ("[::1]:80", "[::1]-shadow:80"),
            ("[::1]", "[::1]-shadow"),
        ] {
            assert_eq!(shadow(host), wanted);
        }
    }
}
