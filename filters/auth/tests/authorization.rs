//! Which requests a policy lets pass: every field, every form of a value, the order of actions.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of a test may fail it")]

#[path = "support/tokens.rs"]
#[allow(dead_code, reason = "shared by several tests")]
mod tokens;

use auth::Auth;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use sidegate_sdk::testing::{Exchange, Filter};
use tokens::{ISSUER, JWKS, bearer, configured, host, token};

/// A filter with these policies, and a rule for tokens.
fn policies(policies: Value) -> Filter<Auth> {
    configured(json!({
        "requestAuthentication": {"jwtRules": [{"issuer": ISSUER, "jwks": JWKS}]},
        "authorizationPolicies": policies,
    }))
}

fn allow(rule: Value) -> Filter<Auth> {
    policies(json!([{"rules": [rule]}]))
}

type Change = for<'f> fn(Exchange<'f, Auth>) -> Exchange<'f, Auth>;

fn mtls<'f>(exchange: Exchange<'f, Auth>, uri: &str) -> Exchange<'f, Auth> {
    exchange.property(["connection", "mtls"], true).property(["connection", "uri_san_peer_certificate"], uri)
}

const FRONT: Change = |exchange| mtls(exchange, "spiffe://cluster.local/ns/web/sa/front");
const PLAIN: Change = |exchange| exchange;
/// A certificate that nobody verified.
const UNVERIFIED: Change = |exchange| {
    exchange
        .property(["connection", "mtls"], false)
        .property(["connection", "uri_san_peer_certificate"], "spiffe://cluster.local/ns/web/sa/front")
};

#[test]
fn every_field_of_a_source() {
    const FROM_10: Change = |exchange| exchange.property(["source", "address"], "10.1.2.3:4000");
    const FROM_V6: Change = |exchange| exchange.property(["source", "address"], "[2001:db8::7]:4000");
    const TOKEN: Change = |exchange| {
        exchange.header("authorization", &bearer(&token(Algorithm::HS256, json!({"aud": ["a", "b"], "azp": "app"}))))
    };
    const ANONYMOUS: Change =
        |exchange| exchange.header("authorization", &bearer(&token(Algorithm::HS256, json!({"sub": null}))));
    let cases: [(Value, Change, bool); 35] = [
        (json!({"principals": ["cluster.local/ns/web/sa/front"]}), FRONT, true),
        (json!({"principals": ["spiffe://cluster.local/ns/web/sa/front"]}), FRONT, false),
        (json!({"principals": ["cluster.local/*"]}), FRONT, true),
        (json!({"principals": ["*/sa/front"]}), FRONT, true),
        (json!({"principals": ["*"]}), FRONT, true),
        (json!({"principals": ["*"]}), PLAIN, false),
        (json!({"principals": ["*"]}), UNVERIFIED, false),
        (json!({"principals": ["*"]}), |exchange| mtls(exchange, "https://x/ns/web/sa/front"), false),
        (json!({"principals": ["cluster.local/ns/web/sa/fron"]}), FRONT, false),
        (json!({"notPrincipals": ["*/sa/front"]}), FRONT, false),
        (json!({"notPrincipals": ["*/sa/front"]}), PLAIN, true),
        (json!({"principals": ["cluster.local/*"], "notPrincipals": ["*/sa/front"]}), FRONT, false),
        (json!({"namespaces": ["web"]}), FRONT, true),
        (json!({"namespaces": ["we*"]}), FRONT, true),
        (json!({"namespaces": ["we"]}), FRONT, false),
        (json!({"namespaces": ["front"]}), FRONT, false),
        (json!({"notNamespaces": ["web"]}), FRONT, false),
        (json!({"trustDomains": ["cluster.local"]}), FRONT, true),
        (json!({"trustDomains": ["local"]}), FRONT, false),
        (json!({"serviceAccounts": ["web/front"]}), FRONT, true),
        (json!({"serviceAccounts": ["other/front"]}), FRONT, false),
        (json!({"serviceAccounts": ["front"]}), |exchange| mtls(exchange, "spiffe://x/ns/own/sa/front"), true),
        (json!({"notServiceAccounts": ["web/front"]}), FRONT, false),
        (json!({"ipBlocks": ["10.0.0.0/8"]}), FROM_10, true),
        (json!({"ipBlocks": ["10.1.2.4", "192.168.0.0/16"]}), FROM_10, false),
        (json!({"ipBlocks": ["2001:db8::/32"]}), FROM_V6, true),
        (json!({"notIpBlocks": ["10.0.0.0/8"]}), FROM_10, false),
        (json!({"ipBlocks": ["0.0.0.0/0"]}), PLAIN, false),
        (json!({"requestPrincipals": ["https://issuer.example.com/ann"]}), TOKEN, true),
        (json!({"requestPrincipals": ["https://issuer.example.com/*"]}), TOKEN, true),
        (json!({"requestPrincipals": ["*"]}), TOKEN, true),
        (json!({"requestPrincipals": ["*"]}), PLAIN, false),
        (json!({"requestPrincipals": ["*"]}), ANONYMOUS, false),
        (json!({"notRequestPrincipals": ["*"]}), PLAIN, true),
        (json!({"notRequestPrincipals": ["*/ann"]}), TOKEN, false),
    ];
    for (source, change, passes) in cases {
        let config = json!({
            "requestAuthentication": {"jwtRules": [{"issuer": ISSUER, "jwks": JWKS}]},
            "authorizationPolicies": [{"rules": [{"from": [{"source": source}]}]}],
        });
        let host = host().property(["xds", "node", "metadata", "NAMESPACE"], "own");
        let filter: Filter<Auth> = host.configure(&config.to_string()).unwrap();
        let outcome = change(filter.get("/")).run();
        assert_eq!(outcome.status(), if passes { 200 } else { 403 }, "{source}");
    }
}

