//! The filters of one exchange: opens their contexts, calls their hooks forwards and backwards, and turns what they
//! return and ask for into a [`Step`] of the exchange.

mod fault;

use std::rc::Rc;
use std::time::Instant;

use sidegate_wasm_host::abi::Direction;
use sidegate_wasm_host::hooks::Hook;
use sidegate_wasm_host::{BodyAction, ContextId, Fault, HeadersAction, StreamKey};
use smallvec::SmallVec;

use super::conduct::Watch;
use super::reply::{Failure, Reply};
use super::view::View;
use crate::snapshot::FailStrategy;
use crate::worker::plugins::{VmHandle, VmSlot};
use crate::worker::{Chosen, Worker};

/// One filter in this exchange.
pub struct Link {
    pub slot: Rc<VmSlot>,
    /// The VM that this exchange uses to its end, whatever happens to the plugin meanwhile. `None`: none was ready.
    vm: Option<VmHandle>,
    context: Option<ContextId>,
    /// Passed over for the rest of the exchange after a fault of a FAIL_OPEN plugin.
    skipped: bool,
    /// A second VM was tried after a fault in the first hook.
    reloaded: bool,
    watch: Watch,
}

/// What happens next.
#[derive(Debug)]
pub enum Step {
    Continue,
    /// Wait until this filter goes on.
    Wait,
    /// The same, while the filter wants to see the body.
    WaitWithBody,
    Reply(Box<Reply>),
    /// Reset without an answer.
    Close,
}

/// What a body hook decided.
#[derive(Debug)]
pub enum BodyStep {
    Continue,
    Buffer,
    Hold,
    Drop,
    Reply(Box<Reply>),
    Close,
}

/// The chain of one exchange.
pub struct Chain {
    pub links: SmallVec<[Link; 6]>,
    key: StreamKey,
    grpc: bool,
    /// The filter that chose the route.
    steered: Option<usize>,
}

impl Chain {
    pub fn new(key: StreamKey, grpc: bool) -> Self {
        Self { links: SmallVec::new(), key, grpc, steered: None }
    }

    pub fn push(&mut self, worker: usize, Chosen { slot, watch }: Chosen) {
        let vm = slot.for_exchange();
        slot.entered(worker);
        self.links.push(Link { slot, vm, context: None, skipped: false, reloaded: false, watch });
    }

    /// The number of filters.
    pub fn count(&self) -> usize {
        self.links.len()
    }

    /// Where the VMs of its filters are.
    pub fn slots(&self) -> impl Iterator<Item = &Rc<VmSlot>> {
        self.links.iter().map(|link| &link.slot)
    }

    /// What is counted for a filter.
    pub fn watch(&self, index: usize) -> Option<&Watch> {
        self.links.get(index).map(|link| &link.watch)
    }

    /// A filter has held the exchange since then, and this came of it.
    pub fn waited(&mut self, index: usize, begun: Option<Instant>, step: &Step) {
        let Some(link) = self.links.get_mut(index) else { return };
        link.watch.end(begun);
        if let Step::Reply(reply) = step {
            link.watch.answered(reply.head.status.map_or(0, |status| status.as_u16()));
        }
    }

    /// Whether any filter has this hook.
    pub fn has(&self, hook: Hook) -> bool {
        self.links.iter().any(|link| link.has(hook))
    }

    /// Whether filter `index` has this hook.
    pub fn link_has(&self, index: usize, hook: Hook) -> bool {
        self.links.get(index).is_some_and(|link| link.has(hook))
    }

