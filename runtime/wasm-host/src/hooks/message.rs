//! Hooks of a message's parts: which maps they open, what the number means that they return, what stays open.

use wasmtime::TypedFunc;

use super::Hook;
use crate::bodies::holds_head_only;
use crate::context::{ContextId, Open};
use crate::fault::Fault;
use crate::host::Host;
use crate::vm::{Core, HeadersFunc};

/// What a header or trailer hook decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadersAction {
    Continue,
    /// Hold the headers and everything behind them.
    Pause,
    /// Hold the headers, but show the body to the guest (`allowOnHeadersStopIteration`, or the guest's own word).
    PauseHeaders,
}

/// What a body hook decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyAction {
    /// Forward what is buffered and this chunk.
    Continue,
    /// Keep the chunk; the next call shows the whole buffer.
    Buffer,
    /// Keep the chunk; the next call shows the next chunk only.
    Hold,
    /// Throw the chunk away.
    Drop,
}

impl BodyAction {
    fn from_abi(value: u32) -> Self {
        match value {
            0 => Self::Continue,
            1 => Self::Buffer,
            2 => Self::Hold,
            _ => Self::Drop,
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "one call site per direction; a struct would only rename the arguments")]
#[inline]
pub(super) fn headers<H: Host>(
    core: &mut Core<H>,
    host: &mut H,
    hook: Hook,
    function: &HeadersFunc,
    id: ContextId,
    count: u32,
    end: bool,
    part: Open,
) -> Result<HeadersAction, Fault> {
    if let Some(context) = core.store.data_mut().contexts.stream_mut(id) {
        context.open.insert(part);
    }
    let returned = core.enter(host, hook, id, |store| match function {
        HeadersFunc::WithEnd(function) => function.call(store, (id.0, count, end.into())),
        HeadersFunc::WithoutEnd(function) => function.call(store, (id.0, count)),
    })?;
    let state = core.store.data_mut();
    // 2 ("end stream") is taken as continue by Envoy; everything unknown stops.
    let action = match returned {
        0 | 2 => HeadersAction::Continue,
        1 if holds_head_only(state, hook) => HeadersAction::PauseHeaders,
        _ => HeadersAction::Pause,
    };
    let Some(context) = state.contexts.stream_mut(id) else { return Ok(action) };
    // A guest that resumed inside the hook and then pauses is not left hanging: resuming has closed the part.
    if action == HeadersAction::Continue || !context.open.has(part) {
        context.open.remove(part);
        return Ok(HeadersAction::Continue);
    }
    Ok(action)
}

#[expect(clippy::too_many_arguments, reason = "one call site per direction; a struct would only rename the arguments")]
pub(super) fn body<H: Host>(
    core: &mut Core<H>,
    host: &mut H,
    hook: Hook,
    function: &TypedFunc<(u32, u32, u32), u32>,
    id: ContextId,
    len: u32,
    end: bool,
    (body, trailers, headers): (Open, Open, Open),
) -> Result<BodyAction, Fault> {
    if let Some(context) = core.store.data_mut().contexts.stream_mut(id) {
        context.open.insert(body);
        if end {
            // Writing trailers in the last body hook creates them.
            context.open.insert(trailers);
        }
    }
    let returned = core.enter(host, hook, id, |store| function.call(store, (id.0, len, end.into())))?;
    let action = BodyAction::from_abi(returned);
    let Some(context) = core.store.data_mut().contexts.stream_mut(id) else { return Ok(action) };
    let resumed = action != BodyAction::Drop && !context.open.has(body);
    if action == BodyAction::Continue || resumed {
        for part in [body, trailers, headers] {
            context.open.remove(part);
        }
        return Ok(BodyAction::Continue);
    }
    Ok(action)
}

pub(super) fn trailers<H: Host>(
    core: &mut Core<H>,
    host: &mut H,
    hook: Hook,
    function: &TypedFunc<(u32, u32), u32>,
    id: ContextId,
    count: u32,
    (trailers, body, headers): (Open, Open, Open),
) -> Result<HeadersAction, Fault> {
    if let Some(context) = core.store.data_mut().contexts.stream_mut(id) {
        context.open.insert(trailers);
        context.open.insert(body);
    }
    let returned = core.enter(host, hook, id, |store| function.call(store, (id.0, count)))?;
    if let Some(context) = core.store.data_mut().contexts.stream_mut(id) {
        if returned != 0 && context.open.has(trailers) {
            return Ok(HeadersAction::Pause);
        }
        for part in [trailers, body, headers] {
            context.open.remove(part);
        }
    }
    Ok(HeadersAction::Continue)
}
