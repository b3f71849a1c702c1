//! What follows a fault: the fail strategy, the others inside the VM, the next VM, the breaker.

use std::time::Duration;

use sidegate_tests::prometheus::sum;
use sidegate_tests::{Answer, Gate, Origin, Request, eventually};

use crate::guarded::{faults, plain, with_guest};
use crate::guest::guest;
use crate::setup::fine;

const PATIENCE: Duration = Duration::from_secs(20);

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
        sum(&page, "envoy_http_downstream_rq_active", &[]).filter(|active| *active >= 1.0)
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