#[test]
fn the_remote_address_is_believed_only_from_trusted_proxies() {
    let status = |proxies: usize, forwarded: &str| {
        let filter = configured(json!({
            "numTrustedProxies": proxies,
            "authorizationPolicies": [{"rules": [{"from": [{"source": {"remoteIpBlocks": ["1.1.1.1"]}}]}]}],
        }));
        let exchange = filter.get("/").property(["source", "address"], "10.0.0.9:1");
        exchange.header("x-forwarded-for", forwarded).run().status()
    };
    assert_eq!(status(0, "1.1.1.1,10.0.0.9"), 403);
    assert_eq!(status(1, "1.1.1.1,10.0.0.9"), 200);
    assert_eq!(status(1, "1.1.1.1, 2.2.2.2, 10.0.0.9"), 403, "the client wrote the first itself");
    assert_eq!(status(2, "1.1.1.1, 2.2.2.2, 10.0.0.9"), 200);
    assert_eq!(status(3, "1.1.1.1, 10.0.0.9"), 403, "fewer than there should be");
}

#[test]
fn every_field_of_an_operation() {
    for (operation, method, path, host, passes) in [
        (json!({"paths": ["/a"]}), "GET", "/a", "x", true),
        (json!({"paths": ["/a"]}), "GET", "/a?b=c", "x", true),
        (json!({"paths": ["/a"]}), "GET", "/a/", "x", false),
        (json!({"paths": ["/a*"]}), "GET", "/ab/c", "x", true),
        (json!({"paths": ["*/c"]}), "GET", "/ab/c", "x", true),
        (json!({"paths": ["*"]}), "GET", "/", "x", true),
        (json!({"paths": ["/x/{*}/y", "/z/{**}"]}), "GET", "/x/1/y", "x", true),
        (json!({"paths": ["/x/{*}/y", "/z/{**}"]}), "GET", "/x/1/2/y", "x", false),
        (json!({"paths": ["/x/{*}/y", "/z/{**}"]}), "GET", "/z/1/2/y", "x", true),
        (json!({"notPaths": ["/a*"]}), "GET", "/ab", "x", false),
        (json!({"notPaths": ["/a*"]}), "GET", "/b", "x", true),
        (json!({"paths": ["/a*"], "notPaths": ["/ab"]}), "GET", "/ab", "x", false),
        (json!({"methods": ["GET", "HEAD"]}), "HEAD", "/", "x", true),
        (json!({"methods": ["GET"]}), "get", "/", "x", false),
        (json!({"notMethods": ["POST"]}), "POST", "/", "x", false),
        (json!({"hosts": ["Shop.example.com"]}), "GET", "/", "shop.EXAMPLE.com", true),
        (json!({"hosts": ["shop.example.com"]}), "GET", "/", "shop.example.com:8080", true),
        (json!({"hosts": ["shop.example.com:8080"]}), "GET", "/", "shop.example.com:8080", true),
        (json!({"hosts": ["shop.example.com:8080"]}), "GET", "/", "shop.example.com:80", false),
        (json!({"hosts": ["shop.example.com:*"]}), "GET", "/", "shop.example.com:80", true),
        (json!({"hosts": ["*.example.com"]}), "GET", "/", "a.example.com.", true),
        (json!({"hosts": ["*.example.com"]}), "GET", "/", "example.com", false),
        (json!({"hosts": ["shop.*"]}), "GET", "/", "shop.x:1", true),
        (json!({"hosts": ["[::1]"]}), "GET", "/", "[::1]:80", true),
        (json!({"notHosts": ["a", "b"]}), "GET", "/", "B:80", false),
        (json!({"ports": ["8080", "80"]}), "GET", "/", "x", true),
        (json!({"ports": ["81"]}), "GET", "/", "x", false),
        (json!({"notPorts": ["80"]}), "GET", "/", "x", false),
        (json!({"methods": ["GET"], "paths": ["/b"]}), "GET", "/a", "x", false),
    ] {
        let filter = allow(json!({"to": [{"operation": operation}]}));
        let exchange = filter.request(method, path).header(":authority", host);
        let outcome = exchange.property(["destination", "port"], 80).run();
        assert_eq!(outcome.status(), if passes { 200 } else { 403 }, "{operation} {method} {host} {path}");
    }
}

