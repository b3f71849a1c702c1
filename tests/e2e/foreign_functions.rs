//! Foreign functions in a running proxy: what workers share, and what an exchange shows.

use std::sync::atomic::{AtomicU32, Ordering};

use sidegate_tests::{Request, Sidegate};

use crate::guest::guest;
use crate::setup::{config, fine};

fn with_guest(hooks: &[(&str, &str)], workers: usize) -> (Sidegate, sidegate_tests::Origin) {
    let origin = fine();
    let text = format!(
        "plugins: [{{name: guest, url: \"file:guest.wasm\"}}]\n{}",
        config(", filters: [{plugin: guest}]", &origin, "")
    );
    (Sidegate::configured(&text).with_file("guest.wasm", guest(hooks)).with_workers(workers).start(), origin)
}

/// A local reply with this status.
fn reply(status: u16) -> String {
    format!("(drop (call $reply #{status} <> #0 #0 #0 #0 (i32.const -1)))")
}

#[test]
fn a_token_bucket_lets_exactly_so_many_pass_on_all_workers() {
    // The key "k", 1000 tokens, 1 per fill, an hour between fills, take 1.
    let argument = "<\\01\\00\\00\\00k\\e8\\03\\00\\00\\00\\00\\00\\00\\01\\00\\00\\00\\00\\00\\00\\00\
                    \\80\\ee\\36\\00\\00\\00\\00\\00\\01\\00\\00\\00\\00\\00\\00\\00>";
    let body = format!(
        "(if (call $foreign <sidegate_token_bucket> {argument} #16 #20) (then unreachable))
         (if (i32.ne (i32.load #20) #17) (then unreachable))
         (if (i32.eqz (i32.load8_u (i32.load #16))) (then {}))",
        reply(429)
    );
    let (sidegate, _origin) = with_guest(&[("request_headers", &body)], 2);
    let (passed, limited) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = sidegate.connect();
                for _ in 0..1250 {
                    match client.get("/").unwrap().status {
                        200 => passed.fetch_add(1, Ordering::Relaxed),
                        429 => limited.fetch_add(1, Ordering::Relaxed),
                        other => panic!("{other}"),
                    };
                }
            });
        }
    });
    assert_eq!((passed.into_inner(), limited.into_inner()), (1000, 9000));
}

#[test]
fn an_expression_reads_the_exchange_when_it_is_asked() {
    let expression = "<request.method == 'POST' && request.headers['x-q'].startsWith('on') && request.size == 5 \
                      && !has(request.headers.none) && 'x-q' in request.headers \
                      && request.headers.exists(name, name == 'x-q') && source.port != 0 \
                      && duration('0s') == request.time - request.time>";
    let create = format!(
        "(if (call $foreign <expr_create> {expression} #16 #20) (then unreachable))
         (i32.store #40 (i32.load (i32.load #16)))"
    );
    let evaluate = format!(
        "(if (call $foreign <expr_evaluate> #40 #4 #16 #20) (then unreachable))
         (if (i32.load8_u (i32.load #16)) (then {}))",
        reply(418)
    );
    let (sidegate, _origin) = with_guest(&[("configure", &create), ("request_headers", &evaluate)], 1);
    let mut client = sidegate.connect();
    assert_eq!(client.send(&Request::post("/", "hello").with_header("x-q", "one")).unwrap().status, 418);
    assert_eq!(client.send(&Request::post("/", "hello").with_header("x-q", "two")).unwrap().status, 200);
}

#[test]
fn expressions_give_the_metadata_of_an_exchange_as_a_message() {
    let create = "(if (call $foreign <expr_create> <metadata> #16 #20) (then unreachable))
                  (i32.store #40 (i32.load (i32.load #16)))";
    let evaluate = format!(
        "(if (i32.eqz (call $foreign <expr_evaluate> #40 #4 #16 #20)) (then (if (i32.eqz (i32.load #20)) (then {}))))",
        reply(418)
    );
    let (sidegate, _origin) = with_guest(&[("configure", create), ("request_headers", &evaluate)], 1);
    assert_eq!(sidegate.get("/").status, 418);
}

#[test]
fn filter_state_and_declared_properties_can_be_read_again() {
    let declare = "(if (call $foreign <declare_property> <\\0a\\04once\\10\\01\\18\\01> #16 #20) (then unreachable))
                   (if (i32.ne (call $foreign <declare_property> <\\0a\\04once> #16 #20) #2) (then unreachable))
                   (if (i32.ne (call $foreign <set_envoy_filter_state> <\\0a\\0cenvoy.string\\12\\02hi> #16 #20) #1)
                     (then unreachable))";
    let write = "(if (call $set_property <once> <first>) (then unreachable))
                 (if (i32.ne (call $set_property <once> <second>) #2) (then unreachable))
                 (if (call $foreign <set_envoy_filter_state> <\\0a\\0cenvoy.string\\12\\02hi> #16 #20) (then unreachable))
                 (if (i32.ne (call $foreign <set_envoy_filter_state> <\\0a\\04none\\12\\02hi> #16 #20) #1)
                   (then unreachable))";
    let read = "(if (call $get_property <once> #16 #20) (then unreachable))
                (drop (call $add_header #2 <x-once> (i32.load #16) (i32.load #20)))
                (if (call $get_property <filter_state\\00envoy.string> #16 #20) (then unreachable))
                (drop (call $add_header #2 <x-state> (i32.load #16) (i32.load #20)))";
    let hooks = [("configure", declare), ("request_headers", write), ("response_headers", read)];
    let (sidegate, _origin) = with_guest(&hooks, 1);
    let answer = sidegate.get("/");
    assert_eq!((answer.header("x-once"), answer.header("x-state")), (Some("first"), Some("hi")));
}
