//! Continue, close, done.

use sidegate_wasm_host::abi::Direction;
use sidegate_wasm_host::testing::FakeStream;

use crate::guest::{Guest, in_request, in_tick};

#[test]
fn continue_and_close_statuses() {
    for (stream, continued, closed) in
        [(0, "0", "0"), (1, "0", "0"), (2, "0", "0"), (3, "12", "0"), (4, "2", "2"), (-1, "2", "2")]
    {
        let body = format!(
            "(call $say (call $proxy_continue_stream #{stream})) (call $say (call $proxy_close_stream #{stream}))"
        );
        assert_eq!(in_request(&body), [continued, closed], "stream {stream}");
        assert_eq!(in_tick(&body), [continued, closed], "stream {stream} on the root");
    }
}

#[test]
fn continuing_closes_the_map_at_once() {
    let body = "(drop (call $proxy_continue_stream #0)) (drop (call $proxy_continue_stream #0))
        (call $say (call $proxy_get_header_map_value #0 ':path' #16 #20))";
    let (mut run, id) = Guest::new("request_headers", body).start_request(FakeStream::get("/"));
    assert_eq!(run.said(), ["2"]);
    assert_eq!(run.stream().resumed, [Direction::Request; 2]);
    assert!(run.vm.take_resumed(id, Direction::Request));
}

#[test]
fn from_the_root_nothing_is_resumed_without_switching() {
    let mut run = Guest::new("request_headers", "(return #1)")
        .hook("tick", "(call $say (call $proxy_continue_stream #0))")
        .hook(
            "queue_ready",
            "(drop (call $proxy_set_effective_context #2)) (call $say (call $proxy_continue_stream #0))",
        )
        .start();
    let id = run.open(FakeStream::get("/"));
    run.request_headers(id);
    run.tick();
    assert!(run.stream().resumed.is_empty());
    run.vm.queue_ready(&mut run.host, 1).unwrap();
    assert_eq!(run.stream().resumed, [Direction::Request]);
    assert_eq!(run.said(), ["0", "0"]);
}

#[test]
fn when_the_exchange_is_over_nothing_is_resumed_or_closed() {
    let body = "(call $say (call $proxy_continue_stream #1)) (call $say (call $proxy_close_stream #0))";
    let mut run = Guest::new("log", body).hook("done", body).hook("delete", body).start();
    let id = run.open(FakeStream::get("/"));
    run.log(id);
    run.close(id);
    assert_eq!(run.said(), ["0"; 6]);
    assert!(run.stream().resumed.is_empty() && !run.stream().closed);
}

#[test]
fn the_end_of_one_exchange_may_resume_another() {
    let mut run = Guest::new("request_headers", "(return #1)")
        .hook("log", "(drop (call $proxy_set_effective_context #2)) (drop (call $proxy_continue_stream #0))")
        .start();
    let waiting = run.open(FakeStream::get("/"));
    run.request_headers(waiting);
    let ending = run.open(FakeStream::get("/"));
    run.log(ending);
    assert_eq!(run.stream().resumed, [Direction::Request]);
}

#[test]
fn close_resets_the_exchange() {
    let (mut run, _) =
        Guest::new("request_headers", "(drop (call $proxy_close_stream #0))").start_request(FakeStream::get("/"));
    assert!(run.stream().closed);
}

#[test]
fn the_sides_of_tcp_are_not_those_of_an_exchange() {
    let body = "(drop (call $proxy_close_stream #2)) (drop (call $proxy_close_stream #3))";
    let (mut run, _) = Guest::new("request_headers", body).start_request(FakeStream::get("/"));
    assert!(!run.stream().closed);
}

#[test]
fn resuming_closes_nothing_but_the_request_head_until_the_message_goes_on() {
    let body = "(drop (call $proxy_continue_stream #1))
        (call $say (call $proxy_add_header_map_value #2 'x-late' '1'))";
    let mut run = Guest::new("response_headers", body)
        .hook("response_body", "(call $say (call $proxy_add_header_map_value #2 'x-later' '1'))")
        .start();
    let id = run.open(FakeStream::get("/"));
    run.response_headers(id);
    run.vm.response_body(&mut run.host, id, 0, true).unwrap();
    assert_eq!(run.said(), ["0", "2"]);
}

#[test]
fn what_a_guest_answered_itself_stays_open_to_it() {
    let body = "(drop (call $proxy_send_local_response #403 '' '' '' #-1)) (return #0)";
    let mut run = Guest::new("request_headers", body)
        .hook("response_headers", "(call $say (call $proxy_get_header_map_value #0 ':path' #16 #20)) (call $out)")
        .start();
    let id = run.open(FakeStream::get("/asked"));
    run.request_headers(id);
    run.response_headers(id);
    assert_eq!(run.said(), ["0", "/asked"]);
}

#[test]
fn done_counts_only_from_a_root_that_was_asked_to_finish() {
    assert_eq!(in_request("(call $say (call $proxy_done))"), ["1"]);
    let mut run = Guest::new("done", "(return #0)").hook("tick", "(call $say (call $proxy_done))").start();
    run.tick();
    assert!(!run.vm.finish(&mut run.host).unwrap());
    assert!(!run.vm.is_finished());
    run.tick();
    assert!(run.vm.is_finished());
    run.tick();
    assert_eq!(run.said(), ["1", "0", "1"]);
}

#[test]
fn a_root_without_objection_is_finished_at_once() {
    let mut run =
        Guest::new("done", "(call $say (local.get $ctx))").hook("delete", "(call $say (local.get $ctx))").start();
    assert!(run.vm.finish(&mut run.host).unwrap());
    run.vm.delete_root(&mut run.host).unwrap();
    assert_eq!(run.said(), ["1", "1"]);
    let mut run = Guest::new("tick", "(call $say (call $proxy_done))").start();
    assert!(run.vm.finish(&mut run.host).unwrap());
    run.tick();
    assert_eq!(run.said(), ["1"], "it is not pending");
}
