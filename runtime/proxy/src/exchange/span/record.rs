//! What is told of an exchange that is drawn: its own span, one for each attempt, one for each callout.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use http::header::HeaderValue;

use super::{Rule, SpanContext};
use crate::exchange::properties;
use crate::exchange::reply::Failure;
use crate::exchange::view::View;
use crate::snapshot::provider::Collector;
use crate::snapshot::{Direction, Endpoint};
use crate::telemetry::spans::{Attributes, Kind, Span};

/// Attempts of one exchange that are told.
const MAX_ATTEMPTS: usize = 16;
/// Tags that filters add to one exchange.
const MAX_TAGS: usize = 64;

/// What happened so far.
#[derive(Debug, Default)]
pub struct Recording {
    attempts: Vec<Attempt>,
    tags: Vec<(String, String)>,
}

#[derive(Debug)]
struct Attempt {
    id: u64,
    begun: Instant,
    /// When it was over; an answer that was taken ends with its exchange.
    over: Option<Instant>,
    result: Option<Result<StatusCode, Failure>>,
    endpoint: Option<Arc<Endpoint>>,
}

impl Recording {
    /// An attempt begins; the id that its request carries.
    pub(super) fn attempt(&mut self, id: u64) -> u64 {
        let id = id | 1;
        let now = Instant::now();
        // The one before was not good enough.
        if let Some(last) = self.attempts.last_mut() {
            last.over.get_or_insert(now);
        }
        if self.attempts.len() < MAX_ATTEMPTS {
            self.attempts.push(Attempt { id, begun: now, over: None, result: None, endpoint: None });
        }
        id
    }

    pub(super) fn attempt_over(&mut self, result: Result<StatusCode, Failure>, endpoint: Option<&Arc<Endpoint>>) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.over = result.is_err().then(Instant::now);
            attempt.result = Some(result);
            attempt.endpoint = endpoint.cloned();
        }
    }

    pub(super) fn tag(&mut self, name: &str, value: &str) {
        if self.tags.len() < MAX_TAGS {
            self.tags.push((name.to_owned(), value.to_owned()));
        }
    }

    pub(super) fn tell(self, context: &SpanContext, rule: &Rule, view: &View, max_tag: usize) -> Vec<Span> {
        let facts = &view.facts;
        let at = |instant: Instant| nanoseconds(facts.started_wall, instant.saturating_duration_since(facts.started));
        let end = nanoseconds(facts.started_wall, facts.duration.unwrap_or_default());
        let cluster = facts.cluster.as_ref().map_or("", |cluster| cluster.name.as_str());
        let method = view.request.method.as_ref().map_or("", |method| method.as_str());
        let mut attributes = server(rule, view, cluster, method, max_tag);
        self.tags.iter().for_each(|(name, value)| attributes.text(name, value));
        let mut spans = Vec::with_capacity(self.attempts.len() + 1);
        spans.push(Span {
            trace: context.trace,
            id: context.id,
            parent: context.parent,
            name: name(view, method),
            kind: Kind::Server,
            begun: at(facts.started),
            ended: end,
            attributes,
            is_error: view.response.as_ref().and_then(|head| head.status).is_none_or(|status| status.is_server_error()),
        });
        for (number, attempt) in self.attempts.into_iter().enumerate() {
            let mut attributes = Attributes::new(max_tag);
            attributes.text("upstream_cluster.name", cluster);
            attributes.text("http.method", method);
            attributes.number("retry.attempt", number as u64);
            if let Some(endpoint) = &attempt.endpoint {
                attributes.text("peer.address", &endpoint.text);
            }
            match attempt.result {
                Some(Ok(status)) => attributes.number("http.status_code", status.as_u16().into()),
                Some(Err(failure)) => attributes.text("error.type", &format!("{failure:?}")),
                None => {}
            }
            spans.push(Span {
                trace: context.trace,
                id: attempt.id,
                parent: context.id,
                name: format!("upstream {cluster}"),
                kind: Kind::Client,
                begun: at(attempt.begun),
                ended: attempt.over.map_or(end, at),
                attributes,
                is_error: !matches!(attempt.result, Some(Ok(status)) if !status.is_server_error()),
            });
        }
        spans
    }
}

