//! The CPU limit, measured on the real clock of the thread.

use std::time::Duration;

use sidegate_wasm_host::abi::Status;
use sidegate_wasm_host::hooks::{CalloutAnswer, Hook};
use sidegate_wasm_host::testing::{FakeHost, FakeStream, thread_cpu};
use sidegate_wasm_host::{ContextId, Fault, FaultReason, Vm};

use crate::guest::{Guest, Running, spec};

const ENDLESS: &str = "(loop $l (br $l))";
/// About 2 ms of work on a slow machine.
const SOME_WORK: &str = "(local $n i32)
    (loop $l (local.set $n (i32.add (local.get $n) #1)) (br_if $l (i32.lt_u (local.get $n) #1000000)))";

/// Asserts that a run is ended at its budget, neither before nor much later, on one of a few attempts: what else runs
/// on the machine can keep the clock's thread waiting for some milliseconds.
fn ends_within(budget: Duration, hook: Hook, mut run: impl FnMut() -> Duration) {
    let spent: Vec<_> = (0..8)
        .map(|_| run())
        .inspect(|spent| assert!(*spent >= budget - Duration::from_millis(1), "{hook}: ended after {spent:?}"))
        .take_while(|spent| *spent > budget + Duration::from_millis(5))
        .collect();
    assert!(spent.len() < 8, "{hook}: always late, {spent:?}");
}

/// Runs the hook to its fault; the CPU time it took.
fn loops(run: &mut Running, hook: Hook, id: ContextId) -> (Fault, Duration) {
    let Running { vm, host } = run;
    let before = thread_cpu();
    let result = match hook {
        Hook::RequestHeaders => vm.request_headers(host, id, 4, true).map(drop),
        Hook::RequestBody => vm.request_body(host, id, 0, true).map(drop),
        Hook::RequestTrailers => vm.request_trailers(host, id, 0).map(drop),
        Hook::ResponseHeaders => vm.response_headers(host, id, 4, true).map(drop),
        Hook::ResponseBody => vm.response_body(host, id, 0, true).map(drop),
        Hook::ResponseTrailers => vm.response_trailers(host, id, 0).map(drop),
        Hook::Log => vm.log(host, id),
        Hook::Done | Hook::Delete => vm.close_stream(host, id),
        Hook::Tick => vm.tick(host),
        Hook::QueueReady => vm.queue_ready(host, 1),
        other => panic!("not looped: {other}"),
    };
    let spent = thread_cpu() - before;
    (result.unwrap_err(), spent)
}

#[test]
fn an_endless_loop_in_any_hook_is_ended_in_time() {
    for (hook, name) in [
        (Hook::RequestHeaders, "request_headers"),
        (Hook::RequestBody, "request_body"),
        (Hook::RequestTrailers, "request_trailers"),
        (Hook::ResponseHeaders, "response_headers"),
        (Hook::ResponseBody, "response_body"),
        (Hook::ResponseTrailers, "response_trailers"),
        (Hook::Log, "log"),
        (Hook::Done, "done"),
        (Hook::Delete, "delete"),
        (Hook::Tick, "tick"),
        (Hook::QueueReady, "queue_ready"),
    ] {
        let guest = Guest::new(name, ENDLESS);
        ends_within(spec().limits.cpu_per_call, hook, || {
            let mut run = guest.start();
            let id = run.open(FakeStream::get("/"));
            let (fault, spent) = loops(&mut run, hook, id);
            assert_eq!((fault.hook, fault.reason), (hook, FaultReason::Deadline));
            assert!(run.vm.is_dead());
            spent
        });
    }
}

#[test]
fn work_within_the_budget_is_not_disturbed_and_the_budget_is_per_hook() {
    let mut roomy = spec();
    roomy.limits.cpu_per_call = Duration::from_millis(50);
    let mut run = Guest::new("tick", SOME_WORK).start_with(roomy, FakeHost::new());
    let before = thread_cpu();
    while thread_cpu() - before < Duration::from_millis(100) {
        run.vm.tick(&mut run.host).unwrap();
    }
}

#[test]
fn another_vm_on_the_thread_goes_on() {
    let mut healthy = Guest::new("tick", "(call $say #1)").start();
    let mut run = Guest::new("tick", ENDLESS).start();
    assert_eq!(loops(&mut run, Hook::Tick, ContextId(1)).0.reason, FaultReason::Deadline);
    healthy.tick();
    assert_eq!(healthy.said(), ["1"]);
}

#[test]
fn start_and_configure_share_a_budget_of_their_own() {
    let mut short = spec();
    short.limits.configure = Duration::from_millis(30);
    for (guest, hook) in [
        (Guest::default().export("_initialize", ENDLESS), Hook::Start),
        (Guest::default().top(&format!("(func $s {ENDLESS}) (start $s)")), Hook::Start),
        (Guest::new("vm_start", ENDLESS), Hook::VmStart),
        (Guest::new("configure", ENDLESS), Hook::Configure),
    ] {
        let module = guest.load().unwrap();
        ends_within(short.limits.configure, hook, || {
            let before = thread_cpu();
            let fault = Vm::prepare(&module, short.clone().into(), FakeHost::new()).err().unwrap();
            assert_eq!((fault.hook, fault.reason), (hook, FaultReason::Deadline));
            thread_cpu() - before
        });
    }
}

#[test]
fn configure_may_use_more_than_a_hook() {
    let mut tight = spec();
    tight.limits.cpu_per_call = Duration::from_micros(1);
    let many = format!(
        "(local $m i32) (loop $outer (local.set $n #0) {} (local.set $m (i32.add (local.get $m) #1)) (br_if $outer (i32.lt_u (local.get $m) #30)))",
        SOME_WORK.replace("(local $n i32)", "")
    );
    let body = format!("(local $n i32) {many}");
    Guest::new("configure", &body).prepare(tight, FakeHost::new()).unwrap();
}

#[test]
fn a_deadline_in_a_callout_answer_names_its_hook() {
    let head = r"'\03\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\01\00\00\00\0a\00\00\00\01\00\00\00:method\00GET\00:path\00/\00:authority\00a\00'";
    let mut run = Guest::new("http_call_response", ENDLESS)
        .hook("tick", &format!("(drop (call $proxy_http_call 'a' {head} '' '' #0 #24))"))
        .start_with(spec(), FakeHost::new().with_cluster("a"));
    run.tick();
    let fault = run.vm.callout_response(&mut run.host, 4, Ok(CalloutAnswer::default())).unwrap_err();
    assert_eq!((fault.hook, fault.reason), (Hook::CalloutResponse, FaultReason::Deadline));
}

#[test]
fn a_list_of_hostcalls_without_a_loop_is_ended_too() {
    let host = FakeHost::new().with_function("slow", |_, _| {
        let until = thread_cpu() + Duration::from_millis(1);
        while thread_cpu() < until {}
        Status::Ok
    });
    let body = "(drop (call $proxy_call_foreign_function 'slow' '' #0 #0))".repeat(2000);
    let mut run = Guest::new("request_headers", &body).start_with(spec(), host);
    let id = run.open(FakeStream::get("/"));
    let (fault, spent) = loops(&mut run, Hook::RequestHeaders, id);
    assert_eq!(fault.reason, FaultReason::Deadline);
    assert!(spent < Duration::from_millis(1000), "2000 calls take 2 s: ended after {spent:?}");
}