    /// Calls `on_request_headers` or `on_response_headers` of one filter.
    pub fn headers(&mut self, worker: &Rc<Worker>, index: usize, direction: Direction, end: bool) -> Step {
        let hook = match direction {
            Direction::Request => Hook::RequestHeaders,
            Direction::Response => Hook::ResponseHeaders,
        };
        let Some(link) = self.links.get_mut(index) else { return Step::Continue };
        if link.skipped {
            return Step::Continue;
        }
        link.renew();
        let Some(vm) = link.vm.clone() else {
            return if direction == Direction::Request { self.no_vm(worker, index) } else { Step::Continue };
        };
        let creates = direction == Direction::Request && link.slot.creates_contexts();
        let first_seen = creates && link.context.is_none();
        if !link.slot.has(hook) && !first_seen {
            return Step::Continue;
        }
        let key = self.key;
        let undoes = link.slot.plugin.fail_strategy != FailStrategy::Close;
        let chose = &mut self.steered;
        let begun = link.watch.begin();
        let result = worker.call(&vm, |vm, env| {
            let id = match link.context {
                Some(id) => id,
                None => {
                    let id = vm.open_stream(env, key)?;
                    link.context = Some(id);
                    id
                }
            };
            let Some(view) = env.view(key) else { return Ok(HeadersAction::Continue) };
            if undoes {
                view.arm_undo();
            }
            let steered = view.steering.writes;
            let count = match direction {
                Direction::Request => sidegate_wasm_host::Headers::count(&view.request),
                Direction::Response => view.response.as_ref().map_or(0, sidegate_wasm_host::Headers::count),
            };
            let action = match direction {
                Direction::Request => vm.request_headers(env, id, count as u32, end)?,
                Direction::Response => vm.response_headers(env, id, count as u32, end)?,
            };
            // A resume inside the hook is part of what it returned; an older one met no pause and means nothing.
            vm.take_resumed(id, direction);
            if let Some(view) = env.view(key).filter(|view| view.steering.writes != steered) {
                view.asked.route_cleared = false;
                *chose = Some(index);
            }
            // What later filters change is not this one's to undo.
            if let Some(view) = env.view(key).filter(|_| undoes) {
                view.disarm_undo();
            }
            Ok(action)
        });
        link.watch.end(begun);
        worker.settle();
        match result {
            Ok(action) => match self.asked(worker, index, direction) {
                Some(step) => step,
                None => match action {
                    HeadersAction::Continue => Step::Continue,
                    HeadersAction::Pause => Step::Wait,
                    HeadersAction::PauseHeaders => Step::WaitWithBody,
                },
            },
            Err(fault) => self.fault(worker, index, direction, end, &fault),
        }
    }

    /// Calls a body hook. The bytes to judge are in the view's body buffer and stay there.
    pub fn body(&mut self, worker: &Rc<Worker>, index: usize, direction: Direction, end: bool) -> BodyStep {
        let Some(link) = self.links.get_mut(index) else { return BodyStep::Continue };
        link.renew();
        let (Some(vm), false) = (link.vm.clone(), link.skipped) else { return BodyStep::Continue };
        let key = self.key;
        let undoes = link.slot.plugin.fail_strategy == FailStrategy::Open;
        let before =
            worker.with_env(|env| env.view(key).filter(|_| undoes).and_then(|view| view.body_mut(direction).clone()));
        let begun = link.watch.begin();
        let result = worker.call(&vm, |vm, env| {
            let id = open(link, vm, env, key)?;
            let Some(view) = env.view(key) else { return Ok(BodyAction::Continue) };
            view.may_add_trailers = end;
            let buffer = match direction {
                Direction::Request => view.request_body.as_ref(),
                Direction::Response => view.response_body.as_ref(),
            };
            let len = buffer.map_or(0, Vec::len) as u32;
            let action = match direction {
                Direction::Request => vm.request_body(env, id, len, end)?,
                Direction::Response => vm.response_body(env, id, len, end)?,
            };
            vm.take_resumed(id, direction);
            if let Some(view) = env.view(key) {
                view.may_add_trailers = false;
            }
            Ok(action)
        });
        link.watch.end(begun);
        worker.settle();
        match result {
            Ok(action) => match self.asked(worker, index, direction) {
                Some(step) => step.into(),
                None => match action {
                    BodyAction::Continue => BodyStep::Continue,
                    BodyAction::Buffer => BodyStep::Buffer,
                    BodyAction::Hold => BodyStep::Hold,
                    BodyAction::Drop => BodyStep::Drop,
                },
            },
            Err(fault) => {
                // The body goes on as the faulting hook got it.
                if let Some(before) = before {
                    worker.with_env(|env| env.view(key).map(|view| *view.body_mut(direction) = Some(before)));
                }
                self.fault(worker, index, direction, end, &fault).into()
            }
        }
    }

