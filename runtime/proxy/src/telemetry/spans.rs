//! Spans on their way to collectors: workers hand them over and never wait; a thread of its own sends them.

mod exporter;
mod otlp;

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;

use super::metrics::{Kind as SeriesKind, Registry, Series, SeriesName};
use crate::snapshot::provider::Collector;

/// Spans that wait to be sent, some 2 KiB each; more are dropped and counted.
const QUEUE: usize = 4096;

/// What is told of one piece of work.
#[derive(Debug)]
pub struct Span {
    pub trace: u128,
    pub id: u64,
    /// 0: none.
    pub parent: u64,
    pub name: String,
    pub kind: Kind,
    /// Nanoseconds since 1970.
    pub begun: u64,
    pub ended: u64,
    pub attributes: Attributes,
    pub is_error: bool,
}

/// The side of a span, with OTLP's numbers.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Server = 2,
    Client = 3,
}

/// Names and values of a span.
#[derive(Debug)]
pub struct Attributes {
    max_text: usize,
    list: Vec<(Cow<'static, str>, Attribute)>,
}

#[derive(Debug)]
enum Attribute {
    Text(String),
    Number(u64),
}

impl Attributes {
    /// `max_text`: bytes of a text that are kept.
    pub fn new(max_text: usize) -> Self {
        Self { max_text, list: Vec::with_capacity(16) }
    }

    /// Adds a text; an empty one says nothing.
    pub fn text(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            let kept = value.get(..value.floor_char_boundary(self.max_text)).unwrap_or_default();
            self.list.push((Cow::Owned(name.to_owned()), Attribute::Text(kept.to_owned())));
        }
    }

    pub fn number(&mut self, name: &'static str, value: u64) {
        self.list.push((Cow::Borrowed(name), Attribute::Number(value)));
    }
}

/// The way to the exporter. Nothing runs before the first collector is used.
#[derive(Default)]
pub struct Spans(OnceLock<Running>);

struct Running {
    queue: mpsc::Sender<(Arc<Collector>, Span)>,
    dropped: Arc<Series>,
}

impl Spans {
    /// Starts the exporter if it does not run. To be called where blocking is allowed.
    pub fn start(&self, metrics: &Registry) {
        self.0.get_or_init(|| {
            let series = |name| metrics.series(SeriesKind::Counter, &SeriesName::new(name, &[]));
            let dropped = series("envoy_tracing_opentelemetry_spans_dropped");
            let sent = series("envoy_tracing_opentelemetry_spans_sent");
            let (queue, spans) = mpsc::channel(QUEUE);
            let counts = exporter::Counts { sent, dropped: dropped.clone() };
            if let Err(error) =
                std::thread::Builder::new().name("spans".into()).spawn(move || exporter::run(spans, &counts))
            {
                tracing::error!("spans are dropped: no thread for them: {error}");
            }
            Running { queue, dropped }
        });
    }

    /// Hands spans over; never waits. What does not fit is dropped and counted.
    pub fn send(&self, collector: &Arc<Collector>, spans: impl IntoIterator<Item = Span>) {
        let Some(running) = self.0.get() else { return };
        for span in spans {
            if running.queue.try_send((collector.clone(), span)).is_err() {
                running.dropped.add_shared(1);
            }
        }
    }
}
