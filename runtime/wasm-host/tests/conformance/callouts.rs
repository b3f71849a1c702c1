//! `proxy_http_call`, its answer, `proxy_get_status`.

use std::time::Duration;

use sidegate_wasm_host::hooks::CalloutAnswer;
use sidegate_wasm_host::testing::{FakeHost, FakeStream};

use crate::guest::{Guest, Running, spec};

/// `:method GET`, `:path /`, `:authority a`.
const HEAD: &str = r"'\03\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\01\00\00\00\0a\00\00\00\01\00\00\00:method\00GET\00:path\00/\00:authority\00a\00'";
/// `:method GET` alone.
const SHORT_HEAD: &str = r"'\01\00\00\00\07\00\00\00\03\00\00\00:method\00GET\00'";

fn with_cluster(guest: &Guest) -> Running {
    guest.start_with(spec(), FakeHost::new().with_cluster("auth"))
}

fn statuses(calls: &[&str]) -> (Running, Vec<String>) {
    let body: String =
        calls.iter().map(|call| format!("(call $say (call $proxy_http_call {call})) (call $word)")).collect();
    let mut run = with_cluster(&Guest::new("request_headers", &body));
    let id = run.open(FakeStream::get("/"));
    run.request_headers(id);
    let said = run.said();
    (run, said)
}

#[test]
fn ids_step_by_four_and_the_callout_is_complete() {
    let call = format!("'auth' {HEAD} 'body' '' #1500 #24");
    let (run, said) = statuses(&[&call, &format!("'auth' {HEAD} '' '' #0 #24")]);
    assert_eq!(said, ["0", "4", "0", "8"]);
    let sent = &run.host.callouts[0];
    assert_eq!((sent.id, sent.stream, sent.call.cluster.as_str()), (4, Some(100), "auth"));
    assert_eq!(sent.call.body, b"body");
    assert_eq!(sent.call.headers[1], (b":path".to_vec(), b"/".to_vec()));
    assert_eq!(sent.call.timeout, Some(Duration::from_millis(1500)));
    assert_eq!(run.host.callouts[1].call.timeout, None);
}

#[test]
fn refusals_write_id_zero_and_send_nothing() {
    let (run, said) = statuses(&[
        &format!("'nowhere' {HEAD} '' '' #0 #24"),
        &format!("'auth' {SHORT_HEAD} '' '' #0 #24"),
        "'auth' '' '' '' #0 #24",
        &format!("'auth' {HEAD} '' '' #-1 #24"),
        &format!("'auth' {HEAD} '' '' #0 #-4"),
    ]);
    assert_eq!(said, ["2", "0", "2", "0", "2", "0", "2", "0", "6", "0"]);
    assert!(run.host.callouts.is_empty());
}

#[test]
fn over_the_limit_a_call_fails_until_one_is_answered() {
    let call = format!("(call $say (call $proxy_http_call 'auth' {HEAD} '' '' #0 #24))");
    let mut limited = spec();
    limited.limits.callouts = 2;
    let mut run = Guest::new("request_headers", &format!("{call}{call}{call}"))
        .hook("response_headers", &call)
        .start_with(limited, FakeHost::new().with_cluster("auth"));
    let id = run.open(FakeStream::get("/"));
    run.request_headers(id);
    assert_eq!(run.said(), ["0", "0", "10"]);
    run.vm.callout_response(&mut run.host, 4, Ok(CalloutAnswer::default())).unwrap();
    run.response_headers(id);
    assert_eq!(run.said(), ["0"]);
}

const SHOW_ANSWER: &str = "(call $say (local.get $ctx)) (call $say (local.get $a)) (call $say (local.get $b))
    (call $say (local.get $c)) (call $say (local.get $d))
    (call $say (call $proxy_get_header_map_value #6 ':Status' #16 #20)) (call $out)
    (call $say (call $proxy_get_header_map_value #6 'none' #16 #20))
    (call $say (call $proxy_get_buffer_bytes #4 #0 #99 #16 #20)) (call $out)
    (call $say (call $proxy_add_header_map_value #6 'x' 'y'))
    (call $say (call $proxy_get_header_map_size #6 #24))
    (call $say (call $proxy_get_status #24 #16 #20)) (call $word) (call $out)";

fn called(answer_hook: &str) -> (Running, sidegate_wasm_host::ContextId) {
    let request = format!("(drop (call $proxy_http_call 'auth' {HEAD} '' '' #0 #24)) (return #1)");
    let mut run = with_cluster(&Guest::new("request_headers", &request).hook("http_call_response", answer_hook));
    let id = run.open(FakeStream::get("/"));
    run.request_headers(id);
    (run, id)
}

fn answer() -> CalloutAnswer {
    CalloutAnswer {
        headers: vec![(b":status".to_vec(), b"204".to_vec())],
        body: b"hi".to_vec(),
        trailers: vec![(b"t".to_vec(), b"v".to_vec())],
    }
}

#[test]
fn the_answer_is_readable_inside_its_hook() {
    let (mut run, _) = called(SHOW_ANSWER);
    run.vm.callout_response(&mut run.host, 4, Ok(answer())).unwrap();
    assert_eq!(run.said(), ["1", "4", "1", "2", "1", "0", "204", "1", "0", "hi", "2", "2", "0", "0", ""]);
    run.vm.callout_response(&mut run.host, 4, Ok(answer())).unwrap();
    assert_eq!(run.said(), [""; 0], "an id is answered once");
}

#[test]
fn a_failure_has_no_headers_and_a_status() {
    let (mut run, _) = called(
        "(call $say (local.get $b)) (call $say (call $proxy_get_status #24 #16 #20)) (call $word) (call $out)
         (call $say (call $proxy_get_header_map_pairs #6 #16 #20)) (call $say (i32.load #20))",
    );
    run.vm.callout_response(&mut run.host, 4, Err("reset".into())).unwrap();
    assert_eq!(run.said(), ["0", "0", "11", "reset", "0", "0"]);
}

#[test]
fn after_switching_the_paused_head_and_the_answer_are_both_open() {
    let (mut run, _) = called(
        "(call $say (call $proxy_set_effective_context #2))
         (call $say (call $proxy_add_header_map_value #0 'x-user' 'ada'))
         (call $say (call $proxy_get_buffer_bytes #4 #0 #99 #16 #20)) (call $out)
         (call $say (call $proxy_continue_stream #0))",
    );
    run.vm.callout_response(&mut run.host, 4, Ok(answer())).unwrap();
    assert_eq!(run.said(), ["0", "0", "0", "hi", "0"]);
    assert_eq!(run.stream().resumed.len(), 1);
}

#[test]
fn the_answer_arrives_after_the_exchange_has_gone() {
    let (mut run, id) = called("(call $say (local.get $a)) (call $say (call $proxy_set_effective_context #2))");
    run.close(id);
    run.vm.callout_response(&mut run.host, 4, Ok(answer())).unwrap();
    assert_eq!(run.said(), ["4", "2"]);
}
