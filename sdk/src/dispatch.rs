//! From hooks to futures: finds an exchange's future, polls it, and turns what it did into the hook's answer.
//!
//! The dispatcher knows the one filter type of its module, so a hook costs one virtual call. State exists only for
//! exchanges whose future is not done; it is taken out of the table while the future runs and its memory is used again.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::body::Bodies;
use crate::config::{self, Problem, Setup, Severity};
use crate::error::Result;
use crate::filter::Filter;
use crate::host::{self, Buffer, Hook};
use crate::ids::ById;
use crate::link::{Link, Phase, set_current};
use crate::message::{Request, Response};
use crate::next::Next;
use crate::settle::{CONTINUE, PAUSE, Via, attempt, mapped, settle};
use crate::view::LogView;
use crate::{callout, grpc, sleep};

/// States kept for the next exchanges.
const SPARE: usize = 64;

/// The hooks of a module, as the exports call them. A hook that the filter does not use compiles to nothing.
pub(crate) trait Hooks {
    fn configure(&self, root: u32, length: usize) -> bool;
    fn request_headers(&self, id: u32, is_last: bool) -> u32;
    /// Without `length`: trailers end the body.
    fn request_body(&self, id: u32, length: Option<usize>, is_last: bool) -> u32;
    fn response_headers(&self, id: u32, is_last: bool) -> u32;
    fn response_body(&self, id: u32, length: Option<usize>, is_last: bool) -> u32;
    fn log(&self, id: u32);
    fn delete(&self, id: u32);
    fn http_call_response(&self, token: u32, headers: u32, body: usize);
    fn grpc_receive(&self, token: u32, length: usize);
    fn grpc_close(&self, token: u32, status: u32);
    fn tick(&self, root: u32);
    fn foreign_function(&self, function: u32);
}

/// Tells callouts and timers whether the filter exports their hooks.
pub(crate) fn declare<F: Filter>() {
    callout::declare(F::USES.callouts);
    grpc::declare(F::USES.grpc);
    sleep::declare(F::USES.sleep);
}

/// Makes the dispatcher of a filter.
pub(crate) fn hooks<F: Filter>() -> Box<dyn Hooks> {
    declare::<F>();
    let make = |filter: Rc<F>, request, next| async move { filter.handle(request, next).await };
    Box::new(Dispatcher {
        make,
        root: RefCell::new(None),
        streams: RefCell::new(ById::default()),
        spare: RefCell::new(Vec::new()),
        ticking: Cell::new(None),
    })
}

struct Dispatcher<F, M, Fut> {
    make: M,
    root: RefCell<Option<Root<F>>>,
    streams: RefCell<ById<Stream<Fut>>>,
    spare: RefCell<Vec<Stream<Fut>>>,
    /// The running `tick`, if it has not ended.
    ticking: Cell<Option<Pin<Box<dyn Future<Output = ()>>>>>,
}

struct Root<F> {
    id: u32,
    /// Fingerprint of the bytes, to tell a second root apart.
    config: u64,
    filter: Rc<F>,
    bodies: Bodies,
    /// The host can hold a body without collecting it.
    can_wait: bool,
}

struct Stream<Fut> {
    future: Pin<Box<Option<Fut>>>,
    link: Rc<Link>,
}

