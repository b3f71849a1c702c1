//! What a guest does with its exchange: properties, local responses, continue, close, effective context.

use wasmtime::Caller;

use super::answer;
use crate::abi::{Direction, LogLevel, Status};
use crate::context::{Open, ROOT, StreamContext};
use crate::host::{ForeignCall, Host, LocalReply};
use crate::memory::{give, slice, split};
use crate::state::State;
use crate::{limits, pairs};

//= proxy-wasm 0.2.1 #proxy_get_property: a path is segments joined by NUL.
pub(super) fn property<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    path: u32,
    path_len: u32,
    out: u32,
    out_len: u32,
) -> wasmtime::Result<u32> {
    let status = give(caller, out, out_len, |memory, state, value| {
        let path = slice(memory, path, path_len)?;
        if path.is_empty() {
            return Err(Status::SerializationFailure);
        }
        // A NUL alone names the property whose name is empty.
        match read_property(state, path.strip_suffix(b"\0").unwrap_or(path), value) {
            Status::Ok => Ok(()),
            status => Err(status),
        }
    })?;
    Ok(status as u32)
}

fn read_property<H: Host>(state: &mut State<H>, path: &[u8], value: &mut Vec<u8>) -> Status {
    let spec = match path {
        b"plugin_name" => Some(&state.spec.plugin),
        b"plugin_root_id" => Some(&state.spec.root_id),
        b"plugin_vm_id" => Some(&state.spec.vm_id),
        _ => None,
    };
    if let Some(text) = spec {
        value.extend_from_slice(text.as_bytes());
        return Status::Ok;
    }
    if let Some(context) = state.contexts.acting_stream() {
        let (key, open) = (context.stream, context.open);
        if let Some(stream) = state.host.stream(key) {
            match stream.property(path, open, value) {
                Status::NotFound => {}
                status => return status,
            }
        }
    }
    let spec = state.spec.clone();
    state.host.property(&spec, path, value)
}

pub(super) fn set_property<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    path: u32,
    path_len: u32,
    value: u32,
    value_len: u32,
) -> wasmtime::Result<u32> {
    let (memory, state) = split(caller);
    answer(slice(memory, path, path_len).and_then(|path| {
        let value = slice(memory, value, value_len)?;
        let key = state.contexts.acting_stream().ok_or(Status::NotFound)?.stream;
        if path.starts_with(b"sidegate.") && !state.spec.may_steer() {
            return Err(Status::InternalFailure);
        }
        if value.len() > limits::PROPERTY_BYTES {
            // SDKs trap on any other answer, and a quota must not cost a VM.
            let text =
                format!("a property of {} bytes was dropped: the limit is {}", value.len(), limits::PROPERTY_BYTES);
            state.host.log(&state.spec, Some(key), LogLevel::Warn, text.as_bytes());
            return Ok(());
        }
        match state.host.set_property(&mut state.kept, key, path, value) {
            Status::Ok => Ok(()),
            status => Err(status),
        }
    }))
}

//= proxy-wasm 0.2.1 #proxy_send_local_response. In on_log, on_done and on_delete it does nothing.
#[expect(clippy::too_many_arguments, reason = "the ABI's own signature")]
pub(super) fn local_response<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    status: u32,
    details: u32,
    details_len: u32,
    body: u32,
    body_len: u32,
    headers: u32,
    headers_len: u32,
    grpc_status: i32,
) -> wasmtime::Result<u32> {
    let (memory, state) = split(caller);
    answer((|| {
        let details = slice(memory, details, details_len)?;
        let body = slice(memory, body, body_len)?;
        let headers = slice(memory, headers, headers_len)?;
        let Some(context) = living_stream(state) else { return Ok(()) };
        context.marks.replied = true;
        let key = context.stream;
        if body.len() > state.spec.limits.body {
            let text = format!("a local reply of {} bytes was dropped: 502 is sent", body.len());
            state.host.log(&state.spec, Some(key), LogLevel::Warn, text.as_bytes());
            if let Some(stream) = state.host.stream(key) {
                let details = "local_reply_too_large".to_owned();
                stream.local_reply(LocalReply { status: 502, details, grpc_status: -1, ..LocalReply::default() });
            }
            return Ok(());
        }
        let details = details.get(..limits::DETAILS_BYTES).unwrap_or(details);
        let headers = pairs::decode(headers).unwrap_or_default();
        let reply = LocalReply {
            status,
            details: String::from_utf8_lossy(details).replace(|c: char| c == ' ' || c.is_control(), "_"),
            headers: headers.into_iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
            body: body.to_vec(),
            grpc_status,
            replaces: state.contexts.acting() != state.contexts.current,
        };
        if let Some(stream) = state.host.stream(key) {
            stream.local_reply(reply);
        }
        Ok(())
    })())
}

