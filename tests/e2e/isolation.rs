//! A filter hurts only the requests inside it: faults in every hook, loops, memory, and what comes after.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use sidegate_tests::{Answer, Gate, Origin, Request, Sidegate, eventually};

use crate::guest::{FOREVER, guest, times};
use crate::setup::{fine, memory};

const PATIENCE: Duration = Duration::from_secs(20);

/// A proxy whose first listener runs the module, and whose listener `plain` does not.
fn with_guest(wasm: Vec<u8>, plugin: &str, upstream: &Origin, workers: usize) -> Sidegate {
    Sidegate::configured(&config(plugin, upstream)).with_file("guest.wasm", wasm).with_workers(workers).start()
}

fn config(plugin: &str, upstream: &Origin) -> String {
    format!(
        "plugins: [{{name: guest, url: \"file:guest.wasm\"{plugin}}}]\n\
         listeners:\n\
         - {{name: inbound, address: $inbound, cluster: app, filters: [{{plugin: guest}}]}}\n\
         - {{name: plain, address: $plain, cluster: app}}\n\
         clusters: [{{name: app, endpoints: [{{address: \"{upstream}\"}}]}}]\n"
    )
}

fn plain(sidegate: &Sidegate) -> u16 {
    sidegate_tests::Client::get_once(sidegate.address("plain"), "/").unwrap().status
}

fn faults(sidegate: &Sidegate) -> f64 {
    sidegate.metric("sidegate_plugin_faults_total", &[("plugin", "guest")], |_| true)
}

