use sidegate_wasm_host::testing::{FakeHost, FakeStream};

use crate::guest::{Guest, in_request, in_tick, spec};

#[test]
fn a_path_is_segments_joined_by_nul() {
    let guest = Guest::new(
        "request_headers",
        r"(call $say (call $proxy_get_property 'request\00path' #16 #20)) (call $out)
          (call $say (call $proxy_get_property 'request\00path\00' #16 #20)) (call $out)
          (call $say (call $proxy_get_property 'request\00headers\00X-Q' #16 #20)) (call $out)
          (call $say (call $proxy_get_property 'source\00address' #16 #20)) (call $out)
          (call $say (call $proxy_get_property 'plugin_name' #16 #20)) (call $out)
          (call $say (call $proxy_get_property 'plugin_vm_id' #16 #20)) (call $out)",
    );
    let stream = FakeStream::get("/p").request_header("x-q", "7").property("source.address", "1.2.3.4:5");
    let (mut run, _) = guest.start_request(stream);
    assert_eq!(run.said(), ["0", "/p", "0", "/p", "0", "7", "0", "1.2.3.4:5", "0", "test", "0", "vm"]);
}

#[test]
fn statuses_of_paths_that_name_no_value() {
    let ask = |path: &str| format!(r"(call $say (call $proxy_get_property '{path}' #16 #20))");
    for (path, of_stream, of_root) in [
        ("", "3", "3"),
        (r"\00", "1", "1"),
        ("request", "3", "1"),
        ("xds", "3", "3"),
        ("nope", "1", "1"),
        (r"a\00b", "1", "1"),
    ] {
        assert_eq!(in_request(&ask(path)), [of_stream], "{path:?} of a stream");
        assert_eq!(in_tick(&ask(path)), [of_root], "{path:?} of the root");
    }
}

#[test]
fn the_root_sees_what_does_not_depend_on_an_exchange() {
    let guest = Guest::new(
        "tick",
        r"(call $say (call $proxy_get_property 'xds\00node\00id' #16 #20)) (call $out)
          (call $say (call $proxy_get_property 'request\00path' #16 #20))",
    );
    let mut run = guest.start_with(spec(), FakeHost::new().with_property("xds.node.id", "n1"));
    run.tick();
    assert_eq!(run.said(), ["0", "n1", "1"]);
}

#[test]
fn request_properties_go_with_the_request_head_and_come_back_in_log() {
    let ask = r"(call $say (call $proxy_get_property 'request\00path' #16 #20))";
    let (mut run, id) = Guest::new("request_headers", ask)
        .hook("response_headers", ask)
        .hook("log", ask)
        .hook("delete", ask)
        .start_request(FakeStream::get("/"));
    run.response_headers(id);
    run.log(id);
    run.close(id);
    assert_eq!(run.said(), ["0", "1", "0", "1"]);
}

#[test]
fn setting() {
    let guest = Guest::new("request_headers", "(call $say (call $proxy_set_property 'mine' 'v'))")
        .hook("log", "(call $say (call $proxy_get_property 'mine' #16 #20)) (call $out)");
    let (mut run, id) = guest.start_request(FakeStream::get("/"));
    run.log(id);
    assert_eq!(run.said(), ["0", "0", "v"]);
    assert_eq!(in_tick("(call $say (call $proxy_set_property 'mine' 'v'))"), ["1"]);
}

#[test]
fn the_empty_name_is_a_name() {
    let guest = Guest::new("request_headers", "(call $say (call $proxy_set_property '' 'v'))")
        .hook("log", r"(call $say (call $proxy_get_property '\00' #16 #20)) (call $out)");
    let (mut run, id) = guest.start_request(FakeStream::get("/"));
    run.log(id);
    assert_eq!(run.said(), ["0", "0", "v"]);
}

#[test]
fn a_value_over_the_limit_is_dropped_without_telling_the_sdk() {
    let (mut run, _) = Guest::new("request_headers", "(call $say (call $proxy_set_property 'mine' #0 #65537))")
        .start_request(FakeStream::get("/"));
    assert_eq!(run.said(), ["a property of 65537 bytes was dropped: the limit is 65536", "0"]);
    assert!(run.stream().properties.is_empty());
}
