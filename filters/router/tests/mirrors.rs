//! Copies of requests, as the proxy is told of them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of a test may fail it")]

use router::Router;
use serde_json::{Value, json};
use sidegate_sdk::testing::Filter;

fn mirrors(mut route: Value) -> Option<Value> {
    route["route"] = json!([{"destination": {"host": "app"}}]);
    let config = json!({"virtualServices": [{"hosts": ["*"], "http": [route]}]}).to_string();
    let outcome = Filter::<Router>::configure(&config).unwrap().get("/").run();
    outcome.property("sidegate.upstream.mirrors").map(|json| serde_json::from_str(&json).unwrap())
}

#[test]
fn every_spelling_becomes_one_list() {
    let to = json!({"host": "b", "subset": "v2"});
    for (route, wanted) in [
        (json!({"mirror": to}), json!([{"cluster": "b", "subset": "v2"}])),
        (
            json!({"mirror": to, "mirrorPercentage": {"value": 12.5}, "mirrorPercent": 3}),
            json!([{"cluster": "b", "subset": "v2", "percentage": 12.5}]),
        ),
        (json!({"mirror": {"host": "b"}, "mirrorPercent": 3}), json!([{"cluster": "b", "percentage": 3.0}])),
        (
            json!({"mirrors": [
                {"destination": {"host": "b", "port": {"number": 80}}},
                {"destination": {"host": "never"}, "percentage": {"value": 0}},
                {"destination": {"host": "c"}, "percentage": {"value": 0.0001}},
            ]}),
            json!([{"cluster": "b"}, {"cluster": "c", "percentage": 0.0001}]),
        ),
    ] {
        assert_eq!(mirrors(route.clone()), Some(wanted), "{route}");
    }
}

#[test]
fn no_share_is_no_mirror() {
    assert_eq!(mirrors(json!({})), None);
    assert_eq!(mirrors(json!({"mirror": {"host": "b"}, "mirrorPercentage": {"value": 0}})), None);
    assert_eq!(mirrors(json!({"mirror": {"host": "b"}, "mirrorPercentage": {}})), None);
}
