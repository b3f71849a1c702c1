//! Who may do what: `builtin:auth` in the whole proxy.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use sidegate_tests::{Answer, Origin, Request, Response, Sidegate, eventually};

use crate::paths::SPELLINGS;
use crate::setup::{config, fine, logged, standard_filters, with_filter};

/// How long a line of the access log may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a policy in a file may still let pass what it no longer allows.
const REVOCATION: Duration = Duration::from_secs(1);
/// A token with an unknown key asks for keys when those that are there are 30 s old.
const ROTATION: Duration = Duration::from_secs(60);

const ISSUER: &str = "https://issuer.example.com";
/// The keys of the filter's own tests, which have signed the tokens.
const JWKS: &str = include_str!("../../filters/auth/tests/keys/jwks.json");
/// By algorithm a token of the issuer for `ann`, good until 2100; `bob` is another's, and the others are bad.
const TOKENS: &str = include_str!("tokens.json");

fn token(name: &str) -> String {
    let tokens: Value = serde_json::from_str(TOKENS).unwrap();
    tokens[name].as_str().unwrap_or_else(|| panic!("no token {name}")).to_owned()
}

fn with_token(target: &str, name: &str) -> Request {
    Request::get(target).with_header("authorization", &format!("Bearer {}", token(name)))
}

/// One rule for the issuer, its keys in the configuration.
fn inline() -> String {
    let keys: Value = serde_json::from_str(JWKS).unwrap();
    format!("requestAuthentication: {{jwtRules: [{{issuer: \"{ISSUER}\", jwks: {}}}]}}", Value::from(keys.to_string()))
}

/// The same with keys that are fetched from the cluster `idp`.
fn remote() -> String {
    format!("requestAuthentication: {{jwtRules: [{{issuer: \"{ISSUER}\", jwksUri: \"{ISSUER}/keys\", timeout: 1s}}]}}")
}

/// The set of those keys that have one of these ids.
fn only(ids: &[&str]) -> String {
    let mut set: Value = serde_json::from_str(JWKS).unwrap();
    set["keys"].as_array_mut().unwrap().retain(|key| ids.iter().any(|id| key["kid"] == *id));
    set.to_string()
}

fn guarded(origin: &Origin, filter: &str) -> Sidegate {
    let chain = format!("filters: [{{plugin: auth, config: {{{filter}}}}}, ");
    Sidegate::start(&logged("", origin, "").replace("filters: [", &chain))
}

fn challenge(answer: &Response) -> (u16, Option<&str>) {
    (answer.status, answer.header("www-authenticate"))
}

#[test]
fn only_a_good_token_of_the_right_client_passes() {
    let origin = fine();
    let policy = format!(
        "authorizationPolicies: [{{rules: [{{from: [{{source: {{requestPrincipals: [\"{ISSUER}/ann\"]}}}}]}}]}}]"
    );
    let sidegate = guarded(&origin, &format!("{}, {policy}", inline()));
    assert_eq!(challenge(&sidegate.get("/none")), (403, None));
    for name in ["expired", "forged", "stranger"] {
        let answer = sidegate.send(&with_token("/bad", name));
        assert_eq!(challenge(&answer), (401, Some("Bearer error=\"invalid_token\"")), "{name}");
        assert_eq!(answer.text(), "", "the reason is not for the client");
    }
    let answer = sidegate.send(&with_token("/bob", "bob"));
    assert_eq!(challenge(&answer), (403, Some("Bearer error=\"insufficient_scope\"")));
    let second = with_token("/two", "HS256").with_header("authorization", "Bearer bad");
    assert_eq!(sidegate.send(&second).status, 401, "a good token does not cover for another");
    assert_eq!(origin.request_count(), 0);
    assert_eq!(challenge(&sidegate.send(&with_token("/good", "HS256"))), (200, None));
    assert_eq!(origin.requests()[0].header("authorization"), None, "the token goes no further");
    for line in ["401 - jwt_authn_access_denied{Jwt_is_expired} GET /bad", "403 - rbac_access_denied GET /bob"] {
        assert!(sidegate.stdout().line_with(line, PATIENCE).is_some(), "{line}: {:?}", sidegate.stdout().lines());
    }
    sidegate.metric("sidegate_auth_denied_total", &[("reason", "jwt_signature")], |count| count == 1.0);
}

#[test]
fn keys_and_passwords_are_asked_for_by_their_challenges() {
    let origin = fine();
    // SHA-256 of `saltsecret`.
    let hash = "bede90386d450cea8b77b822f8887065e4e5abf132c2f9dccfcc7fbd4cba5e35";
    let filter = format!(
        "apiKeys: {{keys: [{{name: ci, key: k-123}}]}}, basic: {{realm: shop, users: [{{name: eve, salt: salt, sha256: {hash}}}]}}"
    );
    let sidegate = guarded(&origin, &filter);
    let refused = sidegate.get("/");
    let challenges: Vec<&str> = refused.headers.all("www-authenticate").collect();
    assert_eq!((refused.status, challenges), (401, vec!["Basic realm=\"shop\", charset=\"UTF-8\"", "ApiKey"]));
    let with = |name: &str, value: &str| sidegate.send(&Request::get("/").with_header(name, value)).status;
    assert_eq!(with("x-api-key", "k-124"), 401);
    assert_eq!(with("x-auth-user", "ci"), 401);
    assert_eq!(with("authorization", "Basic ZXZlOm90aGVy"), 401, "eve:other");
    assert_eq!(origin.request_count(), 0);
    assert_eq!(with("x-api-key", "k-123"), 200);
    assert_eq!(with("authorization", "Basic ZXZlOnNlY3JldA=="), 200, "eve:secret");
    let users: Vec<String> =
        origin.requests().iter().map(|request| request.header("x-auth-user").unwrap_or_default().to_owned()).collect();
    assert_eq!(users, ["ci", "eve"]);
}

