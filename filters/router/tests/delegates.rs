//! Virtual services that leave routes to others.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may fail it")]

#[path = "support/services.rs"]
mod services;

use router::Router;
use serde_json::json;
use services::{cluster, table, to};
use sidegate_sdk::testing::{Filter, Host};

#[test]
fn matches_of_both_have_to_hold_and_the_delegate_s_words_win() {
    let filter = table(json!([
        {"hosts": ["*"], "http": [
            {"name": "shop", "match": [{"uri": {"prefix": "/shop"}, "headers": {"x-a": {"exact": "1"}}, "name": "m"}],
             "delegate": {"name": "inner", "namespace": "team"}, "timeout": "1s",
             "headers": {"request": {"set": {"x-root": "1"}}}},
            {"route": to("rest")},
        ]},
        {"name": "inner", "namespace": "team", "http": [
            {"name": "v2", "match": [{"uri": {"prefix": "/shop/v2"}, "name": "n"}], "timeout": "2s", "route": to("two")},
            {"match": [{"uri": {"exact": "/shop/one"}, "method": {"exact": "GET"}}], "route": to("one")},
            {"rewrite": {"uri": "/"}, "route": to("any")},
        ]},
        {"name": "inner", "namespace": "other", "http": [{"route": to("wrong")}]},
    ]));
    let ask = |path: &str| filter.get(path).header("x-a", "1").run();
    let outcome = ask("/shop/v2/x");
    assert_eq!(cluster(&outcome), "two");
    assert_eq!(outcome.property("sidegate.route.name").as_deref(), Some("shop-v2.m-n"));
    assert_eq!(outcome.property("sidegate.upstream.timeout").as_deref(), Some("2s"));
    assert_eq!(outcome.request().unwrap().header("x-root"), Some("1"));
    let outcome = ask("/shop/one");
    assert_eq!(
        (cluster(&outcome), outcome.property("sidegate.upstream.timeout").as_deref()),
        ("one".into(), Some("1s"))
    );
    let outcome = ask("/shop/else");
    assert_eq!((cluster(&outcome), outcome.request().unwrap().header(":path")), ("any".into(), Some("//else")));
    assert_eq!(cluster(&filter.get("/shop/v2").run()), "rest", "the root's header is missing");
    assert_eq!(cluster(&ask("/else")), "rest");
}

#[test]
fn what_cannot_be_within_the_root_s_match_is_left_out_with_a_warning() {
    for (root, delegate) in [
        (json!({"uri": {"prefix": "/a"}}), json!({"uri": {"prefix": "/b"}})),
        (json!({"uri": {"prefix": "/a/b"}}), json!({"uri": {"prefix": "/a"}})),
        (json!({"uri": {"exact": "/a"}}), json!({"uri": {"prefix": "/a"}})),
        (json!({"uri": {"regex": "/a"}}), json!({"uri": {"exact": "/a"}})),
        (json!({"uri": {"prefix": "/a"}}), json!({"uri": {"regex": "/a/.*"}})),
        (json!({"uri": {"prefix": "/a"}, "ignoreUriCase": true}), json!({"uri": {"prefix": "/a"}})),
        (json!({"port": 80}), json!({"port": 81})),
        (json!({"headers": {"x": {"exact": "1"}}}), json!({"headers": {"x": {}}})),
        (json!({"queryParams": {"q": {"exact": "1"}}}), json!({"queryParams": {"q": {"exact": "2"}}})),
    ] {
        let filter = table(json!([
            {"hosts": ["*"], "http": [{"match": [root], "delegate": {"name": "d"}}, {"route": to("rest")}]},
            {"name": "d", "http": [{"match": [delegate], "route": to("d")}]},
        ]));
        let warnings = filter.warnings();
        let found =
            warnings.iter().find(|warning| warning.text.contains("left out")).map(|found| found.pointer.as_str());
        assert_eq!(found, Some("/virtualServices/1/http/0"), "{root} {delegate}: {warnings:?}");
        assert_eq!(cluster(&filter.get("/a/b").run()), "rest");
    }
}

#[test]
fn a_delegate_that_does_not_exist_is_warned_of_and_skipped() {
    let filter = table(json!([{"hosts": ["*"], "http": [{"delegate": {"name": "d"}}, {"route": to("rest")}]}]));
    assert!(filter.warnings().iter().any(|warning| warning.pointer == "/virtualServices/0/http/0/delegate/name"));
    assert_eq!(cluster(&filter.get("/").run()), "rest");
}

#[test]
fn only_the_root_s_entries_for_this_workload_take_part() {
    let config = json!({"virtualServices": [
        {"hosts": ["*"], "http": [
            {"match": [{"uri": {"prefix": "/a"}, "sourceLabels": {"app": "web"}}, {"uri": {"prefix": "/b"}}],
             "delegate": {"name": "d"}},
        ]},
        {"name": "d", "http": [{"route": to("d")}]},
    ]});
    let host = Host::new().property(["xds", "node", "metadata", "LABELS", "app"], "shop");
    let filter: Filter<Router> = host.configure(&config.to_string()).unwrap();
    assert_eq!(filter.get("/a").run().status(), 404);
    assert_eq!(cluster(&filter.get("/b").run()), "d");
}

#[test]
fn what_is_wrong_is_told_once_where_it_stands() {
    let config = json!({"virtualServices": [
        {"hosts": ["*"], "http": [
            {"delegate": {"name": "d"}, "route": to("x")},
            {"match": [{"uri": {"regex": "("}}], "delegate": {"name": "d"}, "timeout": "never"},
            {"delegate": {"name": "d"}, "headers": {"request": {"set": {"host": "a"}}}},
        ]},
        {"name": "d", "http": [
            {"match": [{"uri": {"regex": "["}}], "route": to("y")},
            {"delegate": {"name": "d"}},
            {"rewrite": {"authority": "b"}, "route": to("y")},
        ]},
        {"name": "empty"},
    ]});
    let problems = Filter::<Router>::configure(&config.to_string()).unwrap_err();
    for (place, word) in [
        ("/virtualServices/0/http/0/route", "exclude"),
        ("/virtualServices/0/http/1/match/0/uri/regex", "unclosed"),
        ("/virtualServices/0/http/1/timeout", "no duration"),
        ("/virtualServices/0/http/2/delegate", "once"),
        ("/virtualServices/1/http/0/match/0/uri/regex", "unclosed"),
        ("/virtualServices/1/http/1/delegate", "further"),
        ("/virtualServices/2/http", "needs a route"),
    ] {
        let found = problems.iter().filter(|problem| problem.pointer == place && problem.text.contains(word));
        assert_eq!(found.count(), 1, "{place} with {word} in {problems:?}");
    }
}
