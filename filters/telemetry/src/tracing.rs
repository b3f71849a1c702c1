//! Spans are made by the host, which alone sees attempts and callouts; here it is told how they are drawn.

use sidegate_sdk::serde_json::{Map, Value, json};
use sidegate_sdk::{Setup, escape_pointer, foreign};

use crate::config::{CustomTag, Tracing};
use crate::direction::{BySide, Direction};
use crate::providers::Providers;

const FUNCTION: &str = "sidegate_span";
const KIND: &str = "opentelemetry";
/// Istio's share of requests in percent.
const PERCENTAGE: f64 = 1.0;

/// Tells the host how exchanges are drawn. Without a word they are passed on, and drawn where the client says so.
pub(crate) fn define(entries: &[Tracing], providers: &Providers, setup: &mut Setup) {
    let mut rules = BySide { inbound: json!({}), outbound: json!({}) };
    for (number, entry) in entries.iter().enumerate() {
        let place = format!("/tracing/{number}");
        let rule = rule(entry, &place, providers, setup);
        for side in Direction::BOTH.into_iter().filter(|side| side.is_in(entry.matches.mode)) {
            rule.clone_into(rules.of_mut(side));
        }
    }
    let rules = json!({"inbound": rules.inbound, "outbound": rules.outbound});
    match foreign(FUNCTION, rules.to_string().as_bytes()) {
        Ok(Some(_)) => {}
        // Only what somebody asked for is missed.
        Ok(None) if entries.is_empty() => {}
        Ok(None) => setup.error("/tracing", "this host makes no spans for filters"),
        Err(problem) => setup.error("/tracing", format!("the host refused, the log says why: {problem}")),
    }
}

fn rule(entry: &Tracing, place: &str, providers: &Providers, setup: &mut Setup) -> Value {
    let mut rule = Map::new();
    let percentage = entry.random_sampling_percentage.unwrap_or(PERCENTAGE);
    if (0.0..=100.0).contains(&percentage) {
        rule.insert("percentage".to_owned(), json!(percentage));
    } else {
        setup.error(format!("{place}/randomSamplingPercentage"), "a percentage is from 0 to 100");
    }
    if entry.providers.len() > 1 {
        setup.error(format!("{place}/providers"), "one provider collects the spans, as in Istio");
    }
    if let Some(provider) = entry.providers.first() {
        match providers.kind(&provider.name) {
            Some(KIND) if entry.disable_span_reporting => {}
            Some(KIND) => {
                rule.insert("provider".to_owned(), provider.name.as_str().into());
            }
            Some(kind) => setup.error(
                format!("{place}/providers/0/name"),
                format!("{} is a provider of {kind}, not of opentelemetry", provider.name),
            ),
            None => setup.error(
                format!("{place}/providers/0/name"),
                format!("no extension provider is named {}", provider.name),
            ),
        }
    }
    let mut tags = Map::new();
    for (name, tag) in &entry.custom_tags {
        match custom_tag(tag) {
            Some(tag) => {
                tags.insert(name.clone(), tag);
            }
            None => setup.error(
                format!("{place}/customTags/{}", escape_pointer(name)),
                "exactly one of literal, environment and header",
            ),
        }
    }
    if !tags.is_empty() {
        rule.insert("tags".to_owned(), tags.into());
    }
    Value::Object(rule)
}

fn custom_tag(tag: &CustomTag) -> Option<Value> {
    Some(match (&tag.literal, &tag.environment, &tag.header) {
        (Some(literal), None, None) => json!({"literal": {"value": literal.value}}),
        (None, Some(named), None) => {
            json!({"environment": {"name": named.name, "defaultValue": named.default_value}})
        }
        (None, None, Some(named)) => {
            json!({"header": {"name": named.name.to_ascii_lowercase(), "defaultValue": named.default_value}})
        }
        _ => return None,
    })
}
