//! What a large table costs the router: 1,000 hosts with 10 routes each, one of them an expression, beside one route.
//!
//! `cargo run --release -p sidegate-wasm-host --example router_table` after `cargo xtask build`

#[path = "../bench/worker.rs"]
#[expect(dead_code, reason = "the other benchmark uses the rest of it")]
mod worker;

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use sidegate_wasm_host::abi::MapType;
use sidegate_wasm_host::limits::Limits;
use sidegate_wasm_host::testing::thread_cpu;
use sidegate_wasm_host::{Engine, Host, Module, Policy, Vm, VmSpec};

use worker::{STREAM, Worker};

const HOSTS: usize = 1000;
const ROUTES: usize = 10;
const BATCHES: u32 = 200;
const BATCH: u32 = 200;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let engine = Engine::<Worker>::new(Policy::Builtin, 64)?;
    let module = Module::compile(&engine, &std::fs::read("target/filters/router.wasm")?)?;
    println!("{:<28} {:>10} {:>12} {:>12} {:>12}", "table", "config KiB", "configure ms", "VM MiB", "ns a request");
    for (name, config) in [("one route", table(1, 1)), ("1,000 hosts x 10 routes", table(HOSTS, ROUTES))] {
        let size = config.len() as f64 / 1024.0;
        let before = thread_cpu();
        let mut vm = prepare(&module, config)?;
        let configure = thread_cpu() - before;
        let requests = requests(&mut vm)?;
        let memory = vm.memory() as f64 / 1_048_576.0;
        println!("{name:<28} {size:>10.0} {:>12.1} {memory:>12.1} {requests:>12.0}", configure.as_secs_f64() * 1e3);
    }
    Ok(())
}

/// Virtual services with routes by prefix; the last but one of each is an expression, and the last takes the rest.
fn table(hosts: usize, routes: usize) -> String {
    let mut out = String::from(r#"{"virtualServices":["#);
    for host in 0..hosts {
        let comma = if host > 0 { "," } else { "" };
        let _ = write!(
            out,
            r#"{comma}{{"hosts":["h{host}.example.com"{}],"http":["#,
            if hosts == 1 { r#","*""# } else { "" }
        );
        for route in 0..routes {
            let matched = match routes - route {
                1 => String::new(),
                2 => format!(r#""match":[{{"uri":{{"regex":"/api/v[0-9]+/item{host}/[^/]+/(get|put)?"}}}}],"#),
                _ => format!(r#""match":[{{"uri":{{"prefix":"/service{route}/"}}}}],"#),
            };
            let comma = if route > 0 { "," } else { "" };
            let _ = write!(out, r#"{comma}{{{matched}"route":[{{"destination":{{"host":"cluster{host}"}}}}]}}"#);
        }
        out.push_str("]}");
    }
    out.push_str("]}");
    out
}

fn prepare(module: &Module<Worker>, config: String) -> Result<Vm<Worker>, Failure> {
    let limits = Limits { configure: Duration::from_secs(10), memory: 256 << 20, ..Limits::default() };
    let spec = VmSpec { configuration: Some(config.into_bytes()), limits, ..VmSpec::default() };
    Ok(Vm::prepare(module, Arc::new(spec), asking())?)
}

/// A worker whose exchange meets the expression of a host in the middle.
fn asking() -> Worker {
    let mut worker = Worker::new();
    let headers = worker.stream(STREAM).and_then(|stream| stream.headers(MapType::RequestHeaders));
    if let Some(headers) = headers {
        headers.replace(b":authority", b"h500.example.com");
        headers.replace(b":path", b"/api/v1/item500/thing/get");
    }
    worker
}

/// Nanoseconds of one request from context to context: the least of many batches.
fn requests(vm: &mut Vm<Worker>) -> Result<f64, Failure> {
    let mut worker = asking();
    let mut best = Duration::MAX;
    for _ in 0..BATCHES {
        let before = thread_cpu();
        for _ in 0..BATCH {
            let id = vm.open_stream(&mut worker, STREAM)?;
            vm.request_headers(&mut worker, id, 15, true)?;
            vm.close_stream(&mut worker, id)?;
        }
        best = best.min(thread_cpu() - before);
    }
    Ok(best.as_nanos() as f64 / f64::from(BATCH))
}
