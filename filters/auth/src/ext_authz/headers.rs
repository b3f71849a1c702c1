//! Lists of headers: `name`, `prefix*`, `*suffix`.

use super::place::Place;
use crate::authz::Text;
use crate::names;

/// Which headers are meant. Case does not count.
#[derive(Debug, Clone, Default)]
pub(crate) struct HeaderList(Vec<Text>);

impl HeaderList {
    pub(crate) fn compile(written: &[String], key: &str, place: &mut Place<'_>) -> Self {
        for (at, text) in written.iter().enumerate() {
            if !names::is_header(text) || text.trim_matches('*').contains('*') {
                place.error(&format!("{key}/{at}"), &format!("`{text}` is no header name, prefix* or *suffix"));
            }
        }
        Self(written.iter().map(|text| Text::new(&text.to_ascii_lowercase())).collect())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.0.iter().any(|text| text.matches(&name))
    }
}
