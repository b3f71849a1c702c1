//! Changes of headers that a service asks for.

use sidegate_sdk::{Headers, HeadersMut, Request, Response, Result};

use crate::names;

/// One change. Framing, authority and pseudo headers are nobody's to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    pub(crate) action: Action,
    pub(crate) name: String,
    pub(crate) value: String,
}

/// What becomes of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// The value stands beside those that are there.
    Append,
    /// The value is added where there is none.
    AddIfAbsent,
    /// The value takes the place of all others.
    Set,
    /// Likewise, if there is one.
    SetIfThere,
    /// There is none any more.
    Remove,
}

impl Edit {
    /// A change, `None` if it is not to be made.
    pub(crate) fn new(action: Action, name: &str, value: &str) -> Option<Self> {
        let is_possible = names::is_writable(name) && names::is_value(value);
        is_possible.then(|| Self { action, name: name.to_ascii_lowercase(), value: value.to_owned() })
    }

    pub(crate) fn change_request(edits: &[Self], req: &mut Request) -> Result<()> {
        edits.iter().try_for_each(|edit| {
            let is_there = edit.is_there(req.headers());
            edit.apply(is_there, &mut req.headers_mut())
        })
    }

    pub(crate) fn change_response(edits: &[Self], response: &mut Response) -> Result<()> {
        edits.iter().try_for_each(|edit| {
            let is_there = edit.is_there(response.headers());
            edit.apply(is_there, &mut response.headers_mut())
        })
    }

    fn is_there(&self, headers: Headers<'_>) -> bool {
        matches!(self.action, Action::AddIfAbsent | Action::SetIfThere) && headers.has(&self.name)
    }

    fn apply(&self, is_there: bool, headers: &mut HeadersMut<'_>) -> Result<()> {
        match self.action {
            Action::Append => headers.append(&self.name, &self.value),
            Action::Set => headers.set(&self.name, &self.value),
            Action::Remove => headers.remove(&self.name),
            Action::AddIfAbsent if !is_there => headers.append(&self.name, &self.value),
            Action::SetIfThere if is_there => headers.set(&self.name, &self.value),
            Action::AddIfAbsent | Action::SetIfThere => Ok(()),
        }
    }
}
