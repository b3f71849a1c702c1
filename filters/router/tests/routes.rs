//! Routes as a user writes them and what becomes of requests.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of a test may fail it")]

#[path = "support/services.rs"]
mod services;

use router::Router;
use serde_json::{Value, json};
use services::{cluster, table, to};
use sidegate_sdk::testing::{Filter, Host};

fn routes(http: Value) -> Filter<Router> {
    table(json!([{"hosts": ["*"], "http": http}]))
}

#[test]
fn one_catch_all_route_costs_one_property() {
    let outcome = routes(json!([{"route": to("app")}])).get("/x").run();
    assert_eq!(cluster(&outcome), "app");
    assert_eq!(outcome.properties(), 1);
    assert_eq!(outcome.request().unwrap().header(":path"), Some("/x"));
}

#[test]
fn the_first_match_wins_and_names_are_joined() {
    let filter = routes(json!([
        {"name": "r", "match": [{"uri": {"prefix": "/a"}, "name": "m"}, {"method": {"exact": "POST"}}], "route": to("one")},
        {"match": [{"uri": {"prefix": "/"}, "headers": {"x-beta": {}}}], "route": [{"destination": {"host": "two", "subset": "v2"}}]},
        {"route": to("three")},
    ]));
    let outcome = filter.get("/ab").run();
    assert_eq!((cluster(&outcome), outcome.property("sidegate.route.name").as_deref()), ("one".into(), Some("r.m")));
    let outcome = filter.post("/b").run();
    assert_eq!((cluster(&outcome), outcome.property("sidegate.route.name").as_deref()), ("one".into(), Some("r")));
    let outcome = filter.get("/b").header("x-beta", "").run();
    assert_eq!(
        (cluster(&outcome), outcome.property("sidegate.upstream.subset").as_deref()),
        ("two".into(), Some("v2"))
    );
    assert_eq!(cluster(&filter.get("/b").run()), "three");
}

#[test]
fn no_route_is_404_with_its_flag() {
    for filter in [
        Filter::<Router>::configure("").unwrap(),
        table(json!([{"hosts": ["shop.example.com"], "http": [{"route": to("app")}]}])),
        routes(json!([{"match": [{"uri": {"exact": "/a"}}], "route": to("app")}])),
    ] {
        let outcome = filter.get("/").header(":authority", "other.example.com").run();
        let reply = outcome.local_reply().unwrap();
        assert_eq!((reply.status, reply.details.as_str(), reply.message.body.len()), (404, "route_not_found", 0));
        assert_eq!(outcome.property("sidegate.response_flag").as_deref(), Some("NR"));
        assert!(outcome.request().is_none());
    }
}

#[test]
fn hosts_choose_the_virtual_service() {
    let filter = table(json!([
        {"hosts": ["*.example.com"], "http": [{"match": [{"uri": {"prefix": "/only"}}], "route": to("wild")}]},
        {"hosts": ["shop.example.com", "10.0.0.1"], "http": [{"route": to("shop")}]},
        {"hosts": ["*"], "http": [{"route": to("rest")}]},
    ]));
    for (authority, path, wanted) in [
        ("shop.example.com:8443", "/", "shop"),
        ("SHOP.example.com", "/", "shop"),
        ("10.0.0.1", "/", "shop"),
        ("a.b.example.com", "/only", "wild"),
        ("example.com", "/", "rest"),
    ] {
        assert_eq!(cluster(&filter.get(path).header(":authority", authority).run()), wanted, "{authority}");
    }
    // The longest host decides alone; a shorter one is no second try.
    assert_eq!(filter.get("/").header(":authority", "a.example.com").run().status(), 404);
}

#[test]
fn weights_share_and_zero_gets_nothing() {
    let filter = routes(json!([{"route": [
        {"destination": {"host": "a", "subset": "v1"}, "weight": 3},
        {"destination": {"host": "a", "subset": "v2"}, "weight": 1},
        {"destination": {"host": "never"}, "weight": 0},
    ]}]));
    let mut counts = std::collections::BTreeMap::<_, u32>::new();
    for _ in 0..4000 {
        let outcome = filter.get("/").run();
        *counts.entry((cluster(&outcome), outcome.property("sidegate.upstream.subset"))).or_default() += 1;
    }
    assert_eq!(counts.len(), 2);
    let first = counts[&("a".to_owned(), Some("v1".to_owned()))];
    assert!((2850..3150).contains(&first), "{first} of 4000 with weight 3 of 4");
    // Alone, the weight does not count.
    let alone = routes(json!([{"route": [{"destination": {"host": "a"}, "weight": 0}]}]));
    assert_eq!(cluster(&alone.get("/").run()), "a");
}

