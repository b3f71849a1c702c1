//! The WASI preview 1 calls, under both module names. There are no files, no network and no process: only output to the
//! log, clocks, random bytes and the environment that the operator configured.

mod absent;

use wasmtime::{Caller, Linker};

use super::Call;
use super::services::{nanos, write_log};
use crate::abi::{LogLevel, Status};
use crate::host::Host;
use crate::limits;
use crate::memory::{slice, split, write, write_u32, write_u64};
use crate::state::{Gate, State};

const SUCCESS: u32 = 0;
const BAD_DESCRIPTOR: u32 = 8;
const NOT_DIRECTORY: u32 = 20;
const FAULT: u32 = 21;
const INVALID: u32 = 28;
const NO_ENTRY: u32 = 44;
const NOT_SUPPORTED: u32 = 58;
const NOT_SYSTEM: u32 = 52;
const NOT_CAPABLE: u32 = 76;

pub(super) fn link<H: Host>(l: &mut Linker<State<H>>) -> wasmtime::Result<()> {
    for module in ["wasi_snapshot_preview1", "wasi_unstable"] {
        l.func_wrap(module, "fd_write", fd_write::<H>)?;
        l.func_wrap(module, "fd_pwrite", fd_pwrite::<H>)?;
        l.func_wrap(module, "clock_time_get", clock_time_get::<H>)?;
        l.func_wrap(module, "clock_res_get", clock_res_get::<H>)?;
        l.func_wrap(module, "random_get", random_get::<H>)?;
        l.func_wrap(module, "environ_sizes_get", environ_sizes_get::<H>)?;
        l.func_wrap(module, "environ_get", environ_get::<H>)?;
        l.func_wrap(module, "args_sizes_get", args_sizes_get::<H>)?;
        l.func_wrap(module, "args_get", |_: u32, _: u32| SUCCESS)?;
        l.func_wrap(module, "fd_fdstat_get", fd_fdstat_get::<H>)?;
        l.func_wrap(module, "poll_oneoff", poll_oneoff::<H>)?;
        l.func_wrap(module, "proc_exit", proc_exit::<H>)?;
        l.func_wrap(module, "sched_yield", || SUCCESS)?;
        absent::link(l, module)?;
    }
    l.func_wrap("env", "pthread_equal", |a: u32, b: u32| u32::from(a == b))?;
    l.func_wrap("env", "emscripten_notify_memory_growth", |_: u32| ())?;
    // Envoy's own: names are resolved by the clusters, never for a guest.
    l.func_wrap("env", "envoy_resolve_dns", |_: u32, _: u32, _: u32| Status::Unimplemented as u32)?;
    Ok(())
}

/// Writes out what the guest left without a line end when its hook is over, panics and traps included.
#[cold]
pub(crate) fn flush<H: Host>(state: &mut State<H>) {
    state.stdio_pending = false;
    for (index, level) in [(0, LogLevel::Info), (1, LogLevel::Error)] {
        let text = state.stdio.get_mut(index).map(std::mem::take).unwrap_or_default();
        if !text.is_empty() {
            write_log(state, level, &text);
        }
    }
}

/// Whether the plugin's capabilities leave this call out.
fn denied<H: Host>(caller: &Caller<'_, State<H>>, call: Call) -> bool {
    caller.data().denied & call.bit() != 0
}

fn errno(result: Result<(), u32>) -> u32 {
    result.err().unwrap_or(SUCCESS)
}

/// Guests write panics and prints piecemeal: text is logged line by line, stdout as info, stderr as error.
fn fd_write<H: Host>(
    mut caller: Caller<'_, State<H>>,
    fd: u32,
    vectors: u32,
    count: u32,
    out_written: u32,
) -> wasmtime::Result<u32> {
    if caller.data().gate == Gate::Allocating {
        return Err(wasmtime::Error::msg("fd_write from inside the guest's allocator"));
    }
    if denied(&caller, Call::FdWrite) {
        return Ok(NOT_CAPABLE);
    }
    let level = match fd {
        1 => LogLevel::Info,
        2 => LogLevel::Error,
        _ => return Ok(BAD_DESCRIPTOR),
    };
    let (memory, state) = split(&mut caller);
    let mut buffer = std::mem::take(if fd == 1 { &mut state.stdio[0] } else { &mut state.stdio[1] });
    let (mut written, mut lines) = (0u32, 0u32);
    let result = (|| {
        'all: for index in 0..count.min(1024) {
            let vector = vectors.checked_add(index * 8).ok_or(FAULT)?;
            let (ptr, len) = (read_u32(memory, vector)?, read_u32(memory, vector.checked_add(4).ok_or(FAULT)?)?);
            // Where there is nothing to read, any address will do.
            let text = if len == 0 { &[] } else { slice(memory, ptr, len).map_err(|_| FAULT)? };
            let text = text.get(..text.len().min((limits::WRITE_BYTES - written) as usize)).unwrap_or_default();
            for piece in text.split_inclusive(|byte| *byte == b'\n') {
                if lines >= limits::WRITE_LINES || written >= limits::WRITE_BYTES {
                    break 'all;
                }
                written += piece.len() as u32;
                let room = limits::STDIO_BYTES.saturating_sub(buffer.len());
                buffer.extend_from_slice(piece.get(..room.min(piece.len())).unwrap_or_default());
                if piece.ends_with(b"\n") || buffer.len() >= limits::STDIO_BYTES {
                    write_log(state, level, buffer.strip_suffix(b"\n").unwrap_or(&buffer));
                    buffer.clear();
                    lines += 1;
                }
            }
        }
        write_u32(memory, out_written, written).map_err(|_| FAULT)
    })();
    state.stdio_pending |= !buffer.is_empty();
    if fd == 1 {
        state.stdio[0] = buffer;
    } else {
        state.stdio[1] = buffer;
    }
    state.pay()?;
    Ok(errno(result))
}

