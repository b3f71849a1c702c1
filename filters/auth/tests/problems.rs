//! What is refused, with the place that is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of a test may fail it")]

use auth::Auth;
use serde_json::{Value, json};
use sidegate_sdk::testing::{Filter, Host};

const SECRET: &str = r#"{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}"#;

fn jwt(rule: Value) -> Value {
    let mut whole = json!({"issuer": "i", "jwks": SECRET});
    for (name, value) in rule.as_object().unwrap() {
        whole.as_object_mut().unwrap().insert(name.clone(), value.clone());
    }
    json!({"requestAuthentication": {"jwtRules": [whole]}})
}

fn policy(policy: Value) -> Value {
    json!({"authorizationPolicies": [policy]})
}

fn source(source: Value) -> Value {
    policy(json!({"rules": [{"from": [{"source": source}]}]}))
}

fn operation(operation: Value) -> Value {
    policy(json!({"rules": [{"to": [{"operation": operation}]}]}))
}

fn when(when: Value) -> Value {
    policy(json!({"rules": [{"when": [when]}]}))
}

fn http(http: Value) -> Value {
    json!({"extAuthz": {"envoyExtAuthzHttp": http}})
}

fn grpc(grpc: Value) -> Value {
    json!({"extAuthz": {"envoyExtAuthzGrpc": grpc}})
}