    /// Calls a trailers hook.
    pub fn trailers(&mut self, worker: &Rc<Worker>, index: usize, direction: Direction) -> Step {
        let Some(link) = self.links.get_mut(index) else { return Step::Continue };
        let (Some(vm), false) = (link.vm.clone(), link.skipped) else { return Step::Continue };
        let key = self.key;
        let result = worker.call(&vm, |vm, env| {
            let id = open(link, vm, env, key)?;
            let Some(view) = env.view(key) else { return Ok(HeadersAction::Continue) };
            let trailers = match direction {
                Direction::Request => view.request_trailers.as_ref(),
                Direction::Response => view.response_trailers.as_ref(),
            };
            let count = trailers.map_or(0, |trailers| trailers.fields.len()) as u32;
            let action = match direction {
                Direction::Request => vm.request_trailers(env, id, count)?,
                Direction::Response => vm.response_trailers(env, id, count)?,
            };
            vm.take_resumed(id, direction);
            Ok(action)
        });
        worker.settle();
        match result {
            Ok(action) => match self.asked(worker, index, direction) {
                Some(step) => step,
                None if action == HeadersAction::Continue => Step::Continue,
                None => Step::Wait,
            },
            Err(fault) => self.fault(worker, index, direction, true, &fault),
        }
    }

    /// While a filter holds the exchange: whether it, or another part of the chain, has decided something.
    pub fn decided(&mut self, worker: &Rc<Worker>, index: usize, direction: Direction) -> Step {
        if let Some(step) = self.asked(worker, index, direction) {
            return step;
        }
        let goes_on = self.links.get(index).is_some_and(|link| {
            // A filter that is passed over since a fault holds nothing any more.
            let (Some(vm), Some(id), false) = (&link.vm, link.context, link.skipped) else { return link.skipped };
            vm.borrow_mut().take_resumed(id, direction)
        });
        if goes_on { Step::Continue } else { Step::Wait }
    }

    /// The filter whose choice of a route no longer holds, made ready to choose again.
    pub fn forget_route(&mut self, worker: &Rc<Worker>) -> Option<usize> {
        let index = self.steered?;
        worker.with_env(|env| {
            let view = env.view(self.key)?;
            std::mem::take(&mut view.asked.route_cleared).then(|| view.steering.forget_route())
        })?;
        let link = self.links.get_mut(index)?;
        if let (Some(vm), Some(id)) = (link.vm.clone(), link.context.take())
            && let Err(fault) = worker.call(&vm, |vm, env| vm.close_stream(env, id))
        {
            link.slot.clone().faulted(worker, &vm, &fault);
        }
        Some(index)
    }

