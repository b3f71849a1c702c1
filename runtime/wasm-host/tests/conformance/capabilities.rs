use sidegate_wasm_host::testing::{FakeHost, FakeStream};

use crate::guest::{Guest, spec};

#[test]
fn what_is_not_listed_is_refused_and_the_rest_works() {
    let mut limited = spec();
    limited.capabilities = ["proxy_log", "proxy_get_header_map_value", "random_get"].map(String::from).into();
    let guest = Guest::new(
        "request_headers",
        "(call $say (call $proxy_get_header_map_value #0 ':path' #16 #20))
         (call $say (call $proxy_add_header_map_value #0 'a' 'b'))
         (call $say (call $proxy_http_call '' '' '' '' #0 #24))
         (call $say (call $proxy_get_property '' #16 #20))
         (call $say (call $random_get #32 #4))
         (call $say (call $clock_time_get #0 (i64.const 0) #32))
         (call $say (call $environ_get #32 #32))
         (call $say (call $fd_write #1 #0 #0 #24))",
    );
    let mut run = guest.start_with(limited, FakeHost::new());
    let id = run.open(FakeStream::get("/"));
    run.request_headers(id);
    assert_eq!(run.said(), ["0", "10", "10", "10", "0", "76", "76", "76"]);
}

#[test]
fn hooks_are_not_capabilities() {
    let mut limited = spec();
    limited.capabilities = vec!["proxy_log".into()];
    let mut run = Guest::new("tick", "(call $say #1)").start_with(limited, FakeHost::new());
    run.tick();
    assert_eq!(run.said(), ["1"]);
}

#[test]
fn steering_is_a_capability() {
    let write = "(call $say (call $proxy_set_property 'sidegate.route.name' 'v')) (call $say (call $proxy_set_property 'mine' 'v'))";
    for (capability, said) in [("proxy_set_property", ["10", "0"]), ("steer", ["0", "0"])] {
        let mut limited = spec();
        limited.capabilities = ["proxy_log", "proxy_set_property", capability].map(String::from).into();
        let mut run = Guest::new("request_headers", write).start_with(limited, FakeHost::new());
        let id = run.open(FakeStream::get("/"));
        run.request_headers(id);
        assert_eq!(run.said(), said, "{capability}");
    }
}