#[test]
fn a_cookie_keeps_a_user_on_one_side_of_a_split() {
    let filter = routes(json!([
        {"match": [{"headers": {"cookie": {"regex": "(.*; ?)?side=b(;.*)?"}}}], "route": to("b")},
        {"route": to("a"), "headers": {"response": {"add": {"set-cookie": "side=a"}}}},
    ]));
    for (cookie, wanted) in [("side=b", "b"), ("x=1; side=b; y=2", "b"), ("side=bb", "a"), ("inside=b", "a")] {
        assert_eq!(cluster(&filter.get("/").header("cookie", cookie).run()), wanted, "{cookie}");
    }
    assert_eq!(filter.get("/").run().header("set-cookie"), Some("side=a"));
}

#[test]
fn rewrites_replace_what_matched_and_keep_the_query() {
    for (matched, rewrite, path, wanted) in [
        (json!({"uri": {"prefix": "/old/"}}), "/new/", "/old/x?y=1", "/new/x?y=1"),
        (json!({"uri": {"prefix": "/a"}}), "/", "/a/x", "//x"),
        (json!({"uri": {"prefix": "/A"}, "ignoreUriCase": true}), "/b", "/a/x", "/b/x"),
        (json!({"uri": {"exact": "/a"}}), "/b", "/a?q", "/b?q"),
        (json!({"uri": {"regex": "/v[0-9]/.*"}}), "/b", "/v1/x?q", "/b?q"),
        (json!({}), "/x", "/abc", "/xabc"),
    ] {
        let filter = routes(json!([{"match": [matched], "rewrite": {"uri": rewrite}, "route": to("app")}]));
        let outcome = filter.get(path).run();
        let request = outcome.request().unwrap();
        assert_eq!(request.header(":path"), Some(wanted));
        assert_eq!(request.header("x-envoy-original-path"), Some(path));
    }
}

#[test]
fn regex_rewrites_and_hosts_work_on_the_path_alone() {
    let filter = routes(json!([{
        "rewrite": {"authority": "inner", "uriRegexRewrite": {"match": "^/service/([^/]+)(/.*)$", "rewrite": "\\2/of/\\1"}},
        "route": to("app"),
    }]));
    let outcome = filter.get("/service/foo/v1?a=/service/x/y").run();
    let request = outcome.request().unwrap();
    assert_eq!(request.header(":path"), Some("/v1/of/foo?a=/service/x/y"));
    assert_eq!(request.header(":authority"), Some("inner"));
    let untouched = filter.get("/other").run();
    assert_eq!(untouched.request().unwrap().header("x-envoy-original-path"), None);
}

#[test]
fn header_operations_run_remove_set_add_and_the_level_order_depends_on_the_split() {
    let level = |who: &str| {
        json!({"request": {
            "remove": ["x-gone", "x-kept"], "set": {"x-who": who, "X-Kept": "set"}, "add": {"x-list": who},
        }})
    };
    let one = routes(json!([{"headers": level("route"),
        "route": [{"destination": {"host": "a"}, "headers": level("destination")}]}]));
    let several = routes(json!([{"headers": level("route"), "route": [
        {"destination": {"host": "a"}, "weight": 1, "headers": level("destination")},
        {"destination": {"host": "b"}, "weight": 0},
    ]}]));
    for (filter, winner, list) in
        [(one, "destination", ["route", "destination"]), (several, "route", ["destination", "route"])]
    {
        let outcome = filter.get("/").header("x-gone", "1").header("x-kept", "1").run();
        let request = outcome.request().unwrap();
        assert_eq!(request.header("x-gone"), None);
        assert_eq!(request.all("x-kept"), ["set"]);
        assert_eq!(request.all("x-who"), [winner]);
        assert_eq!(request.all("x-list"), list);
    }
}

#[test]
fn values_may_quote_the_request_even_in_the_response() {
    let filter = routes(json!([{"route": to("app"), "rewrite": {"uri": "/b"}, "headers": {
        "request": {"set": {"x-was": "%REQ(:path)%", "x-cut": "%REQ(x-long?x-short):3%!", "x-empty": "%REQ(x-none)%", "x-percent": "100%%"}},
        "response": {"add": {"x-for": "%REQ(x-id)%"}, "remove": ["server"]},
    }}]));
    let outcome =
        filter.get("/a").header("x-id", "7").header("x-short", "abcdef").respond(200, &[("server", "s")], "").run();
    let request = outcome.request().unwrap();
    assert_eq!(request.header("x-was"), Some("/a"));
    assert_eq!(request.header("x-cut"), Some("abc!"));
    assert_eq!(request.header("x-empty"), None);
    assert_eq!(request.header("x-percent"), Some("100%"));
    assert_eq!(outcome.response().all("x-for"), ["7"]);
    assert_eq!(outcome.header("server"), None);
}

#[test]
fn the_host_is_set_through_headers_too() {
    for name in ["host", ":authority"] {
        let filter =
            routes(json!([{"route": to("app"), "headers": {"request": {"set": {name: "a"}, "add": {name: "b"}}}}]));
        assert_eq!(filter.get("/").run().request().unwrap().all(":authority"), ["a"], "{name}");
    }
}

