//! What the exports made by `#[filter]` call. Everything here is safe; the exports only have the names.

use std::cell::Cell;

use crate::abi;
use crate::dispatch::{self, Hooks};
use crate::filter::Filter;
use crate::host;
use crate::log::Level;
use crate::settle::CONTINUE;

thread_local! {
    static HOOKS: Cell<Option<&'static dyn Hooks>> = const { Cell::new(None) };
}

/// `_initialize`.
pub fn initialize<F: Filter>() {
    abi::initialize();
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or("no message");
        match panic.location() {
            Some(place) => host::log(
                Level::Critical as u32,
                &format!("panicked at {}:{}:{}: {text}", place.file(), place.line(), place.column()),
            ),
            None => host::log(Level::Critical as u32, &format!("panicked: {text}")),
        }
    }));
    HOOKS.with(|hooks| hooks.set(Some(Box::leak(dispatch::hooks::<F>()))));
}

/// Runs one hook. Nothing of an earlier hook is borrowed any more when it begins.
fn hook<R>(otherwise: R, run: impl FnOnce(&dyn Hooks) -> R) -> R {
    abi::enter();
    let answer = match HOOKS.with(Cell::get) {
        Some(hooks) => run(hooks),
        None => otherwise,
    };
    abi::leave();
    answer
}

pub fn configure(root: u32, length: usize) -> u32 {
    hook(0, |hooks| u32::from(hooks.configure(root, length)))
}

pub fn request_headers(id: u32, is_last: u32) -> u32 {
    hook(CONTINUE, |hooks| hooks.request_headers(id, is_last != 0))
}

pub fn request_body(id: u32, length: usize, is_last: u32) -> u32 {
    hook(CONTINUE, |hooks| hooks.request_body(id, Some(length), is_last != 0))
}

/// Trailers end a body in place of its last piece.
pub fn request_trailers(id: u32) -> u32 {
    hook(CONTINUE, |hooks| hooks.request_body(id, None, true))
}

pub fn response_headers(id: u32, is_last: u32) -> u32 {
    hook(CONTINUE, |hooks| hooks.response_headers(id, is_last != 0))
}

pub fn response_body(id: u32, length: usize, is_last: u32) -> u32 {
    hook(CONTINUE, |hooks| hooks.response_body(id, Some(length), is_last != 0))
}

/// As [`request_trailers`].
pub fn response_trailers(id: u32) -> u32 {
    hook(CONTINUE, |hooks| hooks.response_body(id, None, true))
}

pub fn log(id: u32) {
    hook((), |hooks| hooks.log(id));
}

pub fn delete(id: u32) {
    hook((), |hooks| hooks.delete(id));
}

pub fn http_call_response(token: u32, headers: u32, body: usize) {
    hook((), |hooks| hooks.http_call_response(token, headers, body));
}

pub fn grpc_receive(token: u32, length: usize) {
    hook((), |hooks| hooks.grpc_receive(token, length));
}

pub fn grpc_close(token: u32, status: u32) {
    hook((), |hooks| hooks.grpc_close(token, status));
}

pub fn tick(root: u32) {
    hook((), |hooks| hooks.tick(root));
}

pub fn foreign_function(function: u32) {
    hook((), |hooks| hooks.foreign_function(function));
}

pub fn memory_allocate(size: usize) -> *mut u8 {
    abi::allocate(size)
}

pub fn scratch_begin() -> *mut u8 {
    abi::scratch_begin()
}

pub fn scratch_size() -> usize {
    abi::scratch_size()
}
