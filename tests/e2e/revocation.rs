//! Who is no longer allowed is out within a second, on connections that are open as well: a principal taken out of a
//! file, a subject denied by a pushed document.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;
use sidegate_tests::{Client, Request, Sidegate, eventually};

use crate::operator::{TOKEN, change};
use crate::setup::{config, fine, standard_filters};

/// How long the change may be waited for at all, and how long it may take.
const PATIENCE: Duration = Duration::from_secs(10);
const REVOCATION: Duration = Duration::from_secs(1);
/// So many connections reach both workers.
const CONNECTIONS: usize = 12;

const ISSUER: &str = "https://issuer.example.com";
const JWKS: &str = include_str!("../../filters/auth/tests/keys/jwks.json");
const TOKENS: &str = include_str!("tokens.json");

/// A proxy that lets these subjects of the issuer pass.
fn allowing(subjects: &[&str], origin: &sidegate_tests::Origin) -> Sidegate {
    let keys: Value = serde_json::from_str(JWKS).unwrap();
    let principals: Vec<String> = subjects.iter().map(|subject| format!("\"{ISSUER}/{subject}\"")).collect();
    let filter = format!(
        "requestAuthentication: {{jwtRules: [{{issuer: \"{ISSUER}\", jwks: {}}}]}}, authorizationPolicies: \
         [{{rules: [{{from: [{{source: {{requestPrincipals: [{}]}}}}]}}]}}]",
        Value::from(keys.to_string()),
        principals.join(", ")
    );
    let chain = format!(", filters: [{{plugin: auth, config: {{{filter}}}}}]");
    let text = "admin: {tokenFile: token}\n".to_owned() + &standard_filters() + &config(&chain, origin, "");
    Sidegate::configured(&text).with_file("token", TOKEN).start()
}

/// Connections that stay open, each with the token of this name.
struct Holder {
    request: Request,
    clients: Vec<Client>,
}

impl Holder {
    fn of(name: &str, sidegate: &Sidegate) -> Self {
        let tokens: Value = serde_json::from_str(TOKENS).unwrap();
        let token = tokens[name].as_str().unwrap();
        let request = Request::get("/").with_header("authorization", &format!("Bearer {token}"));
        Self { request, clients: (0..CONNECTIONS).map(|_| sidegate.connect()).collect() }
    }

    fn all_get(&mut self, status: u16) -> bool {
        let request = &self.request;
        self.clients.iter_mut().all(|client| client.send(request).unwrap().status == status)
    }

    /// How long it takes from `since` until every connection is refused.
    fn is_out(&mut self, since: Instant) -> Duration {
        let out = eventually(PATIENCE, || self.all_get(403).then(|| since.elapsed()));
        out.expect("the policy takes effect")
    }
}

#[test]
fn a_principal_that_a_file_no_longer_names_is_out_within_a_second() {
    let origin = fine();
    let sidegate = allowing(&["ann", "bob"], &origin);
    let (mut ann, mut bob) = (Holder::of("RS256", &sidegate), Holder::of("bob", &sidegate));
    assert!(ann.all_get(200) && bob.all_get(200));
    let file = sidegate.folder().join("sidegate.yaml");
    let text = fs::read_to_string(&file).unwrap().replace(&format!("\"{ISSUER}/ann\", "), "");
    let since = Instant::now();
    fs::write(&file, text).unwrap();
    let took = ann.is_out(since);
    assert!(took < REVOCATION, "{took:?}");
    assert!(bob.all_get(200));
}

#[test]
fn a_subject_that_a_pushed_document_denies_is_out_within_a_second() {
    let origin = fine();
    let sidegate = allowing(&["ann", "bob"], &origin);
    let (mut ann, mut bob) = (Holder::of("RS256", &sidegate), Holder::of("bob", &sidegate));
    assert!(ann.all_get(200) && bob.all_get(200));
    let denied = "authorizationPolicies: [{action: DENY, rules: [{when: \
                  [{key: \"request.auth.claims[sub]\", values: [ann]}]}]}, ";
    let text = fs::read_to_string(sidegate.folder().join("sidegate.yaml")).unwrap();
    let text = text.replace("authorizationPolicies: [", denied);
    let since = Instant::now();
    let answer = sidegate.ask_admin(&change("PUT", "/config", text.as_bytes()));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(ann.all_get(403), "the answer comes when every worker has the new policy");
    assert!(since.elapsed() < REVOCATION, "{:?}", since.elapsed());
    assert!(bob.all_get(200));
}
