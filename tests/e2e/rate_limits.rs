//! Limits that hold whatever comes at a time: `builtin:ratelimit` in the whole proxy.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use sidegate_tests::h2::Http2Client;
use sidegate_tests::{Request, Sidegate};

use crate::setup::{config, fine, standard_filters};

fn limited(origin: &sidegate_tests::Origin, filter: &str) -> Sidegate {
    let chain = format!(", filters: [{{plugin: ratelimit, config: {{{filter}}}}}]");
    Sidegate::configured(&(standard_filters() + &config(&chain, origin, ""))).with_workers(2).start()
}

#[test]
fn exactly_as_many_pass_as_there_are_tokens() {
    let origin = fine();
    let sidegate = limited(&origin, "tokenBucket: {maxTokens: 1000, fillInterval: 1h}");
    let (passed, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        // So many connections reach both workers, and each has a hundred requests under way.
        for _ in 0..20 {
            scope.spawn(|| {
                let mut client = Http2Client::connect(sidegate.address("inbound")).unwrap();
                let batch = vec![Request::get("/"); 100];
                for answer in (0..5).flat_map(|_| client.send_all(&batch).unwrap()) {
                    match answer.unwrap().status {
                        200 => passed.fetch_add(1, Ordering::Relaxed),
                        429 => refused.fetch_add(1, Ordering::Relaxed),
                        other => panic!("{other}"),
                    };
                }
            });
        }
    });
    assert_eq!((passed.into_inner(), refused.into_inner(), origin.request_count()), (1000, 9000, 1000));
}

#[test]
fn a_refusal_tells_why_and_when_to_come_back() {
    let origin = fine();
    let filter = "match: [{uri: {prefix: /api}}], tokenBucket: {maxTokens: 1, fillInterval: 1h}, \
                  enableXRatelimitHeaders: DRAFT_VERSION_03";
    let sidegate = limited(&origin, filter);
    let told = |answer: &sidegate_tests::Response| {
        let header = |name: &str| answer.header(name).unwrap_or_default().to_owned();
        [header("x-ratelimit-limit"), header("x-ratelimit-remaining"), header("x-ratelimit-reset")]
    };
    assert_eq!(told(&sidegate.get("/api")), ["1", "0", "3600"]);
    let refused = sidegate.get("/api");
    assert_eq!((refused.status, refused.header("x-envoy-ratelimited")), (429, Some("true")));
    assert_eq!(told(&refused)[..2], ["1", "0"]);
    assert_eq!(told(&sidegate.get("/")), ["", "", ""]);
    let grpc = sidegate.send(&Request::post("/api.Do/It", "").with_header("content-type", "application/grpc"));
    assert_eq!((grpc.status, grpc.header("grpc-status")), (200, Some("14")));
}
