//! What the number means that a hook of a message returns.

use sidegate_wasm_host::hooks::Hook;
use sidegate_wasm_host::testing::{FakeHost, FakeStream};
use sidegate_wasm_host::{BodyAction, HeadersAction};

use crate::guest::{Guest, spec};

#[test]
fn header_actions() {
    for (returned, action) in [
        (0, HeadersAction::Continue),
        (1, HeadersAction::Pause),
        (2, HeadersAction::Continue),
        (3, HeadersAction::Pause),
        (4, HeadersAction::Pause),
        (77, HeadersAction::Pause),
        (-1, HeadersAction::Pause),
    ] {
        let guest = Guest::new("request_headers", &format!("(return #{returned})"))
            .hook("response_headers", &format!("(return #{returned})"));
        let mut run = guest.start();
        let id = run.open(FakeStream::get("/"));
        assert_eq!(run.request_headers(id), action, "request, {returned}");
        assert_eq!(run.response_headers(id), action, "response, {returned}");
    }
}

#[test]
fn with_allow_on_headers_stop_iteration_only_the_head_is_held() {
    let mut spec = spec();
    spec.allow_on_headers_stop_iteration = true;
    for (returned, action) in
        [(1, HeadersAction::PauseHeaders), (4, HeadersAction::Pause), (0, HeadersAction::Continue)]
    {
        let guest = Guest::new("request_headers", &format!("(return #{returned})"))
            .hook("request_body", "(call $say (call $proxy_add_header_map_value #0 'a' 'b'))");
        let mut run = guest.start_with(spec.clone(), FakeHost::new());
        let id = run.open(FakeStream::get("/").request_body("x"));
        assert_eq!(run.request_headers(id), action);
        run.request_body(id, false);
        let status = if returned == 0 { "2" } else { "0" };
        assert_eq!(run.said(), [status], "a held head can be edited in the body hook");
    }
}

#[test]
fn a_guest_says_which_bodies_it_takes() {
    let said =
        |bytes: &str| format!("(call $say (call $proxy_call_foreign_function 'sidegate_bodies' '{bytes}' #0 #0))");
    for (bytes, status, sees_body, action) in [
        ("\\00\\00", "0", false, HeadersAction::Pause),
        ("\\01\\00", "0", true, HeadersAction::Pause),
        ("\\02\\01", "0", true, HeadersAction::PauseHeaders),
        ("\\03\\00", "2", true, HeadersAction::Pause),
        ("\\00", "2", true, HeadersAction::Pause),
    ] {
        let guest = Guest::new("configure", &said(bytes))
            .hook("request_headers", "(return #1)")
            .hook("request_body", &said("\\00\\00"))
            .hook("request_trailers", "(call $say #7)")
            .hook("response_headers", "(return #1)");
        let mut run = guest.start();
        assert_eq!(run.said(), [status], "{bytes}");
        // Who carries the body asks first: what nobody takes passes as it is.
        assert_eq!(run.vm.has(Hook::RequestBody), sees_body, "{bytes}");
        let id = run.open(FakeStream::get("/").request_body("x"));
        assert_eq!(run.request_headers(id), action, "{bytes}");
        assert_eq!(run.response_headers(id), HeadersAction::Pause, "{bytes}");
        run.request_body(id, true);
        // It is too late to say it in another hook.
        assert_eq!(run.said(), if sees_body { vec!["2"] } else { Vec::new() }, "{bytes}");
    }
}

#[test]
fn body_actions() {
    for (returned, action) in [
        (0, BodyAction::Continue),
        (1, BodyAction::Buffer),
        (2, BodyAction::Hold),
        (3, BodyAction::Drop),
        (4, BodyAction::Drop),
        (-1, BodyAction::Drop),
    ] {
        let guest = Guest::new("request_body", &format!("(call $say (local.get $a)) (return #{returned})"))
            .hook("response_body", &format!("(call $say (local.get $b)) (return #{returned})"));
        let mut run = guest.start();
        let id = run.open(FakeStream::get("/").request_body("abc"));
        assert_eq!(run.request_body(id, false), action);
        assert_eq!(run.vm.response_body(&mut run.host, id, 0, true).unwrap(), action);
        assert_eq!(run.said(), ["3", "1"]);
    }
}

#[test]
fn trailer_actions() {
    for (returned, action) in [(0, HeadersAction::Continue), (1, HeadersAction::Pause), (2, HeadersAction::Pause)] {
        let body = format!("(call $say (call $proxy_get_header_map_value #1 't' #16 #20)) (return #{returned})");
        let mut run = Guest::new("request_trailers", &body)
            .hook("response_trailers", &format!("(call $say (local.get $a)) (return #{returned})"))
            .start();
        let mut stream = FakeStream::get("/");
        stream.request_trailers = Some([("t", "v")][..].into());
        let id = run.open(stream);
        assert_eq!(run.vm.request_trailers(&mut run.host, id, 1).unwrap(), action);
        assert_eq!(run.vm.response_trailers(&mut run.host, id, 5).unwrap(), action);
        assert_eq!(run.said(), ["0", "5"]);
    }
}

#[test]
fn a_buffered_body_can_be_replaced_in_the_trailers_hook() {
    let mut run = Guest::new("request_body", "(return #1)")
        .hook("request_trailers", "(call $say (call $proxy_set_buffer_bytes #0 #0 #-1 'new'))")
        .start();
    let id = run.open(FakeStream::get("/").request_body("old"));
    run.request_body(id, false);
    run.vm.request_trailers(&mut run.host, id, 0).unwrap();
    assert_eq!(run.said(), ["0"]);
    assert_eq!(run.stream().request_body.as_deref(), Some(&b"new"[..]));
}

#[test]
fn absent_hooks_continue() {
    let mut run = Guest::new("tick", "(call $say #1)").start();
    let id = run.open(FakeStream::get("/"));
    assert_eq!(run.request_headers(id), HeadersAction::Continue);
    assert_eq!(run.request_body(id, true), BodyAction::Continue);
    run.log(id);
    run.close(id);
    assert_eq!(run.vm.contexts(), 0);
    assert_eq!(run.said(), [""; 0]);
}

#[test]
fn resuming_and_then_pausing_in_one_hook_goes_on() {
    let guest = Guest::new("request_headers", "(drop (call $proxy_continue_stream #0)) (return #1)")
        .hook("request_body", "(drop (call $proxy_continue_stream #0)) (return #1)")
        .hook("response_headers", "(drop (call $proxy_continue_stream #1)) (return #1)");
    let mut run = guest.start();
    let id = run.open(FakeStream::get("/").request_body("x"));
    assert_eq!(run.request_headers(id), HeadersAction::Continue);
    assert_eq!(run.request_body(id, false), BodyAction::Continue);
    assert_eq!(run.response_headers(id), HeadersAction::Continue);
}