#[test]
fn every_rule_names_its_place() {
    const RULE: &str = "/requestAuthentication/jwtRules/0";
    const SOURCE: &str = "/authorizationPolicies/0/rules/0/from/0/source";
    const OPERATION: &str = "/authorizationPolicies/0/rules/0/to/0/operation";
    const WHEN: &str = "/authorizationPolicies/0/rules/0/when/0";
    const HTTP: &str = "/extAuthz/envoyExtAuthzHttp";
    const GRPC: &str = "/extAuthz/envoyExtAuthzGrpc";
    let hash = "0".repeat(64);
    for (config, place, word) in [
        (json!({"apiKey": {}}), "/apiKey".to_owned(), "did you mean `apiKeys`"),
        (jwt(json!({"isuer": "x"})), format!("{RULE}/isuer"), "did you mean `issuer`"),
        (
            json!({"requestAuthentication": {"targetRefs": []}}),
            "/requestAuthentication/targetRefs".into(),
            "not supported",
        ),
        (jwt(json!({"issuer": ""})), format!("{RULE}/issuer"), "issuer is needed"),
        (jwt(json!({"audiences": [""]})), format!("{RULE}/audiences/0"), "empty"),
        (jwt(json!({"jwks": "{"})), format!("{RULE}/jwks"), "no JSON"),
        (jwt(json!({"jwks": "{\"keys\": []}"})), format!("{RULE}/jwks"), "no key"),
        (jwt(json!({"jwksUri": "https://x/"})), format!("{RULE}/jwksUri"), "exclude"),
        (jwt(json!({"jwks": null})), RULE.to_owned(), "jwks or jwksUri"),
        (jwt(json!({"jwks": null, "jwksUri": "x"})), format!("{RULE}/jwksUri"), "no URI"),
        (jwt(json!({"jwks": null, "jwksUri": "ftp://x"})), format!("{RULE}/jwksUri"), "no URI"),
        (jwt(json!({"jwks": null, "jwksUri": "https://u@x"})), format!("{RULE}/jwksUri"), "no URI"),
        (
            jwt(json!({"jwks": null, "jwksUri": "https://x", "timeout": "soon"})),
            format!("{RULE}/timeout"),
            "no duration",
        ),
        (jwt(json!({"jwks": null, "jwksUri": "https://x", "timeout": "0s"})), format!("{RULE}/timeout"), "1ms"),
        (jwt(json!({"fromHeaders": [{"name": "a b"}]})), format!("{RULE}/fromHeaders/0/name"), "no header name"),
        (jwt(json!({"fromParams": [""]})), format!("{RULE}/fromParams/0"), "name"),
        (jwt(json!({"fromCookies": [""]})), format!("{RULE}/fromCookies/0"), "name"),
        (jwt(json!({"outputPayloadToHeader": ":path"})), format!("{RULE}/outputPayloadToHeader"), "written"),
        (
            jwt(json!({"outputClaimToHeaders": [{"header": "host", "claim": "x"}]})),
            format!("{RULE}/outputClaimToHeaders/0/header"),
            "written",
        ),
        (
            jwt(json!({"outputClaimToHeaders": [{"header": "x", "claim": ""}]})),
            format!("{RULE}/outputClaimToHeaders/0/claim"),
            "name",
        ),
        (policy(json!({"action": "ALOW"})), "/authorizationPolicies/0/action".into(), "ALOW"),
        (policy(json!({"action": "CUSTOM"})), "/authorizationPolicies/0".into(), "provider"),
        (
            policy(json!({"action": "CUSTOM", "provider": {"name": "x"}})),
            "/authorizationPolicies/0/provider/name".into(),
            "no extAuthz",
        ),
        (policy(json!({"provider": {"name": "x"}})), "/authorizationPolicies/0/provider".into(), "only CUSTOM"),
        (policy(json!({"targetRefs": []})), "/authorizationPolicies/0/targetRefs".into(), "not supported"),
        (policy(json!({"rules": [{"from": []}]})), "/authorizationPolicies/0/rules/0/from".into(), "empty list"),
        (source(json!({})), SOURCE.into(), "one field"),
        (source(json!({"principals": []})), format!("{SOURCE}/principals"), "empty list"),
        (source(json!({"principals": [""]})), format!("{SOURCE}/principals/0"), "empty"),
        (source(json!({"ipBlocks": ["10.0.0.0/33"]})), format!("{SOURCE}/ipBlocks/0"), "no address"),
        (source(json!({"notRemoteIpBlocks": ["x"]})), format!("{SOURCE}/notRemoteIpBlocks/0"), "no address"),
        (source(json!({"serviceAccounts": ["a"]})), format!("{SOURCE}/serviceAccounts/0"), "namespace"),
        (source(json!({"serviceAccounts": ["n/*"]})), format!("{SOURCE}/serviceAccounts/0"), "without *"),
        (source(json!({"serviceAccounts": ["n/a"], "namespaces": ["n"]})), SOURCE.into(), "exclude"),
        (operation(json!({})), OPERATION.into(), "one field"),
        (operation(json!({"ports": ["0"]})), format!("{OPERATION}/ports/0"), "no port"),
        (operation(json!({"paths": ["/{a}"]})), format!("{OPERATION}/paths/0"), "template"),
        (operation(json!({"notPaths": ["/{**}/{*}"]})), format!("{OPERATION}/notPaths/0"), "last"),
        (operation(json!({"path": ["/"]})), format!("{OPERATION}/path"), "did you mean `paths`"),
        (when(json!({"key": "x", "values": ["y"]})), format!("{WHEN}/key"), "no key"),
        (when(json!({"key": "source.ip"})), WHEN.into(), "values and notValues"),
        (when(json!({"key": "source.ip", "values": ["x"]})), format!("{WHEN}/values/0"), "no address"),
        (when(json!({"key": "request.headers[:path]", "values": ["x"]})), format!("{WHEN}/key"), "paths"),
        (when(json!({"key": "request.headers[a b]", "values": ["x"]})), format!("{WHEN}/key"), "no header"),
        (when(json!({"key": "request.auth.claims[a][]", "values": ["x"]})), format!("{WHEN}/key"), "no claim"),
        (
            when(json!({"key": "experimental.envoy.filters.x[y]", "values": ["x"]})),
            format!("{WHEN}/key"),
            "not supported",
        ),
        (json!({"apiKeys": {"keys": []}}), "/apiKeys/keys".into(), "nobody"),
        (json!({"apiKeys": {"header": "", "keys": []}}), "/apiKeys/header".into(), "no header"),
        (json!({"apiKeys": {"keys": [{"name": "", "key": "x"}]}}), "/apiKeys/keys/0/name".into(), "name"),
        (json!({"apiKeys": {"keys": [{"name": "a"}]}}), "/apiKeys/keys/0".into(), "key or sha256"),
        (json!({"apiKeys": {"keys": [{"name": "a", "key": "x", "sha256": hash}]}}), "/apiKeys/keys/0".into(), "either"),
        (json!({"apiKeys": {"keys": [{"name": "a", "sha256": "12"}]}}), "/apiKeys/keys/0".into(), "64"),
        (
            json!({"apiKeys": {"keys": [{"name": "a", "key": "x"}, {"name": "b", "key": "x"}]}}),
            "/apiKeys/keys/1".into(),
            "already",
        ),
        (json!({"basic": {"users": []}}), "/basic/users".into(), "nobody"),
        (json!({"basic": {"realm": "\"", "users": []}}), "/basic/realm".into(), "quotes"),
        (json!({"basic": {"users": [{"name": "a:b", "sha256": hash}]}}), "/basic/users/0/name".into(), "colon"),
        (json!({"basic": {"users": [{"name": "a", "sha256": "zz"}]}}), "/basic/users/0/sha256".into(), "64"),
        (json!({"extAuthz": {}}), "/extAuthz".into(), "needed"),
        (
            json!({"extAuthz": {"envoyExtAuthzGrpc": {"service": "s"}, "envoyExtAuthzHttp": {"service": "s"}}}),
            "/extAuthz".into(),
            "exclude",
        ),
        (grpc(json!({"service": ""})), format!("{GRPC}/service"), "service is needed"),
        (grpc(json!({"service": "s", "timeout": "0s"})), format!("{GRPC}/timeout"), "1ms"),
        (grpc(json!({"service": "s", "statusOnError": 399})), format!("{GRPC}/statusOnError"), "400"),
        (grpc(json!({"service": "s", "pathPrefix": "/"})), format!("{GRPC}/pathPrefix"), "unknown"),
        (
            grpc(json!({"service": "s", "includeRequestBodyInCheck": {"maxRequestBytes": 0}})),
            format!("{GRPC}/includeRequestBodyInCheck/maxRequestBytes"),
            "at least 1 byte",
        ),
        (http(json!({"service": ""})), format!("{HTTP}/service"), "service is needed"),
        (http(json!({"service": "s", "timeout": "0s"})), format!("{HTTP}/timeout"), "1ms"),
        (http(json!({"service": "s", "pathPrefix": "x"})), format!("{HTTP}/pathPrefix"), "/"),
        (http(json!({"service": "s", "statusOnError": "200"})), format!("{HTTP}/statusOnError"), "400"),
        (
            http(json!({"service": "s", "includeRequestBodyInCheck": {"maxRequestBytes": 0}})),
            format!("{HTTP}/includeRequestBodyInCheck/maxRequestBytes"),
            "at least 1 byte",
        ),
        (
            http(json!({"service": "s", "headersToUpstreamOnAllow": ["a*b*"]})),
            format!("{HTTP}/headersToUpstreamOnAllow/0"),
            "no header",
        ),
    ] {
        let problems = Filter::<Auth>::configure(&config.to_string()).expect_err(&config.to_string());
        let found = problems.iter().find(|problem| problem.pointer == place && problem.text.contains(word));
        assert!(found.is_some(), "{config}: wanted {place} with {word}, got {problems:?}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let config = json!({
        "requestAuthentication": {"jwtRules": [{"issuer": "", "jwks": SECRET}]},
        "authorizationPolicies": [{"rules": [{"to": [{"operation": {"ports": ["x"]}}]}]}],
        "basic": {"users": []},
    });
    let problems = Filter::<Auth>::configure(&config.to_string()).unwrap_err();
    assert_eq!(problems.len(), 3, "{problems:?}");
}

#[test]
fn clusters_that_do_not_exist_are_warned_of() {
    let mut config = jwt(json!({"jwks": null, "jwksUri": "https://issuer.example.com/keys"}));
    config.as_object_mut().unwrap().extend(http(json!({"service": "authz"})).as_object().unwrap().clone());
    let host = Host::new().property("sidegate.clusters", r#"[{"name": "x", "hosts": []}]"#);
    let filter: Filter<Auth> = host.configure(&config.to_string()).unwrap();
    let places: Vec<String> = filter.warnings().into_iter().map(|warning| warning.pointer).collect();
    assert_eq!(places, ["/requestAuthentication/jwtRules/0/jwksUri", "/extAuthz/envoyExtAuthzHttp/service"]);
    let foreign: Filter<Auth> = Host::foreign().configure(&config.to_string()).unwrap();
    assert!(foreign.warnings().is_empty());
}
