//! Bytes in place of a module: refused, or run without harm.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use sidegate_wasm_host::module::Outline;
use sidegate_wasm_host::testing::{FakeHost, FakeStream};
use sidegate_wasm_host::{FaultReason, Module, Vm};

use crate::fuzz;
use crate::guest::{Guest, engine, spec};

#[derive(Clone, Debug)]
enum Damage {
    Set(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    /// A part is written again elsewhere.
    Copy(prop::sample::Index, prop::sample::Index, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        6 => (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        1 => at().prop_map(Damage::Cut),
        2 => (at(), vec(any::<u8>(), 1..8)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        2 => (at(), at(), 1..32_usize).prop_map(|(from, to, len)| Damage::Copy(from, to, len)),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    if bytes.is_empty() {
        return;
    }
    match damage {
        Damage::Set(at, byte) => {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
        Damage::Insert(at, new) => {
            let at = at.index(bytes.len());
            bytes.splice(at..at, new.iter().copied());
        }
        Damage::Copy(from, to, len) => {
            let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
            let part = bytes[from..(from + len).min(bytes.len())].to_vec();
            bytes.splice(to..to, part);
        }
    }
}

/// A small guest that reads, writes and answers.
fn guest() -> Vec<u8> {
    Guest::new(
        "request_headers",
        "(call $say (call $proxy_get_header_map_value #0 ':path' #16 #20)) (call $out)
         (call $say (call $proxy_add_header_map_value #0 'a' 'b'))
         (call $say (call $proxy_send_local_response #200 'd' 'body' '' #0))",
    )
    .hook("log", "(call $say (call $proxy_get_property 'plugin_name' #16 #20)) (call $out)")
    .wasm()
}

#[test]
fn a_damaged_module_is_refused_or_harmless() {
    let good = guest();
    fuzz(&vec(damage(), 0..4), |damages| {
        let mut wasm = good.clone();
        damages.iter().for_each(|damage| apply(&mut wasm, damage));
        if Outline::read(&wasm).is_err() {
            return;
        }
        let Ok(module) = Module::compile(engine(), &wasm) else { return };
        let prepared = Vm::prepare(&module, Arc::new(spec()), FakeHost::new());
        let Ok(mut vm) = prepared else { return };
        let mut host = FakeHost::new().with_stream(1, FakeStream::get("/"));
        let Ok(id) = vm.open_stream(&mut host, 1) else { return };
        for fault in [
            vm.request_headers(&mut host, id, 4, true).err(),
            vm.log(&mut host, id).err(),
            vm.close_stream(&mut host, id).err(),
        ] {
            assert!(fault.is_none_or(|fault| fault.reason != FaultReason::Host));
        }
        assert_eq!(vm.contexts(), 0);
    });
}

#[test]
fn any_bytes_have_an_outline_or_none() {
    let header = b"\0asm\x01\0\0\0";
    fuzz(&vec(any::<u8>(), 0..256), |tail| {
        let _ = Outline::read(&tail);
        let _ = Outline::read(&[&header[..], &tail].concat());
    });
}
