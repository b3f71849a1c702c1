//! A guest that makes any hostcalls with any arguments, called by a worker that does anything in any order.

use proptest::collection::vec;
use proptest::prelude::*;
use sidegate_tests::hex;
use sidegate_tests::probe::{Abi, CALLS, PHASES};
use sidegate_wasm_host::testing::FakeHost;
use sidegate_wasm_host::{ContextId, Fault, FaultReason, Vm, limits};

use crate::fuzz;
use crate::guest::spec;
use crate::probe::{answer, everything, prepare};

/// One step of the probe: phase, call, arguments.
type Step = (u32, u32, Vec<u32>);

/// Addresses of results, of the program, of the edge of memory; small numbers; anything.
fn word() -> impl Strategy<Value = u32> {
    prop_oneof![
        6 => 0..12_u32,
        3 => prop::sample::select(vec![16, 20, 24, 28, 4096, 65_540]),
        2 => 65_536..70_000_u32,
        1 => 1_114_100..1_114_120_u32,
        1 => prop::sample::select(vec![u32::MAX, i32::MAX as u32, i32::MIN as u32, 65_536, 65_537, 1 << 20]),
        1 => any::<u32>(),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    // `return` is among the calls; `trap` and `spin` would only end what is to be tried.
    let calls = prop_oneof![
        20 => 0..CALLS.len() as u32,
        2 => prop::sample::select(vec![CALLS.len() as u32, CALLS.len() as u32 + 3, CALLS.len() as u32 + 4]),
    ];
    (0..PHASES.len() as u32, calls, vec(word(), 12))
}

/// The probe's own form: a count, steps of 64 bytes, data.
fn program(steps: &[Step], data: &[u8]) -> String {
    let mut bytes = (steps.len() as u32).to_le_bytes().to_vec();
    for (phase, call, words) in steps {
        let start = bytes.len();
        for word in [phase, call].into_iter().chain(words) {
            bytes.extend(word.to_le_bytes());
        }
        bytes.resize(start + 64, 0);
    }
    bytes.extend(data);
    hex(&bytes)
}

/// What a worker may do next; the number chooses among open exchanges.
#[derive(Clone, Copy, Debug)]
enum Event {
    Open,
    RequestHeaders(usize, bool),
    RequestBody(usize, bool),
    RequestTrailers(usize),
    ResponseHeaders(usize, bool),
    ResponseBody(usize, bool),
    ResponseTrailers(usize),
    Log(usize),
    Close(usize),
    /// The exchange ends for the proxy before the guest learns of it.
    Vanish(usize),
    Tick,
    Queue(u32),
    Answer(usize, bool),
    Foreign(u32),
    Finish,
}

fn event() -> impl Strategy<Value = Event> {
    let at = || 0..4_usize;
    let end = any::<bool>;
    prop_oneof![
        4 => Just(Event::Open),
        4 => (at(), end()).prop_map(|(at, end)| Event::RequestHeaders(at, end)),
        3 => (at(), end()).prop_map(|(at, end)| Event::RequestBody(at, end)),
        1 => at().prop_map(Event::RequestTrailers),
        3 => (at(), end()).prop_map(|(at, end)| Event::ResponseHeaders(at, end)),
        3 => (at(), end()).prop_map(|(at, end)| Event::ResponseBody(at, end)),
        1 => at().prop_map(Event::ResponseTrailers),
        2 => at().prop_map(Event::Log),
        2 => at().prop_map(Event::Close),
        1 => at().prop_map(Event::Vanish),
        2 => Just(Event::Tick),
        2 => (0..4_u32).prop_map(Event::Queue),
        3 => (at(), end()).prop_map(|(at, sound)| Event::Answer(at, sound)),
        1 => (0..4_u32).prop_map(Event::Foreign),
        1 => Just(Event::Finish),
    ]
}

/// A VM with its worker and what the worker has open.
struct World {
    vm: Vm<FakeHost>,
    host: FakeHost,
    open: Vec<(ContextId, u32)>,
    next_key: u32,
}

impl World {
    fn exchange(&self, at: usize) -> Option<(ContextId, u32)> {
        self.open.get(at % self.open.len().max(1)).copied()
    }

    fn perform(&mut self, event: Event) -> Result<(), Fault> {
        let chosen = match event {
            Event::RequestHeaders(at, _)
            | Event::RequestBody(at, _)
            | Event::RequestTrailers(at)
            | Event::ResponseHeaders(at, _)
            | Event::ResponseBody(at, _)
            | Event::ResponseTrailers(at)
            | Event::Log(at)
            | Event::Close(at)
            | Event::Vanish(at) => match self.exchange(at) {
                Some(chosen) => chosen,
                None => return Ok(()),
            },
            _ => (ContextId(0), 0),
        };
        let (id, key) = chosen;
        let (vm, host) = (&mut self.vm, &mut self.host);
        match event {
            Event::Open => {
                self.next_key += 1;
                host.streams.insert(self.next_key, everything());
                let id = vm.open_stream(host, self.next_key)?;
                self.open.push((id, self.next_key));
                Ok(())
            }
            Event::RequestHeaders(_, end) => vm.request_headers(host, id, 4, end).map(drop),
            Event::RequestBody(_, end) => vm.request_body(host, id, 5, end).map(drop),
            Event::RequestTrailers(_) => vm.request_trailers(host, id, 1).map(drop),
            Event::ResponseHeaders(_, end) => vm.response_headers(host, id, 2, end).map(drop),
            Event::ResponseBody(_, end) => vm.response_body(host, id, 5, end).map(drop),
            Event::ResponseTrailers(_) => vm.response_trailers(host, id, 1).map(drop),
            Event::Log(_) => vm.log(host, id),
            Event::Close(_) => {
                self.open.retain(|open| *open != chosen);
                let closed = vm.close_stream(host, id);
                host.streams.remove(&key);
                closed
            }
            Event::Vanish(_) => {
                host.streams.remove(&key);
                Ok(())
            }
            Event::Tick => vm.tick(host),
            Event::Queue(queue) => vm.queue_ready(host, queue),
            Event::Answer(at, sound) => {
                let Some(sent) = host.callouts.get(at % host.callouts.len().max(1)) else { return Ok(()) };
                let answer = if sound { Ok(answer()) } else { Err("reset".to_owned()) };
                vm.callout_response(host, sent.id, answer)
            }
            Event::Foreign(id) => vm.foreign_function(host, id, b"data".to_vec()),
            Event::Finish => vm.finish(host).map(drop),
        }
    }

    /// What holds whatever the guest did.
    fn demand_bounds(&self) {
        let World { vm, host, open, .. } = self;
        assert_eq!(vm.contexts(), open.len(), "one context for each open exchange");
        assert!(vm.memory() <= spec().limits.memory);
        assert!(host.metrics.len() <= host.max_metrics);
        let properties = host.streams.values().flat_map(|stream| stream.properties.values());
        assert!(properties.into_iter().all(|value| value.len() <= limits::PROPERTY_BYTES));
    }
}

#[test]
fn no_sequence_of_calls_harms_the_host() {
    let programs = (vec(step(), 1..24), vec(any::<u8>(), 0..64), vec(event(), 1..40), any::<bool>());
    fuzz(&programs, |(steps, data, events, old)| {
        let abi = if old { Abi::V0_1_0 } else { Abi::V0_2_1 };
        let vm = match prepare(abi, &program(&steps, &data)) {
            Ok(vm) => vm,
            Err(fault) => return demand_ours_is_innocent(&fault),
        };
        let host = FakeHost::new().with_cluster("auth").with_cluster("");
        let mut world = World { vm, host, open: Vec::new(), next_key: 0 };
        for event in events {
            if let Err(fault) = world.perform(event) {
                demand_ours_is_innocent(&fault);
                if fault.reason != FaultReason::VmLost {
                    assert!(world.vm.is_dead());
                }
            }
            world.demand_bounds();
        }
        for (id, _) in std::mem::take(&mut world.open) {
            let _ = world.vm.close_stream(&mut world.host, id);
        }
        assert_eq!(world.vm.contexts(), 0);
    });
}

fn demand_ours_is_innocent(fault: &Fault) {
    assert_ne!(fault.reason, FaultReason::Host, "{fault}");
}
