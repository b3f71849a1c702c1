//! Bodies are opt-in: a filter that says nothing never sees one, and the host streams them past it.

use std::borrow::Cow;

/// Which bodies a filter takes, said in [`Filter::body`](crate::Filter::body).
///
/// ```
/// use sidegate_sdk::{Bodies, Mode};
/// let takes = Bodies::none().request(Mode::Buffered { limit: 64 * 1024 });
/// assert_eq!(takes, Bodies { request: Mode::Buffered { limit: 65536 }, response: Mode::None });
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bodies {
    /// What is done with request bodies. Default none.
    pub request: Mode,
    /// What is done with response bodies. Default none.
    pub response: Mode,
}

impl Bodies {
    /// No bodies.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Takes request bodies so.
    #[must_use]
    pub fn request(self, request: Mode) -> Self {
        Self { request, ..self }
    }

    /// Takes response bodies so.
    #[must_use]
    pub fn response(self, response: Mode) -> Self {
        Self { response, ..self }
    }
}

/// How one direction's body is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Not at all.
    #[default]
    None,
    /// As a whole, by awaiting `body()`. In Envoy a request body can only be awaited when the operator sets
    /// `allow_on_headers_stop_iteration`; Sidegate sets it for filters that declare this.
    Buffered {
        /// Largest body in bytes; a larger one fails with `BodyTooLarge` (413).
        limit: usize,
    },
    /// Piece by piece as it passes, through a closure given to `map_body`.
    Streamed,
}

/// A piece of a streamed body.
#[derive(Debug)]
pub struct Chunk<'c> {
    pub(crate) bytes: Cow<'c, [u8]>,
    pub(crate) is_last: bool,
    pub(crate) is_changed: bool,
}

impl Chunk<'_> {
    /// The bytes; may be empty in the last piece.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether nothing follows.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.is_last
    }

    /// Sends other bytes in place of these.
    pub fn replace(&mut self, bytes: impl Into<Vec<u8>>) {
        self.bytes = Cow::Owned(bytes.into());
        self.is_changed = true;
    }
}