impl<F, M, Fut> Hooks for Dispatcher<F, M, Fut>
where
    F: Filter,
    M: Fn(Rc<F>, Request, Next) -> Fut,
    Fut: Future<Output = Result<Response>>,
{
    fn configure(&self, root: u32, length: usize) -> bool {
        let hook = Hook::running();
        let bytes = match length {
            0 => Default::default(),
            length => match host::buffer(&hook, Buffer::PluginConfiguration, 0, length) {
                Ok(bytes) => bytes,
                Err(problem) => {
                    crate::error!("the configuration cannot be read: {problem}");
                    return false;
                }
            },
        };
        let config = bytes
            .iter()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        // Without `proxy_on_context_create` nobody says which root an exchange belongs to.
        let other = self.root.borrow().as_ref().is_some_and(|known| known.id != root && known.config != config);
        if other {
            crate::error!("two configurations share this VM; give each its own vm_id");
            return false;
        }
        set_current(root);
        let filter = make_filter::<F>(&bytes);
        set_current(0);
        let Some((filter, setup)) = filter else { return false };
        let (mut bodies, mut can_wait) = (Bodies::none(), false);
        if F::USES.request_body || F::USES.response_body {
            bodies = setup.bodies.unwrap_or_else(F::body);
            can_wait = bodies.tell();
        }
        *self.root.borrow_mut() = Some(Root { id: root, config, filter: Rc::new(filter), bodies, can_wait });
        if F::USES.ticks
            && let Some(period) = setup.every
        {
            sleep::every(period);
        }
        true
    }

    fn request_headers(&self, id: u32, is_last: bool) -> u32 {
        if !F::USES.handle {
            return CONTINUE;
        }
        let Some((filter, bodies, can_wait)) =
            self.root.borrow().as_ref().map(|root| (Rc::clone(&root.filter), root.bodies, root.can_wait))
        else {
            return CONTINUE;
        };
        let mut stream =
            self.spare.borrow_mut().pop().unwrap_or_else(|| Stream { future: Box::pin(None), link: Link::new() });
        stream.link.open(id, bodies, can_wait);
        stream.link.request.complete.set(is_last);
        let request = Request { link: Rc::clone(&stream.link) };
        let next = Next { link: Rc::clone(&stream.link) };
        stream.future.set(Some((self.make)(filter, request, next)));
        self.poll(id, stream, Via::RequestHook)
    }

    fn request_body(&self, id: u32, length: Option<usize>, is_last: bool) -> u32 {
        if !F::USES.request_body {
            return CONTINUE;
        }
        let Some(stream) = self.take(id) else { return CONTINUE };
        if let Some(action) = mapped(id, &stream.link.request, Buffer::RequestBody, length.unwrap_or(0), is_last) {
            self.keep(id, stream);
            return action;
        }
        if stream.link.phase.get() != Phase::Request {
            self.keep(id, stream);
            return CONTINUE;
        }
        if !stream.link.request.arrived(length, is_last) {
            let action = stream.link.request.pause();
            self.keep(id, stream);
            return action;
        }
        self.poll(id, stream, Via::RequestBody)
    }

    fn response_headers(&self, id: u32, is_last: bool) -> u32 {
        if !F::USES.response {
            return CONTINUE;
        }
        let Some(stream) = self.take(id) else { return CONTINUE };
        if stream.link.phase.get() == Phase::Done {
            self.keep(id, stream);
            return CONTINUE;
        }
        // A reply made elsewhere may come while the request is still held here: the filter then sees no response.
        if stream.link.phase.get() == Phase::Request {
            self.finish(stream);
            return CONTINUE;
        }
        stream.link.response.complete.set(is_last);
        stream.link.phase.set(Phase::Response);
        self.poll(id, stream, Via::ResponseHook)
    }

    fn response_body(&self, id: u32, length: Option<usize>, is_last: bool) -> u32 {
        if !F::USES.response_body {
            return CONTINUE;
        }
        let Some(stream) = self.take(id) else { return CONTINUE };
        if let Some(action) = mapped(id, &stream.link.response, Buffer::ResponseBody, length.unwrap_or(0), is_last) {
            self.keep(id, stream);
            return action;
        }
        if stream.link.phase.get() != Phase::Response {
            self.keep(id, stream);
            return CONTINUE;
        }
        if !stream.link.response.arrived(length, is_last) {
            let action = stream.link.response.pause();
            self.keep(id, stream);
            return action;
        }
        self.poll(id, stream, Via::ResponseBody)
    }

    fn log(&self, _id: u32) {
        if !F::USES.log {
            return;
        }
        if let Some(filter) = self.filter() {
            let hook = Hook::running();
            filter.log(&LogView::new(&hook));
        }
    }

    fn delete(&self, id: u32) {
        if !F::USES.handle {
            return;
        }
        if let Some(stream) = self.take(id) {
            self.finish(stream);
        }
    }

    fn http_call_response(&self, token: u32, headers: u32, body: usize) {
        if F::USES.callouts
            && let Some(owner) = callout::arrived(token, headers, body)
        {
            self.resume(owner);
        }
    }

    fn grpc_receive(&self, token: u32, length: usize) {
        if F::USES.grpc
            && let Some(owner) = grpc::received(token, length)
        {
            self.resume(owner);
        }
    }

    fn grpc_close(&self, token: u32, status: u32) {
        if F::USES.grpc
            && let Some(owner) = grpc::closed(token, status)
        {
            self.resume(owner);
        }
    }

    fn tick(&self, root: u32) {
        if !F::USES.ticks && !F::USES.sleep {
            return;
        }
        let (own, woken) = sleep::ticked();
        let was_elsewhere = !woken.is_empty();
        woken.into_iter().for_each(|owner| self.resume(owner));
        if !F::USES.ticks || !own {
            return;
        }
        if was_elsewhere && let Err(problem) = host::set_effective_context(root) {
            crate::debug!("the tick runs for the last exchange: {problem}");
        }
        let running = self.ticking.take();
        if running.is_some() {
            self.ticking.set(running);
            return;
        }
        if let Some(filter) = self.filter() {
            self.ticking.set(Some(Box::pin(async move { filter.tick().await })));
            self.resume(root);
        }
    }

    fn foreign_function(&self, function: u32) {
        if F::USES.sleep && function == sleep::TIMER_FUNCTION {
            sleep::fired().into_iter().for_each(|owner| self.resume(owner));
        }
    }
}

