//! The Proxy-Wasm ABI 0.2.1 as wasm sees it: imports, and the memory the host writes its answers into.
//!
//! This is the only file with `unsafe` in the SDK. Two facts carry it: a guest has one thread, and bytes that the host
//! wrote stay where they are until the outermost hook ends ([`enter`] is the only place that lets them go).
#![allow(unsafe_code, reason = "imports and the memory shared with the host cannot be reached without")]

use std::cell::{Cell, UnsafeCell};

use crate::host::Hook;

/// Where a Sidegate host writes returned strings without calling back; reset by the host at every hook.
const SCRATCH_SIZE: usize = 16 * 1024;
/// What is handed out to hosts that ask `proxy_on_memory_allocate`; larger answers come from the heap.
const ARENA_SIZE: usize = 8 * 1024;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    pub(crate) safe fn proxy_get_log_level(level: &mut u32) -> u32;
    pub(crate) safe fn proxy_get_current_time_nanoseconds(time: &mut u64) -> u32;
    pub(crate) safe fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    pub(crate) safe fn proxy_set_effective_context(id: u32) -> u32;
    pub(crate) safe fn proxy_continue_stream(kind: u32) -> u32;
    pub(crate) safe fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    pub(crate) safe fn proxy_record_metric(id: u32, value: u64) -> u32;
    pub(crate) safe fn proxy_get_metric(id: u32, value: &mut u64) -> u32;

    fn proxy_log(level: u32, text: *const u8, len: usize) -> u32;
    fn proxy_get_property(path: *const u8, len: usize, out: *mut *const u8, out_len: *mut usize) -> u32;
    fn proxy_set_property(path: *const u8, len: usize, value: *const u8, value_len: usize) -> u32;
    fn proxy_get_header_map_value(
        map: u32,
        name: *const u8,
        len: usize,
        out: *mut *const u8,
        out_len: *mut usize,
    ) -> u32;
    fn proxy_get_header_map_pairs(map: u32, out: *mut *const u8, out_len: *mut usize) -> u32;
    fn proxy_add_header_map_value(map: u32, name: *const u8, len: usize, value: *const u8, value_len: usize) -> u32;
    fn proxy_replace_header_map_value(map: u32, name: *const u8, len: usize, value: *const u8, value_len: usize)
    -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, len: usize) -> u32;
    fn proxy_get_buffer_bytes(kind: u32, start: usize, len: usize, out: *mut *const u8, out_len: *mut usize) -> u32;
    fn proxy_set_buffer_bytes(kind: u32, start: usize, len: usize, bytes: *const u8, bytes_len: usize) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_len: usize,
        body: *const u8,
        body_len: usize,
        headers: *const u8,
        headers_len: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_http_call(
        upstream: *const u8,
        upstream_len: usize,
        headers: *const u8,
        headers_len: usize,
        body: *const u8,
        body_len: usize,
        trailers: *const u8,
        trailers_len: usize,
        timeout_ms: u32,
        id: *mut u32,
    ) -> u32;
    fn proxy_grpc_call(
        upstream: *const u8,
        upstream_len: usize,
        service: *const u8,
        service_len: usize,
        method: *const u8,
        method_len: usize,
        metadata: *const u8,
        metadata_len: usize,
        message: *const u8,
        message_len: usize,
        timeout_ms: u32,
        id: *mut u32,
    ) -> u32;
    fn proxy_get_status(code: *mut u32, out: *mut *const u8, out_len: *mut usize) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        len: usize,
        out: *mut *const u8,
        out_len: *mut usize,
        cas: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(key: *const u8, len: usize, value: *const u8, value_len: usize, cas: u32) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, len: usize, id: *mut u32) -> u32;
    fn proxy_call_foreign_function(
        name: *const u8,
        len: usize,
        argument: *const u8,
        argument_len: usize,
        out: *mut *const u8,
        out_len: *mut usize,
    ) -> u32;
}

unsafe extern "C" {
    fn __wasm_call_ctors();
}

// === calls with bytes in ===

pub(crate) fn log(level: u32, text: &str) {
    // SAFETY: the host only reads the text, within its length.
    unsafe { proxy_log(level, text.as_ptr(), text.len()) };
}

pub(crate) fn set_property(path: &str, value: &[u8]) -> u32 {
    // SAFETY: the host only reads both, within their lengths.
    unsafe { proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) }
}

