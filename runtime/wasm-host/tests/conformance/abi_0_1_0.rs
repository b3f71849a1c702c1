//! What differs for modules of ABI 0.1.0 (and 0.2.0).

use sidegate_wasm_host::abi::{Direction, Status};
use sidegate_wasm_host::testing::{FakeHost, FakeStream};

use crate::guest::{Guest, spec};

fn old() -> Guest {
    Guest::default().abi("0_1_0")
}

#[test]
fn header_hooks_have_no_end_flag_and_a_missing_header_is_empty() {
    let guest = old().hook(
        "request_headers",
        "(call $say (local.get $a))
         (i32.store #20 #9)
         (call $say (call $proxy_get_header_map_value #0 'none' #16 #20)) (call $say (i32.load #20))
         (call $say (call $proxy_get_header_map_value #2 'none' #16 #20))",
    );
    let (mut run, _) = guest.start_request(FakeStream::get("/"));
    assert_eq!(run.said(), ["4", "0", "0", "2"]);
}

#[test]
fn continue_has_a_call_per_direction() {
    let guest = old().hook(
        "request_headers",
        "(call $say (call $proxy_continue_request)) (call $say (call $proxy_continue_response)) (return #1)",
    );
    let (mut run, _) = guest.start_request(FakeStream::get("/"));
    assert_eq!(run.said(), ["0", "0"]);
    assert_eq!(run.stream().resumed, [Direction::Request, Direction::Response]);
}

#[test]
fn the_route_cache_has_a_call_of_its_own() {
    let host = FakeHost::new().with_function("clear_route_cache", |_, _| Status::Ok);
    let mut run = old().hook("request_headers", "(call $say (call $proxy_clear_route_cache))").start_with(spec(), host);
    let id = run.open(FakeStream::get("/"));
    run.request_headers(id);
    assert_eq!(run.said(), ["0"]);
    assert_eq!(run.host.foreign_calls.len(), 1);
}

#[test]
fn get_configuration_is_the_plugins_in_configure_and_the_vms_elsewhere() {
    let read = "(call $say (call $proxy_get_configuration #16 #20)) (call $out)";
    let mut given = spec();
    given.vm_configuration = b"vm".to_vec();
    given.configuration = Some(b"plugin".to_vec());
    let mut run =
        old().hook("vm_start", read).hook("configure", read).hook("tick", read).start_with(given, FakeHost::new());
    run.tick();
    assert_eq!(run.said(), ["0", "vm", "0", "plugin", "0", "vm"]);
}

#[test]
fn calls_of_another_version_do_not_link() {
    for (abi, call) in [
        ("0_1_0", "(drop (call $proxy_continue_stream #0))"),
        ("0_1_0", "(drop (call $proxy_close_stream #0))"),
        ("0_1_0", "(drop (call $proxy_get_log_level #0))"),
        ("0_2_0", "(drop (call $proxy_get_log_level #0))"),
        ("0_2_0", "(drop (call $proxy_continue_request))"),
        ("0_2_1", "(drop (call $proxy_clear_route_cache))"),
        ("0_2_1", "(drop (call $proxy_get_configuration #16 #20))"),
    ] {
        let error = Guest::default().abi(abi).hook("tick", call).load().err().unwrap().to_string();
        assert!(error.starts_with("cannot be linked: unknown import: `env::proxy_"), "{abi} {call}: {error}");
    }
}

#[test]
fn version_0_2_0_has_the_end_flag() {
    let guest = Guest::default().abi("0_2_0").hook("request_headers", "(call $say (local.get $b))");
    assert_eq!(guest.start_request(FakeStream::get("/")).0.said(), ["1"]);
}
