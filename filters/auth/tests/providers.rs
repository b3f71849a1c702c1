//! Services that CUSTOM policies find among the proxy's extension providers, and bodies that services are told.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the helpers of a test may fail it")]

use auth::Auth;
use serde_json::{Value, json};
use sidegate_sdk::Problem;
use sidegate_sdk::protobuf::{Value as Field, fields};
use sidegate_sdk::testing::{Answer, Filter, Host};

const CLUSTERS: &str = r#"[{"name": "opa", "hosts": []}, {"name": "quota", "hosts": []}]"#;

fn host(providers: &Value) -> Host {
    Host::new().property("sidegate.clusters", CLUSTERS).property("sidegate.extensionProviders", &*providers.to_string())
}

fn custom(name: &str, path: &str) -> Value {
    json!({"action": "CUSTOM", "provider": {"name": name}, "rules": [{"to": [{"operation": {"paths": [path]}}]}]})
}

fn refused(providers: &Value, config: &Value) -> Vec<Problem> {
    host(providers).configure::<Auth>(&config.to_string()).err().unwrap()
}

#[test]
fn policies_ask_the_providers_that_they_name_and_each_may_refuse() {
    let providers = json!([
        {"name": "log", "envoyFileAccessLog": {}},
        {"name": "users", "envoyExtAuthzHttp": {"service": "opa", "headersToUpstreamOnAllow": ["x-user"]}},
        {"name": "limits", "envoyExtAuthzHttp": {"service": "quota", "includeHeadersInCheck": ["x-user"]}},
        {"name": "unused", "envoyExtAuthzHttp": {}},
    ]);
    let policies = [custom("users", "/shop*"), custom("limits", "*"), custom("users", "/cart")];
    let filter: Filter<Auth> =
        host(&providers).configure(&json!({"authorizationPolicies": policies}).to_string()).unwrap();
    filter.answer("opa", |_| Answer::new(200).header("x-user", "ann"));
    filter.answer("quota", |sent| Answer::new(if sent.message.header("x-user") == Some("ann") { 200 } else { 429 }));
    let outcome = filter.get("/shop").run();
    assert_eq!((outcome.status(), outcome.request().unwrap().header("x-user")), (200, Some("ann")));
    let asked: Vec<&str> = outcome.callouts().iter().map(|sent| &*sent.cluster).collect();
    assert_eq!(asked, ["opa", "quota"], "one after the other, the second about what the first made of it");
    let outcome = filter.get("/free").run();
    assert_eq!((outcome.status(), outcome.callouts().len()), (429, 1));
}

#[test]
fn an_own_service_that_no_policy_names_is_asked_about_everything() {
    let providers = json!([{"name": "users", "envoyExtAuthzHttp": {"service": "opa"}}]);
    let own = json!({"name": "own", "envoyExtAuthzHttp": {"service": "quota"}});
    let asked = |policies: Value| {
        let config = json!({"extAuthz": own, "authorizationPolicies": policies});
        let filter: Filter<Auth> = host(&providers).configure(&config.to_string()).unwrap();
        filter.answer("opa", |_| Answer::new(200));
        filter.answer("quota", |_| Answer::new(200));
        let outcome = filter.get("/").run();
        outcome.callouts().iter().map(|sent| sent.cluster.clone()).collect::<Vec<_>>()
    };
    assert_eq!(asked(json!([])), ["quota"]);
    assert_eq!(asked(json!([custom("users", "/")])), ["quota", "opa"]);
    assert_eq!(asked(json!([custom("own", "/x")])), Vec::<String>::new());
}

