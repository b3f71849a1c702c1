//! Asking a service outside over gRPC.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the helpers of a test may fail it")]

use std::time::Duration;

use auth::Auth;
use serde_json::{Value, json};
use sidegate_sdk::grpc::{GrpcError, UNAVAILABLE};
use sidegate_sdk::protobuf::{Value as Field, Writer, fields};
use sidegate_sdk::testing::{Filter, Host, Outcome};

fn filter(more: Value) -> Filter<Auth> {
    let mut grpc = json!({"service": "shop/authz.example.com", "port": 9000});
    grpc.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let config = json!({"extAuthz": {"envoyExtAuthzGrpc": grpc}});
    let clusters = r#"[{"name": "authz", "hosts": ["authz.example.com:9000"]}]"#;
    let host = Host::new().property("sidegate.clusters", clusters).clock(Duration::from_millis(1_500_250));
    let filter: Filter<Auth> = host.configure(&config.to_string()).unwrap();
    assert!(filter.warnings().is_empty(), "{:?}", filter.warnings());
    filter
}

/// The service answers with a `CheckResponse` of this code and whatever `more` adds.
fn answering(filter: &Filter<Auth>, code: u64, more: impl FnOnce(&mut Writer)) {
    let mut answer = Writer::new();
    answer.message(1, |status| {
        status.number(1, code);
    });
    more(&mut answer);
    let bytes = answer.into_bytes();
    filter.answer_grpc("authz", move |_| Ok(bytes.clone()));
}

/// A `HeaderValueOption` as field `number`.
fn option(out: &mut Writer, number: u32, name: &str, value: &str, append: Option<bool>, action: u64) {
    out.message(number, |option| {
        option.entry(1, name, value);
        if let Some(append) = append {
            option.message(2, |truth| {
                truth.number(1, append.into());
            });
        }
        option.number(3, action);
    });
}

fn run(filter: &Filter<Auth>) -> Outcome {
    let exchange = filter.post("/shop?q=1").header("x-user", "root").header("x-old", "1").header("x-old", "2");
    exchange.property(["source", "address"], "10.0.0.9:4711").property(["destination", "address"], "[::1]:80").run()
}

