//! A filter hurts only the requests inside it: loops, memory, pauses, and what comes after. Every way to fault in every
//! hook is in `hostile/faults.rs`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sidegate_tests::{Request, eventually};

use crate::guarded::{plain, with_guest};
use crate::guest::{FOREVER, guest, times};
use crate::setup::{fine, memory};

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn beside_a_loop_the_same_worker_serves_others() {
    let origin = fine();
    let looping = format!("(if (i32.eq (call $path) #3) (then {FOREVER}))");
    let sidegate = with_guest(guest(&[("request_headers", &looping)]), "", &origin, 1);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let others = scope.spawn(|| {
            let mut served = 0;
            while !stop.load(Ordering::SeqCst) {
                assert_eq!(plain(&sidegate), 200);
                served += 1;
            }
            served
        });
        let mut fastest = Duration::MAX;
        for _ in 0..2 {
            let started = Instant::now();
            assert_eq!(sidegate.get("/ll").status, 503);
            fastest = fastest.min(started.elapsed());
            // The spare takes the place: the next one is served.
            eventually(PATIENCE, || (sidegate.get("/").status == 200).then_some(())).unwrap();
        }
        stop.store(true, Ordering::SeqCst);
        assert!(others.join().unwrap() > 0);
        // 10 ms of CPU and what a busy machine adds; without a deadline it would never end.
        assert!(fastest < Duration::from_millis(500), "{fastest:?}");
    });
}

#[test]
fn a_memory_bomb_stays_within_its_limit() {
    let origin = fine();
    let bomb = "(loop $l (drop (memory.grow #64)) (memory.fill #131072 #1 (i32.sub (i32.mul (memory.size) #65536) #131072)) (br $l))";
    let sidegate = with_guest(guest(&[("request_headers", bomb)]), "", &origin, 1);
    let before = memory(&sidegate, "VmRSS");
    for _ in 0..2 {
        assert_eq!(sidegate.get("/").status, 503);
    }
    let grown = memory(&sidegate, "VmHWM").saturating_sub(before);
    assert!(grown < 96 << 10, "{grown} KiB");
    assert_eq!(plain(&sidegate), 200);
}

#[test]
fn a_request_that_is_never_resumed_is_504_at_the_limit() {
    let origin = fine();
    for (hook, action) in [("request_headers", 1), ("request_headers", 4), ("response_headers", 1)] {
        let wasm = guest(&[(hook, &format!("(return #{action})"))]);
        let sidegate = with_guest(wasm, ", limits: {pause: 300ms}", &origin, 1);
        let started = Instant::now();
        assert_eq!(sidegate.get("/").status, 504, "{hook} {action}");
        assert!(started.elapsed() >= Duration::from_millis(250));
    }
    for hook in ["request_body", "response_body"] {
        let wasm = guest(&[(hook, "(return #1)")]);
        let sidegate = with_guest(wasm, ", limits: {pause: 300ms}", &origin, 1);
        let answer = sidegate.connect().send(&Request::post("/", "hello"));
        assert!(answer.as_ref().map_or(hook == "response_body", |answer| answer.status == 504), "{hook}: {answer:?}");
    }
}

#[test]
fn an_action_that_does_not_exist_does_not_hang() {
    let origin = fine();
    for hook in ["request_headers", "response_headers", "request_body", "response_body"] {
        let sidegate = with_guest(guest(&[(hook, "(return #77)")]), ", limits: {pause: 300ms}", &origin, 1);
        let answer = sidegate.connect().send(&Request::post("/", "hello"));
        assert!(answer.map_or(true, |answer| answer.status >= 200), "{hook}");
        assert_eq!(plain(&sidegate), 200);
    }
}

#[test]
fn a_tick_that_loops_is_ended() {
    let origin = fine();
    let wasm = guest(&[("vm_start", "(drop (call $set_tick #10))"), ("tick", FOREVER), ("request_headers", "")]);
    let sidegate = with_guest(wasm, "", &origin, 1);
    sidegate.metric("sidegate_plugin_faults_total", &[("plugin", "guest")], |faults| faults >= 1.0);
    for _ in 0..20 {
        assert_eq!(plain(&sidegate), 200);
    }
}

#[test]
fn faults_leave_no_memory_behind() {
    let origin = fine();
    let touch = times(2, "(drop (memory.grow #100))");
    let sidegate = with_guest(guest(&[("request_headers", &touch)]), "", &origin, 1);
    for _ in 0..50 {
        sidegate.get("/");
    }
    let before = memory(&sidegate, "VmRSS");
    for _ in 0..500 {
        sidegate.get("/");
    }
    let grown = memory(&sidegate, "VmRSS").saturating_sub(before);
    assert!(grown < 48 << 10, "{grown} KiB");
}

#[test]
fn a_filter_that_has_only_an_end_is_told_of_every_end() {
    let origin = fine();
    for hook in ["done", "delete"] {
        let body = "(drop (call $log #4 <it is over>))";
        let sidegate = with_guest(guest(&[(hook, body)]), "", &origin, 1);
        assert_eq!(sidegate.get("/").status, 200);
        assert!(sidegate.log().line_with("it is over", PATIENCE).is_some(), "{hook}");
    }
}

#[test]
fn a_thousand_hooks_of_a_queue_leave_room_for_others() {
    const HOOKS: usize = 1000;
    let origin = fine();
    let work = times(700_000, "");
    let fill = times(HOOKS, "(drop (call $enqueue (i32.load #48) <item>))");
    let wasm = guest(&[
        ("vm_start", "(drop (call $register_queue <q> #48)) (drop (call $define_metric #0 <hooks_run> #60))"),
        ("request_headers", &fill),
        (
            "queue_ready",
            &format!(
                "{work} (drop (call $dequeue (i32.load #48) #52 #56))
                 (drop (call $increment (i32.load #60) (i64.const 1)))"
            ),
        ),
    ]);
    let sidegate = with_guest(wasm, "", &origin, 1);
    assert_eq!(plain(&sidegate), 200);
    let run = || sidegate.metric("hooks_run", &[], |_| true);
    let mut filling = sidegate.connect();
    let began = Instant::now();
    filling.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut slowest = Duration::ZERO;
    let together = eventually(PATIENCE, || {
        let asked = Instant::now();
        assert_eq!(plain(&sidegate), 200);
        slowest = slowest.max(asked.elapsed());
        (run() >= HOOKS as f64).then(|| began.elapsed())
    });
    let together = together.expect("every item has its hook");
    assert_eq!(filling.read_response().unwrap().status, 200);
    // Were the hooks run back to back, somebody would wait for nearly all of them.
    assert!(slowest < together / 3, "{slowest:?} of {together:?}");
}

#[test]
fn an_exchange_inside_a_vm_that_ends_is_counted_as_lost() {
    let origin = fine();
    // `/h` is held, `/tt` ends the VM.
    let hook = "(if (i32.eq (call $path) #2) (then (return #1))) (if (i32.eq (call $path) #3) (then unreachable))";
    let sidegate = with_guest(guest(&[("request_headers", hook)]), "", &origin, 1);
    let mut held = sidegate.connect();
    held.write(b"GET /h HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    sidegate.metric("sidegate_plugin_contexts", &[("plugin", "guest")], |open| open == 1.0);
    assert_eq!(sidegate.get("/tt").status, 503);
    assert_eq!(held.read_response().unwrap().status, 503);
    let counted = |reason| sidegate.metric("sidegate_plugin_faults_total", &[("reason", reason)], |_| true);
    assert_eq!((counted("trap"), counted("vm_lost")), (1.0, 1.0));
}
