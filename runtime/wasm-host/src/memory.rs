//! Guest memory: checked reads and writes, and the one way to hand a value to the guest.

use std::borrow::Cow;

use wasmtime::Caller;

use crate::abi::Status;
use crate::host::Host;
use crate::limits;
use crate::state::{Gate, State};

/// The bytes at `ptr..ptr+len`, or "invalid memory access".
pub(crate) fn slice(memory: &[u8], ptr: u32, len: u32) -> Result<&[u8], Status> {
    let start = ptr as usize;
    start.checked_add(len as usize).and_then(|end| memory.get(start..end)).ok_or(Status::InvalidMemoryAccess)
}

/// The text at `ptr..ptr+len`, whose bad bytes are replaced; one over the bound of names is `too_long`.
pub(crate) fn name(memory: &[u8], ptr: u32, len: u32, too_long: Status) -> Result<Cow<'_, str>, Status> {
    let bytes = slice(memory, ptr, len)?;
    if bytes.len() > limits::NAME_BYTES { Err(too_long) } else { Ok(String::from_utf8_lossy(bytes)) }
}

pub(crate) fn write(memory: &mut [u8], ptr: u32, bytes: &[u8]) -> Result<(), Status> {
    let start = ptr as usize;
    let target =
        start.checked_add(bytes.len()).and_then(|end| memory.get_mut(start..end)).ok_or(Status::InvalidMemoryAccess)?;
    target.copy_from_slice(bytes);
    Ok(())
}

pub(crate) fn write_u32(memory: &mut [u8], ptr: u32, value: u32) -> Result<(), Status> {
    write(memory, ptr, &value.to_le_bytes())
}

pub(crate) fn write_u64(memory: &mut [u8], ptr: u32, value: u64) -> Result<(), Status> {
    write(memory, ptr, &value.to_le_bytes())
}

/// Splits a caller into guest memory and host state. Before the memory is known every pointer is invalid.
pub(crate) fn split<'a, H: Host>(caller: &'a mut Caller<'_, State<H>>) -> (&'a mut [u8], &'a mut State<H>) {
    match caller.data().memory {
        Some(memory) => memory.data_and_store_mut(caller),
        None => (&mut [], caller.data_mut()),
    }
}

/// Produces a value with host state and puts it into guest memory: into the module's scratch area if it lends one
/// and has room, else into memory from its allocator. Pointer and length go to `out_ptr` and `out_len`; a value
/// without bytes is written as (0, 0) and allocates nothing.
pub(crate) fn give<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    out_ptr: u32,
    out_len: u32,
    produce: impl FnOnce(&[u8], &mut State<H>, &mut Vec<u8>) -> Result<(), Status>,
) -> wasmtime::Result<Status> {
    let mut value = std::mem::take(&mut caller.data_mut().copy);
    value.clear();
    let (memory, state) = split(caller);
    let mut status = match produce(memory, state, &mut value) {
        Ok(()) => Status::Ok,
        Err(status) => status,
    };
    if status == Status::Ok {
        status = place(caller, out_ptr, out_len, &value)?;
    }
    if value.capacity() <= limits::COPY_KEPT {
        caller.data_mut().copy = value;
    }
    Ok(status)
}

fn place<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    out_ptr: u32,
    out_len: u32,
    value: &[u8],
) -> wasmtime::Result<Status> {
    let Ok(len) = u32::try_from(value.len()) else { return Ok(Status::InvalidMemoryAccess) };
    let address = if value.is_empty() {
        0
    } else {
        match caller.data_mut().scratch.take(value.len()) {
            Some(address) => address,
            None => allocate(caller, len)?,
        }
    };
    let (memory, _) = split(caller);
    let written = (if value.is_empty() || address != 0 { Ok(()) } else { Err(Status::InvalidMemoryAccess) })
        .and_then(|()| write(memory, address, value))
        .and_then(|()| write_u32(memory, out_ptr, address))
        .and_then(|()| write_u32(memory, out_len, len));
    Ok(written.err().unwrap_or(Status::Ok))
}

/// Calls the guest's allocator. Nothing that it calls back is served: a guest is not re-entered.
fn allocate<H: Host>(caller: &mut Caller<'_, State<H>>, len: u32) -> wasmtime::Result<u32> {
    let state = caller.data_mut();
    // Taken and put back, because a clone counts references to its type in shared memory: 50 ns.
    let Some(function) = state.allocate.take() else { return Ok(0) };
    let before = std::mem::replace(&mut state.gate, Gate::Allocating);
    let address = function.call(&mut *caller, len)?;
    let state = caller.data_mut();
    state.gate = before;
    state.allocate = Some(function);
    Ok(address)
}