#[test]
fn every_key_of_a_condition() {
    let claims =
        json!({"group": ["dev", "ops"], "deep": {"er": "x"}, "aud": "shop", "azp": "app", "n": 7, "scope": "r w"});
    let good = bearer(&token(Algorithm::HS256, claims));
    for (key, value, passes) in [
        ("request.headers[X-Role]", "admin", true),
        ("request.headers[x-role]", "adm*", true),
        ("request.headers[x-role]", "*", true),
        ("request.headers[x-role]", "user", false),
        ("request.headers[x-none]", "*", false),
        ("source.ip", "10.0.0.0/8", true),
        ("source.ip", "11.0.0.0/8", false),
        ("remote.ip", "10.1.2.3", true),
        ("source.namespace", "web", true),
        ("source.principal", "cluster.local/ns/web/sa/front", true),
        ("source.serviceAccount", "web/front", true),
        ("request.auth.principal", "https://issuer.example.com/ann", true),
        ("request.auth.audiences", "shop", true),
        ("request.auth.audiences", "hop", false),
        ("request.auth.presenter", "app", true),
        ("request.auth.claims[group]", "ops", true),
        ("request.auth.claims[group]", "op", false),
        ("request.auth.claims[deep][er]", "x", true),
        ("request.auth.claims[deep]", "x", false),
        ("request.auth.claims[deep][no]", "*", false),
        ("request.auth.claims[scope]", "w", true),
        ("destination.ip", "10.9.9.9", true),
        ("destination.port", "80", true),
        ("destination.port", "81", false),
        ("connection.sni", "shop.example.com", true),
        ("connection.sni", "*.org", false),
    ] {
        for is_negated in [false, true] {
            let list = if is_negated { "notValues" } else { "values" };
            let filter = allow(json!({"when": [{"key": key, list: [value]}]}));
            let exchange = mtls(filter.get("/"), "spiffe://cluster.local/ns/web/sa/front")
                .header("authorization", &good)
                .header("x-role", "admin")
                .property(["source", "address"], "10.1.2.3:4")
                .property(["destination", "address"], "10.9.9.9:80")
                .property(["destination", "port"], 80)
                .property(["connection", "requested_server_name"], "shop.example.com");
            let outcome = exchange.run();
            assert_eq!(outcome.status() == 200, passes != is_negated, "{key} {list} {value}");
        }
    }
}

