//! Typed calls into the guest: one function per exported hook.

mod grpc;
mod message;
mod name;

use crate::abi::Direction;
use crate::context::{ContextId, Open, ROOT};
use crate::fault::Fault;
use crate::host::{Host, StreamKey};
use crate::state::Delivery;
use crate::vm::{Core, Vm};

pub use crate::state::CalloutAnswer;
pub use grpc::Metadata;
pub use message::{BodyAction, HeadersAction};
pub use name::{Hook, HookSet};

impl<H: Host> Vm<H> {
    /// Opens a stream context for an exchange.
    pub fn open_stream(&mut self, host: &mut H, stream: StreamKey) -> Result<ContextId, Fault> {
        let Self { core, exports, .. } = self;
        core.alive(Hook::ContextCreate)?;
        let id = core.store.data_mut().contexts.open(stream);
        if let Some(create) = &exports.context_create {
            let created = core.enter(host, Hook::ContextCreate, id, |store| create.call(store, (id.0, ROOT.0)));
            if created.is_err() {
                core.store.data_mut().contexts.close(id);
            }
            created?;
        }
        Ok(id)
    }

    /// Whether the guest resumed this direction of a context since the last call. A resume inside a hook is part of
    /// what the hook returned; one without a pause means nothing: callers ask after every hook, and while they wait.
    pub fn take_resumed(&mut self, id: ContextId, direction: Direction) -> bool {
        let Some(context) = self.core.store.data_mut().contexts.stream_mut(id) else { return false };
        let resumed = context.marks.take_resumed(direction);
        if resumed {
            context.open.close(direction);
        }
        resumed
    }

    /// Whether the guest has to see every exchange from its first hook on, because its constructor may have effects.
    pub fn creates_contexts(&self) -> bool {
        self.exports.context_create.is_some()
    }

    /// Whether this hook would be called.
    pub fn has(&self, hook: Hook) -> bool {
        self.hooks.has(hook)
    }

    /// The hooks that would be called.
    pub fn hooks(&self) -> HookSet {
        self.hooks
    }

    /// `count` is the number of entries with pseudo headers; `end` says that no body follows.
    pub fn request_headers(
        &mut self,
        host: &mut H,
        id: ContextId,
        count: u32,
        end: bool,
    ) -> Result<HeadersAction, Fault> {
        let Self { core, exports, .. } = self;
        let Some(function) = &exports.request_headers else { return Ok(HeadersAction::Continue) };
        message::headers(core, host, Hook::RequestHeaders, function, id, count, end, Open::REQUEST_HEADERS)
    }

    pub fn response_headers(
        &mut self,
        host: &mut H,
        id: ContextId,
        count: u32,
        end: bool,
    ) -> Result<HeadersAction, Fault> {
        let Self { core, exports, .. } = self;
        let Some(function) = &exports.response_headers else { return Ok(HeadersAction::Continue) };
        message::headers(core, host, Hook::ResponseHeaders, function, id, count, end, Open::RESPONSE_HEADERS)
    }

    /// `len` is what the body buffer holds now.
    pub fn request_body(&mut self, host: &mut H, id: ContextId, len: u32, end: bool) -> Result<BodyAction, Fault> {
        let Self { core, exports, .. } = self;
        let Some(function) = &exports.request_body else { return Ok(BodyAction::Continue) };
        let parts = [Open::REQUEST_BODY, Open::REQUEST_TRAILERS, Open::REQUEST_HEADERS];
        message::body(core, host, Hook::RequestBody, function, id, len, end, parts)
    }

    pub fn response_body(&mut self, host: &mut H, id: ContextId, len: u32, end: bool) -> Result<BodyAction, Fault> {
        let Self { core, exports, .. } = self;
        let Some(function) = &exports.response_body else { return Ok(BodyAction::Continue) };
        let parts = [Open::RESPONSE_BODY, Open::RESPONSE_TRAILERS, Open::RESPONSE_HEADERS];
        message::body(core, host, Hook::ResponseBody, function, id, len, end, parts)
    }

    pub fn request_trailers(&mut self, host: &mut H, id: ContextId, count: u32) -> Result<HeadersAction, Fault> {
        let Self { core, exports, .. } = self;
        let Some(function) = &exports.request_trailers else { return Ok(HeadersAction::Continue) };
        let parts = [Open::REQUEST_TRAILERS, Open::REQUEST_BODY, Open::REQUEST_HEADERS];
        message::trailers(core, host, Hook::RequestTrailers, function, id, count, parts)
    }

    pub fn response_trailers(&mut self, host: &mut H, id: ContextId, count: u32) -> Result<HeadersAction, Fault> {
        let Self { core, exports, .. } = self;
        let Some(function) = &exports.response_trailers else { return Ok(HeadersAction::Continue) };
        let parts = [Open::RESPONSE_TRAILERS, Open::RESPONSE_BODY, Open::RESPONSE_HEADERS];
        message::trailers(core, host, Hook::ResponseTrailers, function, id, count, parts)
    }

