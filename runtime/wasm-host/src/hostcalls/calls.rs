//! Callouts: the request goes out after the hook, the answer comes back as a hook.

use std::time::Duration;

use wasmtime::Caller;

use super::answer;
use crate::abi::Status;
use crate::calls::Kind;
use crate::context::ContextId;
use crate::host::{Callout, Host, StreamKey};
use crate::memory::{give, name, slice, split, write_u32};
use crate::pairs;
use crate::state::State;
use crate::vm::VmSpec;

//= proxy-wasm 0.2.1 #proxy_http_call: ids step by four; the cluster must exist and :method, :path and :authority (or
//= host) be given, else "bad argument". The id is written before anything is sent, so a bad pointer sends nothing.
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
            cluster: name(memory, cluster, cluster_len, Status::BadArgument)?.into_owned(),
            headers: owned(slice(memory, headers, headers_len)?),
            body: slice(memory, body, body_len)?.to_vec(),
            trailers: owned(slice(memory, trailers, trailers_len)?),
            timeout: match timeout {
                0 => None,
                1.. => Some(Duration::from_millis(timeout.unsigned_abs().into())),
                _ => return Err(Status::BadArgument),
            },
        };
        let given = |name: &[u8]| call.headers.iter().any(|(given, _)| given == name);
        let complete = given(b":method") && given(b":path") && (given(b":authority") || given(b"host"));
        write_u32(memory, out_id, 0)?;
        if !complete {
            return Err(Status::BadArgument);
        }
        let bytes = call.body.len() + size(&call.headers) + size(&call.trailers);
        let id = start(state, Kind::Http, bytes, |host, spec, id, stream| host.dispatch(spec, id, stream, call))?;
        write_u32(memory, out_id, id)
    })())
}

/// Starts a callout that holds so many bytes, within the quotas; `dispatch` hands it to the proxy under its id.
pub(super) fn start<H: Host>(
    state: &mut State<H>,
    kind: Kind,
    bytes: usize,
    dispatch: impl FnOnce(&mut H, &VmSpec, u32, Option<StreamKey>) -> Result<(), Status>,
) -> Result<u32, Status> {
    let acting = ContextId(state.contexts.acting());
    if !state.calls.has_room(bytes) {
        return Err(Status::InternalFailure);
    }
    let context = state.contexts.stream_mut(acting).map(|context| (context.stream, context.callouts));
    let id = state.calls.admit(kind, context.map(|(_, callouts)| callouts), state.spec.limits.callouts)?;
    let spec = state.spec.clone();
    dispatch(&mut state.host, &spec, id, context.map(|(stream, _)| stream))?;
    state.calls.begin(id, context.map(|_| acting), &mut state.contexts);
    state.calls.hold(id, bytes);
    Ok(id)
}

/// Bytes of names and values.
pub(super) fn size(fields: &[(Vec<u8>, Vec<u8>)]) -> usize {
    fields.iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// A serialized map with names in lower case; a malformed one is empty.
pub(super) fn owned(serialized: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
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