impl<F, M, Fut> Dispatcher<F, M, Fut>
where
    F: Filter,
    Fut: Future<Output = Result<Response>>,
{
    fn filter(&self) -> Option<Rc<F>> {
        self.root.borrow().as_ref().map(|root| Rc::clone(&root.filter))
    }

    fn take(&self, id: u32) -> Option<Stream<Fut>> {
        if self.streams.borrow().is_empty() {
            return None;
        }
        self.streams.borrow_mut().remove(&id)
    }

    fn keep(&self, id: u32, stream: Stream<Fut>) {
        self.streams.borrow_mut().insert(id, stream);
    }

    /// Drops the future and keeps the memory.
    fn finish(&self, mut stream: Stream<Fut>) {
        stream.future.set(None);
        stream.link.close();
        let mut spare = self.spare.borrow_mut();
        // A handle that the filter kept must not become one of the next exchange.
        if spare.len() < SPARE && Rc::strong_count(&stream.link) == 1 {
            spare.push(stream);
        }
    }

    /// Goes on with whoever waited for a callback.
    fn resume(&self, owner: u32) {
        if self.root.borrow().as_ref().is_some_and(|root| root.id == owner) {
            let Some(mut task) = self.ticking.take() else { return };
            let outer = set_current(owner);
            let is_done = task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
            set_current(outer);
            if !is_done {
                self.ticking.set(Some(task));
            }
            return;
        }
        let Some(stream) = self.take(owner) else { return };
        if let Err(problem) = host::set_effective_context(owner) {
            crate::debug!("exchange {owner} is gone: {problem}");
            self.finish(stream);
            return;
        }
        self.poll(owner, stream, Via::Callback);
    }

    fn poll(&self, id: u32, mut stream: Stream<Fut>, via: Via) -> u32 {
        let before = stream.link.phase.get();
        let outer = set_current(id);
        let polled = stream
            .future
            .as_mut()
            .as_pin_mut()
            .map_or(Poll::Pending, |future| future.poll(&mut Context::from_waker(Waker::noop())));
        set_current(outer);
        match polled {
            Poll::Pending => {
                let phase = stream.link.phase.get();
                let waits = match via {
                    Via::RequestBody => stream.link.request.pause(),
                    Via::ResponseBody => stream.link.response.pause(),
                    _ => PAUSE,
                };
                self.keep(id, stream);
                match (via, phase) {
                    (Via::RequestHook | Via::RequestBody, Phase::Sent) => CONTINUE,
                    (Via::Callback, Phase::Sent) if before == Phase::Request => attempt(host::continue_request()),
                    (Via::Callback, Phase::Sent) => CONTINUE,
                    _ => waits,
                }
            }
            Poll::Ready(result) => {
                stream.future.set(None);
                let action = settle(before, via, result);
                let takes_bodies = F::USES.request_body || F::USES.response_body;
                if takes_bodies && (stream.link.request.has_mapper() || stream.link.response.has_mapper()) {
                    stream.link.phase.set(Phase::Done);
                    self.keep(id, stream);
                } else {
                    self.finish(stream);
                }
                action
            }
        }
    }
}

fn make_filter<F: Filter>(bytes: &[u8]) -> Option<(F, Setup)> {
    let config = match config::read::<F::Config>(bytes) {
        Ok(config) => config,
        Err(problem) => {
            problem.report();
            return None;
        }
    };
    let mut setup = Setup::default();
    let made = F::configure(config, &mut setup);
    if let Err(problem) = &made {
        setup.problems.push(Problem { severity: Severity::Error, pointer: String::new(), text: problem.to_string() });
    }
    setup.problems.iter().for_each(Problem::report);
    let refused = setup.problems.iter().any(|problem| problem.severity == Severity::Error);
    made.ok().filter(|_| !refused).map(|filter| (filter, setup))
}
