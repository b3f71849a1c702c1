use sidegate_wasm_host::testing::FakeStream;
use sidegate_wasm_host::{HeadersAction, LocalReply};

use crate::guest::{Guest, in_tick};

const REPLY: &str = r"(call $say (call $proxy_send_local_response #403 'no way' 'body'
    '\01\00\00\00\01\00\00\00\01\00\00\00k\00v\00' #-1))";

#[test]
fn a_reply_carries_all_that_was_given() {
    let (mut run, _) = Guest::new("request_headers", REPLY).start_request(FakeStream::get("/"));
    assert_eq!(run.said(), ["0"]);
    let expected = LocalReply {
        status: 403,
        details: "no_way".into(),
        headers: vec![(b"k".to_vec(), b"v".to_vec())],
        body: b"body".to_vec(),
        grpc_status: -1,
        replaces: false,
    };
    assert_eq!(run.stream().replies, [expected]);
}

#[test]
fn when_the_exchange_is_over_a_reply_does_nothing() {
    for hook in ["log", "done", "delete"] {
        // The pause leaves the request head open: the exchange was cut while it waited.
        let guest = Guest::new("request_headers", "(return #1)").hook(hook, REPLY);
        let mut run = guest.start();
        let id = run.open(FakeStream::get("/"));
        assert_eq!(run.request_headers(id), HeadersAction::Pause);
        run.log(id);
        run.close(id);
        assert_eq!(run.said(), ["0"], "{hook}");
        assert!(run.stream().replies.is_empty(), "{hook}");
    }
}

#[test]
fn a_reply_from_the_root_reaches_no_one_but_a_paused_stream_it_switched_to() {
    assert_eq!(in_tick(REPLY), ["0"]);
    let mut run = Guest::new("request_headers", "(return #1)")
        .hook("tick", &format!("(drop (call $proxy_set_effective_context #2)) {REPLY}"))
        .start();
    let id = run.open(FakeStream::get("/"));
    run.request_headers(id);
    run.tick();
    assert!(
        matches!(&run.stream().replies[..], [reply] if reply.replaces),
        "of two in a callout's hook the last counts"
    );
}

#[test]
fn a_malformed_header_list_is_an_empty_one() {
    let body = "(call $say (call $proxy_send_local_response #200 '' '' 'garbage' #0))";
    let (mut run, _) = Guest::new("request_headers", body).start_request(FakeStream::get("/"));
    assert_eq!(run.said(), ["0"]);
    assert!(run.stream().replies[0].headers.is_empty());
}

#[test]
fn a_reply_over_the_limit_of_bodies_is_a_502_and_details_are_cut() {
    let body = "(drop (memory.grow #20)) (call $say (call $proxy_send_local_response #200 '' #0 #1048577 '' #-1))";
    let (mut run, _) = Guest::new("request_headers", body).start_request(FakeStream::get("/"));
    assert!(run.said().contains(&"0".to_owned()), "a quota never traps an SDK");
    let reply = &run.stream().replies[0];
    assert_eq!((reply.status, reply.details.as_str(), reply.body.len()), (502, "local_reply_too_large", 0));

    let body = "(memory.fill #9000 #120 #5000) (i32.store8 #9001 #10)
        (call $say (call $proxy_send_local_response #200 #9000 #5000 '' '' #-1))";
    let (mut run, _) = Guest::new("request_headers", body).start_request(FakeStream::get("/"));
    let details = &run.stream().replies[0].details;
    assert!(details.len() == 256 && details.starts_with("x_x"), "{details}");
}
