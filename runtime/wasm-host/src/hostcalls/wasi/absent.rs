//! WASI calls on files, directories and sockets: there are none. Standard libraries import them without using them, so
//! they are linked, with the answers that Envoy gives. Stdout and stderr have no state that such a call could change.

use wasmtime::{Caller, Linker};

use super::{BAD_DESCRIPTOR, FAULT, NO_ENTRY, NOT_DIRECTORY, NOT_SUPPORTED, NOT_SYSTEM, SUCCESS, errno};
use crate::host::Host;
use crate::memory::{split, write};
use crate::state::State;

pub(super) fn link<H: Host>(l: &mut Linker<State<H>>, module: &str) -> wasmtime::Result<()> {
    l.func_wrap(module, "fd_advise", |_: u32, _: i64, _: i64, _: u32| SUCCESS)?;
    l.func_wrap(module, "fd_allocate", |fd: u32, _: i64, _: i64| of_output(fd, SUCCESS))?;
    l.func_wrap(module, "fd_close", |_: u32| SUCCESS)?;
    l.func_wrap(module, "fd_datasync", |fd: u32| of_output(fd, SUCCESS))?;
    l.func_wrap(module, "fd_fdstat_set_flags", |_: u32, _: u32| NOT_SYSTEM)?;
    l.func_wrap(module, "fd_fdstat_set_rights", |fd: u32, _: i64, _: i64| of_output(fd, SUCCESS))?;
    l.func_wrap(module, "fd_filestat_get", |_: u32, _: u32| BAD_DESCRIPTOR)?;
    l.func_wrap(module, "fd_filestat_set_size", |fd: u32, _: i64| of_output(fd, SUCCESS))?;
    l.func_wrap(module, "fd_filestat_set_times", |fd: u32, _: i64, _: i64, _: u32| of_output(fd, SUCCESS))?;
    l.func_wrap(module, "fd_pread", |_: u32, _: u32, _: u32, _: i64, _: u32| NOT_SYSTEM)?;
    l.func_wrap(module, "fd_prestat_dir_name", |_: u32, _: u32, _: u32| NOT_SYSTEM)?;
    l.func_wrap(module, "fd_prestat_get", |_: u32, _: u32| BAD_DESCRIPTOR)?;
    l.func_wrap(module, "fd_read", |_: u32, _: u32, _: u32, _: u32| NOT_SYSTEM)?;
    l.func_wrap(module, "fd_readdir", |c: Caller<'_, State<H>>, _: u32, _: u32, _: u32, _: i64, read: u32| {
        zeroed(c, [(read, 4)], NOT_DIRECTORY)
    })?;
    l.func_wrap(module, "fd_renumber", |from: u32, to: u32| of_output(from, of_output(to, NOT_SUPPORTED)))?;
    l.func_wrap(module, "fd_seek", |_: u32, _: i64, _: u32, _: u32| SUCCESS)?;
    l.func_wrap(module, "fd_sync", |fd: u32| of_output(fd, SUCCESS))?;
    l.func_wrap(module, "fd_tell", |c: Caller<'_, State<H>>, fd: u32, offset: u32| match of_output(fd, SUCCESS) {
        SUCCESS => zeroed(c, [(offset, 8)], SUCCESS),
        error => error,
    })?;
    l.func_wrap(module, "path_create_directory", |_: u32, _: u32, _: u32| NOT_SUPPORTED)?;
    l.func_wrap(module, "path_filestat_get", |_: u32, _: u32, _: u32, _: u32, _: u32| NOT_SUPPORTED)?;
    l.func_wrap(module, "path_filestat_set_times", |_: u32, _: u32, _: u32, _: u32, _: i64, _: i64, _: u32| {
        NOT_SUPPORTED
    })?;
    l.func_wrap(module, "path_link", |_: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32| NOT_SUPPORTED)?;
    l.func_wrap(module, "path_open", |_: u32, _: u32, _: u32, _: u32, _: u32, _: i64, _: i64, _: u32, _: u32| {
        NO_ENTRY
    })?;
    l.func_wrap(
        module,
        "path_readlink",
        |c: Caller<'_, State<H>>, _: u32, _: u32, _: u32, _: u32, _: u32, length: u32| {
            zeroed(c, [(length, 4)], NOT_SUPPORTED)
        },
    )?;
    l.func_wrap(module, "path_remove_directory", |_: u32, _: u32, _: u32| NOT_SUPPORTED)?;
    l.func_wrap(module, "path_rename", |_: u32, _: u32, _: u32, _: u32, _: u32, _: u32| NOT_SUPPORTED)?;
    l.func_wrap(module, "path_symlink", |_: u32, _: u32, _: u32, _: u32, _: u32| NOT_SUPPORTED)?;
    l.func_wrap(module, "path_unlink_file", |_: u32, _: u32, _: u32| NOT_SUPPORTED)?;
    l.func_wrap(module, "sock_accept", |c: Caller<'_, State<H>>, _: u32, _: u32, accepted: u32| {
        zeroed(c, [(accepted, 4)], NOT_SUPPORTED)
    })?;
    l.func_wrap(
        module,
        "sock_recv",
        |c: Caller<'_, State<H>>, _: u32, _: u32, _: u32, _: u32, length: u32, flags: u32| {
            zeroed(c, [(length, 4), (flags, 2)], NOT_SUPPORTED)
        },
    )?;
    l.func_wrap(module, "sock_send", |c: Caller<'_, State<H>>, _: u32, _: u32, _: u32, _: u32, length: u32| {
        zeroed(c, [(length, 4)], NOT_SUPPORTED)
    })?;
    l.func_wrap(module, "sock_shutdown", |_: u32, _: u32| NOT_SUPPORTED)?;
    Ok(())
}

/// What holds for stdout and stderr; everything else is no descriptor.
fn of_output(fd: u32, code: u32) -> u32 {
    if matches!(fd, 1 | 2) { code } else { BAD_DESCRIPTOR }
}

/// Writes zeros to each place, of so many bytes, and answers `code`.
fn zeroed<H: Host, const N: usize>(mut caller: Caller<'_, State<H>>, places: [(u32, usize); N], code: u32) -> u32 {
    let (memory, _) = split(&mut caller);
    let zeros = |(at, len): (u32, usize)| write(memory, at, [0u8; 8].get(..len).unwrap_or_default());
    match errno(places.into_iter().try_for_each(zeros).map_err(|_| FAULT)) {
        SUCCESS => code,
        error => error,
    }
}
