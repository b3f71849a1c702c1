//! `proxy_grpc_call`, `_stream`, `_send`, `_cancel`, `_close`: what they answer, and what the proxy gets.

use std::time::Duration;

use sidegate_wasm_host::testing::{FakeHost, FakeStream};
use sidegate_wasm_host::{GrpcCallout, GrpcStep, limits};

use crate::guest::{Guest, Running, in_tick, spec};

/// `x-Tenant: a`.
const METADATA: &str = r"'\01\00\00\00\08\00\00\00\01\00\00\00x-Tenant\00a\00'";
const CALL: &str = "(call $say (call $proxy_grpc_call 'auth' 'shop.Auth' 'Check' '' 'hello' #0 #24))";
const STREAM: &str = "(call $say (call $proxy_grpc_stream 'auth' 'shop.Auth' 'Watch' '' #24))";

fn start(guest: &Guest) -> Running {
    guest.start_with(spec(), FakeHost::new().with_cluster("auth"))
}

/// What a root with this body in `on_tick` reports where the cluster `auth` exists.
fn ticked(body: &str) -> (Running, Vec<String>) {
    let mut run = start(&Guest::new("tick", body));
    run.tick();
    let said = run.said();
    (run, said)
}

/// What was done with calls, each step as one word.
fn steps(run: &Running) -> Vec<(u32, String)> {
    let word = |step: &GrpcStep| match step {
        GrpcStep::Send(message) => String::from_utf8_lossy(message.bytes()).into_owned(),
        GrpcStep::Close => "closed".into(),
        GrpcStep::Cancel => "cancelled".into(),
    };
    run.host.grpc_steps.iter().map(|(id, step)| (*id, word(step))).collect()
}

fn expected(steps: &[(u32, &str)]) -> Vec<(u32, String)> {
    steps.iter().map(|(id, step)| (*id, (*step).to_owned())).collect()
}

