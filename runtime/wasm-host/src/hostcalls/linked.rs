//! What every hostcall has around it: admission before, a note for faults and observers after.

use wasmtime::{Caller, Linker, WasmTy};

use super::{Call, admit};
use crate::abi::Status;
use crate::event::{Event, Hostcall};
use crate::host::Host;
use crate::memory::{slice, split};
use crate::state::State;

/// A function that can be linked: it takes the caller and up to twelve integers, and answers a status.
pub(super) trait Function<H: Host, Arguments>: Copy + Send + Sync + 'static {
    fn link(self, linker: &mut Linker<State<H>>, call: Call) -> wasmtime::Result<()>;
}

/// Links a function under the name of its call.
pub(super) fn link<H: Host, Arguments>(
    linker: &mut Linker<State<H>>,
    call: Call,
    function: impl Function<H, Arguments>,
) -> wasmtime::Result<()> {
    function.link(linker, call)
}

/// An integer of a hostcall's signature.
pub(super) trait Argument: WasmTy + Copy {
    fn widened(self) -> i64;
}

impl Argument for u32 {
    fn widened(self) -> i64 {
        self.into()
    }
}

impl Argument for i32 {
    fn widened(self) -> i64 {
        self.into()
    }
}

impl Argument for i64 {
    fn widened(self) -> i64 {
        self
    }
}

impl Argument for u64 {
    fn widened(self) -> i64 {
        self.cast_signed()
    }
}

macro_rules! function {
    ($($argument:ident: $type:ident),*) => {
        impl<H: Host, F, $($type: Argument),*> Function<H, ($($type,)*)> for F
        where
            F: Fn(&mut Caller<'_, State<H>>, $($type),*) -> wasmtime::Result<u32> + Copy + Send + Sync + 'static,
        {
            fn link(self, linker: &mut Linker<State<H>>, call: Call) -> wasmtime::Result<()> {
                let linked = move |mut caller: Caller<'_, State<H>>, $($argument: $type),*| -> wasmtime::Result<u32> {
                    let status = match admit(&caller, call)? {
                        Status::Ok => self(&mut caller, $($argument),*)?,
                        refused => refused as u32,
                    };
                    let state = caller.data_mut();
                    state.recent.push(call, status);
                    if state.watched {
                        observe(&mut caller, call, &[$($argument.widened()),*], status);
                    }
                    caller.data_mut().pay()?;
                    Ok(status)
                };
                linker.func_wrap("env", call.name(), linked).map(drop)
            }
        }
    };
}

function!();
function!(a: A);
function!(a: A, b: B);
function!(a: A, b: B, c: C);
function!(a: A, b: B, c: C, d: D);
function!(a: A, b: B, c: C, d: D, e: E);
function!(a: A, b: B, c: C, d: D, e: E, f: G);
function!(a: A, b: B, c: C, d: D, e: E, f: G, g: I);
function!(a: A, b: B, c: C, d: D, e: E, f: G, g: I, h: J);
function!(a: A, b: B, c: C, d: D, e: E, f: G, g: I, h: J, i: K);
function!(a: A, b: B, c: C, d: D, e: E, f: G, g: I, h: J, i: K, j: L);
function!(a: A, b: B, c: C, d: D, e: E, f: G, g: I, h: J, i: K, j: L, k: M);
function!(a: A, b: B, c: C, d: D, e: E, f: G, g: I, h: J, i: K, j: L, k: M, l: N);

#[cold]
fn observe<H: Host>(caller: &mut Caller<'_, State<H>>, call: Call, arguments: &[i64], status: u32) {
    let (memory, state) = split(caller);
    let text = |at: usize| {
        let argument = |at: usize| arguments.get(at).and_then(|value| u32::try_from(*value).ok());
        slice(memory, argument(at)?, argument(at + 1)?).ok()
    };
    let subject = call.subject().and_then(text).unwrap_or_default();
    let event = Event::Hostcall(Hostcall { hook: state.hook, name: call.name(), arguments, subject, status });
    state.tell(event);
}