#[test]
fn a_policy_for_another_workload_does_not_decide_when_the_own_service_is_asked() {
    let asked = |app: &str| {
        let mut policy = custom("own", "/x");
        policy["selector"] = json!({"matchLabels": {"app": app}});
        let own = json!({"name": "own", "envoyExtAuthzHttp": {"service": "quota"}});
        let config = json!({"extAuthz": own, "authorizationPolicies": [policy]});
        let host = host(&json!([])).property(["xds", "node", "metadata", "LABELS"], "x");
        let host = host.property(["xds", "node", "metadata", "LABELS", "app"], "shop");
        let filter: Filter<Auth> = host.configure(&config.to_string()).unwrap();
        filter.answer("quota", |_| Answer::new(200));
        filter.get("/").run().callouts().len()
    };
    assert_eq!(asked("cart"), 1, "about every request, as if the policy were not there");
    assert_eq!(asked("shop"), 0, "only about /x");
}

#[test]
fn what_is_wrong_with_a_provider_is_told_where_it_is_named() {
    let place = "/authorizationPolicies/1/provider/name";
    let config = json!({"authorizationPolicies": [{}, custom("users", "*")]});
    for (provider, word) in [
        (json!({"name": "other"}), "no extension provider named `users`"),
        (json!({"name": "users", "opentelemetry": {}}), "no service that decides"),
        (json!({"name": "users", "envoyExtAuthzHttp": {"service": "x", "pathPrefix": "x"}}), "pathPrefix: a prefix"),
        (json!({"name": "users", "envoyExtAuthzGrpc": {"service": "x", "timeout": "0s"}}), "timeout: a timeout"),
        (json!({"name": "users", "envoyExtAuthzGrpc": {}}), "missing field `service`"),
    ] {
        let problems = refused(&json!([provider]), &config);
        let found = problems.iter().any(|problem| problem.pointer == place && problem.text.contains(word));
        assert!(found, "wanted {word}, got {problems:?}");
    }
    let config = json!({"extAuthz": {"envoyExtAuthzHttp": {
        "service": "opa", "includeRequestBodyInCheck": {"maxRequestBytes": 1025},
    }}});
    let problems = Host::new().property("sidegate.limits.body", 1024).configure::<Auth>(&config.to_string()).err();
    let problems = problems.unwrap();
    assert_eq!(problems[0].pointer, "/extAuthz/envoyExtAuthzHttp/includeRequestBodyInCheck/maxRequestBytes");
    assert!(problems[0].text.contains("1024"), "{problems:?}");
}

fn http(body: Value) -> Filter<Auth> {
    let http = json!({"service": "opa", "failOpen": true, "includeRequestBodyInCheck": body,
        "includeRequestHeadersInCheck": ["x-envoy-*"]});
    let config = json!({"extAuthz": {"envoyExtAuthzHttp": http}});
    let filter: Filter<Auth> = host(&json!([])).configure(&config.to_string()).unwrap();
    filter.answer("opa", |_| Answer::new(200));
    filter
}

#[test]
fn an_http_service_is_told_the_body_as_far_as_it_may() {
    let post = |filter: &Filter<Auth>, body: &str| {
        let outcome = filter.post("/").header("x-envoy-auth-partial-body", "forged").body(body).run();
        let sent = outcome.callouts().first().map(|sent| {
            let partial = sent.message.header("x-envoy-auth-partial-body").map(str::to_owned);
            (sent.message.text(), partial)
        });
        (outcome.status(), sent, outcome.request().map(|request| request.text()))
    };
    let told = |body: &str, partial: &str| Some((body.to_owned(), Some(partial.to_owned())));
    let whole = http(json!({"maxRequestBytes": 5}));
    assert_eq!(post(&whole, "hello"), (200, told("hello", "false"), Some("hello".to_owned())));
    assert_eq!(post(&whole, ""), (200, Some((String::new(), None)), Some(String::new())));
    assert_eq!(post(&whole, "hello!"), (413, None, None), "failOpen is about answers");
    let partial = http(json!({"maxRequestBytes": 5, "allowPartialMessage": true}));
    assert_eq!(post(&partial, "hello!"), (200, told("hello", "true"), Some("hello!".to_owned())));
    assert_eq!(post(&partial, "hey"), (200, told("hey", "false"), Some("hey".to_owned())));
    let outcome = whole.post("/").body("hello!").run();
    assert_eq!(outcome.local_reply().unwrap().details, "request_payload_too_large");
}

