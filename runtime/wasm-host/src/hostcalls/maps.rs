//! Header maps and buffers.

use wasmtime::Caller;

use super::answer;
use crate::abi::{BufferType, Direction, LogLevel, MapType, Status};
use crate::context::Open;
use crate::host::{Headers, Host};
use crate::memory::{give, slice, split, write_u32};
use crate::pairs;
use crate::state::{Delivery, State};

/// Where a map was found.
enum Map<'a> {
    Stream(&'a mut dyn Headers),
    /// The answer to a callout: may be read only.
    Callout(&'a [(Vec<u8>, Vec<u8>)]),
}

/// Finds the map that a call acts on; `None` when the acting context may not see it now, or there is none.
fn find<H: Host>(state: &mut State<H>, map: MapType) -> Option<Map<'_>> {
    if let Some(part) = Open::of_map(map) {
        let context = state.contexts.acting_stream()?;
        if !context.open.has(part) {
            return None;
        }
        let stream = context.stream;
        return state.host.stream(stream)?.headers(map).map(Map::Stream);
    }
    match (&state.delivery, map) {
        (Delivery::Callout(answer), MapType::CalloutHeaders) => Some(Map::Callout(&answer.headers)),
        (Delivery::Callout(answer), MapType::CalloutTrailers) if !answer.trailers.is_empty() => {
            Some(Map::Callout(&answer.trailers))
        }
        (Delivery::GrpcInitial(metadata), MapType::GrpcInitialMetadata)
        | (Delivery::GrpcTrailing(metadata), MapType::GrpcTrailingMetadata) => Some(Map::Callout(metadata)),
        _ => None,
    }
}

/// Finds a map that may be changed, which none is in `on_log`: the message has gone.
fn find_mut<H: Host>(state: &mut State<H>, map: u32) -> Result<&mut dyn Headers, Status> {
    let map = MapType::from_abi(map).ok_or(Status::BadArgument)?;
    if is_logging(state) {
        return Err(Status::BadArgument);
    }
    match find(state, map) {
        Some(Map::Stream(headers)) => Ok(headers),
        Some(Map::Callout(_)) | None => Err(Status::BadArgument),
    }
}

fn is_logging<H: Host>(state: &mut State<H>) -> bool {
    state.contexts.acting_stream().is_some_and(|context| context.open.is_log())
}

//= proxy-wasm 0.2.1 #proxy_get_header_map_pairs: an unavailable map is an empty one.
pub(super) fn pairs<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    map: u32,
    out: u32,
    out_len: u32,
) -> wasmtime::Result<u32> {
    let Some(map) = MapType::from_abi(map) else { return answer(Err(Status::BadArgument)) };
    let status = give(caller, out, out_len, |_, state, value| {
        match find(state, map) {
            Some(Map::Stream(headers)) => pairs::encode(headers, value),
            Some(Map::Callout(list)) => pairs::encode_list(list, value),
            None => {}
        }
        Ok(())
    })?;
    Ok(status as u32)
}

//= proxy-wasm 0.2.1 #proxy_set_header_map_pairs: a malformed map is taken as an empty one, as in Envoy.
pub(super) fn set_pairs<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    map: u32,
    ptr: u32,
    len: u32,
) -> wasmtime::Result<u32> {
    let (memory, state) = split(caller);
    answer(slice(memory, ptr, len).and_then(|bytes| {
        let headers = find_mut(state, map)?;
        headers.replace_all(&pairs::decode(bytes).unwrap_or_default());
        Ok(())
    }))
}

//= proxy-wasm 0.2.1 #proxy_get_header_map_value: the first value of the name; an unavailable map is "bad argument",
//= but "not found" in `on_log`, where filters ask without knowing what the exchange had.
pub(super) fn value<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    map: u32,
    key: u32,
    key_len: u32,
    out: u32,
    out_len: u32,
) -> wasmtime::Result<u32> {
    read_value(caller, map, (key, key_len), (out, out_len), false)
}

/// ABI 0.1.0: a missing header is an empty value.
pub(super) fn value_or_empty<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    map: u32,
    key: u32,
    key_len: u32,
    out: u32,
    out_len: u32,
) -> wasmtime::Result<u32> {
    read_value(caller, map, (key, key_len), (out, out_len), true)
}

