//! Limits that hold whatever comes at a time: `builtin:ratelimit` in the whole proxy.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use sidegate_tests::{Request, Sidegate};

use crate::setup::{config, fine, standard_filters};

fn limited(origin: &sidegate_tests::Origin, filter: &str) -> Sidegate {
    let chain = format!(", filters: [{{plugin: ratelimit, config: {{{filter}}}}}]");
    Sidegate::configured(&(standard_filters() + &config(&chain, origin, ""))).with_workers(2).start()
}

#[test]
fn exactly_as_many_pass_as_there_are_tokens() {
    let origin = fine();
    let sidegate = limited(&origin, "tokenBucket: {maxTokens: 100, fillInterval: 1h}");
    let passed = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..40 {
                    // A connection each: both workers get their share.
                    let status = sidegate.get("/").status;
                    assert!(status == 200 || status == 429, "{status}");
                    passed.fetch_add(usize::from(status == 200), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!((passed.load(Ordering::Relaxed), origin.request_count()), (100, 100));
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
