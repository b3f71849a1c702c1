use sidegate_wasm_host::testing::FakeStream;

use crate::guest::Guest;

#[test]
fn unknown_ids_are_refused_and_zero_goes_back() {
    let path = r"(call $say (call $proxy_get_property 'request\00path' #16 #20)) (call $out)";
    let guest = Guest::new("request_headers", "(return #1)").hook(
        "response_headers",
        &format!(
            "(call $say (call $proxy_set_effective_context #99))
             (call $say (call $proxy_set_effective_context #2)) {path}
             (call $say (call $proxy_set_effective_context #3)) {path}
             (call $say (call $proxy_set_effective_context #1))
             (call $say (call $proxy_get_header_map_value #2 ':status' #16 #20))
             (call $say (call $proxy_set_effective_context #0))
             (call $say (call $proxy_get_header_map_value #2 ':status' #16 #20))"
        ),
    );
    let mut run = guest.start();
    let first = run.open(FakeStream::get("/first"));
    let second = run.open(FakeStream::get("/second"));
    run.request_headers(first);
    run.request_headers(second);
    run.response_headers(second);
    assert_eq!(run.said(), ["2", "0", "0", "/first", "0", "0", "/second", "0", "2", "0", "0"]);
}

#[test]
fn every_hook_starts_with_its_own_context() {
    let status = "(call $say (call $proxy_get_header_map_value #2 ':status' #16 #20))";
    let guest =
        Guest::new("response_headers", &format!("(drop (call $proxy_set_effective_context #1)) {status} (return #1)"))
            .hook("response_body", status);
    let mut run = guest.start();
    let id = run.open(FakeStream::get("/"));
    run.response_headers(id);
    run.vm.response_body(&mut run.host, id, 0, true).unwrap();
    assert_eq!(run.said(), ["2", "0"]);
}

#[test]
fn a_closed_context_is_unknown() {
    let mut run = Guest::new("tick", "(call $say (call $proxy_set_effective_context #2))").start();
    let id = run.open(FakeStream::get("/"));
    run.tick();
    run.close(id);
    run.tick();
    assert_eq!(run.said(), ["0", "2"]);
}