/// There is no place in a log: the offset is ignored.
fn fd_pwrite<H: Host>(
    caller: Caller<'_, State<H>>,
    fd: u32,
    vectors: u32,
    count: u32,
    _offset: i64,
    out_written: u32,
) -> wasmtime::Result<u32> {
    fd_write(caller, fd, vectors, count, out_written)
}

fn read_u32(memory: &[u8], ptr: u32) -> Result<u32, u32> {
    let bytes = slice(memory, ptr, 4).ok().and_then(|bytes| bytes.first_chunk::<4>()).ok_or(FAULT)?;
    Ok(u32::from_le_bytes(*bytes))
}

fn clock_time_get<H: Host>(mut caller: Caller<'_, State<H>>, clock: u32, _precision: i64, out: u32) -> u32 {
    if denied(&caller, Call::ClockTime) {
        return NOT_CAPABLE;
    }
    let (memory, state) = split(&mut caller);
    let now = match clock {
        0 => state.host.wall_clock(),
        1 => state.host.monotonic_clock(),
        _ => return NOT_SUPPORTED,
    };
    errno(write_u64(memory, out, nanos(now)).map_err(|_| FAULT))
}

/// A nanosecond.
fn clock_res_get<H: Host>(mut caller: Caller<'_, State<H>>, clock: u32, out: u32) -> u32 {
    if denied(&caller, Call::ClockTime) {
        return NOT_CAPABLE;
    }
    let (memory, _) = split(&mut caller);
    if clock > 1 { NOT_SUPPORTED } else { errno(write_u64(memory, out, 1).map_err(|_| FAULT)) }
}

fn random_get<H: Host>(mut caller: Caller<'_, State<H>>, ptr: u32, len: u32) -> wasmtime::Result<u32> {
    if denied(&caller, Call::Random) {
        return Ok(NOT_CAPABLE);
    }
    if len > limits::RANDOM_BYTES {
        return Ok(INVALID);
    }
    let (memory, state) = split(&mut caller);
    let mut bytes = vec![0; len as usize];
    state.host.random(&mut bytes);
    let written = write(memory, ptr, &bytes);
    state.pay()?;
    Ok(errno(written.map_err(|_| FAULT)))
}

fn environ_sizes_get<H: Host>(mut caller: Caller<'_, State<H>>, out_count: u32, out_bytes: u32) -> u32 {
    if denied(&caller, Call::EnvironSizes) {
        return NOT_CAPABLE;
    }
    let (memory, state) = split(&mut caller);
    let environment = &state.spec.environment;
    let bytes: usize = environment.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    errno(
        write_u32(memory, out_count, environment.len() as u32)
            .and_then(|()| write_u32(memory, out_bytes, bytes as u32))
            .map_err(|_| FAULT),
    )
}

fn environ_get<H: Host>(mut caller: Caller<'_, State<H>>, mut pointers: u32, mut text: u32) -> wasmtime::Result<u32> {
    if denied(&caller, Call::Environ) {
        return Ok(NOT_CAPABLE);
    }
    caller.data_mut().pay()?;
    let (memory, state) = split(&mut caller);
    for (name, value) in &state.spec.environment {
        let entry = format!("{name}={value}\0");
        let written = write_u32(memory, pointers, text).and_then(|()| write(memory, text, entry.as_bytes()));
        if written.is_err() {
            return Ok(FAULT);
        }
        pointers = pointers.saturating_add(4);
        text = text.saturating_add(entry.len() as u32);
    }
    Ok(SUCCESS)
}

fn args_sizes_get<H: Host>(mut caller: Caller<'_, State<H>>, out_count: u32, out_bytes: u32) -> u32 {
    let (memory, _) = split(&mut caller);
    errno(write_u32(memory, out_count, 0).and_then(|()| write_u32(memory, out_bytes, 0)).map_err(|_| FAULT))
}

/// Of stdout and stderr only the right to write is said. Nothing is written to a bad address, as in Envoy.
fn fd_fdstat_get<H: Host>(mut caller: Caller<'_, State<H>>, fd: u32, out: u32) -> u32 {
    if !(1..=2).contains(&fd) {
        return BAD_DESCRIPTOR;
    }
    let mut stat = [0u8; 24];
    stat[8] = 64;
    let (memory, _) = split(&mut caller);
    let _ = write(memory, out, &stat);
    SUCCESS
}

/// Nobody can wait in here: no events.
fn poll_oneoff<H: Host>(mut caller: Caller<'_, State<H>>, _in: u32, _out: u32, _count: u32, out_events: u32) -> u32 {
    let (memory, _) = split(&mut caller);
    errno(write_u32(memory, out_events, 0).map_err(|_| FAULT))
}

/// Logged and ignored, as in Envoy; the guest usually traps next.
fn proc_exit<H: Host>(mut caller: Caller<'_, State<H>>, code: u32) {
    let (_, state) = split(&mut caller);
    write_log(state, LogLevel::Error, format!("proc_exit({code})").as_bytes());
}