#[test]
fn an_unknown_service_is_a_parse_failure() {
    let said = in_tick(
        "(call $say (call $proxy_grpc_call 'svc' 's' 'm' '' '' #0 #24)) (call $word)
         (call $say (call $proxy_grpc_stream 'svc' 's' 'm' '' #24)) (call $word)
         (call $say (call $proxy_grpc_call #-1 #1 's' 'm' '' '' #0 #24))",
    );
    assert_eq!(said, ["4", "0", "4", "0", "6"]);
}

#[test]
fn ids_of_the_wrong_kind_and_unknown_ones() {
    let said = in_tick(
        "(call $say (call $proxy_grpc_send #6 '' #0)) (call $say (call $proxy_grpc_send #5 '' #0))
         (call $say (call $proxy_grpc_send #4 '' #0)) (call $say (call $proxy_grpc_send #7 '' #0))
         (call $say (call $proxy_grpc_cancel #5)) (call $say (call $proxy_grpc_cancel #6))
         (call $say (call $proxy_grpc_cancel #4)) (call $say (call $proxy_grpc_cancel #7))
         (call $say (call $proxy_grpc_close #5)) (call $say (call $proxy_grpc_close #6))
         (call $say (call $proxy_grpc_close #4)) (call $say (call $proxy_grpc_close #7))",
    );
    assert_eq!(said, ["1", "2", "2", "2", "1", "1", "2", "2", "1", "1", "2", "2"]);
}

#[test]
fn each_kind_of_call_counts_its_ids_in_its_own_class() {
    let http = r"'\03\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\01\00\00\00\0a\00\00\00\01\00\00\00:method\00GET\00:path\00/\00:authority\00a\00'";
    let http = format!("(drop (call $proxy_http_call 'auth' {http} '' '' #0 #24)) (call $word)");
    let call = format!("{CALL} (call $word)");
    let stream = format!("{STREAM} (call $word)");
    let (_, said) = ticked(&format!("{call}{stream}{http}{call}{stream}{http}{call}"));
    assert_eq!(said, ["0", "5", "0", "6", "4", "0", "9", "0", "10", "8", "0", "13"]);
}

#[test]
fn the_proxy_gets_the_whole_call() {
    let call = format!("(call $say (call $proxy_grpc_call 'auth' 'shop.Auth' 'Check' {METADATA} 'hello' #1500 #24))");
    let mut run = start(&Guest::new("request_headers", &format!("{call}{STREAM}")));
    let id = run.open(FakeStream::get("/"));
    run.request_headers(id);
    assert_eq!(run.said(), ["0", "0"]);
    let whole = GrpcCallout {
        cluster: "auth".into(),
        service: "shop.Auth".into(),
        method: "Check".into(),
        metadata: vec![(b"x-tenant".to_vec(), b"a".to_vec())],
        message: Some(b"hello".to_vec()),
        timeout: Some(Duration::from_millis(1500)),
        ..GrpcCallout::default()
    };
    assert_eq!(run.host.grpc_calls[0], (5, Some(100), whole));
    let (id, stream, opened) = &run.host.grpc_calls[1];
    assert_eq!((*id, *stream, opened.message.as_ref(), opened.timeout), (6, Some(100), None, None));
}

#[test]
fn a_service_may_be_envoys_message() {
    // envoy_grpc {cluster_name: auth, authority: a}, timeout 2 s, initial_metadata {key: k, value: v}
    let service = r"'\0a\09\0a\04auth\12\01a\1a\02\08\02\2a\06\0a\01k\12\01v'";
    let call =
        |timeout: u32| format!("(call $say (call $proxy_grpc_call {service} 's' 'm' {METADATA} '' #{timeout} #24))");
    let (run, said) = ticked(&format!("{}{}", call(0), call(300)));
    assert_eq!(said, ["0", "0"]);
    let (_, stream, first) = &run.host.grpc_calls[0];
    assert_eq!((*stream, first.cluster.as_str(), first.authority.as_deref()), (None, "auth", Some("a")));
    assert_eq!(first.timeout, Some(Duration::from_secs(2)));
    assert_eq!(first.metadata, [(b"k".to_vec(), b"v".to_vec()), (b"x-tenant".to_vec(), b"a".to_vec())]);
    assert_eq!(run.host.grpc_calls[1].2.timeout, Some(Duration::from_millis(300)), "the call's own limit wins");
}

#[test]
fn what_has_a_bad_pointer_is_not_sent() {
    let (run, said) = ticked(
        "(call $say (call $proxy_grpc_call 'auth' 's' 'm' '' '' #0 #-4))
         (call $say (call $proxy_grpc_call 'auth' 's' 'm' '' #-1 #1 #0 #24))
         (call $say (call $proxy_grpc_call 'auth' 's' 'm' #-1 #4 '' #0 #24))
         (call $say (call $proxy_grpc_stream 'auth' 's' 'm' '' #-4))
         (call $say (call $proxy_grpc_call 'nowhere' 's' 'm' '' '' #0 #-4))
         (i32.store #24 #9) (call $say (call $proxy_grpc_call 'nowhere' 's' 'm' '' '' #0 #24)) (call $word)",
    );
    assert_eq!(said, ["6", "6", "6", "6", "4", "4", "9"], "the cluster is looked up before the id is written");
    assert_eq!(steps(&run), [(5, "cancelled".to_owned()), (6, "cancelled".to_owned())]);
    let (run, said) = ticked(&format!("{STREAM} (call $say (call $proxy_grpc_send #6 #-1 #1 #0))"));
    assert_eq!((said, steps(&run)), (vec!["0".to_owned(), "6".to_owned()], vec![]));
}

#[test]
fn a_stream_takes_messages_until_it_is_closed() {
    let (run, said) = ticked(&format!(
        "{STREAM} (call $say (call $proxy_grpc_send #6 'one' #0)) (call $say (call $proxy_grpc_send #6 '' #0))
         (call $say (call $proxy_grpc_close #6)) (call $say (call $proxy_grpc_close #6))
         (call $say (call $proxy_grpc_send #6 'late' #0))
         {STREAM} (call $say (call $proxy_grpc_send #10 'last' #1)) (call $say (call $proxy_grpc_send #10 'late' #0))
         (call $say (call $proxy_grpc_close #10))"
    ));
    assert_eq!(said, ["0", "0", "0", "0", "0", "2", "0", "0", "2", "0"]);
    let all = [(6, "one"), (6, ""), (6, "closed"), (10, "last"), (10, "closed")];
    assert_eq!(steps(&run), expected(&all));
}

#[test]
fn a_cancelled_call_is_unknown_at_once() {
    let (run, said) = ticked(&format!(
        "{CALL}{STREAM}{CALL}
         (call $say (call $proxy_grpc_cancel #5)) (call $say (call $proxy_grpc_cancel #5))
         (call $say (call $proxy_grpc_cancel #6)) (call $say (call $proxy_grpc_send #6 '' #0))
         (call $say (call $proxy_grpc_close #9)) (call $say (call $proxy_grpc_close #9))"
    ));
    assert_eq!(said, ["0", "0", "0", "0", "1", "0", "1", "0", "1"]);
    assert_eq!(steps(&run), expected(&[(5, "cancelled"), (6, "cancelled"), (9, "cancelled")]));
}

#[test]
fn a_full_queue_refuses_messages_until_the_upstream_takes_some() {
    let mut run = start(
        &Guest::new("request_headers", STREAM)
            .hook("tick", "(call $say (call $proxy_grpc_send #6 #0 #65536 #0))")
            .hook("log", "(call $say (call $proxy_grpc_call 'auth' 's' 'm' '' #0 #-1 #0 #24))"),
    );
    let id = run.open(FakeStream::get("/"));
    run.request_headers(id);
    assert_eq!(run.said(), ["0"]);
    for _ in 0..limits::GRPC_QUEUE_BYTES >> 16 {
        run.tick();
    }
    assert!(run.said().iter().all(|status| status == "0"));
    run.tick();
    assert_eq!(run.said(), ["2"]);
    run.host.grpc_steps.pop();
    run.tick();
    assert_eq!(run.said(), ["0"]);
}

#[test]
fn one_quota_holds_for_all_kinds_of_callouts_of_an_exchange() {
    let mut limited = spec();
    limited.limits.callouts = 2;
    let mut run = Guest::new("request_headers", &format!("{CALL}{STREAM}{CALL}{STREAM}"))
        .hook("response_headers", &format!("(call $say (call $proxy_grpc_cancel #6)) {CALL}{CALL}"))
        .hook("tick", CALL)
        .start_with(limited, FakeHost::new().with_cluster("auth"));
    let id = run.open(FakeStream::get("/"));
    run.request_headers(id);
    assert_eq!(run.said(), ["0", "0", "10", "10"]);
    run.response_headers(id);
    assert_eq!(run.said(), ["0", "0", "10"], "a cancelled call makes room");
    run.tick();
    assert_eq!(run.said(), ["0"], "the root has no exchange");
}
