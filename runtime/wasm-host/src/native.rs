//! The one place where native code enters the process: who vouches for it, and where it lies.

#![expect(unsafe_code, reason = "loading native code is unsafe; `Trusted` says who vouches for it")]

use std::collections::BTreeSet;
use std::ptr::NonNull;
use std::sync::Mutex;

use rustix::mm::{MprotectFlags, mprotect};
use rustix::param::page_size;
use wasmtime::{CustomCodeMemory, Engine, Error, Module};

/// Where artifacts begin that run in place: wasmtime takes each address for one module only.
static IN_PLACE: Mutex<BTreeSet<usize>> = Mutex::new(BTreeSet::new());

/// Native code that is known to be ours: embedded in this binary, fresh from the compiler process, or read from a
/// cache whose MAC was verified. Loading anything else would run it.
#[derive(Clone, Copy)]
pub struct Trusted<'a>(Place<'a>);

#[derive(Clone, Copy)]
enum Place<'a> {
    /// Copied when it is loaded.
    Passing(&'a [u8]),
    /// Run where it lies.
    Embedded(&'static [u8]),
}

impl<'a> Trusted<'a> {
    /// The caller states that [`compile`](crate::compile) wrote exactly these bytes.
    pub fn vouch(artifact: &'a [u8]) -> Self {
        Self(Place::Passing(artifact))
    }

    /// The same of bytes that are part of this binary. When they begin at a page they are not copied, the first time
    /// that they are loaded: only what is run of them becomes resident, and processes share it.
    pub fn vouch_embedded(artifact: &'static [u8]) -> Self {
        let begins = artifact.as_ptr().addr();
        let in_place =
            begins.is_multiple_of(page_size()) && IN_PLACE.lock().is_ok_and(|mut known| known.insert(begins));
        Self(if in_place { Place::Embedded(artifact) } else { Place::Passing(artifact) })
    }

    pub(crate) fn load(self, engine: &Engine) -> Result<Module, Error> {
        match self.0 {
            // SAFETY: `Trusted` is made only by a caller who vouches that our own compiler wrote exactly these bytes.
            Place::Passing(bytes) => unsafe { Module::deserialize(engine, bytes) },
            // SAFETY: as above; and what is part of the binary is never written nor unmapped.
            Place::Embedded(bytes) => unsafe { Module::deserialize_raw(engine, NonNull::from(bytes)) },
        }
    }
}

/// Makes code executable, wherever it lies. wasmtime by itself does so only for memory that it has mapped.
pub(crate) struct AnyMemory;

impl CustomCodeMemory for AnyMemory {
    fn required_alignment(&self) -> usize {
        page_size()
    }

    fn publish_executable(&self, code: *const u8, length: usize) -> Result<(), Error> {
        // SAFETY: wasmtime names whole pages that hold nothing but code of an artifact that somebody vouched for.
        // Nobody writes to them: they are read-only data of this binary, or were frozen by wasmtime just before.
        unsafe { mprotect(code.cast_mut().cast(), length, MprotectFlags::READ | MprotectFlags::EXEC) }?;
        Ok(())
    }

    /// Asked for when the code is dropped. What wasmtime has mapped it unmaps next. What is part of the binary stays
    /// executable: it may be loaded twice.
    fn unpublish_executable(&self, _code: *const u8, _length: usize) -> Result<(), Error> {
        Ok(())
    }
}
