//! Extension providers, as far as a filter may know them: their names and kinds.

use sidegate_sdk::properties;
use sidegate_sdk::serde_json::{self, Map, Value};

/// The providers of the configuration.
pub(crate) struct Providers(Vec<Map<String, Value>>);

impl Providers {
    /// Asks the host; one that has no providers has none.
    pub(crate) fn of_host() -> Self {
        let json = properties::text("sidegate.extensionProviders").unwrap_or_default();
        Self(serde_json::from_str(&json).unwrap_or_default())
    }

    /// The kind of a provider, which is the key under which it is configured.
    pub(crate) fn kind(&self, name: &str) -> Option<&str> {
        let named = |provider: &&Map<String, Value>| provider.get("name").and_then(Value::as_str) == Some(name);
        self.0.iter().find(named)?.keys().find(|key| *key != "name").map(String::as_str)
    }
}
