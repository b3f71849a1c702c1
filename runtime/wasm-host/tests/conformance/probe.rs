//! The probe in this host: one exchange from the start of its VM to the end of its root.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use sidegate_tests::probe::{self, Abi, Report, Script};
use sidegate_wasm_host::hooks::CalloutAnswer;
use sidegate_wasm_host::testing::{FakeHost, FakeStream};
use sidegate_wasm_host::{Fault, HeadersAction, Module, Vm, VmSpec};

use crate::guest::{engine, spec};

/// The key of the one exchange.
const KEY: u32 = 100;

/// What the probe reported, by step, and the fault that ended it if one did.
pub(crate) struct Told {
    pub(crate) reports: BTreeMap<usize, Report>,
    pub(crate) fault: Option<Fault>,
}

/// Runs a script through the life of a VM with one exchange that has everything.
pub(crate) fn run(abi: Abi, script: &Script) -> Told {
    let mut host = FakeHost::new().with_cluster("auth").with_stream(KEY, everything());
    let (mut lines, fault) = match prepare(abi, &script.to_config()) {
        Err(fault) => (Vec::new(), Some(fault)),
        Ok(mut vm) => {
            let fault = live(&mut vm, &mut host).err();
            (vm.own_host().log_texts(), fault)
        }
    };
    lines.extend(host.log_texts());
    let reports = lines.iter().filter_map(|line| Report::read(line)).map(|report| (report.step, report)).collect();
    Told { reports, fault }
}

/// A probe that is about to run the program with these hexadecimal digits.
pub(crate) fn prepare(abi: Abi, program: &str) -> Result<Vm<FakeHost>, Fault> {
    let spec = VmSpec { vm_configuration: program.into(), configuration: Some(b"plugin".to_vec()), ..spec() };
    Vm::prepare(module(abi), Arc::new(spec), FakeHost::new().with_cluster("auth"))
}

fn live(vm: &mut Vm<FakeHost>, host: &mut FakeHost) -> Result<(), Fault> {
    vm.tick(host)?;
    vm.queue_ready(host, 1)?;
    let id = vm.open_stream(host, KEY)?;
    let held = vm.request_headers(host, id, 4, false)?;
    if held == HeadersAction::Pause {
        let calls: Vec<u32> = host.callouts.iter().map(|sent| sent.id).collect();
        for call in calls {
            vm.callout_response(host, call, Ok(answer()))?;
        }
    }
    vm.request_body(host, id, 5, false)?;
    vm.request_body(host, id, 5, true)?;
    vm.request_trailers(host, id, 1)?;
    vm.response_headers(host, id, 2, false)?;
    vm.response_body(host, id, 5, false)?;
    vm.response_body(host, id, 5, true)?;
    vm.response_trailers(host, id, 1)?;
    vm.log(host, id)?;
    vm.close_stream(host, id)?;
    vm.finish(host)?;
    vm.delete_root(host)
}

/// An exchange of which every part is there.
pub(crate) fn everything() -> FakeStream {
    let trailers = |name| Some([(name, "t")][..].into());
    FakeStream {
        request_trailers: trailers("x-request-trailer"),
        response_trailers: trailers("x-response-trailer"),
        ..FakeStream::get("/p").response_header("x-r", "1").request_body("hello").response_body("world")
    }
}

pub(crate) fn answer() -> CalloutAnswer {
    CalloutAnswer {
        headers: vec![(b":status".to_vec(), b"200".to_vec())],
        body: b"answer".to_vec(),
        trailers: vec![(b"x-t".to_vec(), b"t".to_vec())],
    }
}

fn module(abi: Abi) -> &'static Module<FakeHost> {
    static MODULES: [OnceLock<Module<FakeHost>>; 3] = [const { OnceLock::new() }; 3];
    MODULES[abi as usize].get_or_init(|| {
        let wasm = wat::parse_str(probe::module(abi)).unwrap();
        Module::compile(engine(), &wasm).unwrap()
    })
}
