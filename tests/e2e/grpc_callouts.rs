//! gRPC callouts of filters: what a guest sends reaches a service, and what comes back reaches the guest.

use std::time::Duration;

use http::HeaderValue;
use sidegate_tests::port::FreePort;
use sidegate_tests::{Request, Response, Sidegate, eventually};

use crate::guest::guest;
use crate::h2_origin::{self, Seen};

const PATIENCE: Duration = Duration::from_secs(20);

/// Keeps the exchange's context, and asks for the method that the request names in `x-method`.
const KEEP: &str = "(i32.store #400 (local.get 0)) (drop (call $get_header #0 <x-method> #16 #20))";
/// `x-meta: a`.
const META: &str = r"<\01\00\00\00\06\00\00\00\01\00\00\00x-meta\00a\00>";
/// Answers the exchange with the text at (16, 20) and this status.
const REPLY: &str = "(drop (call $set_context (i32.load #400)))
    (drop (call $reply (local.get $i) <> (i32.load #16) (i32.load #20) #0 #0 (i32.const -1)))";

/// A guest that makes one unary call per request. What it brings is the answer: 200 and the message, or 500 plus the
/// gRPC status and its text; 600 less the status of the hostcall itself when that was refused.
fn unary(cluster: &str, timeout: u32) -> Vec<u8> {
    let call = format!(
        "{KEEP} (local.set $i (call $grpc_call <{cluster}> <shop.Auth> (i32.load #16) (i32.load #20) {META} <hello> #{timeout} #404))
         (if (local.get $i) (then (i32.store #20 #0) (local.set $i (i32.sub #599 (local.get $i))) {REPLY}))
         (return #1)"
    );
    let receive = format!(
        "(drop (call $log #2 <answered>)) (drop (call $get_buffer #5 #0 #99 #16 #20)) (local.set $i #200) {REPLY}"
    );
    let close = format!(
        "(drop (call $log #2 <closed>)) (drop (call $get_status #408 #16 #20))
         (local.set $i (i32.add #500 (i32.load #408))) {REPLY}"
    );
    guest(&[("request_headers", &call), ("grpc_receive", &receive), ("grpc_close", &close)])
}

/// A guest that opens a stream per request without end; `cancel`, `close` and `trap` are done to the last one.
fn streaming() -> Vec<u8> {
    let is_method = |length: u32, name: &str| {
        format!(
            "(i32.and (i32.eq (i32.load #20) #{length}) (i32.eq (i32.load8_u (i32.load #16)) #{}))",
            name.as_bytes()[0]
        )
    };
    let done = format!("(i32.store #20 #0) (local.set $i #200) {REPLY}");
    let request = format!(
        "{KEEP}
         (if {} (then unreachable))
         (if {} (then (drop (call $grpc_cancel (i32.load #404))) {done} (return #1)))
         (drop (call $grpc_stream <grpc> <shop.Auth> (i32.load #16) (i32.load #20) {META} #404))
         {done}",
        is_method(4, "trap"),
        is_method(6, "cancel"),
    );
    let log = |text: &str| format!("(drop (call $log #2 <{text}>))");
    guest(&[
        ("request_headers", &request),
        ("grpc_receive_trailing_metadata", &log("trailing")),
        ("grpc_close", &log("closed")),
    ])
}

fn start(wasm: Vec<u8>, plugin: &str, grpc: impl std::fmt::Display) -> Sidegate {
    let config = format!(
        "plugins: [{{name: guest, url: \"file:guest.wasm\"{plugin}}}]\n\
         listeners: [{{name: inbound, address: $inbound, cluster: grpc, filters: [{{plugin: guest}}]}}]\n\
         clusters: [{{name: grpc, endpoints: [{{address: \"{grpc}\"}}]}}]\n"
    );
    Sidegate::configured(&config).with_file("guest.wasm", wasm).with_workers(1).start()
}

fn ask(sidegate: &Sidegate, method: &str) -> Response {
    sidegate.send(&Request::get("/").with_header("x-method", method))
}

fn answer(sidegate: &Sidegate, method: &str) -> (u16, String) {
    let answer = ask(sidegate, method);
    (answer.status, answer.text().into_owned())
}

/// Waits until the service has seen this path, or noted the end of its stream.
fn has_seen(seen: &Seen, path: &str) {
    let look = || seen.lock().unwrap().iter().any(|(known, _)| known == path).then_some(());
    eventually(PATIENCE, look).unwrap_or_else(|| panic!("no {path} in {:?}", seen.lock().unwrap()));
}

#[test]
fn a_call_brings_the_answer_and_is_sent_as_grpc_wants() {
    let (upstream, seen) = h2_origin::start();
    let sidegate = start(unary("grpc", 5000), "", upstream);
    assert_eq!(answer(&sidegate, "echo"), (200, "hello".to_owned()));
    let (path, headers) = seen.lock().unwrap().pop().unwrap();
    assert_eq!(path, "/shop.Auth/echo");
    for (name, value) in
        [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "5000m"), ("x-meta", "a")]
    {
        assert_eq!(headers.get(name).unwrap(), value);
    }
}

#[test]
fn a_message_larger_than_the_windows_of_http2_passes_whole() {
    let (upstream, _) = h2_origin::start();
    let call = format!("{KEEP} (drop (call $grpc_call <grpc> <shop.Auth> <echo> <> #0 #130000 #0 #404)) (return #1)");
    let receive = format!("(i32.store #20 #0) (local.set $i (i32.add #200 (i32.ne (local.get 2) #130000))) {REPLY}");
    let sidegate = start(guest(&[("request_headers", &call), ("grpc_receive", &receive)]), "", upstream);
    assert_eq!(ask(&sidegate, "").status, 200);
}

#[test]
fn a_call_that_fails_has_a_status_and_a_text() {
    let (upstream, seen) = h2_origin::start();
    let sidegate = start(unary("grpc", 0), "", upstream);
    assert_eq!(answer(&sidegate, "refuse"), (507, "not you".to_owned()));
    for (method, status) in [("reset", 514), ("half", 514), ("plain", 507), ("compressed", 513), ("huge", 508)] {
        let (got, text) = answer(&sidegate, method);
        assert_eq!(got, status, "{method}: {text}");
        assert!(!text.is_empty());
    }
    has_seen(&seen, "/shop.Auth/huge CANCEL");
    assert_eq!(answer(&sidegate, "echo"), (200, "hello".to_owned()), "others on the connection go on");
}

#[test]
fn at_its_deadline_a_call_fails_and_is_given_up() {
    let (upstream, seen) = h2_origin::start();
    let sidegate = start(unary("grpc", 100), "", upstream);
    assert_eq!(answer(&sidegate, "wait"), (504, "deadline exceeded".to_owned()));
    has_seen(&seen, "/shop.Auth/wait CANCEL");
}

#[test]
fn a_service_that_cannot_be_reached_is_unavailable() {
    let nobody = FreePort::claim().unwrap();
    let sidegate = start(unary("grpc", 5000), "", nobody.address());
    assert_eq!(answer(&sidegate, "echo"), (514, "connection failed".to_owned()));
}

#[test]
fn an_unknown_cluster_is_a_parse_failure() {
    let (upstream, _) = h2_origin::start();
    let sidegate = start(unary("nowhere", 0), "", upstream);
    assert_eq!(ask(&sidegate, "echo").status, 595);
}

#[test]
fn a_service_may_be_given_as_envoys_message() {
    let (upstream, seen) = h2_origin::start();
    // envoy_grpc {cluster_name: grpc, authority: a.shop}, initial_metadata {key: x-by, value: b}
    let service = r"\0a\0e\0a\04grpc\12\06a.shop\2a\09\0a\04x-by\12\01b";
    let sidegate = start(unary(service, 0), "", upstream);
    assert_eq!(answer(&sidegate, "echo"), (200, "hello".to_owned()));
    let (_, headers) = seen.lock().unwrap().pop().unwrap();
    assert_eq!(
        (&headers["x-by"], &headers["x-meta"]),
        (&HeaderValue::from_static("b"), &HeaderValue::from_static("a"))
    );
}

#[test]
fn a_client_that_leaves_does_not_end_the_call() {
    let (upstream, seen) = h2_origin::start();
    let sidegate = start(unary("grpc", 0), "", upstream);
    let mut client = sidegate.connect();
    client.write(b"GET / HTTP/1.1\r\nhost: a\r\nx-method: gate\r\n\r\n").unwrap();
    has_seen(&seen, "/shop.Auth/gate");
    drop(client);
    assert_eq!(ask(&sidegate, "open").status, 200);
    let answered =
        || (sidegate.log().lines().iter().filter(|line| line.contains("answered")).count() == 2).then_some(());
    eventually(PATIENCE, answered).expect("both calls are answered");
}

#[test]
fn a_call_of_the_configuration_is_made_once_the_vm_serves() {
    let (upstream, seen) = h2_origin::start();
    let call = "(drop (call $grpc_call <grpc> <shop.Auth> <echo> <> <hello> #0 #404))";
    let wasm =
        guest(&[("configure", call), ("grpc_receive", "(drop (call $log #2 <answered>))"), ("request_headers", "")]);
    let sidegate = start(wasm, "", upstream);
    sidegate.log().line_with("answered", PATIENCE).unwrap();
    assert_eq!(seen.lock().unwrap().len(), 1, "the spare has not become active");
}

#[test]
fn over_the_quota_a_call_is_refused() {
    let (upstream, _) = h2_origin::start();
    let call = "(call $grpc_call <grpc> <shop.Auth> <wait> <> <> #0 #404)";
    let stream = "(call $grpc_stream <grpc> <shop.Auth> <wait> <> #404)";
    let request = format!(
        "{KEEP} (i32.store #20 #0) (drop {call}) (drop {stream}) (local.set $i (i32.add #500 {call})) {REPLY} (return #1)"
    );
    let sidegate = start(guest(&[("request_headers", &request)]), ", limits: {callouts: 2}", upstream);
    assert_eq!(ask(&sidegate, "").status, 510);
    assert_eq!(ask(&sidegate, "").status, 510, "each exchange has its own");
}

#[test]
fn both_sides_of_a_stream_talk_in_turns() {
    let (upstream, _) = h2_origin::start();
    // What the stream brings is written one behind the other from 40000 on; its end is kept at 412.
    let note = "(memory.copy (i32.add #40000 (i32.load #412)) (i32.load #16) (i32.load #20))
        (i32.store #412 (i32.add (i32.load #412) (i32.load #20)))";
    let send = |text: &str| format!("(drop (call $grpc_send (i32.load #404) <{text}> #0))");
    let request =
        format!("{KEEP} (drop (call $grpc_stream <grpc> <shop.Auth> <echo> {META} #404)) {} (return #1)", send("one."));
    let metadata = |map: u32| format!("(drop (call $get_header #{map} <x-meta> #16 #20)) {note}");
    let receive = format!(
        "(drop (call $get_buffer #5 #0 #99 #16 #20)) {note} (i32.store #416 (i32.add (i32.load #416) #1))
         (if (i32.eq (i32.load #416) #1) (then {}))
         (if (i32.eq (i32.load #416) #2) (then {} (drop (call $grpc_close (i32.load #404)))))",
        send("two."),
        send("three.")
    );
    let close = format!(
        "(i32.store #16 #40000) (i32.store #20 (i32.load #412)) (local.set $i (i32.add #200 (local.get 2))) {REPLY}"
    );
    let sidegate = start(
        guest(&[
            ("request_headers", &request),
            ("grpc_receive_initial_metadata", &metadata(4)),
            ("grpc_receive", &receive),
            ("grpc_receive_trailing_metadata", &metadata(5)),
            ("grpc_close", &close),
        ]),
        "",
        upstream,
    );
    assert_eq!(answer(&sidegate, ""), (200, "aone.two.three.a".to_owned()));
}

#[test]
fn a_stream_that_is_refused_is_told_in_trailers_and_close() {
    let (upstream, _) = h2_origin::start();
    let sidegate = start(streaming(), "", upstream);
    for method in ["refuse", "half"] {
        assert_eq!(ask(&sidegate, method).status, 200);
    }
    let closed = || {
        let lines = sidegate.log().lines();
        let of = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
        ((of("trailing"), of("closed")) == (2, 2)).then_some(())
    };
    eventually(PATIENCE, closed).expect("both streams are closed");
}

#[test]
fn a_cancelled_stream_is_reset_and_says_nothing_more() {
    let (upstream, seen) = h2_origin::start();
    let sidegate = start(streaming(), "", upstream);
    // With and without an answer's head.
    for method in ["wait", "echo"] {
        assert_eq!(ask(&sidegate, method).status, 200);
        has_seen(&seen, &format!("/shop.Auth/{method}"));
        assert_eq!(ask(&sidegate, "cancel").status, 200);
    }
    has_seen(&seen, "/shop.Auth/wait CANCEL");
    assert_eq!(ask(&sidegate, "refuse").status, 200);
    sidegate.log().line_with("closed", PATIENCE).unwrap();
    let lines = sidegate.log().lines();
    assert_eq!(lines.iter().filter(|line| line.contains("closed")).count(), 1, "the one that was not cancelled");
}

#[test]
fn a_fault_of_the_vm_ends_its_streams() {
    let (upstream, seen) = h2_origin::start();
    let sidegate = start(streaming(), "", upstream);
    assert_eq!(ask(&sidegate, "wait").status, 200);
    has_seen(&seen, "/shop.Auth/wait");
    assert_eq!(ask(&sidegate, "trap").status, 503);
    has_seen(&seen, "/shop.Auth/wait CANCEL");
    assert_eq!(ask(&sidegate, "echo").status, 200, "the spare serves");
}

#[test]
fn a_filter_that_is_taken_away_ends_its_streams() {
    let (upstream, seen) = h2_origin::start();
    let sidegate = start(streaming(), "", upstream);
    assert_eq!(ask(&sidegate, "wait").status, 200);
    has_seen(&seen, "/shop.Auth/wait");
    let file = sidegate.folder().join("sidegate.yaml");
    let text = std::fs::read_to_string(&file).unwrap().replace("filters: [{plugin: guest}]", "filters: []");
    std::fs::write(&file, text).unwrap();
    has_seen(&seen, "/shop.Auth/wait CANCEL");
}
