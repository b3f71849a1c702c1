//! Keys that are fetched: when, how often, and what happens while there are none.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may fail it")]

#[path = "support/tokens.rs"]
#[allow(dead_code, reason = "shared by several tests")]
mod tokens;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use auth::Auth;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use sidegate_sdk::testing::{Answer, Filter};
use tokens::{ISSUER, JWKS, bearer, host, token};

struct Issuer {
    filter: Filter<Auth>,
    set: Rc<RefCell<Option<String>>>,
    asked: Rc<Cell<u32>>,
}

/// A filter whose keys come from a cluster that answers with `set`, or resets without.
fn issuer(set: Option<&str>) -> Issuer {
    let clusters = r#"[{"name": "idp", "hosts": ["issuer.example.com"]}]"#;
    let config = json!({"requestAuthentication": {"jwtRules": [
        {"issuer": ISSUER, "jwksUri": format!("{ISSUER}:8443/keys?v=1"), "timeout": "2s"},
    ]}});
    let filter: Filter<Auth> = host().property("sidegate.clusters", clusters).configure(&config.to_string()).unwrap();
    assert!(filter.warnings().is_empty());
    let (set, asked) = (Rc::new(RefCell::new(set.map(str::to_owned))), Rc::new(Cell::new(0)));
    let (answers, count) = (Rc::clone(&set), Rc::clone(&asked));
    filter.answer("idp", move |sent| {
        count.set(count.get() + 1);
        assert_eq!(sent.message.header(":path"), Some("/keys?v=1"));
        assert_eq!(sent.message.header(":authority"), Some("issuer.example.com:8443"));
        assert_eq!(sent.timeout, Duration::from_secs(2));
        match &*answers.borrow() {
            Some(set) => Answer::new(200).body(set.clone()),
            None => Answer::reset(),
        }
    });
    Issuer { filter, set, asked }
}

impl Issuer {
    fn status(&self, algorithm: Algorithm) -> u16 {
        let token = token(algorithm, json!({"exp": null}));
        self.filter.get("/").header("authorization", &bearer(&token)).run().status()
    }
}

fn only(kid: &str) -> String {
    let set: Value = serde_json::from_str(JWKS).unwrap();
    let keys = set.get("keys").and_then(Value::as_array).unwrap();
    json!({"keys": keys.iter().filter(|key| key.get("kid").unwrap() == kid).collect::<Vec<_>>()}).to_string()
}

#[test]
fn the_first_token_waits_for_the_keys_and_later_ones_do_not() {
    let issuer = issuer(Some(JWKS));
    assert_eq!(issuer.asked.get(), 0);
    assert_eq!(issuer.filter.get("/").run().status(), 200);
    assert_eq!(issuer.asked.get(), 0, "nobody waits for keys without a token");
    assert_eq!([issuer.status(Algorithm::RS256), issuer.status(Algorithm::ES256)], [200; 2]);
    assert_eq!(issuer.asked.get(), 1);
}

#[test]
fn keys_are_fetched_in_the_background_and_the_last_good_ones_stay() {
    let issuer = issuer(Some(JWKS));
    issuer.filter.advance(Duration::from_secs(2));
    assert_eq!(issuer.asked.get(), 1);
    issuer.filter.advance(Duration::from_secs(302));
    assert_eq!(issuer.asked.get(), 2);
    *issuer.set.borrow_mut() = None;
    issuer.filter.advance(Duration::from_secs(310));
    assert!(issuer.asked.get() >= 4, "a failed fetch is tried again soon");
    assert_eq!(issuer.status(Algorithm::RS256), 200);
    for junk in ["", "{}", r#"{"keys": []}"#, r#"{"keys": [{"kty": "oct"}]}"#] {
        *issuer.set.borrow_mut() = Some(junk.to_owned());
        issuer.filter.advance(Duration::from_secs(70));
        assert_eq!(issuer.status(Algorithm::RS256), 200, "{junk}");
    }
}

#[test]
fn without_keys_a_token_is_refused_and_the_issuer_is_not_flooded() {
    let issuer = issuer(None);
    for _ in 0..10 {
        assert_eq!(issuer.status(Algorithm::RS256), 401);
    }
    assert_eq!(issuer.asked.get(), 1);
    assert!(issuer.filter.logs().iter().any(|line| line.text == "refused: jwks_unavailable"));
    *issuer.set.borrow_mut() = Some(JWKS.to_owned());
    issuer.filter.advance(Duration::from_secs(3));
    assert_eq!(issuer.status(Algorithm::RS256), 200);
}

#[test]
fn an_unknown_key_id_asks_again_but_not_often_and_a_withdrawn_key_is_forgotten() {
    let issuer = issuer(Some(&only("rsa")));
    assert_eq!(issuer.status(Algorithm::RS256), 200);
    assert_eq!([issuer.status(Algorithm::ES256), issuer.status(Algorithm::ES256)], [401; 2]);
    assert_eq!(issuer.asked.get(), 1);
    *issuer.set.borrow_mut() = Some(only("p256"));
    issuer.filter.advance(Duration::from_secs(31));
    assert_eq!(issuer.status(Algorithm::ES256), 200);
    assert_eq!(issuer.asked.get(), 2);
    assert_eq!(issuer.status(Algorithm::RS256), 401, "verified before, with a key that is gone");
}
