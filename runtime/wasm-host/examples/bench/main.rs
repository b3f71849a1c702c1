//! What entering a guest and serving its calls costs: thread CPU time, minimum of many batches.
//!
//! `cargo run --release -p sidegate-wasm-host --example bench`

mod guests;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use sidegate_wasm_host::hooks::Hook;
use sidegate_wasm_host::testing::thread_cpu;
use sidegate_wasm_host::{ContextId, Engine, Module, Policy, Vm, VmSpec};

use worker::{STREAM, Worker};

/// Hostcalls that a guest makes in one hook.
const CALLS: u32 = 1000;
const BATCHES: u32 = 400;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    println!("{:<44} {:>10} {:>10} {:>10}", "ns, thread CPU, minimum of batches", "builtin", "foreign", "target");
    let engines = [Engine::new(Policy::Builtin, 64)?, Engine::new(Policy::Foreign, 64)?];
    let rows: [(&str, &str, Measure); 12] = [
        ("hook entry, empty export", "15", |engine| hook(engine, guests::EMPTY)),
        ("no-op request cycle, 7 hooks", "105", cycle),
        ("loop iteration in the guest", "", |engine| calls(engine, "")),
        ("hostcall without string", "9", |engine| calls(engine, guests::EFFECTIVE_CONTEXT)),
        ("hostcall that writes 8 bytes (time)", "10", |engine| calls(engine, guests::TIME)),
        ("header get, allocator", "30", |engine| calls(engine, guests::HEADER)),
        ("header get, scratch area", "20", |engine| scratch(engine, guests::HEADER)),
        ("header miss", "15", |engine| calls(engine, guests::HEADER_MISS)),
        ("header add and remove", "", |engine| calls(engine, guests::ADD_REMOVE)),
        ("all headers (15 pairs), allocator", "", |engine| calls(engine, guests::PAIRS)),
        ("property get, scratch area", "30", |engine| scratch(engine, guests::PROPERTY)),
        ("counter increment", "9", |engine| calls(engine, guests::COUNTER)),
    ];
    println!("{:<44} {:>10.1}", "hook entry, bare wasmtime", bare_entry()?);
    for (name, target, measure) in rows {
        let [builtin, foreign] = [measure(&engines[0])?, measure(&engines[1])?];
        println!("{name:<44} {builtin:>10.1} {foreign:>10.1} {target:>10}");
    }
    println!("{:<44} {:>10.1}", "the same header lookup natively", worker::native_lookup(minimum));
    Ok(())
}

type Measure = fn(&Engine<Worker>) -> Result<f64, Failure>;

fn start(engine: &Engine<Worker>, wat: &str) -> Result<Vm<Worker>, Failure> {
    let module = Module::compile(engine, &wat::parse_str(wat)?)?;
    Ok(Vm::prepare(&module, Arc::new(VmSpec { limits: roomy(), ..VmSpec::default() }), Worker::new())?)
}

fn roomy() -> sidegate_wasm_host::limits::Limits {
    sidegate_wasm_host::limits::Limits { cpu_per_call: Duration::from_millis(100), ..Default::default() }
}

/// Nanoseconds of one `call`, which stands for `per` operations.
fn minimum(batch: u32, per: u32, call: &mut dyn FnMut()) -> f64 {
    let best = (0..BATCHES).map(|_| {
        let before = thread_cpu();
        for _ in 0..batch {
            call();
        }
        thread_cpu() - before
    });
    best.min().unwrap_or_default().as_nanos() as f64 / f64::from(batch) / f64::from(per)
}

/// The same call without this crate: the floor.
fn bare_entry() -> Result<f64, Failure> {
    let engine = wasmtime::Engine::default();
    let wat = format!(
        "(module (global $g (mut i32) (i32.const 0)) (func (export \"hook\") (param i32 i32 i32) (result i32) {} (i32.const 0)))",
        guests::EMPTY
    );
    let module = wasmtime::Module::new(&engine, wat::parse_str(wat)?)?;
    let mut store = wasmtime::Store::new(&engine, ());
    let instance = wasmtime::Instance::new(&mut store, &module, &[])?;
    let function = instance.get_typed_func::<(u32, u32, u32), u32>(&mut store, "hook")?;
    Ok(minimum(1000, 1, &mut || assert!(function.call(&mut store, (2, 15, 1)).is_ok())))
}

fn hook(engine: &Engine<Worker>, body: &str) -> Result<f64, Failure> {
    let mut vm = start(engine, &guests::with_hook(body))?;
    let mut worker = Worker::new();
    let id = vm.open_stream(&mut worker, STREAM)?;
    Ok(minimum(1000, 1, &mut || request(&mut vm, &mut worker, id)))
}

fn request(vm: &mut Vm<Worker>, worker: &mut Worker, id: ContextId) {
    let result = vm.request_headers(worker, id, 15, true);
    assert!(result.is_ok(), "{result:?}");
}

fn cycle(engine: &Engine<Worker>) -> Result<f64, Failure> {
    let mut vm = start(engine, &guests::empty_filter())?;
    let hooks = [Hook::RequestHeaders, Hook::ResponseHeaders, Hook::ResponseBody, Hook::Log, Hook::Done, Hook::Delete];
    assert!(vm.creates_contexts() && hooks.iter().all(|hook| vm.has(*hook)), "nothing is skipped");
    let mut worker = Worker::new();
    let mut failed = None;
    let cost = minimum(300, 1, &mut || {
        let mut request = || {
            let id = vm.open_stream(&mut worker, STREAM)?;
            vm.request_headers(&mut worker, id, 15, true)?;
            vm.response_headers(&mut worker, id, 5, false)?;
            vm.response_body(&mut worker, id, 1024, true)?;
            vm.log(&mut worker, id)?;
            vm.close_stream(&mut worker, id)
        };
        failed = request().err();
    });
    failed.map_or(Ok(cost), |fault| Err(fault.into()))
}

/// One hook that makes [`CALLS`] hostcalls.
fn calls(engine: &Engine<Worker>, call: &str) -> Result<f64, Failure> {
    per_call(engine, &guests::with_loop(call, CALLS, false))
}

fn scratch(engine: &Engine<Worker>, call: &str) -> Result<f64, Failure> {
    per_call(engine, &guests::with_loop(call, CALLS, true))
}

fn per_call(engine: &Engine<Worker>, wat: &str) -> Result<f64, Failure> {
    let mut vm = start(engine, wat)?;
    let mut worker = Worker::new();
    let id = vm.open_stream(&mut worker, STREAM)?;
    Ok(minimum(3, CALLS, &mut || request(&mut vm, &mut worker, id)))
}
