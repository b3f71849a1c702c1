//! `proxy_on_grpc_receive_initial_metadata`, `_receive`, `_receive_trailing_metadata`, `_close`.

use sidegate_wasm_host::testing::{FakeHost, FakeStream};
use sidegate_wasm_host::{FaultReason, GrpcStatus, GrpcStep};

use crate::guest::{Guest, Running, spec};

const CALL: &str = "(drop (call $proxy_grpc_call 'auth' 'shop.Auth' 'Check' '' '' #0 #24))";
const STREAM: &str = "(drop (call $proxy_grpc_stream 'auth' 'shop.Auth' 'Watch' '' #24))";
/// The hook's arguments, both metadata maps, the message, the status.
const SHOW: &str = "(call $say (local.get $ctx)) (call $say (local.get $a)) (call $say (local.get $b))
    (call $say (call $proxy_get_header_map_value #4 'K' #16 #20))
    (call $say (call $proxy_get_header_map_value #5 'k' #16 #20))
    (i32.store #20 #0) (drop (call $proxy_get_buffer_bytes #5 #0 #99 #16 #20)) (call $out)";
const STATUS: &str = "(call $say (call $proxy_get_status #24 #16 #20)) (call $word) (call $out)";

const HOOKS: [&str; 4] =
    ["grpc_receive_initial_metadata", "grpc_receive", "grpc_receive_trailing_metadata", "grpc_close"];

/// A guest that begins a call (5) and a stream (6) for an exchange and then does this in every hook.
fn called(body: &str) -> Running {
    let hooks = HOOKS.iter().enumerate();
    let guest = hooks
        .fold(Guest::new("request_headers", &format!("{CALL}{STREAM} (return #1)")), |guest, (n, hook)| {
            guest.hook(hook, &format!("(call $say #{}) {body}", 91 + n))
        });
    let mut run = guest.start_with(spec(), FakeHost::new().with_cluster("auth"));
    let id = run.open(FakeStream::get("/"));
    run.request_headers(id);
    run
}

fn metadata() -> Vec<(Vec<u8>, Vec<u8>)> {
    vec![(b"k".to_vec(), b"v".to_vec()), (b"l".to_vec(), b"w".to_vec())]
}

fn failed() -> GrpcStatus {
    GrpcStatus { code: 7, message: "not you".into() }
}

#[test]
fn a_stream_is_told_in_the_order_of_the_wire() {
    let mut run = called(SHOW);
    run.vm.grpc_initial_metadata(&mut run.host, 6, metadata()).unwrap();
    assert_eq!(run.said(), ["91", "1", "6", "2", "0", "2", ""]);
    for message in ["one", ""] {
        run.vm.grpc_receive(&mut run.host, 6, message.into()).unwrap();
        assert_eq!(run.said(), ["92", "1", "6", &message.len().to_string(), "2", "2", message]);
    }
    run.vm.grpc_trailing_metadata(&mut run.host, 6, metadata()).unwrap();
    assert_eq!(run.said(), ["93", "1", "6", "2", "2", "0", ""]);
    run.vm.grpc_close(&mut run.host, 6, GrpcStatus::default()).unwrap();
    assert_eq!(run.said(), ["94", "1", "6", "0", "2", "2", ""]);
}

#[test]
fn metadata_is_read_as_a_map_and_cannot_be_changed() {
    let mut run = called(
        "(call $say (call $proxy_add_header_map_value #4 'x' 'y')) (call $say (call $proxy_get_header_map_size #4 #24))
         (call $say (call $proxy_get_header_map_pairs #4 #16 #20)) (call $say (i32.load #20))
         (call $say (call $proxy_set_buffer_bytes #5 #0 #0 'x')) (call $say (call $proxy_get_buffer_status #5 #24 #28))",
    );
    run.vm.grpc_initial_metadata(&mut run.host, 6, metadata()).unwrap();
    // a count, two pairs of lengths, four texts of one byte with their NULs
    assert_eq!(run.said(), ["91", "2", "2", "0", "28", "2", "0"]);
}

#[test]
fn a_call_that_succeeds_is_one_message_and_one_that_fails_a_status() {
    let mut run = called(&format!("{SHOW}{STATUS}"));
    run.vm.grpc_receive(&mut run.host, 5, b"fine".to_vec()).unwrap();
    assert_eq!(run.said(), ["92", "1", "5", "4", "2", "2", "fine", "0", "0", ""]);
    run.vm.grpc_close(&mut run.host, 5, failed()).unwrap();
    assert_eq!(run.said(), [""; 0], "it has ended");

    let mut run = called(&format!("{SHOW}{STATUS}"));
    run.vm.grpc_close(&mut run.host, 5, failed()).unwrap();
    assert_eq!(run.said(), ["94", "1", "5", "7", "2", "2", "", "0", "7", "not you"]);
    run.vm.grpc_receive(&mut run.host, 5, b"late".to_vec()).unwrap();
    assert_eq!(run.said(), [""; 0]);
}

#[test]
fn nothing_comes_for_a_call_that_was_cancelled() {
    let mut run = called("(call $say (call $proxy_grpc_cancel #6))");
    run.vm.grpc_receive(&mut run.host, 6, b"one".to_vec()).unwrap();
    assert_eq!(run.said(), ["92", "0"]);
    assert!(matches!(run.host.grpc_steps.pop(), Some((6, GrpcStep::Cancel))));
    run.vm.grpc_receive(&mut run.host, 6, b"two".to_vec()).unwrap();
    run.vm.grpc_trailing_metadata(&mut run.host, 6, metadata()).unwrap();
    run.vm.grpc_close(&mut run.host, 6, failed()).unwrap();
    assert_eq!(run.said(), [""; 0]);
}

#[test]
fn in_its_last_hook_a_call_may_still_be_named() {
    let mut run = called(
        "(call $say (call $proxy_grpc_send #6 'x' #0)) (call $say (call $proxy_grpc_close #6))
         (call $say (call $proxy_grpc_cancel #6)) (call $say (call $proxy_grpc_cancel #6))",
    );
    run.vm.grpc_close(&mut run.host, 6, failed()).unwrap();
    assert_eq!(run.said(), ["94", "1", "0", "0", "1"]);
    assert!(run.host.grpc_steps.is_empty(), "there is nothing left to be done");
}

#[test]
fn an_answered_call_makes_room_before_its_hook_runs() {
    let mut limited = spec();
    limited.limits.callouts = 1;
    let again = "(call $say (call $proxy_set_effective_context #2))
        (call $say (call $proxy_grpc_call 'auth' 'shop.Auth' 'Check' '' '' #0 #24)) (call $word)";
    let mut run = Guest::new("request_headers", &format!("{CALL} (return #1)"))
        .hook("grpc_receive", again)
        .start_with(limited, FakeHost::new().with_cluster("auth"));
    let id = run.open(FakeStream::get("/"));
    run.request_headers(id);
    run.vm.grpc_receive(&mut run.host, 5, vec![]).unwrap();
    assert_eq!(run.said(), ["0", "0", "9"]);
}

#[test]
fn the_answer_lets_a_paused_exchange_go_on() {
    let mut run = called(
        "(call $say (call $proxy_set_effective_context #2)) (call $say (call $proxy_add_header_map_value #0 'x' 'y'))
         (call $say (call $proxy_continue_stream #0))",
    );
    run.vm.grpc_receive(&mut run.host, 5, vec![]).unwrap();
    assert_eq!(run.said(), ["92", "0", "0", "0"]);
    assert_eq!(run.stream().resumed.len(), 1);
}

#[test]
fn a_trap_is_a_fault_of_that_hook() {
    let mut run = called("unreachable");
    let fault = run.vm.grpc_initial_metadata(&mut run.host, 6, metadata()).unwrap_err();
    assert_eq!((fault.hook.as_str(), fault.reason), ("on_grpc_receive_initial_metadata", FaultReason::Trap));
    assert_eq!(run.vm.grpc_close(&mut run.host, 6, failed()).unwrap_err().reason, FaultReason::VmLost);
}

#[test]
fn the_oldest_abi_has_the_same_hooks() {
    let mut run = Guest::default()
        .abi("0_1_0")
        .hook("tick", STREAM)
        .hook("grpc_receive", SHOW)
        .start_with(spec(), FakeHost::new().with_cluster("auth"));
    run.tick();
    run.vm.grpc_receive(&mut run.host, 6, b"one".to_vec()).unwrap();
    assert_eq!(run.said().last().unwrap(), "one");
}
