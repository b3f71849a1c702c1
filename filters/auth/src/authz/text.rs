//! Istio's four forms of a value: `text`, `prefix*`, `*suffix`, `*`.

/// A condition on a text. Case counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Text {
    /// Any text that is not empty.
    Present,
    Exact(Box<str>),
    Prefix(Box<str>),
    Suffix(Box<str>),
}

impl Text {
    pub(crate) fn new(written: &str) -> Self {
        match (written.strip_prefix('*'), written.strip_suffix('*')) {
            (Some(""), _) => Self::Present,
            (Some(suffix), _) => Self::Suffix(suffix.into()),
            (None, Some(prefix)) => Self::Prefix(prefix.into()),
            (None, None) => Self::Exact(written.into()),
        }
    }

    pub(crate) fn matches(&self, found: &str) -> bool {
        match self {
            Self::Present => !found.is_empty(),
            Self::Exact(text) => found == &**text,
            Self::Prefix(text) => found.starts_with(&**text),
            Self::Suffix(text) => found.ends_with(&**text),
        }
    }

    /// The same form with another text in it.
    pub(crate) fn map(&self, change: impl FnOnce(&str) -> String) -> Self {
        match self {
            Self::Present => Self::Present,
            Self::Exact(text) => Self::Exact(change(text).into()),
            Self::Prefix(text) => Self::Prefix(change(text).into()),
            Self::Suffix(text) => Self::Suffix(change(text).into()),
        }
    }
}
