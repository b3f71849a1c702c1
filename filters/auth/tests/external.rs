//! Asking a service outside.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may fail it")]

use std::time::Duration;

use auth::Auth;
use serde_json::{Value, json};
use sidegate_sdk::testing::{Answer, Filter, Host, Outcome, Sent};

fn filter(more: Value, policies: Value) -> Filter<Auth> {
    let mut http = json!({"service": "authz.example.com", "port": 9000});
    for (name, value) in more.as_object().unwrap() {
        http.as_object_mut().unwrap().insert(name.clone(), value.clone());
    }
    let config = json!({"extAuthz": {"name": "ext", "envoyExtAuthzHttp": http}, "authorizationPolicies": policies});
    let clusters = r#"[{"name": "authz", "hosts": ["authz.example.com:9000"]}]"#;
    let filter: Filter<Auth> =
        Host::new().property("sidegate.clusters", clusters).configure(&config.to_string()).unwrap();
    assert!(filter.warnings().is_empty(), "{:?}", filter.warnings());
    filter
}

fn plain(more: Value) -> Filter<Auth> {
    filter(more, json!([]))
}

fn run(filter: &Filter<Auth>) -> Outcome {
    let exchange = filter.post("/shop?q=1").header("authorization", "Bearer x").header("x-a-1", "1").header("x-b", "2");
    exchange.header("x-user", "root").header("content-length", "5").header("cookie", "c=1").body("hello").run()
}

#[test]
fn the_service_sees_what_it_needs_and_no_more() {
    let filter = plain(json!({
        "pathPrefix": "/check/", "timeout": "1.5s", "includeRequestHeadersInCheck": ["X-A-*", "*-len"],
        "includeAdditionalHeadersInCheck": {"x-from": "sidegate", "x-a-1": "9"},
    }));
    filter.answer("authz", |_| Answer::new(200));
    let outcome = run(&filter);
    assert_eq!(outcome.status(), 200);
    let [sent] = outcome.callouts() else { panic!("one callout") };
    assert_eq!(sent.timeout, Duration::from_millis(1500));
    let mut headers = sent.message.headers.clone();
    headers.sort();
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(
        headers,
        [
            (":authority", "example.com"),
            (":method", "POST"),
            (":path", "/check/shop?q=1"),
            (":scheme", "http"),
            ("authorization", "Bearer x"),
            ("x-a-1", "9"),
            ("x-from", "sidegate"),
        ]
    );
    assert!(sent.message.body.is_empty());
}

#[test]
fn a_yes_changes_only_the_headers_that_are_listed() {
    let filter = plain(
        json!({"headersToUpstreamOnAllow": ["x-user", "content-*"], "headersToDownstreamOnAllow": ["set-cookie"]}),
    );
    filter.answer("authz", |_| {
        Answer::new(200)
            .header("x-user", "ann")
            .header("x-user", "anna")
            .header("x-other", "1")
            .header("content-length", "0")
            .header("set-cookie", "s=1")
    });
    let outcome = run(&filter);
    let request = outcome.request().unwrap();
    assert_eq!(request.all("x-user"), ["ann", "anna"]);
    assert_eq!(request.header("x-other"), None);
    assert_eq!(request.header("content-length"), Some("5"), "framing is not the service's");
    assert_eq!(outcome.header("set-cookie"), Some("s=1"));
    assert_eq!(outcome.header("x-user"), None);
}

#[test]
fn a_no_is_the_client_s_answer() {
    fn answer(_: &Sent) -> Answer {
        Answer::new(302).header("location", "/login").header("x-why", "no").header("transfer-encoding", "x").body("go")
    }
    let all = plain(json!({}));
    all.answer("authz", answer);
    let outcome = run(&all);
    assert!(outcome.request().is_none());
    assert_eq!((outcome.status(), outcome.response().text().as_str()), (302, "go"));
    assert_eq!((outcome.header("location"), outcome.header("x-why")), (Some("/login"), Some("no")));
    assert_eq!(outcome.header("transfer-encoding"), None);
    assert_eq!(outcome.property("sidegate.response_flag").as_deref(), Some("UAEX"));
    let some = plain(json!({"headersToDownstreamOnDeny": ["x-none"]}));
    some.answer("authz", answer);
    let outcome = run(&some);
    assert_eq!((outcome.header("location"), outcome.header("x-why")), (Some("/login"), None));
    some.answer("authz", |_| Answer::new(204));
    assert_eq!(run(&some).status(), 403, "only 200 is a yes");
}

#[test]
fn without_an_answer_the_door_is_closed_unless_it_is_said() {
    let answers: [fn(&Sent) -> Answer; 3] = [|_| Answer::new(500), |_| Answer::new(504), |_| Answer::reset()];
    for answer in answers {
        for (more, status) in [
            (json!({}), 403),
            (json!({"statusOnError": "503"}), 503),
            (json!({"statusOnError": 500}), 500),
            (json!({"failOpen": true}), 200),
        ] {
            let filter = plain(more.clone());
            filter.answer("authz", answer);
            assert_eq!(run(&filter).status(), status, "{more}");
        }
    }
    assert_eq!(run(&plain(json!({}))).status(), 403, "no such cluster");
}

#[test]
fn custom_policies_say_when_and_come_first() {
    let custom = json!({"action": "CUSTOM", "provider": {"name": "ext"}, "rules": [{"to": [{"operation": {"paths": ["/shop*"]}}]}]});
    let filter = filter(
        json!({}),
        json!([{"action": "DENY", "rules": [{"to": [{"operation": {"paths": ["/shop/x"]}}]}]}, custom]),
    );
    filter.answer("authz", |_| Answer::new(401).header("www-authenticate", "Basic"));
    assert_eq!(filter.get("/free").run().status(), 200);
    assert_eq!(filter.get("/shop").run().status(), 401);
    assert_eq!(filter.get("/shop/x").run().status(), 401, "CUSTOM comes before DENY");
    assert_eq!(filter.get("//%73hop").run().status(), 401, "in doubt it is asked");
    filter.answer("authz", |_| Answer::new(200));
    assert_eq!(filter.get("/shop/x").run().status(), 403, "a yes does not overrule DENY");
}
