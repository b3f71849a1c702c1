//! Traps, memory, our own bugs: what ends a VM, and that nothing enters it afterwards.

use sidegate_wasm_host::hooks::Hook;
use sidegate_wasm_host::testing::{FakeHost, FakeStream};
use sidegate_wasm_host::{BodyAction, Engine, FaultReason, Module, Policy, Vm};

use crate::guest::{Guest, spec};

fn fault_of(guest: &Guest) -> (FaultReason, String) {
    let mut run = guest.start();
    let fault = run.vm.tick(&mut run.host).unwrap_err();
    assert_eq!(fault.hook, Hook::Tick);
    assert!(run.vm.is_dead());
    (fault.reason, fault.detail)
}

#[test]
fn traps() {
    for (name, body, words) in [
        ("unreachable", "unreachable", "unreachable"),
        ("div_by_zero", "(drop (i32.div_u #1 #0))", "divide by zero"),
        ("out_of_bounds", "(drop (i32.load #-4))", "out of bounds memory access"),
        ("stack_overflow", "(call $deep)", "call stack exhausted"),
        ("null_indirect_call", "(call_indirect $table (type $void) #1)", "uninitialized element"),
        ("indirect_call_of_another_type", "(call_indirect $table (type $void) #0)", "indirect call type mismatch"),
        ("indirect_call_out_of_range", "(call_indirect $table (type $void) #9)", "undefined element"),
    ] {
        let guest = Guest::new("tick", body).top(
            "(type $void (func)) (table $table 2 2 funcref) (elem (table $table) (i32.const 0) func $number)
             (func $number (result i32) #1) (func $deep (call $deep) (call $deep))",
        );
        let (reason, detail) = fault_of(&guest);
        assert_eq!(reason, FaultReason::Trap, "{name}");
        assert!(detail.contains(words), "{name}: {detail}");
    }
}

#[test]
fn a_backtrace_names_guest_functions() {
    let (_, detail) = fault_of(&Guest::new("tick", "(call $inner)").top("(func $inner unreachable)"));
    assert!(detail.contains("inner"), "{detail}");
}

#[test]
fn memory_bomb() {
    let (reason, _) = fault_of(&Guest::new("tick", "(loop $l (br_if $l (i32.ne (memory.grow #16) #-1))) unreachable"));
    assert_eq!(reason, FaultReason::Memory);
}

#[test]
fn growth_stops_at_the_limit_and_a_guest_that_copes_lives_on() {
    let mut run = Guest::new("tick", "(call $say (memory.grow #509)) (call $say (memory.grow #1))").start();
    run.tick();
    assert_eq!(run.said(), ["3", "-1"], "512 pages are 32 MiB");
    assert_eq!(run.vm.memory(), 32 << 20);
    run.tick();
}

#[test]
fn a_first_memory_over_the_limit_refuses_the_vm() {
    let mut small = spec();
    small.limits.memory = 2 << 16;
    let fault = Guest::default().prepare(small, FakeHost::new()).err().unwrap();
    assert_eq!((fault.hook, fault.reason), (Hook::Start, FaultReason::Memory));
    assert!(fault.detail.contains("memory"), "{fault}");
}

#[test]
fn table_bomb() {
    let grow = "(if (i32.eq (table.grow $t (ref.null func) #20000) #-1) (then unreachable))";
    let guest = Guest::new("tick", grow).top("(table $t 1 funcref)");
    assert_eq!(fault_of(&guest).0, FaultReason::Memory);
    let error = Guest::new("tick", "(drop (table.size $t))").top("(table $t 10000000 funcref)").load().err();
    assert!(error.unwrap().to_string().contains("table"), "a table that starts too large is refused when loading");
}

#[test]
fn after_a_fault_nothing_enters() {
    let hooks =
        ["request_headers", "response_headers", "log", "done", "delete", "tick", "queue_ready", "context_create"];
    let guest = hooks.iter().fold(Guest::default(), |guest, hook| {
        guest.hook(hook, if *hook == "tick" { "unreachable" } else { "(call $say #1)" })
    });
    let mut run = guest.start();
    let id = run.open(FakeStream::get("/"));
    run.said();
    run.vm.tick(&mut run.host).unwrap_err();
    let crate::guest::Running { vm, host } = &mut run;
    let results = [
        vm.request_headers(host, id, 0, true).map(drop),
        vm.response_headers(host, id, 0, true).map(drop),
        vm.log(host, id),
        vm.tick(host),
        vm.queue_ready(host, 1),
        vm.open_stream(host, 7).map(drop),
        vm.finish(host).map(drop),
    ];
    for result in results {
        assert_eq!(result.unwrap_err().reason, FaultReason::VmLost);
    }
    assert_eq!(vm.request_body(host, id, 0, true).unwrap(), BodyAction::Continue, "a hook it never had");
    assert_eq!(vm.streams().collect::<Vec<_>>(), [100], "who is concerned");
    assert!(vm.close_stream(host, id).is_err());
    assert_eq!(vm.contexts(), 0, "but its id is free");
    assert_eq!(run.said(), [""; 0]);
}

#[test]
fn a_dead_vm_opens_no_stream_even_without_a_constructor() {
    let mut run = Guest::new("tick", "unreachable").start();
    run.vm.tick(&mut run.host).unwrap_err();
    assert_eq!(run.vm.open_stream(&mut run.host, 7).unwrap_err().reason, FaultReason::VmLost);
}

#[test]
fn a_trap_in_done_leaves_out_delete() {
    let mut run = Guest::new("done", "unreachable").hook("delete", "(call $say #1)").start();
    let id = run.open(FakeStream::get("/"));
    assert_eq!(run.vm.close_stream(&mut run.host, id).unwrap_err().hook, Hook::Done);
    assert_eq!(run.said(), [""; 0]);
}

#[test]
fn a_trap_in_the_constructor_of_a_stream() {
    let mut run = Guest::new("context_create", "(if (local.get $a) (then unreachable))").start();
    let fault = run.vm.open_stream(&mut run.host, 7).unwrap_err();
    assert_eq!((fault.hook, fault.reason), (Hook::ContextCreate, FaultReason::Trap));
    assert_eq!(run.vm.contexts(), 0);
}

#[test]
fn a_bug_of_ours_behind_the_hook_is_caught_too() {
    let write =
        "(i32.store #40 #48) (i32.store #44 #4) (i32.store #48 #1836019554) (drop (call $fd_write #1 #40 #1 #24))";
    let mut run = Guest::new("tick", write).start();
    run.host.panic_on_log = Some(b"boom"[..].into());
    assert_eq!(run.vm.tick(&mut run.host).unwrap_err().reason, FaultReason::Host);
    assert!(run.host.panic_on_log.is_some());
}

#[test]
fn an_engine_without_room_says_so() {
    let engine = Engine::new(Policy::Foreign, 1).unwrap();
    let module = Module::compile(&engine, &Guest::default().wasm()).unwrap();
    let first = Vm::prepare(&module, spec().into(), FakeHost::new()).unwrap();
    let fault = Vm::prepare(&module, spec().into(), FakeHost::new()).err().unwrap();
    assert_eq!(fault.reason, FaultReason::Host);
    assert!(fault.detail.contains("limit of 1"), "{fault}");
    drop(first);
    assert!(Vm::prepare(&module, spec().into(), FakeHost::new()).is_ok(), "the place of a dropped VM is free again");
}

#[test]
fn vms_can_be_sent_to_their_worker() {
    fn sent<T: Send>(_: &T) {}
    sent(&Guest::default().start().vm);
}

#[test]
fn a_bug_of_ours_costs_one_vm_and_the_worker_keeps_its_environment() {
    let guest = Guest::new("tick", "(drop (call $proxy_log #2 'boom'))");
    let mut run = guest.start();
    run.host.panic_on_log = Some(b"boom".to_vec());
    let fault = run.vm.tick(&mut run.host).unwrap_err();
    assert_eq!(fault.reason, FaultReason::Host);
    assert!(run.vm.is_dead());
    assert!(run.host.panic_on_log.is_some(), "the environment came back");
    assert!(run.vm.own_host().panic_on_log.is_none());
}