#[test]
fn inside_an_entry_all_and_between_entries_one() {
    let filter = policies(json!([
        {"rules": [
            {"from": [{"source": {"namespaces": ["web", "shop"]}}], "to": [{"operation": {"paths": ["/a"]}}, {"operation": {"paths": ["/b"]}}]},
            {"to": [{"operation": {"paths": ["/open"]}}]},
        ]},
        {"rules": [{"when": [{"key": "request.headers[x-key]", "values": ["1"]}, {"key": "request.headers[x-lock]", "values": ["1"]}]}]},
    ]));
    let status = |exchange: Exchange<'_, Auth>| exchange.run().status();
    assert_eq!(status(FRONT(filter.get("/a"))), 200);
    assert_eq!(status(FRONT(filter.get("/b"))), 200);
    assert_eq!(status(FRONT(filter.get("/c"))), 403);
    assert_eq!(status(filter.get("/a")), 403);
    assert_eq!(status(filter.get("/open")), 200);
    assert_eq!(status(filter.get("/c").header("x-key", "1")), 403);
    assert_eq!(status(filter.get("/c").header("x-key", "1").header("x-lock", "1")), 200);
}

#[test]
fn empty_policies_and_the_order_of_actions() {
    let is = |list: Value, path: &str| policies(list).get(path).run().status();
    let paths = |path: &str| json!([{"to": [{"operation": {"paths": [path]}}]}]);
    assert_eq!(is(json!([]), "/"), 200, "no policy allows everything");
    assert_eq!(is(json!([{}]), "/"), 403, "an ALLOW policy without rules allows nothing");
    assert_eq!(is(json!([{"rules": [{}]}]), "/"), 200, "an empty rule matches everything");
    assert_eq!(is(json!([{"action": "DENY"}]), "/"), 200, "a DENY policy without rules denies nothing");
    assert_eq!(is(json!([{"action": "DENY", "rules": [{}]}]), "/"), 403);
    assert_eq!(is(json!([{"action": "AUDIT", "rules": [{}]}]), "/"), 200, "AUDIT decides nothing");
    let both = json!([{"rules": paths("/a*")}, {"action": "DENY", "rules": paths("/ab*")}]);
    assert_eq!(is(both.clone(), "/a"), 200);
    assert_eq!(is(both.clone(), "/ab"), 403, "DENY comes before ALLOW, wherever it stands");
    assert_eq!(is(both, "/b"), 403);
    let filter = policies(json!([{"action": "AUDIT", "rules": paths("/a")}]));
    filter.get("/a").run();
    filter.get("/b").run();
    assert_eq!(filter.metric("sidegate_auth_audited_total"), Some(1));
    assert_eq!(filter.metric("sidegate_auth_allowed_total"), Some(2));
}

#[test]
fn a_policy_may_be_for_other_workloads() {
    let config = json!({"authorizationPolicies": [
        {"action": "DENY", "selector": {"matchLabels": {"app": "other"}}, "rules": [{}]},
    ]});
    let labels = host().property(["xds", "node", "metadata", "LABELS"], "x");
    let labels = labels.property(["xds", "node", "metadata", "LABELS", "app"], "shop");
    let filter: Filter<Auth> = labels.configure(&config.to_string()).unwrap();
    assert_eq!(filter.get("/").run().status(), 200);
    let filter: Filter<Auth> = host().configure(&config.to_string()).unwrap();
    assert_eq!(filter.get("/").run().status(), 403, "without labels nobody knows");
}

#[test]
fn a_refusal_says_nothing_but_its_status() {
    let filter = policies(json!([{}]));
    let outcome = filter.get("/").run();
    let reply = outcome.local_reply().unwrap();
    assert!(reply.message.body.is_empty() && reply.message.headers.is_empty());
    assert_eq!(reply.details, "rbac_access_denied");
    assert_eq!(filter.metric(r#"sidegate_auth_denied_total{reason="policy_not_allowed"}"#), Some(1));
    let with_token = filter.get("/").header("authorization", &bearer(&token(Algorithm::HS256, json!({})))).run();
    assert_eq!(with_token.header("www-authenticate"), Some("Bearer error=\"insufficient_scope\""));
}
