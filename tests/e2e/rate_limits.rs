//! Limits that hold whatever comes at a time: `builtin:ratelimit` in the whole proxy.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use sidegate_tests::h2::Http2Client;
use sidegate_tests::{Request, Sidegate, eventually};

use crate::operator::{TOKEN, change};
use crate::setup::{config, fine, standard_filters};

/// How long a push may wait for requests, and requests for a push.
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections, each with so many batches of so many requests at a time: 10,000 in all.
const CONNECTIONS: usize = 20;
const BATCHES: usize = 5;
const BATCH: usize = 100;
const SWAPS: usize = 10;

fn limited(origin: &sidegate_tests::Origin, filter: &str) -> Sidegate {
    let chain = format!(", filters: [{{plugin: ratelimit, config: {{{filter}}}}}]");
    Sidegate::configured(&(standard_filters() + &config(&chain, origin, ""))).with_workers(2).start()
}

/// What became of the requests.
#[derive(Default)]
struct Seen {
    passed: AtomicUsize,
    refused: AtomicUsize,
}

impl Seen {
    fn count(&self) -> usize {
        self.passed.load(Ordering::Relaxed) + self.refused.load(Ordering::Relaxed)
    }
}

/// Sends all requests while `work` is done. A batch begins when `may_begin` lets it, which is asked with its number.
fn flood(sidegate: &Sidegate, seen: &Seen, may_begin: impl Fn(usize) -> bool + Sync, work: impl FnOnce()) {
    thread::scope(|scope| {
        // So many connections reach both workers.
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut client = Http2Client::connect(sidegate.address("inbound")).unwrap();
                for number in 0..BATCHES {
                    eventually(PATIENCE, || may_begin(number).then_some(())).expect("the next batch may begin");
                    for answer in client.send_all(&vec![Request::get("/"); BATCH]).unwrap() {
                        match answer.unwrap().status {
                            200 => seen.passed.fetch_add(1, Ordering::Relaxed),
                            429 => seen.refused.fetch_add(1, Ordering::Relaxed),
                            other => panic!("{other}"),
                        };
                    }
                }
            });
        }
        work();
    });
}

#[test]
fn exactly_as_many_pass_as_there_are_tokens() {
    let origin = fine();
    let sidegate = limited(&origin, "tokenBucket: {maxTokens: 1000, fillInterval: 1h}");
    let seen = Seen::default();
    flood(&sidegate, &seen, |_| true, || {});
    assert_eq!((seen.passed.into_inner(), seen.refused.into_inner(), origin.request_count()), (1000, 9000, 1000));
}

#[test]
fn exactly_as_many_pass_while_the_filter_is_swapped_ten_times() {
    let origin = fine();
    let chain = ", filters: [{plugin: ratelimit, config: {tokenBucket: {maxTokens: 1000, fillInterval: 1h}}}]";
    let text = "admin: {tokenFile: token}\n".to_owned() + &standard_filters() + &config(chain, &origin, "");
    let sidegate = Sidegate::configured(&text).with_file("token", TOKEN).with_workers(2).start();
    let module = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/filters/ratelimit.wasm"));
    let module = module.expect("run `cargo xtask build` first");
    // The same with an empty section that nobody reads: another digest.
    let versions = [module.clone(), [&module[..], &[0, 2, 1, b'x']].concat()];
    let (seen, swaps) = (Seen::default(), AtomicUsize::new(0));
    let swap = |number: usize| {
        // Neither side runs away from the other: swaps are spread over all requests.
        eventually(PATIENCE, || (seen.count() >= number * 900).then_some(())).expect("requests go on");
        let request = change("PUT", "/plugins/ratelimit/module", &versions[number % 2]);
        let answer = sidegate.ask_admin(&request);
        assert_eq!(answer.status, 200, "{}", answer.text());
        swaps.store(number, Ordering::SeqCst);
    };
    flood(&sidegate, &seen, |batch| swaps.load(Ordering::SeqCst) + 1 >= 2 * batch, || (1..=SWAPS).for_each(swap));
    assert_eq!((seen.passed.into_inner(), seen.refused.into_inner(), origin.request_count()), (1000, 9000, 1000));
    let committed = [("plugin", "ratelimit"), ("result", "committed")];
    assert_eq!(sidegate.metric("sidegate_plugin_swaps_total", &committed, |_| true), SWAPS as f64);
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
