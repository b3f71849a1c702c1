//! What an observer of the boundary sees.

use sidegate_wasm_host::testing::FakeStream;

use crate::guest::Guest;

#[test]
fn a_watcher_sees_every_call_and_every_hook_with_its_exchange() {
    let guest = Guest::new(
        "request_headers",
        r"(drop (call $proxy_add_header_map_value #0 'x-a' 'secret'))
          (drop (call $proxy_get_property 'request\00path' #16 #20))
          (drop (call $proxy_get_property 'nothing' #16 #20))
          (return #1)",
    )
    .hook("tick", "(drop (call $proxy_set_effective_context #2)) (drop (call $proxy_continue_stream #0))");
    let mut run = guest.start();
    let id = run.open(FakeStream::get("/"));
    run.host.events.clear();
    run.host.watches = true;
    run.request_headers(id);
    run.tick();
    run.host.watches = false;
    let key = run.host.events[0].split(' ').next().unwrap().to_owned();
    let without_addresses = |event: &String| {
        let (head, rest) = event.split_once('[').unwrap_or((event, ""));
        let (_, tail) = rest.split_once("] ").unwrap_or(("", rest));
        format!("{head}{tail}").replacen(&key, "exchange", 1)
    };
    let events: Vec<String> = run.host.events.iter().map(without_addresses).collect();
    assert_eq!(
        events,
        [
            "exchange on_request_headers proxy_add_header_map_value x-a -> 0",
            "exchange on_request_headers proxy_get_property request.path -> 0",
            "exchange on_request_headers proxy_get_property nothing -> 1",
            "exchange on_request_headers = Some(1)",
            "exchange on_tick proxy_set_effective_context  -> 0",
            "exchange on_tick proxy_continue_stream  -> 0",
            "exchange on_tick = None",
        ]
    );
}

#[test]
fn nobody_watching_costs_samples_only() {
    let mut run = Guest::new("request_headers", "(drop (call $proxy_done))").start();
    let id = run.open(FakeStream::get("/"));
    run.host.events.clear();
    for _ in 0..6400 {
        run.request_headers(id);
    }
    let samples = run.host.events.len();
    assert!((50..200).contains(&samples), "{samples} of 6400 hooks, wanted about 100");
    assert!(run.host.events.iter().all(|event| event.contains(" on_request_headers = ")), "hostcalls are not told");
}

#[test]
fn preparation_is_always_measured() {
    let mut run = Guest::new("configure", "(drop (call $proxy_done)) (return #1)").start();
    let events = &run.vm.own_host().events;
    assert!(events.iter().any(|event| event == "root on_configure = Some(1)"), "{events:?}");
}

#[test]
fn a_fault_says_what_the_guest_asked_last_and_how_it_was_answered() {
    let guest = Guest::new(
        "request_headers",
        r"(drop (call $proxy_get_property 'request\00path' #16 #20))
          (drop (call $proxy_get_header_map_value #2 ':status' #16 #20))
          unreachable",
    );
    let mut run = guest.start();
    let id = run.open(FakeStream::get("/"));
    let fault = run.vm.request_headers(&mut run.host, id, 4, true).unwrap_err();
    assert_eq!(fault.calls, "proxy_get_property ok, proxy_get_header_map_value bad_argument");
    let text = fault.to_string();
    assert!(text.ends_with("last hostcalls: proxy_get_property ok, proxy_get_header_map_value bad_argument"), "{text}");
    let seen = run.host.events.last().unwrap();
    assert!(seen.ends_with("on_request_headers = trap"), "a fault is told without a watcher: {seen}");
}
