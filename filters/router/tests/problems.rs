//! What is refused, with the place that is wrong.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "the helpers of a test may fail it"
)]

use router::Router;
use serde_json::{Value, json};
use sidegate_sdk::Severity;
use sidegate_sdk::testing::{Filter, Host};

fn route(mut fields: Value) -> Value {
    if fields.get("redirect").is_none() && fields.get("directResponse").is_none() && fields.get("route").is_none() {
        fields["route"] = json!([{"destination": {"host": "app"}}]);
    }
    fields
}

#[test]
fn every_rule_names_its_place() {
    for (fields, place, word) in [
        (json!({"timeot": "1s"}), "/timeot", "did you mean `timeout`"),
        (json!({"fault": {}}), "/fault", "needs a delay or an abort"),
        (json!({"fault": {"delay": {"percentage": {"value": 1}}}}), "/fault/delay", "fixedDelay"),
        (json!({"fault": {"delay": {"fixedDelay": "0s"}}}), "/fault/delay/fixedDelay", "1ms"),
        (json!({"fault": {"delay": {"fixedDelay": "soon"}}}), "/fault/delay/fixedDelay", "no duration"),
        (json!({"fault": {"delay": {"exponentialDelay": "1s"}}}), "/fault/delay/exponentialDelay", "not supported"),
        (
            json!({"fault": {"delay": {"fixedDelay": "1s", "percentage": {"value": 0.00001}}}}),
            "/fault/delay/percentage/value",
            "0.0001",
        ),
        (json!({"fault": {"delay": {"fixedDelay": "1s", "percent": 101}}}), "/fault/delay/percent", "100"),
        (json!({"fault": {"abort": {}}}), "/fault/abort", "either httpStatus or grpcStatus"),
        (json!({"fault": {"abort": {"httpStatus": 500, "grpcStatus": "OK"}}}), "/fault/abort", "either"),
        (json!({"fault": {"abort": {"httpStatus": 600}}}), "/fault/abort/httpStatus", "200 and 599"),
        (json!({"fault": {"abort": {"grpcStatus": "14"}}}), "/fault/abort/grpcStatus", "UNAVAILABLE"),
        (json!({"fault": {"abort": {"http2Error": "x"}}}), "/fault/abort/http2Error", "not supported"),
        (json!({"redirect": {"uri": "/"}, "fault": {"abort": {"httpStatus": 500}}}), "/fault", "exclude"),
        (json!({"directResponse": {"status": 200}, "fault": {"abort": {"httpStatus": 500}}}), "/fault", "exclude"),
        (json!({"mirror": {"host": ""}}), "/mirror/host", "needs a host"),
        (json!({"mirror": {"host": "x"}, "mirrors": [{"destination": {"host": "y"}}]}), "/mirrors", "exclude"),
        (json!({"mirror": {"host": "x"}, "mirrorPercentage": {"value": 101}}), "/mirrorPercentage/value", "100"),
        (json!({"mirror": {"host": "x"}, "mirrorPercentage": {"value": -1}}), "/mirrorPercentage/value", "100"),
        (json!({"mirror": {"host": "x"}, "mirrorPercent": 101}), "/mirrorPercent", "100"),
        (
            json!({"mirrors": [{"destination": {"host": "x"}, "percentage": {"value": 101}}]}),
            "/mirrors/0/percentage/value",
            "100",
        ),
        (json!({"mirrors": vec![json!({"destination": {"host": "x"}}); 5]}), "/mirrors", "at most 4"),
        (json!({"corsPolicy": {"maxAge": "1.5s"}}), "/corsPolicy/maxAge", "whole seconds"),
        (json!({"corsPolicy": {"allowOrigins": [{"regex": "("}]}}), "/corsPolicy/allowOrigins/0/regex", "unclosed"),
        (json!({"corsPolicy": {"allowOrigins": [{"prefix": ""}]}}), "/corsPolicy/allowOrigins/0/prefix", "empty"),
        (json!({"corsPolicy": {"allowMethods": ["GET", "a b"]}}), "/corsPolicy/allowMethods/1", "no name"),
        (json!({"corsPolicy": {"unmatchedPreflights": "MAYBE"}}), "/corsPolicy/unmatchedPreflights", "IGNORE"),
        (json!({"delegate": {"name": "x"}, "route": [{"destination": {"host": "a"}}]}), "/route", "exclude"),
        (
            json!({"headers": {"request": {"set": {"host": "a", ":authority": "b"}}}}),
            "/headers/request/set/host",
            "twice",
        ),
        (json!({"match": [{}, {"uri": {"regex": "("}}]}), "/match/1/uri/regex", "unclosed"),
        (json!({"match": [{"headers": {"x": {"prefix": ""}}}]}), "/match/0/headers/x/prefix", "empty prefix"),
        (json!({"route": []}), "", "one of route, redirect"),
        (json!({"route": [{"destination": {"host": "a"}}], "redirect": {"uri": "/"}}), "/redirect", "exclude"),
        (json!({"redirect": {"uri": "/"}, "rewrite": {"uri": "/"}}), "/rewrite", "exclude"),
        (json!({"directResponse": {"status": 200}, "rewrite": {"uri": "/"}}), "/rewrite", "exclude"),
        (json!({"directResponse": {"status": 99}}), "/directResponse/status", "between 200 and 599"),
        (json!({"directResponse": {"status": 200, "body": {"bytes": "!"}}}), "/directResponse/body/bytes", "base64"),
        (json!({"rewrite": {}}), "/rewrite", "one of uri"),
        (
            json!({"rewrite": {"uri": "/", "uriRegexRewrite": {"match": "a", "rewrite": "b"}}}),
            "/rewrite/uriRegexRewrite",
            "exclude",
        ),
        (
            json!({"rewrite": {"uriRegexRewrite": {"match": "a", "rewrite": "\\1"}}}),
            "/rewrite/uriRegexRewrite/rewrite",
            "no group 1",
        ),
        (
            json!({"rewrite": {"authority": "a"}, "headers": {"request": {"set": {"host": "b"}}}}),
            "/rewrite/authority",
            "once",
        ),
        (json!({"redirect": {}}), "/redirect", "needs"),
        (json!({"redirect": {"uri": "/", "prefixRewrite": "/"}}), "/redirect/prefixRewrite", "exclude"),
        (json!({"redirect": {"prefixRewrite": "/"}}), "/redirect/prefixRewrite", "prefix match"),
        (json!({"redirect": {"redirectCode": 200}}), "/redirect/redirectCode", "301"),
        (json!({"redirect": {"scheme": "ftp"}}), "/redirect/scheme", "http and https"),
        (json!({"headers": {"request": {"set": {":path": "/"}}}}), "/headers/request/set/:path", "rewrite"),
        (json!({"headers": {"response": {"add": {"a b": "x"}}}}), "/headers/response/add/a b", "no header name"),
        (json!({"headers": {"request": {"add": {"x": "50%"}}}}), "/headers/request/add/x", "%%"),
        (json!({"headers": {"request": {"add": {"x": "%NOPE%"}}}}), "/headers/request/add/x", "not supported yet"),
        (json!({"headers": {"request": {"add": {"x": "a\r\nb"}}}}), "/headers/request/add/x", "line break"),
        (json!({"timeout": "fast"}), "/timeout", "no duration"),
        (json!({"timeout": "10us"}), "/timeout", "1ms"),
        (json!({"retries": {"attempts": -1}}), "/retries/attempts", "invalid value"),
        (json!({"retries": {"attempts": 0, "retryOn": "5xx"}}), "/retries", "attempts"),
        (json!({"retries": {"attempts": 1, "retryOn": "5xx,often"}}), "/retries/retryOn", "`often`"),
        (json!({"route": [{"destination": {"host": ""}}]}), "/route/0/destination/host", "needs a host"),
        (json!({"route": [{"destination": {"host": "a"}, "weight": -1}]}), "/route/0/weight", "invalid value"),
        (json!({"route": [{"destination": {"host": "a"}}, {"destination": {"host": "b"}}]}), "/route", "weight"),
    ] {
        let config = json!({"virtualServices": [{"hosts": ["*"], "http": [route(fields.clone())]}]});
        let problems = Filter::<Router>::configure(&config.to_string()).expect_err(&fields.to_string());
        let wanted = format!("/virtualServices/0/http/0{place}");
        let found = problems.iter().find(|problem| problem.pointer == wanted && problem.text.contains(word));
        assert!(found.is_some(), "{fields}: wanted {wanted} with {word}, got {problems:?}");
    }
}