pub(crate) fn add_header(map: u32, name: &str, value: &[u8]) -> u32 {
    // SAFETY: the host only reads both, within their lengths.
    unsafe { proxy_add_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len()) }
}

pub(crate) fn replace_header(map: u32, name: &str, value: &[u8]) -> u32 {
    // SAFETY: the host only reads both, within their lengths.
    unsafe { proxy_replace_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len()) }
}

pub(crate) fn remove_header(map: u32, name: &str) -> u32 {
    // SAFETY: the host only reads the name, within its length.
    unsafe { proxy_remove_header_map_value(map, name.as_ptr(), name.len()) }
}

pub(crate) fn set_buffer(kind: u32, start: usize, len: usize, bytes: &[u8]) -> u32 {
    // SAFETY: the host only reads the bytes, within their length.
    unsafe { proxy_set_buffer_bytes(kind, start, len, bytes.as_ptr(), bytes.len()) }
}

pub(crate) fn local_response(status: u32, details: &str, body: &[u8], headers: &[u8], grpc_status: i32) -> u32 {
    // SAFETY: the host only reads the four, within their lengths.
    unsafe {
        proxy_send_local_response(
            status,
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            grpc_status,
        )
    }
}

pub(crate) fn http_call(upstream: &str, headers: &[u8], body: &[u8], timeout_ms: u32, id: &mut u32) -> u32 {
    let none: &[u8] = &[0, 0, 0, 0];
    // SAFETY: the host reads the four within their lengths and writes one u32 to `id`.
    unsafe {
        proxy_http_call(
            upstream.as_ptr(),
            upstream.len(),
            headers.as_ptr(),
            headers.len(),
            body.as_ptr(),
            body.len(),
            none.as_ptr(),
            none.len(),
            timeout_ms,
            id,
        )
    }
}

pub(crate) fn grpc_call(
    upstream: &str,
    [service, method]: [&str; 2],
    metadata: &[u8],
    message: &[u8],
    timeout_ms: u32,
    id: &mut u32,
) -> u32 {
    // SAFETY: the host reads the five within their lengths and writes one u32 to `id`.
    unsafe {
        proxy_grpc_call(
            upstream.as_ptr(),
            upstream.len(),
            service.as_ptr(),
            service.len(),
            method.as_ptr(),
            method.len(),
            metadata.as_ptr(),
            metadata.len(),
            message.as_ptr(),
            message.len(),
            timeout_ms,
            id,
        )
    }
}

pub(crate) fn set_shared_data(key: &str, value: &[u8], cas: u32) -> u32 {
    // SAFETY: the host only reads both, within their lengths.
    unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas) }
}

pub(crate) fn define_metric(kind: u32, name: &str, id: &mut u32) -> u32 {
    // SAFETY: the host reads the name within its length and writes one u32 to `id`.
    unsafe { proxy_define_metric(kind, name.as_ptr(), name.len(), id) }
}

// === calls with bytes out ===

pub(crate) fn property<'h>(hook: &'h Hook, path: &str) -> (u32, &'h [u8]) {
    // SAFETY: the host reads the path within its length; `lent` hands it two places for its answer.
    lent(hook, |out, len| unsafe { proxy_get_property(path.as_ptr(), path.len(), out, len) })
}

pub(crate) fn header<'h>(hook: &'h Hook, map: u32, name: &str) -> (u32, &'h [u8]) {
    // SAFETY: as `property`.
    lent(hook, |out, len| unsafe { proxy_get_header_map_value(map, name.as_ptr(), name.len(), out, len) })
}

pub(crate) fn header_pairs(hook: &Hook, map: u32) -> (u32, &[u8]) {
    // SAFETY: as `property`.
    lent(hook, |out, len| unsafe { proxy_get_header_map_pairs(map, out, len) })
}

pub(crate) fn buffer(hook: &Hook, kind: u32, start: usize, max: usize) -> (u32, &[u8]) {
    // SAFETY: as `property`.
    lent(hook, |out, len| unsafe { proxy_get_buffer_bytes(kind, start, max, out, len) })
}

pub(crate) fn status_text(hook: &Hook) -> (u32, &[u8]) {
    let mut code = 0;
    // SAFETY: as `property`; `code` takes one u32.
    lent(hook, |out, len| unsafe { proxy_get_status(&raw mut code, out, len) })
}