pub(super) fn continue_request<H: Host>(caller: &mut Caller<'_, State<H>>) -> wasmtime::Result<u32> {
    let state = caller.data_mut();
    answer(resume(state, Direction::Request))
}

pub(super) fn continue_response<H: Host>(caller: &mut Caller<'_, State<H>>) -> wasmtime::Result<u32> {
    let state = caller.data_mut();
    answer(resume(state, Direction::Response))
}

//= proxy-wasm 0.2.1 #proxy_continue_stream: 0 request, 1 response, 2 and 3 are for TCP.
pub(super) fn continue_stream<H: Host>(caller: &mut Caller<'_, State<H>>, stream: u32) -> wasmtime::Result<u32> {
    let state = caller.data_mut();
    answer(match stream {
        0 => resume(state, Direction::Request),
        1 => resume(state, Direction::Response),
        2 => Ok(()),
        3 => Err(Status::Unimplemented),
        _ => Err(Status::BadArgument),
    })
}

/// The stream that a call acts on, unless it is the one whose end the running hook reports: there is nothing left to
/// answer, resume or reset then.
fn living_stream<H: Host>(state: &mut State<H>) -> Option<&mut StreamContext> {
    if state.hook.ends_stream() && state.contexts.acting() == state.contexts.current {
        return None;
    }
    state.contexts.acting_stream()
}

fn resume<H: Host>(state: &mut State<H>, direction: Direction) -> Result<(), Status> {
    let Some(context) = living_stream(state) else { return Ok(()) };
    let key = context.stream;
    match direction {
        Direction::Request => {
            // The head of a request is closed at once, all else when the message goes on, as in Envoy.
            context.open.remove(Open::REQUEST_HEADERS);
            context.marks.resumed_request = true;
        }
        Direction::Response => context.marks.resumed_response = true,
    }
    if let Some(stream) = state.host.stream(key) {
        stream.resume(direction);
    }
    Ok(())
}

//= proxy-wasm 0.2.1 #proxy_close_stream: 0 request, 1 response; 2 and 3 are for TCP.
pub(super) fn close_stream<H: Host>(caller: &mut Caller<'_, State<H>>, stream: u32) -> wasmtime::Result<u32> {
    let state = caller.data_mut();
    if stream > 1 {
        return answer(if stream > 3 { Err(Status::BadArgument) } else { Ok(()) });
    }
    let key = living_stream(state).map(|context| context.stream);
    if let Some(stream) = key.and_then(|key| state.host.stream(key)) {
        stream.close();
    }
    answer(Ok(()))
}

/// ABI 0.1.0; later versions use the foreign function of this name. Without a stream there is nothing to clear.
pub(super) fn clear_route_cache<H: Host>(caller: &mut Caller<'_, State<H>>) -> wasmtime::Result<u32> {
    let state = caller.data_mut();
    let stream = state.contexts.acting_stream().map(|context| (context.stream, context.open));
    let State { host, spec, kept, .. } = state;
    let call = ForeignCall { spec, stream, kept, name: "clear_route_cache", argument: &[] };
    let status = host.foreign(call, &mut Vec::new()).unwrap_or(Status::NotFound);
    answer(if stream.is_none() || status == Status::Ok { Ok(()) } else { Err(Status::NotFound) })
}

//= proxy-wasm 0.2.1 #proxy_set_effective_context: 0 goes back to the current one, an unknown id is "bad argument".
pub(super) fn set_effective_context<H: Host>(caller: &mut Caller<'_, State<H>>, id: u32) -> wasmtime::Result<u32> {
    let state = caller.data_mut();
    if id != 0 && !state.contexts.knows(id) {
        return answer(Err(Status::BadArgument));
    }
    state.contexts.effective = id;
    answer(Ok(()))
}

//= proxy-wasm 0.2.1 #proxy_done: only a root that was asked to finish can be done.
pub(super) fn done<H: Host>(caller: &mut Caller<'_, State<H>>) -> wasmtime::Result<u32> {
    let state = caller.data_mut();
    if !state.root_pending_done || state.contexts.acting() != ROOT.0 {
        return answer(Err(Status::NotFound));
    }
    state.root_pending_done = false;
    state.root_done = true;
    answer(Ok(()))
}
