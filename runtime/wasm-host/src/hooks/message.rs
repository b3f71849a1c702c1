//! Hooks of a message's parts: which maps they open, what the number means that they return, what stays open.

use wasmtime::TypedFunc;

use super::Hook;
use crate::abi::Direction;
use crate::bodies::holds_head_only;
use crate::context::{ContextId, Marks, Open};
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
    begin(core, id, part);
    let returned = core.enter(host, hook, id, |store| match function {
        HeadersFunc::WithEnd(function) => function.call(store, (id.0, count, end.into())),
        HeadersFunc::WithoutEnd(function) => function.call(store, (id.0, count)),
    })?;
    // 2 ("end stream") is taken as continue by Envoy; everything unknown stops.
    let action = match returned {
        0 | 2 => HeadersAction::Continue,
        1 if holds_head_only(core.store.data(), hook) => HeadersAction::PauseHeaders,
        _ => HeadersAction::Pause,
    };
    let goes_on = end_of(core, id, action == HeadersAction::Continue, part);
    Ok(if goes_on { HeadersAction::Continue } else { action })
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
    [body, trailers, headers]: [Open; 3],
) -> Result<BodyAction, Fault> {
    // Writing trailers in the last body hook creates them.
    begin(core, id, if end { body.and(trailers) } else { body });
    if let Some(context) = core.store.data_mut().contexts.stream_mut(id) {
        context.shown.insert(body);
    }
    let returned = core.enter(host, hook, id, |store| function.call(store, (id.0, len, end.into())))?;
    let action = BodyAction::from_abi(returned);
    let goes_on = end_of(core, id, action == BodyAction::Continue, body.and(trailers).and(headers));
    Ok(if goes_on && action != BodyAction::Drop { BodyAction::Continue } else { action })
}

pub(super) fn trailers<H: Host>(
    core: &mut Core<H>,
    host: &mut H,
    hook: Hook,
    function: &TypedFunc<(u32, u32), u32>,
    id: ContextId,
    count: u32,
    [trailers, body, headers]: [Open; 3],
) -> Result<HeadersAction, Fault> {
    begin(core, id, trailers.and(body));
    let returned = core.enter(host, hook, id, |store| function.call(store, (id.0, count)))?;
    let goes_on = end_of(core, id, returned == 0, trailers.and(body).and(headers));
    Ok(if goes_on { HeadersAction::Continue } else { HeadersAction::Pause })
}

/// Opens what a hook may see. What was asked before concerns an older hook.
fn begin<H: Host>(core: &mut Core<H>, id: ContextId, parts: Open) {
    if let Some(context) = core.store.data_mut().contexts.stream_mut(id) {
        context.marks = Marks::default();
        context.open.insert(parts);
    }
}

/// Whether the message goes on: the hook let it, or resumed and then paused, which is not left hanging. What goes on is
/// closed to the guest; what it answered by itself stays open, for its response hooks look back at it.
fn end_of<H: Host>(core: &mut Core<H>, id: ContextId, continued: bool, parts: Open) -> bool {
    let Some(context) = core.store.data_mut().contexts.stream_mut(id) else { return continued };
    let direction = if parts.has(Open::REQUEST_HEADERS) { Direction::Request } else { Direction::Response };
    let goes_on = continued || context.marks.take_resumed(direction);
    if goes_on && !context.marks.replied {
        context.open.remove(parts);
    }
    goes_on
}
