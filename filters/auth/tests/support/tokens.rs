//! Tokens made with another library than the filter's, and the key set that belongs to them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of a test may fail it")]

use auth::Auth;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use sidegate_sdk::testing::{Filter, Host};
use std::time::Duration;

/// The tests' present, in seconds since 1970.
pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const ISSUER: &str = "https://issuer.example.com";
pub(crate) const SECRET: &str = "a secret of the tests, long enough for any hash of the SHA-2 family";
pub(crate) const JWKS: &str = include_str!("../keys/jwks.json");

/// A token of `ISSUER` for `ann` with further claims; null takes one out.
pub(crate) fn token(algorithm: Algorithm, more: Value) -> String {
    let mut claims = json!({"iss": ISSUER, "sub": "ann", "exp": NOW + 600});
    for (name, value) in more.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    sign(algorithm, key_id(algorithm), &key(algorithm), &claims)
}

pub(crate) fn sign(algorithm: Algorithm, kid: Option<&str>, key: &EncodingKey, claims: &Value) -> String {
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
    jsonwebtoken::encode(&header, claims, key).unwrap()
}

pub(crate) fn key(algorithm: Algorithm) -> EncodingKey {
    match key_id(algorithm).unwrap() {
        "secret" => EncodingKey::from_secret(SECRET.as_bytes()),
        "rsa" => EncodingKey::from_rsa_pem(include_bytes!("../keys/rsa.pem")).unwrap(),
        "p256" => EncodingKey::from_ec_pem(include_bytes!("../keys/p256.pem")).unwrap(),
        "p384" => EncodingKey::from_ec_pem(include_bytes!("../keys/p384.pem")).unwrap(),
        _ => EncodingKey::from_ed_pem(include_bytes!("../keys/ed25519.pem")).unwrap(),
    }
}

fn key_id(algorithm: Algorithm) -> Option<&'static str> {
    Some(match algorithm {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => "secret",
        Algorithm::ES256 => "p256",
        Algorithm::ES384 => "p384",
        Algorithm::EdDSA => "ed25519",
        _ => "rsa",
    })
}

/// A filter with one rule for `ISSUER`, changed by `more`, at the time of the tests.
pub(crate) fn filter(more: Value) -> Filter<Auth> {
    let mut rule = json!({"issuer": ISSUER, "jwks": JWKS});
    for (name, value) in more.as_object().unwrap() {
        rule[name] = value.clone();
    }
    configured(json!({"requestAuthentication": {"jwtRules": [rule]}}))
}

pub(crate) fn configured(config: Value) -> Filter<Auth> {
    host().configure(&config.to_string()).unwrap()
}

pub(crate) fn host() -> Host {
    Host::new().clock(Duration::from_secs(NOW))
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}