#[test]
fn a_fault_in_any_hook_is_answered_and_leaves_the_rest() {
    for body in ["unreachable", FOREVER, "(drop (i32.load #4294967295))", "(drop (i32.div_u #1 #0))"] {
        let hooks = [
            "context_create",
            "request_headers",
            "response_headers",
            "request_body",
            "response_body",
            "log",
            "done",
            "delete",
        ];
        for hook in hooks {
            let origin = fine();
            // The root context is created before there is any request.
            let in_stream = format!("(if (local.get 1) (then {body}))");
            let body_here = if hook == "context_create" { &in_stream } else { body };
            let sidegate = with_guest(guest(&[(hook, body_here)]), "", &origin, 1);
            let started = Instant::now();
            let answer = sidegate.connect().send(&Request::post("/", "hello"));
            assert!(started.elapsed() < Duration::from_secs(5), "{hook} {body}: {:?}", started.elapsed());
            let harmless = ["log", "done", "delete"].contains(&hook);
            match (&answer, harmless) {
                (Ok(answer), true) => assert_eq!(answer.status, 200, "{hook} {body}"),
                (Ok(answer), false) => assert!(matches!(answer.status, 502 | 503), "{hook} {body}: {}", answer.status),
                // What has left cannot be taken back: it is cut.
                (Err(_), _) => assert_eq!(hook, "response_body"),
            }
            assert_eq!(plain(&sidegate), 200, "{hook} {body}");
            assert!(faults(&sidegate) >= 1.0);
            let plugins = sidegate.ask_admin(&Request::get("/plugins"));
            let plugins: Value = serde_json::from_slice(&plugins.body).unwrap();
            assert!(
                plugins["plugins"][0]["faults"][format!("on_{hook}")].is_object()
                    || plugins["plugins"][0]["faults"].as_object().is_some_and(|faults| !faults.is_empty()),
                "{plugins}"
            );
        }
    }
}

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
fn endless_recursion_is_a_fault() {
    let origin = fine();
    let wasm = crate::guest::module(
        "(func $deeper (param i32) (result i32) (i32.add #1 (call $deeper (local.get 0))))
         (func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32) (call $deeper #1))",
    );
    let sidegate = with_guest(wasm, "", &origin, 1);
    assert_eq!(sidegate.get("/").status, 503);
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
fn fail_strategies() {
    let trapping = guest(&[("request_headers", "(drop (call $add_header #0 <x-half> <1>)) unreachable")]);
    let origin = fine();
    let close = with_guest(trapping.clone(), ", failStrategy: FAIL_CLOSE", &origin, 1);
    assert_eq!(close.get("/").status, 503);
    assert_eq!(origin.request_count(), 0);

    let open = with_guest(trapping, ", failStrategy: FAIL_OPEN", &origin, 1);
    for _ in 0..10 {
        assert_eq!(open.get("/").status, 200, "also while no VM is ready");
        assert_eq!(origin.requests().pop().unwrap().header("x-half"), None, "what the fault left is undone");
    }

    // The first VM remembers that it was there, and traps; the next one finds the note.
    let once = "(if (call $get_shared <seen> #32 #36 #40)
        (then (drop (call $set_shared <seen> <1> #0)) unreachable))";
    let reload = with_guest(guest(&[("request_headers", once)]), ", failStrategy: FAIL_RELOAD", &origin, 1);
    assert_eq!(reload.get("/").status, 200);
    assert_eq!(faults(&reload), 1.0);
}

#[test]
fn grpc_clients_get_faults_in_their_form() {
    let origin = fine();
    let sidegate = with_guest(guest(&[("request_headers", "unreachable")]), "", &origin, 1);
    let answer = sidegate.send(&Request::post("/", "x").with_header("content-type", "application/grpc"));
    assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("14")));
}

#[test]
fn a_fault_ends_the_other_requests_that_wait_inside_the_vm() {
    let origin = fine();
    let modes = "(if (i32.eq (call $path) #2) (then (return #1))) (if (i32.eq (call $path) #3) (then unreachable))";
    let sidegate = with_guest(guest(&[("request_headers", modes)]), ", limits: {pause: 60s}", &origin, 1);
    let mut waiting = sidegate.connect();
    waiting.write(b"GET /p HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    eventually(PATIENCE, || {
        let page = sidegate.ask_admin(&Request::get("/stats/prometheus")).text().into_owned();
        sidegate_tests::prometheus::sum(&page, "envoy_http_downstream_rq_active", &[]).filter(|active| *active >= 1.0)
    })
    .unwrap();
    assert_eq!(sidegate.get("/tt").status, 503);
    assert_eq!(waiting.read_response().unwrap().status, 503);
}

#[test]
fn a_request_that_needs_the_vm_no_more_goes_on() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = Origin::answering(move |request| match request.target.as_str() {
        "/x" => Answer::ok("late").when(&held),
        _ => Answer::ok("fine"),
    });
    let traps = "(if (i32.eq (call $path) #3) (then unreachable))";
    let sidegate = with_guest(guest(&[("request_headers", traps), ("log", "")]), "", &origin, 1);
    let mut waiting = sidegate.connect();
    waiting.write(b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    eventually(PATIENCE, || (origin.request_count() == 1).then_some(())).unwrap();
    assert_eq!(sidegate.get("/tt").status, 503);
    gate.open();
    assert_eq!(waiting.read_response().unwrap().text(), "late");
}

#[test]
fn five_faults_open_the_breaker() {
    let origin = fine();
    let sidegate = with_guest(guest(&[("request_headers", "unreachable")]), "", &origin, 4);
    let opened = eventually(PATIENCE, || {
        assert_eq!(sidegate.get("/").status, 503);
        sidegate.log().line_with("no VM for", Duration::ZERO)
    });
    assert!(opened.is_some_and(|line| line.contains("guest")));
    // VMs that were ready on other workers are not used up either once it is open.
    let counted = faults(&sidegate);
    assert!((5.0..=8.0).contains(&counted), "{counted}");
    for _ in 0..20 {
        assert_eq!(sidegate.get("/").status, 503);
        assert_eq!(plain(&sidegate), 200);
    }
    assert!(faults(&sidegate) <= 8.0);
}

#[test]
fn a_vm_made_after_a_fault_sees_what_the_first_one_saw() {
    let origin = fine();
    let shows =
        "(drop (call $get_property <sidegate.clusters> #32 #36)) (drop (call $log #2 (i32.load #32) (i32.load #36)))";
    let trap = "(if (i32.eq (call $path) #3) (then unreachable))";
    let sidegate = with_guest(guest(&[("configure", shows), ("request_headers", trap)]), "", &origin, 1);
    let shown = || {
        sidegate
            .log()
            .lines()
            .into_iter()
            .filter(|line| line.contains("guest") && line.contains('['))
            .collect::<Vec<_>>()
    };
    let before = shown().len();
    assert_eq!(sidegate.get("/tt").status, 503);
    let lines = eventually(PATIENCE, || Some(shown()).filter(|lines| lines.len() > before))
        .unwrap_or_else(|| panic!("{:?}", sidegate.log().lines()));
    assert!(lines.iter().all(|line| line.contains("app")), "{lines:#?}");
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
fn bad_modules_at_start_do_not_stop_the_rest() {
    let whole = guest(&[("request_headers", "")]);
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 0xff;
    let bad: Vec<(&str, Vec<u8>)> = vec![
        ("empty", vec![]),
        ("text", b"not wasm".to_vec()),
        ("truncated", whole[..whole.len() / 2].to_vec()),
        ("component", b"\0asm\x0d\0\x01\0".to_vec()),
        ("no-abi", wat::parse_str("(module (memory (export \"memory\") 1))").unwrap()),
        ("missing-import", wat::parse_str("(module (import \"env\" \"no_such_call\" (func)) (memory (export \"memory\") 1) (func (export \"proxy_abi_version_0_2_1\")))").unwrap()),
        ("start-refused", guest(&[("vm_start", "(return #0)")])),
        ("configure-refused", guest(&[("configure", "(return #0)")])),
        ("start-trap", guest(&[("vm_start", "unreachable")])),
        ("start-loop", guest(&[("vm_start", FOREVER)])),
        ("configure-loop", guest(&[("configure", FOREVER)])),
        ("configure-bomb", guest(&[("configure", "(loop $l (drop (memory.grow #64)) (br $l))")])),
    ];
    let origin = fine();
    let mut text = "plugins:\n".to_owned();
    let mut listeners = String::new();
    for (at, (name, _)) in bad.iter().enumerate() {
        let port = (b'a' + at as u8) as char;
        text += &format!("- {{name: {name}, url: \"file:{name}.wasm\", limits: {{configure: 200ms}}}}\n");
        listeners +=
            &format!("- {{name: {name}, address: $bad_{port}, cluster: app, filters: [{{plugin: {name}}}]}}\n");
    }
    text += &format!(
        "listeners:\n- {{name: plain, address: $plain, cluster: app}}\n{listeners}\
         clusters: [{{name: app, endpoints: [{{address: \"{origin}\"}}]}}]\n"
    );
    let mut start = Sidegate::configured(&text).with_workers(1).without_ready();
    for (name, wasm) in &bad {
        start = start.with_file(&format!("{name}.wasm"), wasm.clone());
    }
    let sidegate = start.start();
    let state = || sidegate.ask_admin(&Request::get("/ready"));
    eventually(PATIENCE, || state().text().contains("INITIALIZING").then_some(())).unwrap();
    eventually(PATIENCE, || (!state().text().contains("PRE_")).then_some(())).unwrap();
    assert_eq!((state().status, state().text().trim()), (503, "INITIALIZING"));
    assert_eq!(plain(&sidegate), 200);
    let plugins = sidegate.ask_admin(&Request::get("/plugins"));
    let plugins: Value = serde_json::from_slice(&plugins.body).unwrap();
    for (at, (name, _)) in bad.iter().enumerate() {
        let port = (b'a' + at as u8) as char;
        let status = sidegate_tests::Client::get_once(sidegate.address(&format!("bad_{port}")), "/").unwrap().status;
        assert_eq!(status, 503, "{name}");
        let plugin = plugins["plugins"].as_array().unwrap().iter().find(|plugin| plugin["name"] == *name).unwrap();
        assert_eq!(plugin["state"], "REJECTED", "{plugin}");
        assert!(plugin["versions"][0]["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{plugin}");
    }
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn a_bad_module_that_may_fail_open_is_passed_over() {
    let origin = fine();
    let sidegate = with_guest(b"not wasm".to_vec(), ", failStrategy: FAIL_OPEN", &origin, 1);
    assert_eq!(sidegate.get("/").status, 200);
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