/// All texts and numbers of a message by the numbers of the fields that lead to them.
fn flat(message: &[u8], path: &str, paths: &[&str], out: &mut Vec<(String, String)>) {
    for field in fields(message) {
        let (number, value) = field.unwrap();
        let path = if path.is_empty() { number.to_string() } else { format!("{path}.{number}") };
        match value {
            Field::Bytes(inside) if paths.contains(&path.as_str()) => flat(inside, &path, paths, out),
            Field::Bytes(text) => out.push((path, String::from_utf8(text.to_vec()).unwrap())),
            Field::Number(number) => out.push((path, number.to_string())),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_service_is_told_what_envoy_tells() {
    let filter = filter(json!({"timeout": "1.5s", "contextExtensions": {"tenant": "shop"}}));
    answering(&filter, 0, |_| {});
    let outcome = run(&filter);
    assert_eq!(outcome.status(), 200);
    let [sent] = outcome.grpc_callouts() else { panic!("one question") };
    assert_eq!((sent.service.as_str(), sent.method.as_str()), ("envoy.service.auth.v3.Authorization", "Check"));
    assert_eq!(sent.timeout, Duration::from_millis(1500));
    let messages =
        ["1", "1.1", "1.1.1", "1.1.1.1", "1.2", "1.2.1", "1.2.1.1", "1.4", "1.4.1", "1.4.2", "1.4.2.3", "1.10"];
    let mut told = Vec::new();
    flat(&sent.message, "", &messages, &mut told);
    let told: Vec<(&str, &str)> = told.iter().map(|(path, value)| (path.as_str(), value.as_str())).collect();
    for part in [
        &[("1.1.1.1.2", "10.0.0.9"), ("1.1.1.1.3", "4711")][..],
        &[("1.2.1.1.2", "::1"), ("1.2.1.1.3", "80")],
        &[("1.4.1.1", "1500"), ("1.4.1.2", "250000000")],
        &[("1.4.2.2", "POST")],
        &[("1.4.2.3.1", ":path"), ("1.4.2.3.2", "/shop?q=1")],
        &[("1.4.2.3.1", "x-user"), ("1.4.2.3.2", "root")],
        &[("1.4.2.3.1", "x-old"), ("1.4.2.3.2", "1,2")],
        &[("1.4.2.4", "/shop?q=1"), ("1.4.2.5", "example.com"), ("1.4.2.6", "http"), ("1.4.2.10", "HTTP/1.1")],
        &[("1.10.1", "tenant"), ("1.10.2", "shop")],
    ] {
        assert!(told.windows(part.len()).any(|window| window == part), "no {part:?} in {told:?}");
    }
    assert_eq!(told.iter().filter(|field| **field == ("1.4.2.3.1", "x-old")).count(), 1, "one entry for each name");
}

#[test]
fn a_yes_changes_the_headers_of_both_sides() {
    let filter = filter(json!({}));
    answering(&filter, 0, |answer| {
        answer.message(3, |ok| {
            option(ok, 2, "x-user", "ann", None, 0);
            option(ok, 2, "x-groups", "a", Some(true), 0);
            option(ok, 2, "x-groups", "b", Some(true), 0);
            option(ok, 2, "x-old", "3", None, 1);
            option(ok, 2, "x-new", "1", None, 3);
            option(ok, 2, ":path", "/admin", None, 2);
            option(ok, 2, "content-length", "9", None, 2);
            option(ok, 2, "x-split", "a\r\nx-evil: 1", None, 2);
            ok.bytes(5, "x-gone").bytes(5, "host").bytes(5, ":path");
            option(ok, 6, "set-cookie", "s=1", None, 0);
            option(ok, 6, "set-cookie", "t=1", None, 0);
            option(ok, 6, ":status", "500", None, 2);
        });
    });
    let exchange = filter.get("/").header("x-user", "root").header("x-old", "1").header("x-gone", "1");
    let outcome = exchange.run();
    let request = outcome.request().unwrap();
    let all = |name: &str| request.all(name);
    assert_eq!((all("x-user"), all("x-groups")), (vec!["ann"], vec!["a", "b"]), "what a client claims is replaced");
    assert_eq!((all("x-old"), all("x-new")), (vec!["1"], vec![]));
    assert_eq!((all(":path"), all("x-gone"), all("x-split")), (vec!["/"], vec![], vec![]));
    assert_eq!(request.header(":authority"), Some("example.com"));
    assert_eq!((outcome.status(), outcome.response().all("set-cookie")), (200, vec!["s=1", "t=1"]));
}

#[test]
fn a_no_is_the_client_s_answer() {
    let filter = filter(json!({}));
    answering(&filter, 7, |answer| {
        answer.message(2, |denied| {
            denied.message(1, |status| {
                status.number(1, 401);
            });
            option(denied, 2, "www-authenticate", "Bearer", None, 0);
            option(denied, 2, "transfer-encoding", "x", None, 0);
            denied.bytes(3, "who are you?");
        });
    });
    let outcome = run(&filter);
    assert!(outcome.request().is_none());
    assert_eq!((outcome.status(), outcome.response().text().as_str()), (401, "who are you?"));
    assert_eq!((outcome.header("www-authenticate"), outcome.header("transfer-encoding")), (Some("Bearer"), None));
    assert_eq!(outcome.property("sidegate.response_flag").as_deref(), Some("UAEX"));
    for code in [1, 7, 16, 99] {
        answering(&filter, code, |_| {});
        assert_eq!(run(&filter).status(), 403, "{code}");
    }
    answering(&filter, 7, |answer| {
        answer.message(2, |denied| {
            denied.message(1, |status| {
                status.number(1, 99);
            });
        });
    });
    assert_eq!(run(&filter).status(), 403, "no status that can be sent");
}

#[test]
fn without_an_answer_the_door_is_closed_unless_it_is_said() {
    for (more, status) in [
        (json!({}), 403),
        (json!({"statusOnError": "503"}), 503),
        (json!({"statusOnError": 500}), 500),
        (json!({"failOpen": true}), 200),
    ] {
        let filter = filter(more.clone());
        assert_eq!(run(&filter).status(), status, "nobody is there: {more}");
        filter.answer_grpc("authz", |_| Err(GrpcError { status: UNAVAILABLE, message: "gone".into() }));
        assert_eq!(run(&filter).status(), status, "{more}");
        filter.answer_grpc("authz", |_| Ok(b"\xff".to_vec()));
        assert_eq!(run(&filter).status(), status, "no message: {more}");
        answering(&filter, 13, |answer| {
            answer.message(5, |_| {});
        });
        assert_eq!(run(&filter).status(), status, "the service says that it failed: {more}");
    }
}