/// The route's name tells more than a path, and there are not too many of them.
fn name(view: &View, method: &str) -> String {
    let side = match view.facts.listener.direction {
        Direction::Inbound => "ingress",
        Direction::Outbound => "egress",
    };
    match view.steering.route_name.as_deref() {
        Some(route) if !route.is_empty() => format!("{method} {route}"),
        _ => format!("{side} {method}"),
    }
}

/// The tags of Envoy, with Envoy's names.
fn server(rule: &Rule, view: &View, cluster: &str, method: &str, max_tag: usize) -> Attributes {
    let facts = &view.facts;
    let mut attributes = Attributes::new(max_tag);
    let header = |name: &str| {
        let value = view.request.headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
        String::from_utf8_lossy(value)
    };
    let authority = view.request.authority.as_ref().map(HeaderValue::as_bytes).unwrap_or_default();
    let path = view.request.path.as_ref().map_or("", |path| path.as_str());
    attributes.text("component", "proxy");
    attributes.text("guid:x-request-id", &header("x-request-id"));
    attributes.text("http.method", method);
    attributes.text("http.url", &format!("http://{}{path}", String::from_utf8_lossy(authority)));
    attributes.text("http.protocol", properties::protocol(facts.protocol));
    attributes.text("user_agent", &header("user-agent"));
    attributes.text("peer.address", &facts.connection.remote_ip);
    attributes.text("upstream_cluster.name", cluster);
    attributes.number("request_size", facts.request_bytes);
    attributes.number("response_size", facts.response_bytes);
    let status = view.response.as_ref().and_then(|head| head.status);
    attributes.number("http.status_code", status.map_or(0, |status| status.as_u16().into()));
    let mut flags = Vec::new();
    facts.flags.write(&mut flags);
    attributes.text("response_flags", &String::from_utf8_lossy(&flags));
    if let (true, Some(head)) = (facts.grpc, &view.response)
        && let Some(status) = properties::grpc_status(head, view.response_trailers.as_ref())
    {
        attributes.number("grpc.status_code", status.into());
    }
    rule.tags(view, |name, value| attributes.text(name, &value));
    attributes
}

fn nanoseconds(wall: SystemTime, later: Duration) -> u64 {
    let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default() + later;
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// A callout of a filter that is under way.
#[derive(Debug)]
pub struct CalloutSpan {
    context: SpanContext,
    cluster: String,
    begun: SystemTime,
    pub collector: Arc<Collector>,
}

impl CalloutSpan {
    pub(super) fn begin(context: SpanContext, cluster: String, collector: Arc<Collector>) -> Self {
        Self { context, cluster, begun: SystemTime::now(), collector }
    }

    /// It is over. `status`: of the answer, when there was one.
    pub fn end(self, status: Option<&[u8]>) -> (Arc<Collector>, Span) {
        let status = status.and_then(|status| std::str::from_utf8(status).ok()?.parse::<u16>().ok());
        let tag = status.map(|status| ("http.status_code", status.into()));
        self.told(tag, status.is_none_or(|status| status >= 500))
    }

    /// A gRPC call is over, with this status.
    pub fn end_grpc(self, status: u32) -> (Arc<Collector>, Span) {
        self.told(Some(("grpc.status_code", status.into())), status != 0)
    }

    fn told(self, tag: Option<(&'static str, u64)>, is_error: bool) -> (Arc<Collector>, Span) {
        let mut attributes = Attributes::new(self.collector.max_tag);
        attributes.text("upstream_cluster.name", &self.cluster);
        if let Some((name, status)) = tag {
            attributes.number(name, status);
        }
        let span = Span {
            trace: self.context.trace,
            id: self.context.id,
            parent: self.context.parent,
            name: format!("callout {}", self.cluster),
            kind: Kind::Client,
            begun: nanoseconds(self.begun, Duration::ZERO),
            ended: nanoseconds(SystemTime::now(), Duration::ZERO),
            attributes,
            is_error,
        };
        (self.collector, span)
    }
}