#[test]
fn services_are_checked_too_and_all_problems_are_told_at_once() {
    let config = json!({"virtualServices": [
        {"http": [{}]},
        {"hosts": ["a:80"], "http": []},
        {"hosts": ["x"], "tls": [], "tcp": []},
        {"hosts": ["y"], "exportTo": ["*", "."], "http": [{"directResponse": {"status": 200}}]},
    ]});
    let problems = Filter::<Router>::configure(&config.to_string()).unwrap_err();
    let places: Vec<&str> = problems.iter().map(|problem| problem.pointer.as_str()).collect();
    for place in [
        "/virtualServices/0/hosts",
        "/virtualServices/0/http/0",
        "/virtualServices/1/hosts/0",
        "/virtualServices/1/http",
        "/virtualServices/2/tls",
        "/virtualServices/2/tcp",
        "/virtualServices/3/exportTo",
    ] {
        assert!(places.contains(&place), "{place} in {places:?}");
    }
}

#[test]
fn routes_and_clusters_that_cannot_work_are_warned_of() {
    let to = |host: &str, subset: &str| json!([{"destination": {"host": host, "subset": subset}}]);
    let config = json!({"virtualServices": [{"hosts": ["*"], "http": [
        {"match": [{"uri": {"prefix": "/a"}}], "route": to("app", "v1")},
        {"match": [{"uri": {"exact": "/ab"}, "headers": {"x": {}}}, {"uri": {"prefix": "/a/"}}], "route": to("nope", "")},
        {"match": [{"uri": {"prefix": "/b"}}], "route": to("alias", "v9")},
        {"match": [{"uri": {"exact": "/c"}}], "mirror": {"host": "gone"}, "route": to("app", "")},
        {"match": [{"uri": {"exact": "/c"}}], "route": to("app", "")},
        {"route": to("app", "")},
        {"match": [{"uri": {"prefix": "/c"}}], "route": to("app", "")},
    ]}, {"hosts": ["*"], "http": [{"route": to("app", "")}]}]});
    let clusters = r#"[{"name": "app", "hosts": ["alias"], "subsets": ["v1"], "more": 1}]"#;
    let host = Host::new().property("sidegate.clusters", clusters);
    let filter: Filter<Router> = host.configure(&config.to_string()).unwrap();
    let warnings = filter.warnings();
    assert!(warnings.iter().all(|warning| warning.severity == Severity::Warning));
    for (place, word) in [
        ("/virtualServices/0/http/1", "http[0]"),
        ("/virtualServices/0/http/1/route/0/destination/host", "no cluster `nope`"),
        ("/virtualServices/0/http/2/route/0/destination/subset", "no subset `v9`"),
        ("/virtualServices/0/http/3/mirror/host", "no cluster `gone`"),
        ("/virtualServices/0/http/4", "http[3]"),
        ("/virtualServices/0/http/6", "http[5]"),
        ("/virtualServices/1/hosts/0", "already"),
    ] {
        let found = warnings.iter().find(|warning| warning.pointer == place && warning.text.contains(word));
        assert!(found.is_some(), "wanted {place} with {word}, got {warnings:?}");
    }
    assert_eq!(warnings.len(), 7, "{warnings:?}");
}