/// As a module of its own the filter has its CPU time bounded, which the one inside the binary has not; a check of ES384
/// in the filter itself takes more.
#[test]
fn the_host_checks_signatures_within_the_cpu_time_of_a_hook() {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/filters/auth.wasm");
    let module = fs::read(module).expect("run `cargo xtask build` first");
    let origin = fine();
    let plugin = "plugins: [{name: jwt, url: \"file:auth.wasm\", limits: {cpuPerCall: 2ms}}]\n";
    let chain = format!(", filters: [{{plugin: jwt, config: {{{}}}}}]", inline());
    let text = standard_filters() + plugin + &config(&chain, &origin, "");
    let sidegate = Sidegate::configured(&text).with_file("auth.wasm", module).with_workers(1).start();
    for name in ["RS256", "ES256", "ES384"] {
        assert_eq!(sidegate.send(&with_token("/", name)).status, 200, "{name}");
        let good = token(name);
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let bad = format!("Bearer {signed}.AAAA{}", &signature[4..]);
        assert_eq!(sidegate.send(&Request::get("/").with_header("authorization", &bad)).status, 401, "{name}");
    }
    let plugins: Value = serde_json::from_slice(&sidegate.ask_admin(&Request::get("/plugins")).body).unwrap();
    assert_eq!(plugins["plugins"][0]["faults"], serde_json::json!({}), "{plugins}");
}

#[test]
fn keys_are_fetched_when_they_are_there_and_again_when_they_change() {
    let origin = fine();
    let set = Arc::new(Mutex::new(None::<String>));
    let served = Arc::clone(&set);
    let idp = Origin::answering(move |request| match &*served.lock().unwrap() {
        Some(set) if request.target == "/keys" => Answer::ok(set.clone()),
        _ => Answer::status(503),
    });
    let filter = format!("{{plugin: auth, config: {{{}}}}}", remote());
    let issuer = format!("{{name: idp, hosts: [issuer.example.com], endpoints: [{{address: \"{idp}\"}}]}}");
    let text = with_filter(&logged("", &origin, ""), &filter, &issuer);
    let sidegate = Sidegate::configured(&text).with_workers(1).start();
    let status = |name: &str| sidegate.send(&with_token("/", name)).status;
    let passes = |name: &str, limit| eventually(limit, || (status(name) == 200).then_some(()));

    assert_eq!(status("RS256"), 401, "there are no keys yet");
    assert_eq!(sidegate.get("/").status, 200, "a request without a token needs none");
    *set.lock().unwrap() = Some(only(&["rsa"]));
    passes("RS256", PATIENCE).expect("a failed fetch is tried again");
    assert_eq!(status("ES256"), 401, "signed by a key that the issuer does not have yet");
    *set.lock().unwrap() = Some(only(&["p256"]));
    let before = idp.request_count();
    passes("ES256", ROTATION).expect("a new key is found");
    assert_eq!(status("RS256"), 401, "the old one is gone");
    assert!(idp.request_count() <= before + 2, "tokens with unknown keys do not flood the issuer");
}

#[test]
fn no_spelling_of_a_path_passes_a_policy() {
    for normalization in ["NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"] {
        let origin = fine();
        let policy = "authorizationPolicies: [{action: DENY, rules: [{to: [{operation: {paths: [/admin*]}}]}]}]";
        let listener =
            format!(", pathNormalization: {normalization}, filters: [{{plugin: auth, config: {{{policy}}}}}]");
        let sidegate = Sidegate::start(&(standard_filters() + &config(&listener, &origin, "")));
        for spelling in SPELLINGS {
            let mut client = sidegate.connect();
            client.write(format!("GET {spelling} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).unwrap();
            let status = client.read_response().map(|answer| answer.status);
            assert!(matches!(status, Ok(400 | 403)), "{normalization} {spelling}: {status:?}");
        }
        assert_eq!(origin.request_count(), 0);
        assert_eq!(sidegate.get("/public").status, 200);
    }
}

#[test]
fn what_a_file_takes_back_is_gone_within_a_second() {
    let origin = fine();
    let policy =
        |paths: &str| format!("authorizationPolicies: [{{rules: [{{to: [{{operation: {{paths: [{paths}]}}}}]}}]}}]");
    let sidegate = guarded(&origin, &policy("/reports, /public"));
    assert_eq!(sidegate.get("/reports").status, 200);
    let file = sidegate.folder().join("sidegate.yaml");
    let text = fs::read_to_string(&file).unwrap().replace("/reports, ", "");
    fs::write(&file, text).unwrap();
    let began = Instant::now();
    // So many connections reach both workers.
    let refused = || (0..8).all(|_| sidegate.get("/reports").status == 403).then(|| began.elapsed());
    let took = eventually(PATIENCE, refused).expect("the policy takes effect");
    assert!(took < REVOCATION, "{took:?}");
    assert_eq!(sidegate.get("/public").status, 200);
}
