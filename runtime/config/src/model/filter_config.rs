//! What a guest is configured with: the bytes it gets, and the way back from its problems to the text.

use std::{fmt, path::Path, sync::Arc};

use schemars::SchemaGenerator;
use serde_json::{Value as Json, json};

use crate::{
    Location, Problem, Severity,
    cursor::Cursor,
    path,
    read::{Read, primitives::json_bytes},
    tree::{ElementId, Tree},
};

/// Configuration bytes of a guest: of a string its UTF-8 text, of anything else compact JSON with keys in file order
/// and whole numbers digit by digit.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ConfigBytes(pub Arc<[u8]>);

/// The configuration of one chain entry.
///
/// It keeps its part of the text, so that a problem which the filter itself finds gets a place in the file. Two of them
/// are equal when their bytes are.
#[derive(Clone)]
pub struct FilterConfig {
    bytes: Option<ConfigBytes>,
    /// The value, when there is one.
    value: Option<(Arc<Tree>, ElementId)>,
    /// Place and path of the value, or of the entry that has none.
    location: Location,
    path: String,
}

impl FilterConfig {
    /// What `on_configure` is given; `None` when nothing or null is written.
    pub fn bytes(&self) -> Option<Arc<[u8]>> {
        self.bytes.as_ref().map(|bytes| bytes.0.clone())
    }

    /// The place of a JSON pointer (RFC 6901) inside this configuration and its path in the whole, such as
    /// `listeners[0].filters[2].config.rules[1]`. Where the pointer leads to nothing, its nearest existing parent.
    pub fn locate(&self, json_pointer: &str) -> (Location, String) {
        let Some((tree, root)) = &self.value else { return (self.location.clone(), self.path.clone()) };
        let (id, path) = tree.nearest(*root, self.path.clone(), json_pointer);
        (tree.location(tree.element(id).place), path)
    }

    /// A problem that the filter found at a JSON pointer of its configuration.
    pub fn problem(&self, severity: Severity, json_pointer: &str, message: impl Into<String>) -> Problem {
        let (location, path) = self.locate(json_pointer);
        Problem { severity, location, path, message: message.into(), fix: None }
    }

    /// The configuration of an entry that gives none.
    pub(crate) fn absent(entry: &Cursor<'_>) -> Self {
        Self { bytes: None, value: None, location: entry.location(), path: path::key(&entry.path, "config") }
    }
}

/// Nothing, at no place: what stands in for a value until its entry is known.
impl Default for FilterConfig {
    fn default() -> Self {
        let location = Location::start_of(Path::new("").into());
        Self { bytes: None, value: None, location, path: String::new() }
    }
}

impl Read for ConfigBytes {
    fn read(at: &Cursor<'_>) -> Option<Self> {
        match at.text() {
            Some(text) => Some(Self(text.as_bytes().into())),
            None => json_bytes(at).map(|bytes| Self(bytes.into())),
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Json {
        json!({})
    }
}

impl Read for FilterConfig {
    fn read(at: &Cursor<'_>) -> Option<Self> {
        let bytes = Some(ConfigBytes::read(at)?);
        Some(Self { bytes, value: Some((at.tree.clone(), at.id)), location: at.location(), path: at.path.clone() })
    }

    fn schema(_: &mut SchemaGenerator) -> Json {
        json!({})
    }
}

impl PartialEq for FilterConfig {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

// The bytes may hold API keys, and a Debug text ends up in logs.
impl fmt::Debug for ConfigBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConfigBytes({} bytes)", self.0.len())
    }
}

impl fmt::Debug for FilterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilterConfig").field("path", &self.path).field("bytes", &self.bytes).finish()
    }
}