fn read_value<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    map: u32,
    key: (u32, u32),
    out: (u32, u32),
    missing_is_empty: bool,
) -> wasmtime::Result<u32> {
    let Some(map) = MapType::from_abi(map) else { return answer(Err(Status::BadArgument)) };
    let status = give(caller, out.0, out.1, |memory, state, value| {
        let key = slice(memory, key.0, key.1)?;
        let logging = is_logging(state);
        let found = match find(state, map) {
            Some(Map::Stream(headers)) => headers.first(key),
            Some(Map::Callout(list)) => {
                list.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, found)| found.as_slice())
            }
            None if logging => None,
            None => return Err(Status::BadArgument),
        };
        match found {
            Some(found) => value.extend_from_slice(found),
            None if missing_is_empty => {}
            None => return Err(Status::NotFound),
        }
        Ok(())
    })?;
    Ok(status as u32)
}

pub(super) fn add<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    map: u32,
    key: u32,
    key_len: u32,
    value: u32,
    value_len: u32,
) -> wasmtime::Result<u32> {
    let (memory, state) = split(caller);
    answer(change(memory, state, map, (key, key_len), (value, value_len), |map, key, value| map.add(key, value)))
}

pub(super) fn replace<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    map: u32,
    key: u32,
    key_len: u32,
    value: u32,
    value_len: u32,
) -> wasmtime::Result<u32> {
    let (memory, state) = split(caller);
    answer(change(memory, state, map, (key, key_len), (value, value_len), |map, key, value| map.replace(key, value)))
}

fn change<H: Host>(
    memory: &[u8],
    state: &mut State<H>,
    map: u32,
    key: (u32, u32),
    value: (u32, u32),
    apply: impl FnOnce(&mut dyn Headers, &[u8], &[u8]),
) -> Result<(), Status> {
    let key = slice(memory, key.0, key.1)?;
    let value = slice(memory, value.0, value.1)?;
    apply(find_mut(state, map)?, key, value);
    Ok(())
}

pub(super) fn remove<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    map: u32,
    key: u32,
    key_len: u32,
) -> wasmtime::Result<u32> {
    let (memory, state) = split(caller);
    answer(slice(memory, key, key_len).and_then(|key| {
        find_mut(state, map)?.remove(key);
        Ok(())
    }))
}

//= proxy-wasm 0.2.1 #proxy_get_header_map_size: bytes of names and values, as Envoy counts them.
pub(super) fn size<H: Host>(caller: &mut Caller<'_, State<H>>, map: u32, out: u32) -> wasmtime::Result<u32> {
    let (memory, state) = split(caller);
    answer(find_mut(state, map).map(|headers| headers.byte_size()).and_then(|size| write_u32(memory, out, size as u32)))
}

//= proxy-wasm 0.2.1 #proxy_get_buffer_bytes
pub(super) fn buffer_bytes<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    buffer: u32,
    start: u32,
    len: u32,
    out: u32,
    out_len: u32,
) -> wasmtime::Result<u32> {
    let Some(buffer) = BufferType::from_abi(buffer) else { return answer(Err(Status::BadArgument)) };
    let status = give(caller, out, out_len, |_, state, value| {
        let bytes = buffer_of(state, buffer)?;
        let start = (start as usize).min(bytes.len());
        let end = start.saturating_add(len as usize).min(bytes.len());
        value.extend_from_slice(bytes.get(start..end).unwrap_or_default());
        Ok(())
    })?;
    Ok(status as u32)
}

pub(super) fn buffer_status<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    buffer: u32,
    out_len: u32,
    out_flags: u32,
) -> wasmtime::Result<u32> {
    let (memory, state) = split(caller);
    answer(BufferType::from_abi(buffer).ok_or(Status::BadArgument).and_then(|buffer| {
        let len = buffer_of(state, buffer)?.len();
        write_u32(memory, out_len, len as u32)?;
        write_u32(memory, out_flags, 0)
    }))
}

