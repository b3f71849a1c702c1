use sidegate_wasm_host::HeadersAction;
use sidegate_wasm_host::testing::{FakeHeaders, FakeStream};

use crate::guest::{Guest, in_request, in_tick};

fn headers(pairs: &[(&str, &str)]) -> FakeHeaders {
    FakeHeaders::from(pairs)
}

#[test]
fn a_value_is_the_first_of_its_name_in_any_case() {
    let guest = Guest::new(
        "request_headers",
        "(call $say (call $proxy_get_header_map_value #0 'X-A' #16 #20)) (call $out)
         (call $say (call $proxy_get_header_map_value #0 'host' #16 #20)) (call $out)
         (call $say (call $proxy_get_header_map_value #0 'x-empty' #16 #20)) (call $out)
         (call $say (i32.load #16))
         (call $say (call $proxy_get_header_map_value #0 'x-none' #16 #20))",
    );
    let stream =
        FakeStream::get("/").request_header("x-a", "1").request_header("x-a", "2").request_header("x-empty", "");
    let (mut run, _) = guest.start_request(stream);
    assert_eq!(run.said(), ["0", "1", "0", "test", "0", "", "0", "1"], "an empty value is (0, 0)");
}

#[test]
fn maps_outside_their_phase() {
    let all = "(call $say (call $proxy_get_header_map_value #2 'a' #16 #20))
         (call $say (call $proxy_add_header_map_value #2 'a' 'b'))
         (call $say (call $proxy_replace_header_map_value #2 'a' 'b'))
         (call $say (call $proxy_remove_header_map_value #2 'a'))
         (call $say (call $proxy_set_header_map_pairs #2 ''))
         (call $say (call $proxy_get_header_map_size #2 #24))
         (i32.store #16 #7) (i32.store #20 #7)
         (call $say (call $proxy_get_header_map_pairs #2 #16 #20))
         (call $say (i32.load #16)) (call $say (i32.load #20))";
    let expected = ["2", "2", "2", "2", "2", "2", "0", "0", "0"];
    assert_eq!(in_request(all), expected);
    assert_eq!(in_tick(&all.replace("#2 '", "#0 '").replace("#2 #", "#0 #")), expected, "the root has no maps");
    for map in ["#1", "#3", "#4", "#5", "#6", "#7"] {
        assert_eq!(in_request(&all.replace("#2", map)), expected, "map {map}");
    }
}

#[test]
fn unknown_map_types() {
    let all = "(call $say (call $proxy_get_header_map_value #8 'a' #16 #20))
         (call $say (call $proxy_add_header_map_value #8 'a' 'b'))
         (call $say (call $proxy_replace_header_map_value #8 'a' 'b'))
         (call $say (call $proxy_remove_header_map_value #8 'a'))
         (call $say (call $proxy_set_header_map_pairs #8 ''))
         (call $say (call $proxy_get_header_map_pairs #8 #16 #20))
         (call $say (call $proxy_get_header_map_size #-1 #24))";
    assert_eq!(in_request(all), ["2"; 7]);
}

#[test]
fn changes() {
    let guest = Guest::new(
        "request_headers",
        "(call $say (call $proxy_add_header_map_value #0 'X-New' '1'))
         (call $say (call $proxy_add_header_map_value #0 'x-twice' '3'))
         (call $say (call $proxy_replace_header_map_value #0 'X-Twice' 'only'))
         (call $say (call $proxy_replace_header_map_value #0 'x-absent' ''))
         (call $say (call $proxy_remove_header_map_value #0 'x-gone'))
         (call $say (call $proxy_remove_header_map_value #0 'x-never'))",
    );
    let mut stream = FakeStream::get("/");
    stream.request_headers = Some(headers(&[("x-twice", "1"), ("x-twice", "2"), ("x-gone", "a"), ("x-gone", "b")]));
    let (mut run, _) = guest.start_request(stream);
    assert_eq!(run.said(), ["0"; 6]);
    let expected = headers(&[("x-new", "1"), ("x-twice", "only"), ("x-absent", "")]);
    assert_eq!(run.stream().request_headers, Some(expected));
}

#[test]
fn pairs_are_serialized_with_lengths_first() {
    let guest = Guest::new(
        "request_headers",
        "(call $say (call $proxy_get_header_map_pairs #0 #16 #20)) (call $out)
         (call $say (call $proxy_get_header_map_size #0 #24)) (call $word)",
    );
    let mut stream = FakeStream::get("/");
    stream.request_headers = Some(headers(&[(":path", "/"), ("a", "1"), ("a", "")]));
    let (mut run, _) = guest.start_request(stream);
    let wire = "\u{3}\0\0\0\u{5}\0\0\0\u{1}\0\0\0\u{1}\0\0\0\u{1}\0\0\0\u{1}\0\0\0\0\0\0\0:path\0/\0a\x001\0a\0\0";
    assert_eq!(run.said(), ["0", wire, "0", "9"]);
}

#[test]
fn setting_pairs_replaces_all_and_a_malformed_map_wipes() {
    let good = r"(call $say (call $proxy_set_header_map_pairs #0 '\01\00\00\00\01\00\00\00\02\00\00\00k\00vv\00'))";
    let (mut run, _) = Guest::new("request_headers", good).start_request(FakeStream::get("/"));
    assert_eq!(run.said(), ["0"]);
    assert_eq!(run.stream().request_headers, Some(headers(&[("k", "vv")])));
    for bad in [
        r"'\01\00\00\00\01\00\00\00\02\00\00\00k\00vv\01'",
        r"'\01\00\00\00\01\00\00\00\02\00\00\00k\00vv\00x'",
        r"'\ff\ff\ff\ff'",
        r"'\01'",
    ] {
        let body = format!("(call $say (call $proxy_set_header_map_pairs #0 {bad}))");
        let (mut run, _) = Guest::new("request_headers", &body).start_request(FakeStream::get("/"));
        assert_eq!(run.said(), ["0"], "{bad}");
        assert_eq!(run.stream().request_headers, Some(headers(&[])), "{bad}");
    }
}

#[test]
fn a_head_is_gone_once_the_guest_let_it_go() {
    let read = "(call $say (call $proxy_get_header_map_value #0 ':path' #16 #20))";
    let guest = Guest::new("request_headers", read).hook("response_headers", read).hook("log", read);
    let (mut run, id) = guest.start_request(FakeStream::get("/"));
    run.response_headers(id);
    run.log(id);
    assert_eq!(run.said(), ["0", "2", "0"]);
}

#[test]
fn a_paused_head_stays_open() {
    let guest = Guest::new("request_headers", "(return #1)").hook(
        "tick",
        "(drop (call $proxy_set_effective_context #2)) (call $say (call $proxy_add_header_map_value #0 'a' 'b'))",
    );
    let mut run = guest.start();
    let id = run.open(FakeStream::get("/"));
    assert_eq!(run.request_headers(id), HeadersAction::Pause);
    run.tick();
    assert_eq!(run.said(), ["0"]);
}

#[test]
fn trailers_can_be_made_in_the_last_body_hook_only() {
    let guest = Guest::new("request_body", "(call $say (call $proxy_add_header_map_value #1 'a' 'b'))");
    let mut run = guest.start();
    let id = run.open(FakeStream::get("/").request_body("x"));
    run.request_body(id, false);
    run.request_body(id, true);
    assert_eq!(run.said(), ["2", "0"]);
    assert_eq!(run.stream().request_trailers, Some(headers(&[("a", "b")])));
}

#[test]
fn in_log_all_maps_can_be_read_none_written_and_what_is_missing_is_not_found() {
    let guest = Guest::new(
        "log",
        "(call $say (call $proxy_get_header_map_value #2 ':status' #16 #20)) (call $out)
         (call $say (call $proxy_get_header_map_value #2 'x' #16 #20))
         (call $say (call $proxy_get_header_map_value #0 ':path' #16 #20))
         (call $say (call $proxy_get_header_map_value #1 'x' #16 #20))
         (call $say (call $proxy_get_header_map_value #6 'x' #16 #20))
         (call $say (call $proxy_add_header_map_value #2 'x' 'y'))
         (call $say (call $proxy_set_header_map_pairs #2 ''))
         (call $say (call $proxy_get_header_map_size #2 #24))",
    );
    let mut run = guest.start();
    let mut stream = FakeStream::get("/");
    stream.request_headers = None;
    let id = run.open(stream);
    run.log(id);
    assert_eq!(run.said(), ["0", "200", "1", "1", "1", "1", "2", "2", "2"]);
    assert_eq!(run.stream().response_headers, Some(headers(&[(":status", "200")])));
}
