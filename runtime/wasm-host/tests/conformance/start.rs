use sidegate_wasm_host::hooks::Hook;
use sidegate_wasm_host::testing::{FakeHost, FakeStream};
use sidegate_wasm_host::{FaultReason, Headers};

use crate::guest::{Guest, spec};

#[test]
fn start_up_order_and_arguments() {
    let guest = Guest::default()
        .export("_initialize", "(call $say #1)")
        .export("main", "(param i32 i32) (result i32) (call $say #2) (local.get 0)")
        .export("_start", "(call $say #99)")
        .hook("context_create", "(call $say #3) (call $say (local.get $ctx)) (call $say (local.get $a))")
        .hook("vm_start", "(call $say #4) (call $say (local.get $ctx)) (call $say (local.get $a))")
        .hook("configure", "(call $say #5) (call $say (local.get $ctx)) (call $say (local.get $a))");
    let mut spec = spec();
    spec.vm_configuration = b"vm".to_vec();
    spec.configuration = Some(b"plugin".to_vec());
    let mut run = guest.start_with(spec, FakeHost::new());
    assert_eq!(run.said(), ["1", "2", "3", "1", "0", "4", "1", "2", "5", "1", "6"]);
}

#[test]
fn start_function_is_called_when_there_is_no_initialize() {
    let mut run = Guest::default().export("_start", "(call $say #1)").export("main", "(call $say #9)").start();
    assert_eq!(run.said(), ["1"]);
    let mut run = Guest::default()
        .export("_initialize", "(call $say #1)")
        .export("__main_void", "(result i32) (call $say #2) #0")
        .start();
    assert_eq!(run.said(), ["1", "2"]);
}

#[test]
fn while_starting_only_harmless_calls_are_served() {
    let mut run = Guest::default()
        .export(
            "_initialize",
            "(call $say (call $proxy_get_current_time_nanoseconds #32))
             (call $say (call $clock_time_get #0 (i64.const 0) #32))
             (call $say (call $random_get #32 #4))
             (call $say (call $environ_sizes_get #32 #36))
             (call $say (call $proxy_set_tick_period_milliseconds #5))
             (call $say (call $proxy_define_metric #0 'm' #24))
             (call $say (call $proxy_set_shared_data 'k' 'v' #0))",
        )
        .hook("configure", "(call $say (call $proxy_set_tick_period_milliseconds #5))")
        .start();
    assert_eq!(run.said(), ["0", "0", "0", "0", "10", "10", "10", "0"]);
    assert_eq!(run.vm.own_host().ticks.len(), 1);
}

#[test]
fn false_from_vm_start_or_configure_refuses_the_vm() {
    for (hook, label) in [("vm_start", "on_vm_start"), ("configure", "on_configure")] {
        let fault = Guest::new(hook, "(return #0)").prepare(spec(), FakeHost::new()).err().unwrap();
        assert_eq!(fault.reason, FaultReason::Refused);
        assert_eq!(fault.to_string(), format!("refused in {label}: the module returned false"));
    }
}

#[test]
fn a_trap_while_starting_names_the_hook() {
    for (guest, hook) in [
        (Guest::default().export("_initialize", "unreachable"), Hook::Start),
        (Guest::default().top("(func $s unreachable) (start $s)"), Hook::Start),
        (Guest::new("context_create", "unreachable"), Hook::ContextCreate),
        (Guest::new("vm_start", "unreachable"), Hook::VmStart),
        (Guest::new("configure", "unreachable"), Hook::Configure),
    ] {
        let fault = guest.prepare(spec(), FakeHost::new()).err().unwrap();
        assert_eq!((fault.hook, fault.reason), (hook, FaultReason::Trap));
        assert!(fault.detail.contains("unreachable"), "{fault}");
    }
}

#[test]
fn stream_contexts_are_numbered_behind_the_root_and_know_their_parent() {
    let mut run = Guest::new("context_create", "(call $say (local.get $ctx)) (call $say (local.get $a))").start();
    assert_eq!(run.said(), ["1", "0"]);
    let first = run.open(FakeStream::get("/a"));
    run.open(FakeStream::get("/b"));
    assert_eq!(run.said(), ["2", "1", "3", "1"]);
    run.close(first);
    run.open(FakeStream::get("/c"));
    assert_eq!(run.said(), ["4", "1"], "ids are not handed out again at once");
    assert_eq!(run.vm.contexts(), 2);
}

#[test]
fn the_configuration_is_read_from_its_buffer() {
    let guest = Guest::new("vm_start", "(call $say (call $proxy_get_buffer_bytes #6 #0 #100 #16 #20)) (call $out)")
        .hook("configure", "(call $say (call $proxy_get_buffer_bytes #7 #0 #100 #16 #20)) (call $out)");
    let mut given = spec();
    given.vm_configuration = b"for the vm".to_vec();
    given.configuration = Some(b"{\"a\":1}".to_vec());
    assert_eq!(guest.start_with(given, FakeHost::new()).said(), ["0", "for the vm", "0", "{\"a\":1}"]);
    assert_eq!(guest.start().said(), ["0", "", "0", ""]);
}

#[test]
fn header_hooks_get_count_and_end() {
    let guest = Guest::new("request_headers", "(call $say (local.get $a)) (call $say (local.get $b))");
    let (mut run, _) = guest.start_request(FakeStream::get("/").request_header("a", "b"));
    assert_eq!(run.said(), ["5", "1"]);
    assert_eq!(run.stream().request_headers.as_ref().unwrap().count(), 5);
}