pub(crate) fn shared_data<'h>(hook: &'h Hook, key: &str, cas: &mut u32) -> (u32, &'h [u8]) {
    // SAFETY: as `property`; `cas` takes one u32.
    lent(hook, |out, len| unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), out, len, cas) })
}

pub(crate) fn foreign<'h>(hook: &'h Hook, name: &str, argument: &[u8]) -> (u32, &'h [u8]) {
    // SAFETY: as `property`; the argument is read within its length.
    lent(hook, |out, len| unsafe {
        proxy_call_foreign_function(name.as_ptr(), name.len(), argument.as_ptr(), argument.len(), out, len)
    })
}

fn lent(_: &Hook, call: impl FnOnce(*mut *const u8, *mut usize) -> u32) -> (u32, &[u8]) {
    let (mut start, mut len) = (std::ptr::null(), 0);
    let status = call(&raw mut start, &raw mut len);
    if status != 0 || len == 0 || start.is_null() {
        return (status, &[]);
    }
    // SAFETY: the host filled `len` bytes that it had from `allocate` or the scratch area. Both keep them until the
    // outermost hook ends, and a `Hook` cannot be carried out of it.
    (status, unsafe { std::slice::from_raw_parts(start, len) })
}

// === memory lent to the host ===

#[repr(align(8))]
struct Area<const N: usize>(UnsafeCell<[u8; N]>);

/// What is known about memory lent to the host.
struct Loans {
    /// Bytes of the arena that are handed out.
    used: Cell<usize>,
    /// Answers too large for the arena, dropped when the next hook begins.
    large: UnsafeCell<Vec<Vec<u8>>>,
    /// Hooks inside hooks.
    depth: Cell<u32>,
}

// SAFETY: a wasm32-wasip1 guest has one thread.
unsafe impl<const N: usize> Sync for Area<N> {}
// SAFETY: as above.
unsafe impl Sync for Loans {}

// Apart from the loans, so that they are zeros that take no room in the module.
static SCRATCH: Area<SCRATCH_SIZE> = Area(UnsafeCell::new([0; SCRATCH_SIZE]));
static ARENA: Area<ARENA_SIZE> = Area(UnsafeCell::new([0; ARENA_SIZE]));
static LOANS: Loans = Loans { used: Cell::new(0), large: UnsafeCell::new(Vec::new()), depth: Cell::new(0) };

/// Runs static constructors. Because the SDK calls them itself, wasm-ld wraps no export with them.
pub(crate) fn initialize() {
    // SAFETY: called once, by `_initialize`, before anything else.
    unsafe { __wasm_call_ctors() };
}

/// Begins a hook: what earlier hooks were lent is let go. A hook inside a hook keeps everything.
pub(crate) fn enter() {
    if LOANS.depth.get() == 0 {
        LOANS.used.set(0);
        // SAFETY: no hook runs, so nothing borrowed from these buffers is left.
        unsafe { (*LOANS.large.get()).clear() };
    }
    LOANS.depth.set(LOANS.depth.get().saturating_add(1));
}

/// Ends a hook.
pub(crate) fn leave() {
    LOANS.depth.set(LOANS.depth.get().saturating_sub(1));
}

/// Answers `proxy_on_memory_allocate`: 8-byte aligned, valid until the hook ends.
pub(crate) fn allocate(size: usize) -> *mut u8 {
    let used = LOANS.used.get();
    if size <= ARENA_SIZE - used {
        LOANS.used.set((used + size + 7) & !7);
        // SAFETY: `used + size` lies within the arena, and no reference to the whole arena exists.
        return unsafe { ARENA.0.get().cast::<u8>().add(used) };
    }
    let mut bytes = Vec::with_capacity(size);
    let start = bytes.as_mut_ptr();
    // SAFETY: nothing else refers to the list while the host is inside this call; moving a Vec leaves its bytes.
    unsafe { (*LOANS.large.get()).push(bytes) };
    start
}

/// Where the scratch area begins.
pub(crate) fn scratch_begin() -> *mut u8 {
    SCRATCH.0.get().cast()
}

/// How large the scratch area is.
pub(crate) fn scratch_size() -> usize {
    SCRATCH_SIZE
}
