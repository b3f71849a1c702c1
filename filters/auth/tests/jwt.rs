//! Which tokens are good, where they are found, and what becomes of them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of a test may fail it")]

#[path = "support/tokens.rs"]
mod tokens;

use auth::Auth;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use sidegate_sdk::testing::{Filter, Host, Outcome};
use tokens::{ISSUER, JWKS, NOW, SECRET, bearer, configured, filter, host, sign, token};

const EVERY: [Algorithm; 12] = [
    Algorithm::HS256,
    Algorithm::HS384,
    Algorithm::HS512,
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

fn get(filter: &Filter<Auth>, token: &str) -> Outcome {
    filter.get("/").header("authorization", &bearer(token)).run()
}

fn is_refused(outcome: &Outcome, status: u16, reason: &str) {
    let reply = outcome.local_reply().unwrap();
    assert_eq!(reply.status, status, "{reason}: {:?}", outcome.logs());
    assert!(
        outcome.logs().iter().any(|line| line.text == format!("refused: {reason}")),
        "{reason}: {:?}",
        outcome.logs()
    );
    assert!(reply.message.body.is_empty(), "the reason is not for the client");
}

#[test]
fn every_algorithm_proves_and_every_change_is_noticed() {
    let filter = filter(json!({}));
    for algorithm in EVERY {
        let good = token(algorithm, json!({}));
        assert_eq!(get(&filter, &good).status(), 200, "{algorithm:?}");
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let (header, _) = signed.split_once('.').unwrap();
        let other = token(algorithm, json!({"sub": "bob"}));
        let other_payload = other.split('.').nth(1).unwrap();
        for bad in [
            format!("{header}.{other_payload}.{signature}"),
            format!("{signed}.{}", &signature[4..]),
            format!("{signed}.AAAA{}", &signature[4..]),
        ] {
            is_refused(&get(&filter, &bad), 401, "jwt_signature");
        }
    }
}

#[test]
fn a_key_serves_only_its_own_kind_of_algorithm() {
    let filter = filter(json!({}));
    let claims = json!({"iss": ISSUER, "sub": "ann"});
    // The public key as a secret: the oldest trick.
    let set: Value = serde_json::from_str(JWKS).unwrap();
    let n = EncodingKey::from_base64_secret(set["keys"][0]["n"].as_str().unwrap())
        .unwrap_or_else(|_| EncodingKey::from_secret(set["keys"][0]["n"].as_str().unwrap().as_bytes()));
    is_refused(&get(&filter, &sign(Algorithm::HS256, Some("rsa"), &n, &claims)), 401, "jwt_no_key");
    let other = EncodingKey::from_rsa_pem(include_bytes!("keys/other.pem")).unwrap();
    is_refused(&get(&filter, &sign(Algorithm::RS256, Some("rsa"), &other, &claims)), 401, "jwt_signature");
    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    is_refused(&get(&filter, &sign(Algorithm::HS256, Some("nobody"), &secret, &claims)), 401, "jwt_no_key");
    assert_eq!(get(&filter, &sign(Algorithm::HS256, None, &secret, &claims)).status(), 200);
}

#[test]
fn what_is_no_token_is_refused_and_no_token_passes() {
    let filter = filter(json!({}));
    assert_eq!(filter.get("/").run().status(), 200);
    let good = token(Algorithm::HS256, json!({}));
    let [_, payload, _] = good.split('.').collect::<Vec<_>>()[..] else { unreachable!() };
    // {"alg":"none"}, {"alg":"HS256","crit":["x"]}, {"alg":"HS256","kid":7}
    for header in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJIUzI1NiIsImNyaXQiOlsieCJdfQ", "eyJhbGciOiJIUzI1NiIsImtpZCI6N30"] {
        is_refused(&get(&filter, &format!("{header}.{payload}.")), 401, "jwt_bad_format");
    }
    for text in ["x", "a.b.c", "..", &format!("{good}.x"), &format!("{good}="), &"a".repeat(20_000)] {
        let outcome = get(&filter, text);
        is_refused(&outcome, 401, "jwt_bad_format");
        assert_eq!(outcome.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
    }
    assert_eq!(filter.get("/").header("authorization", "Basic abc").run().status(), 200);
    assert_eq!(filter.get("/").header("authorization", "bearer x").run().status(), 401);
}

#[test]
fn times_may_be_a_minute_off_and_no_more() {
    let filter = filter(json!({}));
    for (claims, reason) in [
        (json!({"exp": NOW - 59}), ""),
        (json!({"exp": NOW - 60}), "jwt_expired"),
        (json!({"exp": (NOW + 1) as f64 + 0.5}), ""),
        (json!({"exp": "tomorrow"}), "jwt_expired"),
        (json!({"exp": null}), ""),
        (json!({"nbf": NOW + 60}), ""),
        (json!({"nbf": NOW + 61}), "jwt_not_yet_valid"),
        (json!({"nbf": "soon"}), "jwt_not_yet_valid"),
    ] {
        let outcome = get(&filter, &token(Algorithm::HS256, claims.clone()));
        if reason.is_empty() {
            assert_eq!(outcome.status(), 200, "{claims}");
        } else {
            is_refused(&outcome, 401, reason);
        }
    }
    let short = token(Algorithm::HS256, json!({"exp": NOW + 10}));
    assert_eq!(get(&filter, &short).status(), 200);
    filter.advance(std::time::Duration::from_secs(70));
    is_refused(&get(&filter, &short), 401, "jwt_expired");
}

#[test]
fn issuer_and_audience_are_checked() {
    let plain = filter(json!({}));
    is_refused(&get(&plain, &token(Algorithm::HS256, json!({"iss": "https://evil"}))), 401, "jwt_unknown_issuer");
    is_refused(&get(&plain, &token(Algorithm::HS256, json!({"iss": null}))), 401, "jwt_unknown_issuer");
    let filter = filter(json!({"audiences": ["shop", "https://api.example.com/"]}));
    for (audience, is_good) in [
        (json!("shop"), true),
        (json!(["x", "shop"]), true),
        (json!("api.example.com"), true),
        (json!("shopping"), false),
        (json!([]), false),
        (json!(null), false),
    ] {
        let outcome = get(&filter, &token(Algorithm::HS256, json!({"aud": audience})));
        if is_good {
            assert_eq!(outcome.status(), 200, "{audience}");
        } else {
            is_refused(&outcome, 403, "jwt_audience");
        }
    }
}

#[test]
fn a_token_is_found_where_the_rule_says_and_taken_out() {
    let good = token(Algorithm::HS256, json!({}));
    let plain = filter(json!({}));
    let outcome = get(&plain, &good);
    assert_eq!(outcome.request().unwrap().header("authorization"), None);
    let outcome = plain.get(&format!("/p?a=1&access_token={good}&b=2")).run();
    assert_eq!(outcome.request().unwrap().header(":path"), Some("/p?a=1&b=2"));
    assert_eq!(plain.get("/p?access_token=x").run().status(), 401);

    let places = json!({
        "fromHeaders": [{"name": "x-jwt"}, {"name": "x-Token", "prefix": "T="}],
        "fromParams": ["t"], "fromCookies": ["session"], "outputClaimToHeaders": [{"header": "x-sub", "claim": "sub"}],
    });
    let filter = filter(places);
    let sub = |outcome: Outcome| outcome.request().map(|request| request.header("x-sub").map(str::to_owned));
    let ann = Some(Some("ann".to_owned()));
    assert_eq!(sub(filter.get("/").header("x-jwt", &good).run()), ann);
    assert_eq!(sub(filter.get("/").header("x-token", &format!("T={good}")).run()), ann);
    assert_eq!(sub(filter.get("/").header("x-token", "other").run()), Some(None));
    assert_eq!(sub(get(&filter, "x")), Some(None), "authorization is not one of its places");
    let outcome = filter.get(&format!("/?t={good}")).run();
    assert_eq!(outcome.request().unwrap().header(":path"), Some("/"));
    let outcome = filter.get("/").header("cookie", &format!("a=1; session={good}; b=2")).run();
    assert_eq!(outcome.request().unwrap().header("cookie"), Some("a=1; b=2"));
    // One bad token is enough, wherever it stands.
    is_refused(&filter.get("/?t=x").header("x-jwt", &good).run(), 401, "jwt_bad_format");
    let many = (0..9).fold(filter.get("/"), |exchange, _| exchange.header("x-jwt", &good)).run();
    is_refused(&many, 401, "jwt_too_many");
}

#[test]
fn claims_go_on_and_clients_cannot_claim_them() {
    let filter = filter(json!({
        "forwardOriginalToken": true, "outputPayloadToHeader": "X-Payload", "spaceDelimitedClaims": ["groups"],
        "outputClaimToHeaders": [
            {"header": "x-sub", "claim": "sub"}, {"header": "x-level", "claim": "user.level"},
            {"header": "x-odd", "claim": "odd"}, {"header": "x-list", "claim": "list"}, {"header": "x-none", "claim": "no"},
        ],
    }));
    let claims = json!({
        "user": {"level": 7}, "odd": "a\r\nb", "list": ["x"], "scope": "read write", "groups": "a  b", "aud": ["p", "q"],
    });
    let good = token(Algorithm::ES256, claims);
    let exchange =
        filter.get("/").header("authorization", &bearer(&good)).header("x-odd", "mine").header("x-none", "mine");
    let outcome = exchange.run();
    let request = outcome.request().unwrap();
    assert_eq!(request.header("authorization"), Some(&*bearer(&good)));
    assert_eq!(request.header("x-payload"), good.split('.').nth(1));
    assert_eq!(request.header("x-sub"), Some("ann"));
    assert_eq!(request.header("x-level"), Some("7"));
    assert_eq!(request.header("x-list"), Some("WyJ4Il0"));
    assert_eq!((request.header("x-odd"), request.header("x-none")), (None, None));
    assert_eq!(outcome.property("sidegate.auth.principal").unwrap(), format!("{ISSUER}/ann"));
    assert_eq!(outcome.property("sidegate.auth.audiences").unwrap(), "p,q");
    let told: Value = serde_json::from_str(&outcome.property("sidegate.auth.claims").unwrap()).unwrap();
    assert_eq!(told["scope"], json!(["read", "write"]));
    assert_eq!(told["groups"], json!(["a", "b"]));
    let outcome = filter.get("/").header("x-sub", "root").header("x-payload", "e30").run();
    assert_eq!(outcome.request().unwrap().header("x-sub"), None);
    assert_eq!(outcome.request().unwrap().header("x-payload"), None);
    assert_eq!(outcome.properties(), 0);
}

#[test]
fn each_issuer_has_its_rule_and_its_place() {
    let rule = |issuer: &str, header: &str| json!({"issuer": issuer, "jwks": JWKS, "fromHeaders": [{"name": header}]});
    let filter = configured(json!({"requestAuthentication": {"jwtRules": [
        rule("one", "x-one"), rule("two", "x-two"), rule("three", "x-one"),
    ]}}));
    let of = |issuer: &str| token(Algorithm::HS256, json!({"iss": issuer}));
    let status = |header: &str, issuer: &str| filter.get("/").header(header, &of(issuer)).run().status();
    assert_eq!([status("x-one", "one"), status("x-two", "two"), status("x-one", "three")], [200; 3]);
    assert_eq!([status("x-two", "one"), status("x-one", "two")], [401; 2]);
    let outcome = filter.get("/").header("x-one", &of("one")).header("x-two", &of("two")).run();
    assert_eq!(outcome.property("sidegate.auth.principal").as_deref(), Some("one/ann"));
}

#[test]
fn the_host_checks_signatures_where_it_can() {
    let host = |answer: &'static [u8]| {
        host().function("verify_signature", move |argument| {
            assert!(argument.starts_with(b"\x0a\x06sha"), "the hash comes first");
            Some(answer.to_vec())
        })
    };
    let config = json!({"requestAuthentication": {"jwtRules": [{"issuer": ISSUER, "jwks": JWKS}]}}).to_string();
    let configure = |host: Host| host.configure::<Auth>(&config).unwrap();
    let (yes, no) = (configure(host(b"\x08\x01")), configure(host(b"\x12\x03bad")));
    for algorithm in [Algorithm::RS256, Algorithm::RS512, Algorithm::ES256, Algorithm::ES384] {
        let good = token(algorithm, json!({}));
        assert_eq!(get(&yes, &good).status(), 200);
        is_refused(&get(&no, &good), 401, "jwt_signature");
    }
    // What it does not know stays here.
    for algorithm in [Algorithm::HS256, Algorithm::PS256, Algorithm::EdDSA] {
        assert_eq!(get(&no, &token(algorithm, json!({}))).status(), 200, "{algorithm:?}");
    }
    let refuses = configure(tokens::host().function("verify_signature", |_| None));
    assert_eq!(get(&refuses, &token(Algorithm::RS256, json!({}))).status(), 200);
}

