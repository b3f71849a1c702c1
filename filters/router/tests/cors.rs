//! Cross-origin requests.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of a test may fail it")]

use router::Router;
use serde_json::{Value, json};
use sidegate_sdk::testing::{Exchange, Filter, Outcome};

fn with(policy: Value) -> Filter<Router> {
    let http = json!([{"corsPolicy": policy, "route": [{"destination": {"host": "app"}}]}]);
    Filter::configure(&json!({"virtualServices": [{"hosts": ["*"], "http": http}]}).to_string()).unwrap()
}

fn full() -> Filter<Router> {
    with(json!({
        "allowOrigins": [{"exact": "https://shop.test"}, {"prefix": "https://dev."}, {"regex": "https://[a-z]+\\.eu"}],
        "allowMethods": ["GET", "PUT"], "allowHeaders": ["x-one", "x-two"], "exposeHeaders": ["x-id"],
        "maxAge": "24h", "allowCredentials": true,
    }))
}

fn preflight<'f>(filter: &'f Filter<Router>, origin: &str) -> Exchange<'f, Router> {
    filter.request("OPTIONS", "/").header("origin", origin).header("access-control-request-method", "PUT")
}

fn allowed(outcome: &Outcome) -> Option<&str> {
    outcome.header("access-control-allow-origin")
}

#[test]
fn a_preflight_is_answered_here_with_all_that_is_allowed() {
    let filter = full();
    let outcome = preflight(&filter, "https://shop.test").run();
    assert!(outcome.request().is_none());
    assert_eq!(outcome.status(), 200);
    for (name, value) in [
        ("access-control-allow-origin", "https://shop.test"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "GET,PUT"),
        ("access-control-allow-headers", "x-one,x-two"),
        ("access-control-max-age", "86400"),
    ] {
        assert_eq!(outcome.header(name), Some(value), "{name}");
    }
    assert_eq!(outcome.header("access-control-expose-headers"), None);
}

#[test]
fn a_request_from_an_allowed_origin_goes_on_and_its_response_says_so() {
    let filter = full();
    for origin in ["https://shop.test", "https://dev.shop.test", "https://shop.eu"] {
        let outcome =
            filter.get("/").header("origin", origin).respond(200, &[("access-control-allow-origin", "*")], "").run();
        assert!(outcome.request().is_some());
        assert_eq!(outcome.response().all("access-control-allow-origin"), [origin]);
        assert_eq!(outcome.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(outcome.header("access-control-expose-headers"), Some("x-id"));
        assert_eq!(outcome.header("access-control-allow-methods"), None);
    }
}

#[test]
fn other_origins_and_no_origin_pass_without_a_word() {
    let filter = full();
    for origin in ["https://evil.test", "https://shop.test.evil", "https://shop.eu.evil", "null"] {
        let outcome = filter.get("/").header("origin", origin).run();
        assert!(outcome.request().is_some() && allowed(&outcome).is_none(), "{origin}");
    }
    assert!(allowed(&filter.get("/").run()).is_none());
    // OPTIONS without the question is an ordinary request.
    let plain = filter.request("OPTIONS", "/").header("origin", "https://shop.test").run();
    assert!(plain.request().is_some());
}

#[test]
fn an_unmatched_preflight_goes_on_unless_it_is_to_be_ignored() {
    for (word, is_sent) in [(None, true), (Some("FORWARD"), true), (Some("UNSPECIFIED"), true), (Some("IGNORE"), false)]
    {
        let filter = with(json!({"allowOrigins": [{"exact": "https://shop.test"}], "unmatchedPreflights": word}));
        let outcome = preflight(&filter, "https://evil.test").run();
        assert_eq!(outcome.request().is_some(), is_sent, "{word:?}");
        assert_eq!((outcome.status(), allowed(&outcome)), (200, None));
    }
}

#[test]
fn a_star_is_every_origin_in_both_spellings() {
    for policy in [json!({"allowOrigins": [{"exact": "*"}]}), json!({"allowOrigin": ["*"]})] {
        let outcome = with(policy).get("/").header("origin", "https://any.test").run();
        assert_eq!(allowed(&outcome), Some("https://any.test"));
        assert_eq!(outcome.header("access-control-allow-credentials"), None);
    }
}

#[test]
fn preflights_are_answered_for_redirects_and_direct_responses_too() {
    for action in [json!({"redirect": {"uri": "/x"}}), json!({"directResponse": {"status": 404}})] {
        let mut route = action;
        route["corsPolicy"] = json!({"allowOrigins": [{"exact": "*"}]});
        let config = json!({"virtualServices": [{"hosts": ["*"], "http": [route]}]}).to_string();
        let filter = Filter::<Router>::configure(&config).unwrap();
        assert_eq!(preflight(&filter, "https://a.test").run().status(), 200);
        let outcome = filter.get("/").header("origin", "https://a.test").run();
        assert_eq!(allowed(&outcome), Some("https://a.test"));
    }
}
