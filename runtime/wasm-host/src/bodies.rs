//! Which bodies a guest takes: said by itself once it knows its configuration, so that what it will not look at never
//! enters it.

use crate::hooks::Hook;
use crate::host::Host;
use crate::state::State;

/// The foreign function by which a guest says it, in `on_configure`.
pub(crate) const FUNCTION: &str = "sidegate_bodies";

/// What was said of both directions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bodies {
    pub(crate) request: BodyUse,
    pub(crate) response: BodyUse,
}

/// What is done with the bodies of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BodyUse {
    /// Nothing was said: hooks that are exported are called.
    #[default]
    Unsaid,
    /// Hooks of body and trailers are not called.
    None,
    /// They are called.
    Seen,
    /// They are called while the head is held too: a pause in the headers holds the head only.
    SeenBeforeHead,
}

impl Bodies {
    /// Reads the argument of the function: a byte for requests, a byte for responses.
    pub(crate) fn read(argument: &[u8]) -> Option<Self> {
        let &[request, response] = argument else { return None };
        Some(Self { request: BodyUse::read(request)?, response: BodyUse::read(response)? })
    }
}

impl BodyUse {
    fn read(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::None),
            1 => Some(Self::Seen),
            2 => Some(Self::SeenBeforeHead),
            _ => None,
        }
    }
}

/// Whether a pause in this hook holds the head only.
pub(crate) fn holds_head_only<H: Host>(state: &State<H>, hook: Hook) -> bool {
    let said = if hook == Hook::RequestHeaders { state.bodies.request } else { state.bodies.response };
    state.spec.allow_on_headers_stop_iteration || said == BodyUse::SeenBeforeHead
}