#[test]
fn a_verified_token_is_not_verified_again() {
    let checks = std::rc::Rc::new(std::cell::Cell::new(0));
    let seen = std::rc::Rc::clone(&checks);
    let host = host().function("verify_signature", move |_| {
        seen.set(seen.get() + 1);
        Some(b"\x08\x01".to_vec())
    });
    let config = json!({"requestAuthentication": {"jwtRules": [{"issuer": ISSUER, "jwks": JWKS}]}});
    let filter: Filter<Auth> = host.configure(&config.to_string()).unwrap();
    let good = token(Algorithm::RS256, json!({}));
    for _ in 0..5 {
        assert_eq!(get(&filter, &good).status(), 200);
    }
    assert_eq!(checks.get(), 1);
    // A flood of others does not grow the cache without end, and the token is still good.
    for number in 0..600 {
        get(&filter, &token(Algorithm::HS256, json!({"n": number})));
    }
    assert_eq!(get(&filter, &good).status(), 200);
    assert_eq!(checks.get(), 2);
}

#[test]
fn one_hook_checks_one_costly_signature() {
    let set: Value = serde_json::from_str(JWKS).unwrap();
    let mut other = set["keys"][0].clone();
    // Another key: the modulus of the first, changed where it stays odd and long.
    let modulus = other["n"].as_str().unwrap().replacen(['A', 'B'], "C", 1);
    other["n"] = json!(modulus);
    let set = json!({"keys": [other, other, set["keys"][0]]}).to_string();
    let filter = filter(json!({"jwks": set}));
    let claims = json!({"iss": ISSUER, "sub": "ann"});
    let outcome = get(&filter, &sign(Algorithm::RS256, None, &tokens::key(Algorithm::RS256), &claims));
    assert_eq!(outcome.status(), 200);
    assert_eq!(outcome.waited(), std::time::Duration::from_millis(2));
    let again = get(&filter, &sign(Algorithm::RS256, None, &tokens::key(Algorithm::RS256), &claims));
    assert_eq!(again.waited(), std::time::Duration::ZERO, "it is remembered");
}
