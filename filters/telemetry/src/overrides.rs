//! Which metrics there are on each side, and how their labels differ from Istio's: `metrics[].overrides`, compiled.

use std::borrow::Cow;

use sidegate_sdk::{Setup, escape_pointer};

use crate::config::{MetricName, Metrics, Operation};
use crate::direction::{BySide, Direction};
use crate::expression::Expression;

/// The metrics of a request, in the order of [`MetricPlan`]s.
pub(crate) const METRICS: [(MetricName, &str); 6] = [
    (MetricName::RequestCount, "istio_requests_total"),
    (MetricName::RequestDuration, "istio_request_duration_milliseconds"),
    (MetricName::RequestSize, "istio_request_bytes"),
    (MetricName::ResponseSize, "istio_response_bytes"),
    (MetricName::GrpcRequestMessages, "istio_request_messages_total"),
    (MetricName::GrpcResponseMessages, "istio_response_messages_total"),
];

/// What is counted on one side.
#[derive(Default)]
pub(crate) struct Plan {
    metrics: [MetricPlan; METRICS.len()],
    /// Values of labels, each evaluated once for a request.
    pub(crate) values: Vec<Expression>,
}

/// One metric.
#[derive(Default)]
struct MetricPlan {
    is_disabled: bool,
    changes: Vec<(String, Change)>,
}

enum Change {
    Remove,
    /// The value at this place of [`Plan::values`].
    Value(usize),
}

impl Plan {
    /// Compiles overrides; what is wrong is reported at its place.
    pub(crate) fn compile(entries: &[Metrics], setup: &mut Setup) -> BySide<Self> {
        let mut plans = BySide::<Self>::default();
        for (at, entry) in entries.iter().enumerate() {
            let is_ours = entry.providers.is_empty() || entry.providers.iter().any(|known| known.name == "prometheus");
            if !is_ours {
                setup.warning(format!("/metrics/{at}/providers"), "only prometheus is known: this entry says nothing");
                continue;
            }
            for (number, change) in entry.overrides.iter().enumerate() {
                let place = format!("/metrics/{at}/overrides/{number}");
                let sides = Direction::BOTH.into_iter().filter(|side| side.is_in(change.matches.mode));
                let sides: Vec<_> = sides.collect();
                for side in &sides {
                    for metric in plans.of_mut(*side).selected(change.matches.metric) {
                        metric.is_disabled = change.disabled.unwrap_or(metric.is_disabled);
                    }
                }
                for (label, tag) in &change.tag_overrides {
                    let place = format!("{place}/tagOverrides/{}", escape_pointer(label));
                    if !is_label(label) {
                        setup.error(place, "a label has letters, digits and _, and begins with no digit");
                        continue;
                    }
                    match (tag.operation, &tag.value) {
                        (Operation::Remove, _) => sides.iter().for_each(|side| {
                            plans.of_mut(*side).change(change.matches.metric, label, || Change::Remove);
                        }),
                        (Operation::Upsert, None) => setup.error(place, "UPSERT needs a value"),
                        (Operation::Upsert, Some(text)) => {
                            for side in &sides {
                                match Expression::value(text) {
                                    Ok(expression) => {
                                        let plan = plans.of_mut(*side);
                                        let index = plan.index(expression);
                                        plan.change(change.matches.metric, label, || Change::Value(index));
                                    }
                                    Err(problem) => {
                                        setup.error(format!("{place}/value"), problem);
                                        break;
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        plans
    }

    fn selected(&mut self, name: MetricName) -> impl Iterator<Item = &mut MetricPlan> {
        let chosen = move |known: MetricName| name == MetricName::AllMetrics || known == name;
        self.metrics.iter_mut().zip(METRICS).filter(move |(_, (known, _))| chosen(*known)).map(|(metric, _)| metric)
    }

    fn change(&mut self, name: MetricName, label: &str, change: impl Fn() -> Change) {
        for metric in self.selected(name) {
            metric.changes.retain(|(known, _)| known != label);
            metric.changes.push((label.to_owned(), change()));
        }
    }

    fn index(&mut self, expression: Expression) -> usize {
        let known = self.values.iter().position(|known| *known == expression);
        known.unwrap_or_else(|| {
            self.values.push(expression);
            self.values.len() - 1
        })
    }

    /// The labels of a metric, `None` if it is switched off.
    pub(crate) fn labels<'l>(
        &'l self,
        metric: usize,
        base: &'l [(&'static str, Cow<'l, str>)],
        values: &'l [Cow<'l, str>],
    ) -> Option<Vec<(&'l str, &'l str)>> {
        let plan = self.metrics.get(metric).filter(|plan| !plan.is_disabled)?;
        let changed = |name: &str| plan.changes.iter().any(|(label, _)| label == name);
        let kept = base.iter().filter(|(name, _)| !changed(name)).map(|(name, value)| (*name, &**value));
        let written = plan.changes.iter().filter_map(|(label, change)| match change {
            Change::Remove => None,
            Change::Value(index) => Some((label.as_str(), values.get(*index).map_or("unknown", |value| &**value))),
        });
        Some(kept.chain(written).collect())
    }
}

/// What Prometheus takes as the name of a label.
fn is_label(name: &str) -> bool {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    !name.is_empty() && is_plain && !name.starts_with(|c: char| c.is_ascii_digit()) && name != "le"
}
