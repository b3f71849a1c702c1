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

/// Hands over a value of which a guest may want only the address or only the length: a place of zero is not written.
pub(crate) fn give_where_asked<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    out_ptr: u32,
    out_len: u32,
    value: &[u8],
) -> wasmtime::Result<Status> {
    let lent = if out_ptr == 0 { Ok(0) } else { lend(caller, value)? };
    let (memory, _) = split(caller);
    let mut put = |place, value| if place == 0 { Ok(()) } else { write_u32(memory, place, value) };
    let written = lent.and_then(|address| put(out_ptr, address).and_then(|()| put(out_len, value.len() as u32)));
    Ok(written.err().unwrap_or(Status::Ok))
}

fn place<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    out_ptr: u32,
    out_len: u32,
    value: &[u8],
) -> wasmtime::Result<Status> {
    let lent = lend(caller, value)?;
    let (memory, _) = split(caller);
    let written = lent.and_then(|address| {
        write_u32(memory, out_ptr, address)?;
        write_u32(memory, out_len, value.len() as u32)
    });
    Ok(written.err().unwrap_or(Status::Ok))
}

/// Copies a value to where the guest can read it, and says where; 0 for one without bytes.
fn lend<H: Host>(caller: &mut Caller<'_, State<H>>, value: &[u8]) -> wasmtime::Result<Result<u32, Status>> {
    let Ok(len) = u32::try_from(value.len()) else { return Ok(Err(Status::InvalidMemoryAccess)) };
    if len == 0 {
        return Ok(Ok(0));
    }
    let address = match caller.data_mut().scratch.take(value.len()) {
        Some(address) => address,
        None => allocate(caller, len)?,
    };
    let (memory, _) = split(caller);
    let copied = if address == 0 { Err(Status::InvalidMemoryAccess) } else { write(memory, address, value) };
    Ok(copied.map(|()| address))
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
