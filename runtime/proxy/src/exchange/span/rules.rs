//! How exchanges are drawn and told of: what a filter defines with `sidegate_span`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::exchange::view::View;
use crate::snapshot::Direction;

/// Tags of one definition.
const MAX_TAGS: usize = 64;

/// The rules of one definition, by the side on which a listener stands.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    inbound: Option<Rule>,
    outbound: Option<Rule>,
}

/// The rule of one side.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// The extension provider that collects spans; `None`: they are passed on and told to nobody.
    pub provider: Option<String>,
    /// Of the exchanges whose client has not decided, this many are drawn.
    pub percentage: f64,
    tags: Arc<[(String, Tag)]>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum Tag {
    Literal {
        value: String,
    },
    #[serde(rename_all = "camelCase")]
    Environment {
        name: String,
        default_value: Option<String>,
    },
    #[serde(rename_all = "camelCase")]
    Header {
        name: String,
        default_value: Option<String>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    inbound: Option<Side>,
    outbound: Option<Side>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Side {
    provider: Option<String>,
    #[serde(default)]
    percentage: f64,
    #[serde(default)]
    tags: BTreeMap<String, Tag>,
}

impl Rules {
    /// Reads JSON `{inbound, outbound}`, each `{provider, percentage, tags}`; a side that is absent has no spans.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let written: Written = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        Ok(Self {
            inbound: written.inbound.map(Side::compile).transpose()?,
            outbound: written.outbound.map(Side::compile).transpose()?,
        })
    }

    /// The names of the providers that are used.
    pub fn providers(&self) -> impl Iterator<Item = &str> {
        [&self.inbound, &self.outbound].into_iter().flatten().filter_map(|rule| rule.provider.as_deref())
    }

    pub fn of(&self, direction: Direction) -> Option<&Rule> {
        match direction {
            Direction::Inbound => self.inbound.as_ref(),
            Direction::Outbound => self.outbound.as_ref(),
        }
    }
}

impl Side {
    fn compile(self) -> Result<Rule, String> {
        if !(0.0..=100.0).contains(&self.percentage) {
            return Err(format!("{} is no percentage", self.percentage));
        }
        if self.tags.len() > MAX_TAGS {
            return Err(format!("more than {MAX_TAGS} tags"));
        }
        // The environment does not change, and reading it takes a lock: once is enough.
        let tags = self.tags.into_iter().filter_map(|(name, tag)| {
            let tag = match tag {
                Tag::Environment { name, default_value } => {
                    Tag::Literal { value: std::env::var(name).ok().or(default_value)? }
                }
                other => other,
            };
            Some((name, tag))
        });
        Ok(Rule { provider: self.provider, percentage: self.percentage, tags: tags.collect() })
    }
}

impl Rule {
    /// Calls `add` with the name and value of every tag that has a value.
    pub fn tags(&self, view: &View, mut add: impl FnMut(&str, String)) {
        for (name, tag) in self.tags.iter() {
            let value = match tag {
                Tag::Literal { value } => Some(value.clone()),
                Tag::Environment { default_value, .. } => default_value.clone(),
                Tag::Header { name, default_value } => {
                    let value = view.request.headers.get(name.as_str());
                    let text = value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
                    text.or_else(|| default_value.clone())
                }
            };
            if let Some(value) = value {
                add(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_has_sides_with_shares_and_tags() {
        let json = r#"{"inbound": {"provider": "otel", "percentage": 2.5,
            "tags": {"a": {"literal": {"value": "x"}}, "b": {"header": {"name": "x-b", "defaultValue": "-"}},
                     "c": {"environment": {"name": "SIDEGATE_NO_SUCH_VARIABLE"}}}}, "outbound": {}}"#;
        let rules = Rules::parse(json.as_bytes()).unwrap();
        let inbound = rules.of(Direction::Inbound).unwrap();
        assert_eq!((inbound.percentage, inbound.tags.len()), (2.5, 2));
        assert_eq!(rules.providers().collect::<Vec<_>>(), ["otel"]);
        assert_eq!(rules.of(Direction::Outbound).unwrap().percentage, 0.0);
        for wrong in ["", "[]", r#"{"inbound": {"percentage": 101}}"#, r#"{"inbound": {"tags": {"a": {}}}}"#] {
            assert!(Rules::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
