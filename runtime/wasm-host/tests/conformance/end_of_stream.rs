use sidegate_wasm_host::testing::FakeStream;

use crate::guest::Guest;

#[test]
fn log_then_done_then_delete_whatever_done_answers() {
    let mut run = Guest::new("log", "(call $say #1)")
        .hook("done", "(call $say #2) (return #0)")
        .hook("delete", "(call $say #3)")
        .start();
    let id = run.open(FakeStream::get("/"));
    run.log(id);
    run.close(id);
    assert_eq!(run.said(), ["1", "2", "3"]);
    assert_eq!(run.vm.contexts(), 0);
}

#[test]
fn what_a_pause_left_open_is_there_in_done_and_gone_in_delete() {
    let ask = r"(call $say (call $proxy_get_header_map_value #0 ':path' #16 #20))
        (call $say (call $proxy_get_property 'request\00path' #16 #20))";
    let mut run = Guest::new("request_headers", "(return #1)").hook("done", ask).hook("delete", ask).start();
    let id = run.open(FakeStream::get("/"));
    run.request_headers(id);
    run.close(id);
    assert_eq!(run.said(), ["0", "0", "2", "1"]);
}

#[test]
fn after_the_proxy_dropped_the_exchange_nothing_traps() {
    let mut run = Guest::new(
        "log",
        r"(call $say (call $proxy_get_header_map_value #0 ':path' #16 #20))
          (call $say (call $proxy_get_property 'request\00path' #16 #20))
          (call $say (call $proxy_set_property 'x' 'y'))",
    )
    .start();
    let id = run.open(FakeStream::get("/"));
    run.host.streams.clear();
    run.log(id);
    assert_eq!(run.said(), ["1", "1", "1"]);
}
