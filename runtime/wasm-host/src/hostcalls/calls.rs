//! Callouts: the request goes out after the hook, the answer comes back as a hook.

use std::time::Duration;

use wasmtime::Caller;

use super::answer;
use crate::abi::Status;
use crate::context::ContextId;
use crate::host::{Callout, Host};
use crate::memory::{give, slice, split, write_u32};
use crate::pairs;
use crate::state::State;

/// Callouts of one VM that may wait for their answer at the same time, over all exchanges.
const CALLS_PER_VM: usize = 4096;

//= proxy-wasm 0.2.1 #proxy_http_call: ids step by four; the cluster must exist and :method, :path and :authority be
//= given, else "bad argument". The id is written before anything is sent, so a bad pointer sends nothing.
#[expect(clippy::too_many_arguments, reason = "the ABI's own signature")]
pub(super) fn http_call<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    cluster: u32,
    cluster_len: u32,
    headers: u32,
    headers_len: u32,
    body: u32,
    body_len: u32,
    trailers: u32,
    trailers_len: u32,
    timeout: i32,
    out_id: u32,
) -> wasmtime::Result<u32> {
    let (memory, state) = split(caller);
    answer((|| {
        let call = Callout {
            cluster: String::from_utf8_lossy(slice(memory, cluster, cluster_len)?).into_owned(),
            headers: owned(slice(memory, headers, headers_len)?),
            body: slice(memory, body, body_len)?.to_vec(),
            trailers: owned(slice(memory, trailers, trailers_len)?),
            timeout: match timeout {
                0 => None,
                1.. => Some(Duration::from_millis(timeout.unsigned_abs().into())),
                _ => return Err(Status::BadArgument),
            },
        };
        let given = |name: &[u8]| call.headers.iter().any(|(given, value)| given == name && !value.is_empty());
        let complete = given(b":method") && given(b":path") && given(b":authority");
        write_u32(memory, out_id, 0)?;
        if !complete {
            return Err(Status::BadArgument);
        }
        let id = send(state, call)?;
        write_u32(memory, out_id, id)
    })())
}

fn send<H: Host>(state: &mut State<H>, call: Callout) -> Result<u32, Status> {
    let acting = ContextId(state.contexts.acting());
    let limit = state.spec.limits.callouts;
    let stream = match state.contexts.stream_mut(acting) {
        Some(context) if context.callouts >= limit => return Err(Status::InternalFailure),
        Some(context) => Some(context.stream),
        None => None,
    };
    if state.calls.len() >= CALLS_PER_VM {
        return Err(Status::InternalFailure);
    }
    let id = state.next_call.wrapping_add(4).max(4);
    let spec = state.spec.clone();
    state.host.dispatch(&spec, id, stream, call)?;
    state.next_call = id;
    state.calls.push((id, stream.map(|_| acting)));
    if let Some(context) = state.contexts.stream_mut(acting) {
        context.callouts += 1;
    }
    Ok(id)
}

fn owned(serialized: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let pairs = pairs::decode(serialized).unwrap_or_default();
    pairs.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec())).collect()
}

//= proxy-wasm 0.2.1 #proxy_get_status
pub(super) fn status<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    code: u32,
    out: u32,
    out_len: u32,
) -> wasmtime::Result<u32> {
    let (memory, state) = split(caller);
    if let Err(status) = write_u32(memory, code, state.last_status.0) {
        return answer(Err(status));
    }
    let status = give(caller, out, out_len, |_, state, value| {
        value.extend_from_slice(state.last_status.1.as_bytes());
        Ok(())
    })?;
    Ok(status as u32)
}

//= proxy-wasm 0.2.1 #proxy_grpc_call: an unknown service is "parse failure", which SDKs hand to the filter as an
//= error; they trap on "unimplemented". This version offers no gRPC callouts, so every service is unknown.
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
    _timeout: u32,
    _out_id: u32,
) -> wasmtime::Result<u32> {
    let (memory, _) = split(caller);
    let arguments = [
        (service, service_len),
        (name, name_len),
        (method, method_len),
        (metadata, metadata_len),
        (message, message_len),
    ];
    answer(unknown_service(memory, &arguments))
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
    _out_id: u32,
) -> wasmtime::Result<u32> {
    let (memory, _) = split(caller);
    let arguments = [(service, service_len), (name, name_len), (method, method_len), (metadata, metadata_len)];
    answer(unknown_service(memory, &arguments))
}

fn unknown_service(memory: &[u8], arguments: &[(u32, u32)]) -> Result<(), Status> {
    for (ptr, len) in arguments {
        slice(memory, *ptr, *len)?;
    }
    Err(Status::ParseFailure)
}

//= proxy-wasm 0.2.1 #proxy_grpc_send: the low two bits of an id are its kind, 2 is a stream. None is ever open.
pub(super) fn grpc_send<H: Host>(
    _caller: &mut Caller<'_, State<H>>,
    id: u32,
    _message: u32,
    _message_len: u32,
    _end: u32,
) -> wasmtime::Result<u32> {
    answer(Err(if id & 3 == 2 { Status::NotFound } else { Status::BadArgument }))
}

pub(super) fn grpc_cancel<H: Host>(_caller: &mut Caller<'_, State<H>>, id: u32) -> wasmtime::Result<u32> {
    answer(Err(unknown_call(id)))
}

pub(super) fn grpc_close<H: Host>(_caller: &mut Caller<'_, State<H>>, id: u32) -> wasmtime::Result<u32> {
    answer(Err(unknown_call(id)))
}

fn unknown_call(id: u32) -> Status {
    if matches!(id & 3, 1 | 2) { Status::NotFound } else { Status::BadArgument }
}
