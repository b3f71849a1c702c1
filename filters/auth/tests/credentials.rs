//! API keys and passwords.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may fail it")]

use auth::Auth;
use serde_json::{Value, json};
use sidegate_sdk::testing::{Exchange, Filter};

/// SHA-256 of `key-of-bob`, and of `salt` with `open sesame` behind it.
const BOB: &str = "808a1d81b5de08d72083995df738947d519d230a20c236003268f0f4b65ee475";
const SESAME: &str = "bbd2db92db49887c7cf100e224ebe6d91d91bed31ed2fe30bebdbe7f94de3c24";
/// `ann:open sesame` and `ann:wrong` in base64.
const ANN: &str = "Basic YW5uOm9wZW4gc2VzYW1l";
const NOT_ANN: &str = "Basic YW5uOndyb25n";

fn filter(config: Value) -> Filter<Auth> {
    Filter::configure(&config.to_string()).unwrap()
}

fn keys(more: Value) -> Value {
    let mut keys =
        json!({"header": "X-Key", "keys": [{"name": "ann", "key": "key-of-ann"}, {"name": "bob", "sha256": BOB}]});
    for (name, value) in more.as_object().unwrap() {
        keys.as_object_mut().unwrap().insert(name.clone(), value.clone());
    }
    json!({"apiKeys": keys})
}

fn basic() -> Value {
    json!({"basic": {"realm": "shop", "users": [{"name": "ann", "sha256": SESAME, "salt": "salt"}]}})
}

/// The status, and the user that the service sees.
fn seen(exchange: Exchange<'_, Auth>) -> (u16, Option<String>) {
    let outcome = exchange.run();
    let user = outcome.request().and_then(|request| request.header("x-auth-user")).map(str::to_owned);
    (outcome.status(), user)
}

#[test]
fn a_key_opens_and_its_name_goes_on() {
    let filter = filter(keys(json!({})));
    assert_eq!(seen(filter.get("/").header("x-key", "key-of-ann")), (200, Some("ann".into())));
    assert_eq!(seen(filter.get("/").header("x-key", "key-of-bob")), (200, Some("bob".into())));
    assert_eq!(seen(filter.get("/").header("x-key", "key-of-bob").header("x-auth-user", "root")).1, Some("bob".into()));
    for wrong in ["", "key-of-an", "key-of-ann ", "key-of-anna", BOB, &"x".repeat(5000)] {
        assert_eq!(filter.get("/").header("x-key", wrong).run().status(), 401, "{wrong}");
    }
    let two = filter.get("/").header("x-key", "key-of-ann").header("x-key", "key-of-bob").run();
    assert_eq!(two.status(), 401);
    let missing = filter.get("/").run();
    assert_eq!((missing.status(), missing.header("www-authenticate")), (401, Some("ApiKey")));
    assert_eq!(filter.metric(r#"sidegate_auth_denied_total{reason="credential_missing"}"#), Some(1));
    assert!(filter.logs().iter().all(|line| !line.text.contains("key-of")), "secrets are not logged");
}

#[test]
fn a_password_opens_and_its_name_goes_on() {
    let filter = filter(basic());
    assert_eq!(seen(filter.get("/").header("authorization", ANN)), (200, Some("ann".into())));
    assert_eq!(seen(filter.get("/").header("authorization", &ANN.replace("Basic ", "basic  "))).0, 200);
    // wrong, unknown user, no colon, no base64, no text
    for wrong in [NOT_ANN, "Basic Ym9iOm9wZW4gc2VzYW1l", "Basic YW5u", "Basic !", "Basic //8=", "Basic "] {
        let outcome = filter.get("/").header("authorization", wrong).run();
        assert_eq!(outcome.status(), 401, "{wrong}");
        assert_eq!(outcome.header("www-authenticate"), Some("Basic realm=\"shop\", charset=\"UTF-8\""));
    }
    assert_eq!(filter.get("/").header("authorization", "Bearer x").run().status(), 401);
}

#[test]
fn one_of_both_is_enough_and_a_wrong_one_is_too_much() {
    let mut both = keys(json!({}));
    both.as_object_mut().unwrap().extend(basic().as_object().unwrap().clone());
    let filter = filter(both);
    assert_eq!(filter.get("/").header("authorization", ANN).run().status(), 200);
    assert_eq!(filter.get("/").header("x-key", "key-of-ann").run().status(), 200);
    assert_eq!(filter.get("/").header("x-key", "key-of-bob").header("authorization", NOT_ANN).run().status(), 401);
    let outcome = filter.get("/").run();
    assert_eq!(outcome.response().all("www-authenticate"), ["Basic realm=\"shop\", charset=\"UTF-8\"", "ApiKey"]);
}

#[test]
fn nobody_names_himself() {
    let filter = filter(json!({}));
    assert_eq!(seen(filter.get("/").header("x-auth-user", "root")), (200, None));
}

#[test]
fn secrets_stay_here_where_that_is_said() {
    let kept = filter(keys(json!({})));
    let outcome = kept.get("/").header("x-key", "key-of-ann").run();
    assert_eq!(outcome.request().unwrap().header("x-key"), Some("key-of-ann"));
    let hidden = filter(keys(json!({"hideCredentials": true})));
    let outcome = hidden.get("/").header("x-key", "key-of-ann").run();
    assert_eq!(outcome.request().unwrap().header("x-key"), None);
}

#[test]
fn policies_see_who_it_is() {
    let mut config = keys(json!({}));
    let rule = json!({"when": [{"key": "request.headers[x-auth-user]", "values": ["bob"]}]});
    config.as_object_mut().unwrap().insert("authorizationPolicies".into(), json!([{"rules": [rule]}]));
    let filter = filter(config);
    assert_eq!(filter.get("/").header("x-key", "key-of-bob").run().status(), 200);
    assert_eq!(filter.get("/").header("x-key", "key-of-ann").header("x-auth-user", "bob").run().status(), 403);
}
