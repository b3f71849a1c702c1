//! Everything a filter can ask its host for, once: answered by imports in a .wasm, by the fake natively.
//!
//! Bytes that come back are borrowed for the hook they were asked in; [`Hook`] stands for that time. It never reaches
//! async code: a future that could keep it over an `.await` would read memory that another hook has written.

use std::borrow::Cow;

use crate::error::{Error, Result, Status};

#[cfg(not(target_arch = "wasm32"))]
use crate::testing::fake as raw;
#[cfg(target_arch = "wasm32")]
mod raw {
    pub(crate) use crate::abi::*;
}

/// The running hook, as the lifetime of what the host lends.
#[derive(Debug)]
pub(crate) struct Hook(());

impl Hook {
    /// To be made on the stack of synchronous code only.
    pub(crate) fn running() -> Self {
        Self(())
    }
}

pub(crate) type Lent<'h> = Cow<'h, [u8]>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Map {
    Request = 0,
    Response = 2,
    Callout = 6,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Buffer {
    RequestBody = 0,
    ResponseBody = 1,
    Callout = 4,
    GrpcMessage = 5,
    PluginConfiguration = 7,
    ForeignCall = 8,
}

fn check(call: &'static str, status: u32) -> Result<()> {
    if status == 0 { Ok(()) } else { Err(Error::Host { call, status: Status(status) }) }
}

fn found<'h>(call: &'static str, (status, bytes): (u32, impl Into<Lent<'h>>)) -> Result<Option<Lent<'h>>> {
    match status {
        0 => Ok(Some(bytes.into())),
        1 => Ok(None),
        _ => Err(Error::Host { call, status: Status(status) }),
    }
}

fn given<'h>(call: &'static str, (status, bytes): (u32, impl Into<Lent<'h>>)) -> Result<Lent<'h>> {
    check(call, status).map(|()| bytes.into())
}

pub(crate) fn log(level: u32, text: &str) {
    raw::log(level, text);
}

/// The level below which the host drops lines; everything if it does not say.
pub(crate) fn log_level() -> u32 {
    let mut level = 0;
    if raw::proxy_get_log_level(&mut level) == 0 { level } else { 0 }
}

/// Wall clock in nanoseconds since 1970; 0 if the host has none.
pub(crate) fn now() -> u64 {
    let mut time = 0;
    if raw::proxy_get_current_time_nanoseconds(&mut time) == 0 { time } else { 0 }
}

pub(crate) fn property<'h>(hook: &'h Hook, path: &str) -> Result<Option<Lent<'h>>> {
    found("get_property", raw::property(hook, path))
}

pub(crate) fn set_property(path: &str, value: &[u8]) -> Result<()> {
    check("set_property", raw::set_property(path, value))
}

pub(crate) fn header<'h>(hook: &'h Hook, map: Map, name: &str) -> Result<Option<Lent<'h>>> {
    found("get_header_map_value", raw::header(hook, map as u32, name))
}

pub(crate) fn header_pairs(hook: &Hook, map: Map) -> Result<Lent<'_>> {
    given("get_header_map_pairs", raw::header_pairs(hook, map as u32))
}

pub(crate) fn add_header(map: Map, name: &str, value: &[u8]) -> Result<()> {
    check("add_header_map_value", raw::add_header(map as u32, name, value))
}

pub(crate) fn replace_header(map: Map, name: &str, value: &[u8]) -> Result<()> {
    check("replace_header_map_value", raw::replace_header(map as u32, name, value))
}

pub(crate) fn remove_header(map: Map, name: &str) -> Result<()> {
    check("remove_header_map_value", raw::remove_header(map as u32, name))
}

pub(crate) fn buffer(hook: &Hook, kind: Buffer, start: usize, max: usize) -> Result<Lent<'_>> {
    given("get_buffer_bytes", raw::buffer(hook, kind as u32, start, max))
}

/// Replaces `len` bytes from `start` on; only a start of 0 works in every host.
pub(crate) fn set_buffer(kind: Buffer, start: usize, len: usize, bytes: &[u8]) -> Result<()> {
    check("set_buffer_bytes", raw::set_buffer(kind as u32, start, len, bytes))
}

pub(crate) fn local_response(status: u32, details: &str, body: &[u8], headers: &[u8], grpc: i32) -> Result<()> {
    check("send_local_response", raw::local_response(status, details, body, headers, grpc))
}

pub(crate) fn continue_request() -> Result<()> {
    check("continue_stream", raw::proxy_continue_stream(0))
}

pub(crate) fn continue_response() -> Result<()> {
    check("continue_stream", raw::proxy_continue_stream(1))
}

pub(crate) fn set_effective_context(id: u32) -> Result<()> {
    check("set_effective_context", raw::proxy_set_effective_context(id))
}

pub(crate) fn http_call(upstream: &str, headers: &[u8], body: &[u8], timeout_ms: u32) -> Result<u32> {
    let mut id = 0;
    check("http_call", raw::http_call(upstream, headers, body, timeout_ms, &mut id)).map(|()| id)
}

pub(crate) fn grpc_call(
    cluster: &str,
    service: &str,
    method: &str,
    metadata: &[u8],
    message: &[u8],
    timeout_ms: u32,
) -> Result<u32> {
    let mut id = 0;
    let status = raw::grpc_call(cluster, [service, method], metadata, message, timeout_ms, &mut id);
    check("grpc_call", status).map(|()| id)
}

/// The text of the last callout's status.
pub(crate) fn status_text(hook: &Hook) -> Result<Lent<'_>> {
    given("get_status", raw::status_text(hook))
}

pub(crate) fn set_tick_period(milliseconds: u32) -> Result<()> {
    check("set_tick_period_milliseconds", raw::proxy_set_tick_period_milliseconds(milliseconds))
}

pub(crate) fn shared_data<'h>(hook: &'h Hook, key: &str) -> Result<Option<(Lent<'h>, u32)>> {
    let mut cas = 0;
    let bytes = found("get_shared_data", raw::shared_data(hook, key, &mut cas))?;
    Ok(bytes.map(|bytes| (bytes, cas)))
}

pub(crate) fn set_shared_data(key: &str, value: &[u8], cas: u32) -> Result<()> {
    check("set_shared_data", raw::set_shared_data(key, value, cas))
}

pub(crate) fn define_metric(kind: u32, name: &str) -> Result<u32> {
    let mut id = 0;
    check("define_metric", raw::define_metric(kind, name, &mut id)).map(|()| id)
}

pub(crate) fn increment_metric(id: u32, offset: i64) -> Result<()> {
    check("increment_metric", raw::proxy_increment_metric(id, offset))
}

pub(crate) fn record_metric(id: u32, value: u64) -> Result<()> {
    check("record_metric", raw::proxy_record_metric(id, value))
}

pub(crate) fn metric(id: u32) -> Result<u64> {
    let mut value = 0;
    check("get_metric", raw::proxy_get_metric(id, &mut value)).map(|()| value)
}

/// `None` if the host does not know the function.
pub(crate) fn foreign<'h>(hook: &'h Hook, name: &str, argument: &[u8]) -> Result<Option<Lent<'h>>> {
    found("call_foreign_function", raw::foreign(hook, name, argument))
}
