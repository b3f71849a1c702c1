//! The span of an exchange: what it took over from the client, what it tells upstream, and, when somebody collects
//! spans, what is told of it. Which exchanges have one, and how they are drawn, a filter says once ([`Rules`]).

mod context;
mod record;
mod rules;

use std::sync::Arc;

use http::header::HeaderMap;
use sidegate_wasm_host::StreamKey;

pub use self::context::SpanContext;
pub use self::record::{CalloutSpan, Recording};
pub use self::rules::{Rule, Rules};
use super::reply::Failure;
use super::view::View;
use crate::snapshot::Clusters;
use crate::snapshot::provider::Collector;
use crate::upstream::{Answer, Trace};
use crate::worker::env::Env;

/// Header fields as guests give them.
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// The span of one exchange.
#[derive(Debug)]
pub struct Span {
    pub context: SpanContext,
    rule: Rule,
    /// Where it will be told, whether or not it is drawn.
    collector: Option<Arc<Collector>>,
    /// Set while it is drawn and collected.
    recording: Option<Box<Recording>>,
}

impl Span {
    /// Begins the span of an exchange, unless another filter has begun it.
    pub fn begin_for(env: &mut Env, key: StreamKey, rule: &Rule) {
        let Env { views, clusters, rng, .. } = env;
        if let Some(view) = views.get_mut(key as usize).filter(|view| view.span.is_none()) {
            view.span = Some(Self::begin(&view.request.headers, rule.clone(), clusters, || rng.draw()));
        }
    }

    /// Begins the span: a child of what the client sent, else the first of a trace.
    fn begin(headers: &HeaderMap, rule: Rule, clusters: &Clusters, draw: impl FnMut() -> u64) -> Self {
        let context = SpanContext::begin(headers, rule.percentage, draw);
        let collector = rule.provider.as_deref().and_then(|name| clusters.collector(name)).cloned();
        let mut span = Self { context, rule, collector, recording: None };
        span.record_if_drawn();
        span
    }

    /// A filter decided whether this exchange is drawn.
    fn decide(&mut self, sampled: bool) {
        if self.context.sampled != sampled {
            self.context.sampled = sampled;
            self.record_if_drawn();
        }
    }

    fn record_if_drawn(&mut self) {
        self.recording = self.collector.as_ref().filter(|_| self.context.sampled).map(|_| Box::default());
    }

    /// Writes the context for one attempt: a span of its own when it is collected, else this one.
    fn inject(&mut self, headers: &mut HeaderMap, id: u64) {
        let id = match &mut self.recording {
            Some(recording) => recording.attempt(id),
            None => self.context.id,
        };
        self.context.inject(headers, id);
    }

    /// An attempt has its answer, or has failed.
    pub fn attempt_over(&mut self, answer: &Result<Answer, Failure>, trace: &Trace) {
        if let Some(recording) = &mut self.recording {
            let result = answer.as_ref().map(|answer| answer.response.status()).map_err(|failure| *failure);
            recording.attempt_over(result, trace.endpoint.as_ref());
        }
    }

    /// Adds a tag that a filter gives, if anybody will see it.
    pub fn tag(&mut self, name: &str, value: &str) {
        if let Some(recording) = &mut self.recording {
            recording.tag(name, value);
        }
    }

    /// A callout of this exchange: writes the context, and begins what is told of it.
    pub fn callout(&self, id: u64, cluster: &str, headers: &mut Pairs) -> Option<Box<CalloutSpan>> {
        let (Some(_), Some(collector)) = (&self.recording, &self.collector) else {
            self.pass_on(headers);
            return None;
        };
        let context = self.context.child(id);
        let is_ours = write(&context, headers);
        is_ours.then(|| Box::new(CalloutSpan::begin(context, cluster.to_owned(), collector.clone())))
    }

    /// Writes the context into a callout that has no span of its own.
    pub fn pass_on(&self, headers: &mut Pairs) {
        write(&self.context, headers);
    }
}

/// `false`: the guest has said itself which span it means.
fn write(context: &SpanContext, headers: &mut Pairs) -> bool {
    let is_said = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"traceparent"));
    if !is_said {
        headers.push((b"traceparent".to_vec(), context.traceparent(context.id).to_vec()));
    }
    !is_said
}

impl View {
    /// Writes the context for an attempt that begins; a filter may have decided by now whether it is drawn.
    pub fn pass_span_on(&mut self, headers: &mut HeaderMap, id: u64) {
        if let Some(span) = &mut self.span {
            if let Some(decided) = self.steering.read(b"sidegate.trace.sampled") {
                span.decide(decided == "true");
            }
            span.inject(headers, id);
        }
    }

    /// The spans of this exchange, which is over, and where they go.
    pub fn told_spans(&mut self) -> Option<(Arc<Collector>, Vec<crate::telemetry::spans::Span>)> {
        let span = self.span.take()?;
        let (recording, collector) = (span.recording?, span.collector?);
        let told = recording.tell(&span.context, &span.rule, self, collector.max_tag);
        Some((collector, told))
    }
}
