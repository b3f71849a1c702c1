//! Callouts of a slot: sent by tasks of their own, their answers handed to the VM that asked.

use std::rc::Rc;

use sidegate_wasm_host::{Callout, GrpcCallout, GrpcStep};
use tokio::task::AbortHandle;

use super::{VmHandle, VmSlot};
use crate::exchange::held::Share;
use crate::exchange::span::CalloutSpan;
use crate::upstream::callout::grpc::{self, Event};
use crate::upstream::callout::http;
use crate::upstream::callout::outgoing::{self, Messages};
use crate::worker::Worker;

/// A gRPC call under way. Dropped, it is cancelled.
pub(super) struct Open {
    /// Takes the messages of a stream.
    messages: Option<Messages>,
    task: AbortHandle,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl VmSlot {
    pub(super) fn callout(
        self: Rc<Self>,
        worker: &Rc<Worker>,
        id: u32,
        call: Callout,
        span: Option<Box<CalloutSpan>>,
        of_root: bool,
    ) {
        // Whoever asked may end while it waits: its memory does not wait with it.
        let Some(vm) = self.current().map(|vm| Rc::downgrade(&vm)) else { return };
        let worker = worker.clone();
        tokio::task::spawn_local(async move {
            let mut share = Share::new(&worker);
            let answer = http::send(&worker, call, of_root, &mut share).await;
            if let Some(span) = span {
                let head = answer.as_ref().ok().and_then(|answer| answer.headers.first());
                let (collector, told) = span.end(head.map(|(_, status)| status.as_slice()));
                worker.process.spans.send(&collector, [told]);
            }
            let told = || {
                let vm = vm.upgrade()?;
                let result = worker.call(&vm, |vm, env| vm.callout_response(env, id, answer));
                Some((vm, result))
            };
            if let Some((vm, result)) = if of_root { self.in_turn(&worker, told).await } else { told() } {
                self.after(&worker, &vm, result);
            }
        });
    }

    pub(super) fn grpc(
        self: Rc<Self>,
        worker: &Rc<Worker>,
        id: u32,
        call: GrpcCallout,
        span: Option<Box<CalloutSpan>>,
        of_root: bool,
    ) {
        let Some(vm) = self.current() else { return };
        let (slot, worker) = (self.clone(), worker.clone());
        let open = if call.message.is_some() {
            let task = tokio::task::spawn_local(async move {
                let answer = grpc::call(&worker, call, of_root).await;
                if let Some(span) = span {
                    let (collector, told) = span.end_grpc(answer.as_ref().err().map_or(0, |status| status.code));
                    worker.process.spans.send(&collector, [told]);
                }
                let told = || {
                    worker.call(&vm, |vm, env| match answer {
                        Ok(message) => vm.grpc_receive(env, id, message),
                        Err(status) => vm.grpc_close(env, id, status),
                    })
                };
                let result = if of_root { slot.in_turn(&worker, told).await } else { told() };
                slot.after(&worker, &vm, result);
                slot.ended(&vm, id);
            });
            Open { messages: None, task: task.abort_handle() }
        } else {
            let (messages, outgoing) = outgoing::channel();
            let task = tokio::task::spawn_local(async move {
                grpc::stream(&worker, call, of_root, outgoing, |event| slot.tell(&worker, &vm, id, event)).await;
                slot.ended(&vm, id);
            });
            Open { messages: Some(messages), task: task.abort_handle() }
        };
        self.tasks.borrow_mut().grpc.insert(id, open);
    }

    pub(super) fn grpc_step(&self, id: u32, step: GrpcStep) {
        let mut tasks = self.tasks.borrow_mut();
        let messages = tasks.grpc.get(&id).and_then(|open| open.messages.as_ref());
        match (step, messages) {
            (GrpcStep::Send(message), Some(messages)) => messages.send(message),
            (GrpcStep::Close, Some(messages)) => messages.close(),
            (GrpcStep::Cancel, _) => drop(tasks.grpc.remove(&id)),
            (GrpcStep::Send(_) | GrpcStep::Close, None) => {}
        }
    }

    fn tell(self: &Rc<Self>, worker: &Rc<Worker>, vm: &VmHandle, id: u32, event: Event) {
        let result = worker.call(vm, |vm, env| match event {
            Event::InitialMetadata(metadata) => vm.grpc_initial_metadata(env, id, metadata),
            Event::Message(message) => vm.grpc_receive(env, id, message),
            Event::TrailingMetadata(metadata) => vm.grpc_trailing_metadata(env, id, metadata),
            Event::Closed(status) => vm.grpc_close(env, id, status),
        });
        self.after(worker, vm, result);
    }

    /// Forgets a call that is over. Where the VM has ended meanwhile, the id may be one of its successor's calls.
    fn ended(&self, vm: &VmHandle, id: u32) {
        if self.serves(vm) {
            self.tasks.borrow_mut().grpc.remove(&id);
        }
    }
}