#[test]
fn of_two_levels_that_rewrite_the_host_the_split_decides_which_wins() {
    let set = |host: &str| json!({"request": {"set": {"host": host}}});
    let destination =
        |cluster: &str, host: &str| json!({"destination": {"host": cluster}, "weight": 1, "headers": set(host)});
    let never = json!({"destination": {"host": "never"}});
    for (route, destinations, wanted) in [
        (json!({"headers": set("route")}), json!([destination("a", "target")]), "route"),
        (json!({"rewrite": {"authority": "rewrite"}}), json!([destination("a", "target")]), "rewrite"),
        (json!({}), json!([destination("a", "target")]), "target"),
        (json!({"headers": set("route")}), json!([destination("a", "target"), never]), "target"),
        (json!({"rewrite": {"authority": "rewrite"}}), json!([destination("a", "target"), never]), "target"),
        (json!({"headers": set("route")}), json!([{"destination": {"host": "a"}, "weight": 1}, never]), "route"),
    ] {
        let mut route = route;
        route["route"] = destinations;
        let outcome = routes(json!([route.clone()])).get("/").run();
        assert_eq!(outcome.request().unwrap().all(":authority"), [wanted], "{route}");
    }
}

#[test]
fn redirects_keep_what_is_not_given() {
    for (redirect, matched, wanted, code) in [
        (json!({"uri": "/there", "redirectCode": 302}), json!({}), "http://shop.example.com:8080/there?q=1", 302),
        (json!({"authority": "other"}), json!({}), "http://other/a/b?q=1", 301),
        (json!({"prefixRewrite": "/x"}), json!({"uri": {"prefix": "/a"}}), "http://shop.example.com:8080/x/b?q=1", 301),
        (
            json!({"scheme": "https", "derivePort": "FROM_PROTOCOL_DEFAULT"}),
            json!({}),
            "https://shop.example.com/a/b?q=1",
            301,
        ),
        (json!({"scheme": "https", "port": 443}), json!({}), "https://shop.example.com/a/b?q=1", 301),
        (json!({"port": 9000, "redirectCode": 308}), json!({}), "http://shop.example.com:9000/a/b?q=1", 308),
        (json!({"authority": "other", "derivePort": "FROM_REQUEST_PORT"}), json!({}), "http://other:8080/a/b?q=1", 301),
        (json!({"uri": "/there?z"}), json!({}), "http://shop.example.com:8080/there?z", 301),
    ] {
        let filter =
            routes(json!([{"match": [matched], "redirect": redirect, "headers": {"response": {"set": {"x-r": "1"}}}}]));
        let outcome = filter.get("/a/b?q=1").header(":authority", "shop.example.com:8080").run();
        let reply = outcome.local_reply().unwrap();
        assert_eq!((reply.message.header("location"), reply.status), (Some(wanted), code));
        assert_eq!(reply.details, "direct_response");
        assert_eq!(reply.message.header("x-r"), Some("1"));
    }
}

#[test]
fn direct_responses_answer_themselves() {
    let filter = routes(json!([
        {"match": [{"uri": {"prefix": "/t"}}], "directResponse": {"status": 418, "body": {"string": "teapot"}}},
        {"directResponse": {"status": 503, "body": {"bytes": "AAE="}}},
    ]));
    let outcome = filter.get("/t").run();
    assert_eq!((outcome.status(), outcome.response().text().as_str()), (418, "teapot"));
    assert_eq!(filter.get("/").run().response().body, [0, 1]);
}

#[test]
fn timeouts_and_retries_are_handed_on() {
    let filter = routes(json!([{"route": to("app"), "timeout": "1500ms",
        "retries": {"attempts": 3, "perTryTimeout": "2s", "retryOn": "5xx,503"}}]));
    let outcome = filter.get("/").run();
    assert_eq!(outcome.property("sidegate.upstream.timeout").as_deref(), Some("1.5s"));
    let retries: Value = serde_json::from_str(&outcome.property("sidegate.upstream.retries").unwrap()).unwrap();
    assert_eq!(retries, json!({"attempts": 3, "perTryTimeout": "2s", "retryOn": "5xx,503"}));
    let off = routes(json!([{"route": to("app"), "timeout": "0s"}])).get("/").run();
    assert_eq!(off.property("sidegate.upstream.timeout"), None);
}

#[test]
fn entries_for_other_workloads_are_left_out() {
    let config = json!({"virtualServices": [{"hosts": ["*"], "http": [
        {"match": [{"sourceLabels": {"app": "web"}}, {"sourceNamespace": "other"}], "route": to("web")},
        {"match": [{"sourceLabels": {"app": "shop"}, "sourceNamespace": "prod"}], "route": to("shop")},
    ]}]});
    let host = Host::new()
        .property(["xds", "node", "metadata", "LABELS", "app"], "shop")
        .property(["xds", "node", "metadata", "NAMESPACE"], "prod");
    let filter: Filter<Router> = host.configure(&config.to_string()).unwrap();
    assert_eq!(cluster(&filter.get("/").run()), "shop");
}