/// A body outside its phase is empty, and so are a gRPC message outside its hook and what this host never fills (TCP
/// data). The VM's configuration is always there; the plugin's, a callout's body and foreign data are "not found" outside their hook.
fn buffer_of<H: Host>(state: &mut State<H>, buffer: BufferType) -> Result<&[u8], Status> {
    let direction = match (buffer, &state.delivery) {
        (BufferType::RequestBody, _) => Direction::Request,
        (BufferType::ResponseBody, _) => Direction::Response,
        (BufferType::VmConfiguration, _) => return Ok(&state.spec.vm_configuration),
        (BufferType::DownstreamData | BufferType::UpstreamData, _) => return Ok(&[]),
        (BufferType::GrpcMessage, _) => {
            return match &state.delivery {
                Delivery::GrpcMessage(message) => Ok(message),
                _ => Ok(&[]),
            };
        }
        (BufferType::PluginConfiguration, Delivery::PluginConfiguration) => {
            return Ok(state.spec.configuration.as_deref().unwrap_or_default());
        }
        (BufferType::CalloutBody, Delivery::Callout(_)) | (BufferType::ForeignData, Delivery::Foreign(_)) => {
            return match &state.delivery {
                Delivery::Callout(answer) => Ok(&answer.body),
                Delivery::Foreign(data) => Ok(data),
                _ => Err(Status::NotFound),
            };
        }
        _ => return Err(Status::NotFound),
    };
    Ok(body_of(state, direction).map(|body| body.as_slice()).unwrap_or_default())
}

fn body_of<H: Host>(state: &mut State<H>, direction: Direction) -> Option<&mut Vec<u8>> {
    let context = state.contexts.acting_stream()?;
    let part = body_part(direction);
    let (stream, open) = (context.stream, context.open);
    open.has(part).then_some(())?;
    state.host.stream(stream)?.body(direction)
}

fn body_part(direction: Direction) -> Open {
    match direction {
        Direction::Request => Open::REQUEST_BODY,
        Direction::Response => Open::RESPONSE_BODY,
    }
}

//= proxy-wasm 0.2.1 #proxy_set_buffer_bytes: start 0 replaces the first `len` bytes, start at or behind the end
//= appends; a start in the middle is "bad argument", as in Envoy, and so is a body that was not there yet. One that has
//= left is gone: SDKs would trap on any other answer. Over `limits.body` the exchange ends.
pub(super) fn set_buffer<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    buffer: u32,
    start: u32,
    len: u32,
    ptr: u32,
    ptr_len: u32,
) -> wasmtime::Result<u32> {
    let (memory, state) = split(caller);
    answer(slice(memory, ptr, ptr_len).and_then(|data| {
        let direction = match BufferType::from_abi(buffer) {
            Some(BufferType::RequestBody) => Direction::Request,
            Some(BufferType::ResponseBody) => Direction::Response,
            Some(BufferType::ForeignData) => return Err(Status::BadArgument),
            // What is not there is "not found"; everything else may only be read.
            Some(other) => return buffer_of(state, other).and(Err(Status::BadArgument)),
            None => return Err(Status::BadArgument),
        };
        let limit = state.spec.limits.body;
        let was_shown = state.contexts.acting_stream().is_some_and(|context| context.shown.has(body_part(direction)));
        let Some(body) = body_of(state, direction) else {
            return if was_shown { Ok(()) } else { Err(Status::BadArgument) };
        };
        let start = start as usize;
        let replaced = match start {
            0 => (len as usize).min(body.len()),
            start if start >= body.len() => 0,
            _ => return Err(Status::BadArgument),
        };
        if body.len() - replaced + data.len() > limit.max(body.len()) {
            // SDKs trap on any other answer, and a quota must not cost a VM.
            overflow(state);
        } else if start == 0 {
            body.splice(..replaced, data.iter().copied());
        } else {
            body.extend_from_slice(data);
        }
        Ok(())
    }))
}

fn overflow<H: Host>(state: &mut State<H>) {
    let Some(key) = state.contexts.acting_stream().map(|context| context.stream) else { return };
    let text = format!("made more than {} bytes of a body, its limit: the exchange ends", state.spec.limits.body);
    state.host.log(&state.spec, Some(key), LogLevel::Warn, text.as_bytes());
    if let Some(stream) = state.host.stream(key) {
        stream.overflow();
    }
}
