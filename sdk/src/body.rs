//! Bodies are opt-in: a filter that says nothing never sees one, and the host streams them past it.

mod state;

use std::borrow::Cow;

use crate::host::{self, Hook};
pub(crate) use state::BodyState;

/// Which bodies a filter takes, said in [`Filter::body`](crate::Filter::body); where that depends on the configuration,
/// [`Setup::bodies`](crate::Setup::bodies) says it more exactly.
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

impl Bodies {
    /// Tells the host, so that what is not taken does not come, and what is awaited comes while the head is held.
    /// Returns whether it understood: other hosts call every hook, and are told by their operator.
    pub(crate) fn tell(self) -> bool {
        let modes = [self.request, self.response].map(|mode| match mode {
            Mode::None => 0,
            Mode::Streamed => 1,
            Mode::Buffered { .. } => 2,
        });
        let hook = Hook::running();
        matches!(host::foreign(&hook, "sidegate_bodies", &modes), Ok(Some(_)))
    }
}

/// How one direction's body is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Not at all.
    #[default]
    None,
    /// As a whole, by awaiting `body()`. In Envoy a body can only be awaited when the operator sets
    /// `allow_on_headers_stop_iteration`; Sidegate is told by the filter.
    Buffered {
        /// Largest body in bytes; a larger one fails with `BodyTooLarge` (413).
        limit: usize,
    },
    /// Piece by piece as it passes, through a closure given to `map_body`.
    Streamed,
}

/// The first part of a body, as [`Request::beginning`](crate::Request::beginning) gives it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beginning {
    /// At most as many bytes as were asked for.
    pub bytes: Vec<u8>,
    /// Whether that is the whole body.
    pub is_whole: bool,
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