    /// Takes what guests asked of the exchange as a whole; `index` is the filter that acts or holds, if one does.
    fn asked(&mut self, worker: &Rc<Worker>, index: usize, direction: Direction) -> Option<Step> {
        enum Wish {
            Reply(Box<sidegate_wasm_host::LocalReply>),
            Close,
            Poisoned,
            Lost,
        }
        let wish = worker.with_env(|env| {
            let view = env.view(self.key)?;
            if view.asked.close {
                return Some(Wish::Close);
            }
            if view.poisoned() {
                // The answer to it passes the response hooks: it must not count against those.
                cleanse(view);
                return Some(Wish::Poisoned);
            }
            if let Some(reply) = view.asked.reply.take() {
                return Some(Wish::Reply(Box::new(reply)));
            }
            std::mem::take(&mut view.asked.vm_lost).then_some(Wish::Lost)
        })?;
        match wish {
            Wish::Close => Some(Step::Close),
            Wish::Poisoned => {
                tracing::warn!("a filter wrote what would break the message, or more than it may: the exchange ends");
                worker.counters.broken_by_filter.add(worker.index, 1);
                let failure = match direction {
                    Direction::Request => Failure::FilterBrokeRequest,
                    Direction::Response => Failure::FilterBrokeResponse,
                };
                Some(Step::Reply(Box::new(Reply::failure(failure, self.grpc))))
            }
            Wish::Reply(reply) => {
                if let Some(link) = self.links.get_mut(index) {
                    link.watch.answered(u16::try_from(reply.status).unwrap_or(u16::MAX));
                }
                Some(Step::Reply(Box::new(Reply::from_filter(*reply, self.grpc))))
            }
            Wish::Lost => self.lost(worker, index, direction),
        }
    }

    /// The end: `on_log` of every filter in chain order, then `on_done` and `on_delete` of each.
    pub fn finish(&mut self, worker: &Rc<Worker>) {
        let key = self.key;
        for link in &mut self.links {
            let Some(vm) = &link.vm else { continue };
            let wanted = link.slot.has(Hook::Log) || link.slot.only_ends();
            if link.skipped || vm.borrow().is_dead() || !wanted {
                continue;
            }
            // A filter that the request never reached logs too, as in Envoy.
            let result = worker.call(vm, |vm, env| {
                let id = match link.context {
                    Some(id) => id,
                    None => *link.context.insert(vm.open_stream(env, key)?),
                };
                vm.log(env, id)
            });
            if let Err(fault) = result {
                link.slot.clone().faulted(worker, vm, &fault);
            }
        }
        for link in &mut self.links {
            let (Some(vm), Some(id)) = (&link.vm, link.context.take()) else { continue };
            let result = worker.call(vm, |vm, env| vm.close_stream(env, id));
            if let (Err(fault), false) = (result, link.skipped) {
                link.slot.clone().faulted(worker, vm, &fault);
            }
        }
        for link in &mut self.links {
            link.watch.report();
            link.slot.left(worker);
        }
        worker.settle();
    }
}

/// Forgets what was written before, so that only what is written anew can end the exchange again.
fn cleanse(view: &mut View) {
    view.overflown = false;
    view.request.edits.forgive();
    if let Some(head) = &mut view.response {
        head.edits.forgive();
    }
    for trailers in [&mut view.request_trailers, &mut view.response_trailers].into_iter().flatten() {
        trailers.edits.forgive();
    }
}

impl Link {
    /// A VM that ended before this exchange was in it is no loss: the one in its place is used.
    fn renew(&mut self) {
        if self.context.is_none() && self.vm.as_ref().is_some_and(|vm| vm.borrow().is_dead()) {
            self.vm = self.slot.for_exchange();
        }
    }

    fn has(&self, hook: Hook) -> bool {
        !self.skipped && self.vm.is_some() && self.slot.has(hook)
    }
}

impl From<Step> for BodyStep {
    fn from(step: Step) -> Self {
        match step {
            Step::Continue => Self::Continue,
            Step::Wait | Step::WaitWithBody => Self::Buffer,
            Step::Reply(reply) => Self::Reply(reply),
            Step::Close => Self::Close,
        }
    }
}

fn open(
    link: &mut Link,
    vm: &mut sidegate_wasm_host::Vm<crate::snapshot::plugin::Guest>,
    env: &mut crate::snapshot::plugin::Guest,
    key: StreamKey,
) -> Result<ContextId, Fault> {
    match link.context {
        Some(id) => Ok(id),
        None => Ok(*link.context.insert(vm.open_stream(env, key)?)),
    }
}