    /// The end of an exchange as Envoy orders it: log of every filter first, then [`Vm::close_stream`] of each.
    pub fn log(&mut self, host: &mut H, id: ContextId) -> Result<(), Fault> {
        let Self { core, exports, .. } = self;
        let Some(function) = &exports.log else { return Ok(()) };
        let show = |core: &mut Core<H>, parts: Open| {
            let context = core.store.data_mut().contexts.stream_mut(id)?;
            Some(std::mem::replace(&mut context.open, parts))
        };
        let before = show(core, Open::LOG).unwrap_or_default();
        let result = core.enter(host, Hook::Log, id, |store| function.call(store, id.0));
        show(core, before);
        result
    }

    /// `on_done` (whose answer counts only for the root), `on_delete`; the id is free afterwards, fault or not.
    pub fn close_stream(&mut self, host: &mut H, id: ContextId) -> Result<(), Fault> {
        let Self { core, exports, .. } = self;
        let mut result = Ok(());
        if let Some(done) = &exports.done {
            result = core.enter(host, Hook::Done, id, |store| done.call(store, id.0)).map(drop);
        }
        // What a pause left open was still there when the guest was told of the end.
        if let Some(context) = core.store.data_mut().contexts.stream_mut(id) {
            context.open = Open::NONE;
        }
        if let (Ok(()), Some(delete)) = (&result, &exports.delete) {
            result = core.enter(host, Hook::Delete, id, |store| delete.call(store, id.0));
        }
        core.store.data_mut().contexts.close(id);
        result
    }

    pub fn tick(&mut self, host: &mut H) -> Result<(), Fault> {
        let Self { core, exports, .. } = self;
        let Some(function) = &exports.tick else { return Ok(()) };
        core.enter(host, Hook::Tick, ROOT, |store| function.call(store, ROOT.0))
    }

    pub fn queue_ready(&mut self, host: &mut H, queue: u32) -> Result<(), Fault> {
        let Self { core, exports, .. } = self;
        let Some(function) = &exports.queue_ready else { return Ok(()) };
        core.enter(host, Hook::QueueReady, ROOT, |store| function.call(store, (ROOT.0, queue)))
    }

    /// Hands over the answer to a callout; `Err` gives the text for `proxy_get_status` and zero headers.
    pub fn callout_response(
        &mut self,
        host: &mut H,
        id: u32,
        answer: Result<CalloutAnswer, String>,
    ) -> Result<(), Fault> {
        let Self { core, exports, .. } = self;
        let state = core.store.data_mut();
        if !state.calls.end(id, &mut state.contexts) {
            return Ok(());
        }
        state.calls.forget(id);
        let Some(function) = &exports.callout_response else { return Ok(()) };
        state.last_status = match &answer {
            Ok(_) => (0, String::new()),
            Err(text) => (crate::abi::Status::BrokenConnection as u32, text.clone()),
        };
        let sizes = answer.as_ref().map_or((0, 0, 0), |answer| {
            (answer.headers.len() as u32, answer.body.len() as u32, answer.trailers.len() as u32)
        });
        state.delivery = answer.map_or(Delivery::Nothing, Delivery::Callout);
        let result = core.enter(host, Hook::CalloutResponse, ROOT, |store| {
            function.call(store, (ROOT.0, id, sizes.0, sizes.1, sizes.2))
        });
        let state = core.store.data_mut();
        state.delivery = Delivery::Nothing;
        // The text is told in this hook only, the code also later.
        state.last_status.1.clear();
        result
    }

    /// Calls the guest back under a foreign function's id, with data in buffer 8.
    pub fn foreign_function(&mut self, host: &mut H, function_id: u32, data: Vec<u8>) -> Result<(), Fault> {
        let Self { core, exports, .. } = self;
        let Some(function) = &exports.foreign_function else { return Ok(()) };
        let len = data.len() as u32;
        core.store.data_mut().delivery = Delivery::Foreign(data);
        let result =
            core.enter(host, Hook::ForeignFunction, ROOT, |store| function.call(store, (ROOT.0, function_id, len)));
        core.store.data_mut().delivery = Delivery::Nothing;
        result
    }

    /// Asks the root to finish. `true`: it has, or did not care; `false`: it will call `proxy_done`.
    pub fn finish(&mut self, host: &mut H) -> Result<bool, Fault> {
        let Self { core, exports, .. } = self;
        let Some(done) = &exports.done else { return Ok(true) };
        core.store.data_mut().root_pending_done = true;
        let finished = core.enter(host, Hook::Done, ROOT, |store| done.call(store, ROOT.0))? != 0;
        let state = self.core.store.data_mut();
        state.root_pending_done &= !finished;
        Ok(finished || state.root_done)
    }

    /// Whether the root has called `proxy_done` since it was asked to finish.
    pub fn is_finished(&self) -> bool {
        self.core.store.data().root_done
    }

    /// The last call: `on_delete` of the root.
    pub fn delete_root(&mut self, host: &mut H) -> Result<(), Fault> {
        let Self { core, exports, .. } = self;
        let Some(delete) = &exports.delete else { return Ok(()) };
        core.enter(host, Hook::Delete, ROOT, |store| delete.call(store, ROOT.0))
    }
}
