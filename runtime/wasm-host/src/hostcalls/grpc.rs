//! gRPC callouts: calls with one message and one answer, and streams.

use std::borrow::Cow;
use std::time::Duration;

use wasmtime::Caller;

use super::answer;
use super::calls::{owned, size, start};
use crate::abi::Status;
use crate::calls::Kind;
use crate::grpc::{GrpcCallout, GrpcStep, GrpcTarget};
use crate::host::Host;
use crate::limits;
use crate::memory::{self, slice, split, write_u32};
use crate::state::State;

/// Address and length of what the guest gives.
type Given = (u32, u32);

//= proxy-wasm 0.2.1 #proxy_grpc_call: the service is a cluster's name or Envoy's GrpcService message; one that is
//= unknown is "parse failure", which SDKs hand to the filter as an error.
#[expect(clippy::too_many_arguments, reason = "the ABI's own signature")]
pub(super) fn grpc_call<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    service: u32,
    service_len: u32,
    name: u32,
    name_len: u32,
    method: u32,
    method_len: u32,
    metadata: u32,
    metadata_len: u32,
    message: u32,
    message_len: u32,
    timeout: u32,
    out_id: u32,
) -> wasmtime::Result<u32> {
    let (memory, state) = split(caller);
    let given = [(service, service_len), (name, name_len), (method, method_len), (metadata, metadata_len)];
    answer((|| {
        let mut call = read(memory, given)?;
        let message = slice(memory, message, message_len)?;
        if message.len() > limits::GRPC_QUEUE_BYTES {
            return Err(Status::InternalFailure);
        }
        call.message = Some(message.to_vec());
        if timeout > 0 {
            call.timeout = Some(Duration::from_millis(timeout.into()));
        }
        let bytes = call.message.as_ref().map_or(0, Vec::len) + size(&call.metadata);
        let id =
            start(state, Kind::GrpcCall, bytes, |host, spec, id, stream| host.dispatch_grpc(spec, id, stream, call))?;
        told(memory, state, out_id, id)
    })())
}

#[expect(clippy::too_many_arguments, reason = "the ABI's own signature")]
pub(super) fn grpc_stream<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    service: u32,
    service_len: u32,
    name: u32,
    name_len: u32,
    method: u32,
    method_len: u32,
    metadata: u32,
    metadata_len: u32,
    out_id: u32,
) -> wasmtime::Result<u32> {
    let (memory, state) = split(caller);
    let given = [(service, service_len), (name, name_len), (method, method_len), (metadata, metadata_len)];
    answer((|| {
        let call = read(memory, given)?;
        let bytes = size(&call.metadata);
        let id =
            start(state, Kind::GrpcStream, bytes, |host, spec, id, stream| host.dispatch_grpc(spec, id, stream, call))?;
        told(memory, state, out_id, id)
    })())
}

fn read(memory: &[u8], [service, name, method, metadata]: [Given; 4]) -> Result<GrpcCallout, Status> {
    let bytes = |given: Given| slice(memory, given.0, given.1);
    let text = |given: Given| memory::name(memory, given.0, given.1, Status::ParseFailure).map(Cow::into_owned);
    let service = bytes(service)?;
    if service.len() > limits::GRPC_SERVICE_BYTES {
        return Err(Status::ParseFailure);
    }
    let target = GrpcTarget::read(service);
    let (service, method) = (text(name)?, text(method)?);
    let mut all = target.metadata;
    all.append(&mut owned(bytes(metadata)?));
    Ok(GrpcCallout {
        cluster: target.cluster,
        authority: target.authority,
        service,
        method,
        metadata: all,
        message: None,
        timeout: target.timeout,
    })
}

//= proxy-wasm 0.2.1 #proxy_grpc_send: only streams take messages. A full queue, like a stream that was closed for
//= sending, is "bad argument": SDKs hand that on, while they trap on "internal failure".
pub(super) fn grpc_send<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    id: u32,
    message: u32,
    message_len: u32,
    end: u32,
) -> wasmtime::Result<u32> {
    let (memory, state) = split(caller);
    answer((|| {
        if Kind::of(id) != Some(Kind::GrpcStream) {
            return Err(Status::BadArgument);
        }
        let message = slice(memory, message, message_len)?;
        let stream = state.calls.find(id).filter(|stream| !stream.ended).ok_or(Status::NotFound)?;
        let queue = stream.sending.as_ref().ok_or(Status::BadArgument)?;
        let message = queue.admit(message).ok_or(Status::BadArgument)?;
        if end != 0 {
            stream.sending = None;
        }
        let spec = state.spec.clone();
        state.host.steer_grpc(&spec, id, GrpcStep::Send(message));
        if end != 0 {
            state.host.steer_grpc(&spec, id, GrpcStep::Close);
        }
        Ok(())
    })())
}

//= proxy-wasm 0.2.1 #proxy_grpc_cancel: nothing of the call is handed over any more.
pub(super) fn grpc_cancel<H: Host>(caller: &mut Caller<'_, State<H>>, id: u32) -> wasmtime::Result<u32> {
    let (_, state) = split(caller);
    answer(known(state, id).map(|_| cancel(state, id)))
}

//= proxy-wasm 0.2.1 #proxy_grpc_close: ends the guest's side of a stream; a call is cancelled.
pub(super) fn grpc_close<H: Host>(caller: &mut Caller<'_, State<H>>, id: u32) -> wasmtime::Result<u32> {
    let (_, state) = split(caller);
    answer(known(state, id).map(|kind| match kind {
        Kind::GrpcStream => {
            let was_open = state.calls.find(id).is_some_and(|stream| stream.sending.take().is_some());
            if was_open {
                let spec = state.spec.clone();
                state.host.steer_grpc(&spec, id, GrpcStep::Close);
            }
        }
        _ => cancel(state, id),
    }))
}

/// Writes the id of a call that was begun; where that cannot be done the call is over.
fn told<H: Host>(memory: &mut [u8], state: &mut State<H>, out_id: u32, id: u32) -> Result<(), Status> {
    write_u32(memory, out_id, id).inspect_err(|_| cancel(state, id))
}

/// The kind of a call that the guest may end.
fn known<H: Host>(state: &mut State<H>, id: u32) -> Result<Kind, Status> {
    let kind = Kind::of(id).filter(|kind| *kind != Kind::Http).ok_or(Status::BadArgument)?;
    state.calls.find(id).map(|_| kind).ok_or(Status::NotFound)
}

fn cancel<H: Host>(state: &mut State<H>, id: u32) {
    if state.calls.end(id, &mut state.contexts) {
        let spec = state.spec.clone();
        state.host.steer_grpc(&spec, id, GrpcStep::Cancel);
    }
    state.calls.forget(id);
}
