//! The span of an exchange: what it took over from the client, what it tells upstream, and, when somebody collects
//! spans, what is told of it. Which exchanges have one, and how they are drawn, a filter says once ([`Rules`]).

mod context;
mod record;
mod rules;

use std::sync::Arc;

use http::header::HeaderMap;

pub use self::context::SpanContext;
pub use self::record::{CalloutSpan, Recording};
pub use self::rules::{Rule, Rules};
use super::reply::Failure;
use super::view::View;
use crate::snapshot::Clusters;
use crate::snapshot::provider::Collector;
use crate::upstream::{Answer, Trace};

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
    /// Begins the span: a child of what the client sent, else the first of a trace.
    pub fn begin(headers: &HeaderMap, rule: Rule, clusters: &Clusters, draw: impl FnMut() -> u64) -> Self {
        let context = SpanContext::begin(headers, rule.percentage, draw);
        let collector = rule.provider.as_deref().and_then(|name| clusters.collector(name)).cloned();
        let mut span = Self { context, rule, collector, recording: None };
        span.record_if_drawn();
        span
    }

    /// A filter decided whether this exchange is drawn.
    pub fn decide(&mut self, sampled: bool) {
        if self.context.sampled != sampled {
            self.context.sampled = sampled;
            self.record_if_drawn();
        }
    }

    fn record_if_drawn(&mut self) {
        self.recording = self.collector.as_ref().filter(|_| self.context.sampled).map(|_| Box::default());
    }

    /// Writes the context for one attempt: a span of its own when it is collected, else this one.
    pub fn inject(&mut self, headers: &mut HeaderMap, id: u64) {
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

    /// A callout of this exchange: its own context, and what is told of it when it is over.
    pub fn callout(&self, id: u64, cluster: &str) -> (SpanContext, Option<Box<CalloutSpan>>) {
        match (&self.recording, &self.collector) {
            (Some(_), Some(collector)) => {
                let context = self.context.child(id);
                let told = CalloutSpan::begin(context, cluster.to_owned(), collector.clone());
                (context, Some(Box::new(told)))
            }
            _ => (self.context, None),
        }
    }
}

impl View {
    /// The spans of this exchange, which is over, and where they go.
    pub fn told_spans(&mut self) -> Option<(Arc<Collector>, Vec<crate::telemetry::spans::Span>)> {
        let span = self.span.take()?;
        let (recording, collector) = (span.recording?, span.collector?);
        let told = recording.tell(&span.context, &span.rule, self, collector.max_tag);
        Some((collector, told))
    }
}
