use sidegate_wasm_host::testing::FakeStream;

use crate::guest::{Guest, in_request, in_tick};

fn body_after(body: &str) -> (Vec<String>, String) {
    let mut run = Guest::new("request_body", body).start();
    let id = run.open(FakeStream::get("/").request_body("hello"));
    run.request_body(id, true);
    let left = run.stream().request_body.clone().unwrap();
    (run.said(), String::from_utf8(left).unwrap())
}

#[test]
fn reading() {
    let (said, _) = body_after(
        "(call $say (call $proxy_get_buffer_bytes #0 #0 #100 #16 #20)) (call $out)
         (call $say (call $proxy_get_buffer_bytes #0 #1 #3 #16 #20)) (call $out)
         (call $say (call $proxy_get_buffer_bytes #0 #5 #1 #16 #20)) (call $out)
         (call $say (call $proxy_get_buffer_bytes #0 #6 #1 #16 #20)) (call $out)
         (call $say (call $proxy_get_buffer_bytes #0 #-1 #2 #16 #20)) (call $out)
         (call $say (call $proxy_get_buffer_status #0 #24 #28)) (call $word) (call $say (i32.load #28))",
    );
    assert_eq!(said, ["0", "hello", "0", "ell", "0", "", "0", "", "0", "", "0", "5", "0"]);
}

#[test]
fn writing() {
    for (call, status, left) in [
        ("#0 #0 #0 'X'", "0", "Xhello"),
        ("#0 #0 #-1 'X'", "0", "X"),
        ("#0 #0 #3 'X'", "0", "Xlo"),
        ("#0 #0 #-1 ''", "0", ""),
        ("#0 #5 #0 'X'", "0", "helloX"),
        ("#0 #-1 #-1 'X'", "0", "helloX"),
        ("#0 #2 #0 'X'", "2", "hello"),
        ("#1 #0 #0 'X'", "2", "hello"),
    ] {
        let (said, body) = body_after(&format!("(call $say (call $proxy_set_buffer_bytes {call}))"));
        assert_eq!((said[0].as_str(), body.as_str()), (status, left), "{call}");
    }
}

#[test]
fn a_body_that_has_left_takes_no_more_and_one_that_has_not_come_is_none() {
    let write = "(call $say (call $proxy_set_buffer_bytes #0 #0 #0 'X'))";
    let mut run =
        Guest::new("request_headers", write).hook("request_body", "(call $say #7)").hook("log", write).start();
    let id = run.open(FakeStream::get("/"));
    run.request_headers(id);
    run.log(id);
    assert_eq!(run.said(), ["2", "2"]);
    let id = run.open(FakeStream::get("/"));
    run.vm.request_body(&mut run.host, id, 0, true).unwrap();
    run.log(id);
    assert_eq!(run.said().last().map(String::as_str), Some("0"));
}

#[test]
fn buffers_outside_their_phase() {
    let read = |buffer: &str| {
        format!(
            "(i32.store #20 #9) (call $say (call $proxy_get_buffer_bytes #{buffer} #0 #10 #16 #20)) (call $say (i32.load #20))
             (call $say (call $proxy_get_buffer_status #{buffer} #24 #28))"
        )
    };
    for (buffer, expected) in [
        ("0", ["0", "0", "0"]),
        ("1", ["0", "0", "0"]),
        ("2", ["0", "0", "0"]),
        ("4", ["1", "9", "1"]),
        ("5", ["0", "0", "0"]),
        ("6", ["0", "0", "0"]),
        ("7", ["1", "9", "1"]),
        ("8", ["1", "9", "1"]),
        ("9", ["2", "9", "2"]),
    ] {
        assert_eq!(in_request(&read(buffer)), expected, "buffer {buffer} of a stream");
        assert_eq!(in_tick(&read(buffer)), expected, "buffer {buffer} of the root");
    }
}

#[test]
fn read_only_and_unknown_buffers_cannot_be_written() {
    for buffer in 4..10 {
        let body = format!("(call $say (call $proxy_set_buffer_bytes #{buffer} #0 #0 'x'))");
        // A callout's answer and the configuration are not there at all.
        let expected = if matches!(buffer, 4 | 7) { "1" } else { "2" };
        assert_eq!(in_request(&body), [expected], "buffer {buffer}");
    }
}

#[test]
fn a_body_that_was_let_go_is_empty_afterwards() {
    let read = "(call $say (call $proxy_get_buffer_bytes #0 #0 #10 #16 #20)) (call $say (i32.load #20))";
    let mut run = Guest::new("request_body", read).hook("response_headers", read).start();
    let id = run.open(FakeStream::get("/").request_body("hello"));
    run.request_body(id, true);
    run.response_headers(id);
    assert_eq!(run.said(), ["0", "5", "0", "0"]);
}

#[test]
fn a_body_over_its_limit_ends_the_exchange_and_not_the_guest() {
    let append = "(call $proxy_set_buffer_bytes #0 #2147483647 #0 #0 #60000)";
    for (count, overflown) in [(17, false), (18, true)] {
        let body = format!("(call $say {append})").repeat(count);
        let mut run = Guest::new("request_body", &body).start();
        let id = run.open(FakeStream::get("/").request_body("hello"));
        run.request_body(id, true);
        assert_eq!(run.stream().overflown, overflown, "{count} times 60,000 bytes");
        assert!(run.stream().request_body.as_ref().unwrap().len() <= 1 << 20);
        assert!(run.said().iter().all(|said| said == "0" || said.contains("its limit")));
    }
}

#[test]
fn a_body_that_came_larger_than_the_limit_may_keep_its_size() {
    let mut run = Guest::new("request_body", "(call $say (call $proxy_set_buffer_bytes #0 #0 #5 'HELLO'))").start();
    let id = run.open(FakeStream::get("/").request_body(vec![b'x'; 2 << 20]));
    run.request_body(id, true);
    assert!(!run.stream().overflown);
    assert!(run.stream().request_body.as_ref().unwrap().starts_with(b"HELLOxx"));
}