#[test]
fn a_grpc_service_is_told_the_body_as_text_or_bytes() {
    let told = |body: Value, bytes: &'static [u8]| {
        let grpc = json!({"service": "opa", "includeRequestBodyInCheck": body});
        let config = json!({"extAuthz": {"envoyExtAuthzGrpc": grpc}});
        let filter: Filter<Auth> = host(&json!([])).configure(&config.to_string()).unwrap();
        filter.answer_grpc("opa", |_| Ok(Vec::new()));
        let outcome = filter.post("/").body(bytes).run();
        assert_eq!(outcome.status(), 200);
        let mut message = outcome.grpc_callouts()[0].message.clone();
        for number in [1, 4, 2] {
            message = inside(&message, number).unwrap();
        }
        (inside(&message, 11), inside(&message, 12))
    };
    assert_eq!(told(json!({"maxRequestBytes": 9}), b"a\xffb"), (Some("a\u{fffd}b".into()), None));
    let packed = json!({"maxRequestBytes": 2, "packAsBytes": true, "allowPartialMessage": true});
    assert_eq!(told(packed, b"a\xffb"), (None, Some(b"a\xff".to_vec())));
}

/// Two services with bodies behind one without: pieces come while they are asked, and the last one may be empty.
#[test]
fn a_body_in_pieces_is_told_to_every_service() {
    let service = |name: &str, body: Value| {
        let http = json!({"service": name, "includeRequestBodyInCheck": body, "includeRequestHeadersInCheck": ["x-*"]});
        json!({"name": name, "envoyExtAuthzHttp": http})
    };
    let providers = json!([
        {"name": "users", "envoyExtAuthzHttp": {"service": "users"}},
        service("opa", json!({"maxRequestBytes": 4, "allowPartialMessage": true})),
        service("quota", json!({"maxRequestBytes": 10})),
    ]);
    let clusters = r#"[{"name": "opa", "hosts": []}, {"name": "quota", "hosts": []}, {"name": "users", "hosts": []}]"#;
    let policies = ["users", "opa", "quota"].map(|name| custom(name, "*"));
    let config = json!({"authorizationPolicies": policies});
    let host = host(&providers).property("sidegate.clusters", clusters);
    let filter: Filter<Auth> = host.configure(&config.to_string()).unwrap();
    for name in ["users", "opa", "quota"] {
        filter.answer(name, |_| Answer::new(200));
    }
    let post = || filter.post("/");
    let exchanges = [
        post().piece("drop table").answered().piece(""),
        post().piece("drop table").answered().answered().piece(""),
        post().piece("drop ").answered().piece("table").piece(""),
        post().piece("drop ").answered().answered().piece("table"),
        post().piece("dr").answered().piece("op").piece(" table").answered().piece(""),
        post().piece("dr").piece("op ").answered().answered().piece("ta").piece("ble"),
        post().answered().piece("drop t").answered().piece("able").piece(""),
        post().piece("drop table").piece(""),
    ];
    for (number, exchange) in exchanges.into_iter().enumerate() {
        let outcome = exchange.run();
        assert_eq!(outcome.request().map(|request| request.text()).as_deref(), Some("drop table"), "{number}");
        let told = outcome.callouts().iter().skip(1).map(|sent| {
            let partial = sent.message.header("x-envoy-auth-partial-body").unwrap_or_default();
            (sent.message.text(), partial.to_owned())
        });
        let wanted = [("drop", "true"), ("drop table", "false")].map(|(body, partial)| (body.into(), partial.into()));
        assert_eq!(told.collect::<Vec<(String, String)>>(), wanted, "{number}");
    }
}

fn inside(message: &[u8], wanted: u32) -> Option<Vec<u8>> {
    fields(message).find_map(|field| match field.unwrap() {
        (number, Field::Bytes(bytes)) if number == wanted => Some(bytes.to_vec()),
        _ => None,
    })
}
