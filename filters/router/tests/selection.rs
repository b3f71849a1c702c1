//! Which virtual services and matches are for this proxy, and what their routes count.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may fail it")]

#[allow(dead_code, reason = "shared by several tests")]
#[path = "support/services.rs"]
mod services;

use router::Router;
use serde_json::{Value, json};
use services::{cluster, to};
use sidegate_sdk::testing::{Filter, Host};

fn on(gateways: Option<&str>, services: Value) -> Filter<Router> {
    let host = match gateways {
        Some(names) => Host::new().property(["xds", "node", "metadata", "GATEWAYS"], names),
        None => Host::new(),
    };
    host.configure(&json!({"virtualServices": services}).to_string()).unwrap()
}

#[test]
fn a_virtual_service_is_for_the_gateways_it_names_and_for_sidecars_if_it_names_none() {
    let services = json!([
        {"hosts": ["a.test"], "http": [{"route": to("mesh")}]},
        {"hosts": ["b.test"], "gateways": ["infra/public"], "http": [{"route": to("gateway")}]},
        {"hosts": ["c.test"], "gateways": ["infra/public", "mesh"], "http": [{"route": to("both")}]},
    ]);
    for (own, wanted) in [
        (None, ["mesh", "", "both"]),
        (Some("infra/public"), ["", "gateway", "both"]),
        (Some("infra/other"), ["", "", ""]),
        (Some("infra/public, mesh"), ["mesh", "gateway", "both"]),
    ] {
        let filter = on(own, services.clone());
        let found =
            ["a.test", "b.test", "c.test"].map(|host| cluster(&filter.get("/").header(":authority", host).run()));
        assert_eq!(found, wanted, "{own:?}");
    }
}

#[test]
fn a_match_may_name_gateways_of_its_own() {
    let services = json!([{"hosts": ["*"], "gateways": ["mesh", "g"], "http": [
        {"match": [{"gateways": ["g"]}], "route": to("gateway")},
        {"match": [{"gateways": ["mesh"], "sourceNamespace": "x"}], "route": to("mesh")},
    ]}]);
    assert_eq!(cluster(&on(None, services.clone()).get("/").run()), "mesh");
    assert_eq!(cluster(&on(Some("g"), services).get("/").run()), "gateway");
}

#[test]
fn conditions_on_the_sender_without_mesh_are_warned_of() {
    let filter = on(
        Some("g"),
        json!([{"hosts": ["*"], "gateways": ["g"], "http": [
            {"match": [{"sourceLabels": {"a": "b"}}], "route": to("x")},
            {"match": [{"sourceNamespace": "n", "gateways": ["mesh"]}], "route": to("x")},
        ]}]),
    );
    let warnings = filter.warnings();
    let places: Vec<&str> = warnings.iter().map(|warning| warning.pointer.as_str()).collect();
    assert_eq!(places, ["/virtualServices/0/http/0/match/0/sourceLabels"]);
}

#[test]
fn a_stat_prefix_counts_what_the_route_sends_and_gets() {
    let filter = on(
        None,
        json!([{"hosts": ["shop.test", "*"], "http": [
            {"match": [{"uri": {"prefix": "/direct"}, "statPrefix": "d"}], "directResponse": {"status": 200}},
            {"match": [{"statPrefix": "all"}], "route": to("x")},
        ]}]),
    );
    for status in [200, 200, 503] {
        filter.get("/").respond(status, &[], "").run();
    }
    filter.get("/direct").run();
    let of = r#"envoy_virtual_host="shop.test",envoy_route="all""#;
    for (series, count) in [
        (format!("envoy_vhost_route_upstream_rq_total{{{of}}}"), 3),
        (format!("envoy_vhost_route_upstream_rq_completed{{{of}}}"), 3),
        (format!("envoy_vhost_route_upstream_rq{{{of},envoy_response_code=\"200\"}}"), 2),
        (format!("envoy_vhost_route_upstream_rq_xx{{{of},envoy_response_code_class=\"5\"}}"), 1),
        (r#"envoy_vhost_route_upstream_rq_total{envoy_virtual_host="shop.test",envoy_route="d"}"#.to_owned(), 0),
    ] {
        assert_eq!(filter.metric(&series).unwrap_or_default(), count, "{series} of {:?}", filter.metrics());
    }
}

#[test]
fn claims_choose_a_route_once_somebody_has_verified_them() {
    let filter = on(
        None,
        json!([{"hosts": ["*"], "http": [
            {"match": [{"headers": {"@request.auth.claims.group": {"exact": "beta"}}}], "route": to("beta")},
            {"match": [{"headers": {"@request.auth.claims[a][b]": {"exact": "c"}}}], "route": to("nested")},
            {"route": to("rest")},
        ]}]),
    );
    let with = |claims: &str| cluster(&filter.get("/").property("sidegate.auth.claims", claims).run());
    assert_eq!(with(r#"{"group": ["x", "beta"]}"#), "beta");
    assert_eq!(with(r#"{"a": {"b": "c"}}"#), "nested");
    assert_eq!(with(r#"{"group": "alpha"}"#), "rest");
    let forged = filter.get("/").header("@request.auth.claims.group", "beta").run();
    assert_eq!(cluster(&forged), "rest");
}
