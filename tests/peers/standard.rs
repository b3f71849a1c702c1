//! The standard filters as they are built for everybody, in Envoy and in Sidegate: what they promise without a host of
//! their own, and how what only Sidegate can do is missing elsewhere.

use serde_json::{Value, json};

use crate::case::{CLUSTER, Case, Request, get, head, post};

pub(crate) fn all() -> Vec<Case> {
    let mut cases = auth();
    cases.extend(fault());
    cases.extend(ratelimit());
    cases.extend(telemetry());
    cases.extend(router());
    cases
}

fn case(filter: &'static str, what: &str, config: &Value, requests: Vec<Request>) -> Case {
    let file = match filter {
        "auth" => "filters/auth",
        "fault" => "filters/fault",
        "ratelimit" => "filters/ratelimit",
        "telemetry" => "filters/telemetry",
        _ => "filters/router",
    };
    Case::standard(format!("{filter}: {what}"), file, config.to_string(), requests)
}

/// A call with one empty message.
fn grpc(target: &str) -> Request {
    let bytes = post(target).bytes.replace("hello", "\0\0\0\0\0");
    Request { bytes }.with("content-type", "application/grpc")
}

// === auth ===

const ISSUER: &str = "https://issuer.example.com";
/// The keys of the filter's own tests, which have signed the tokens.
const JWKS: &str = include_str!("../../filters/auth/tests/keys/jwks.json");
const TOKENS: &str = include_str!("../e2e/tokens.json");

fn token(name: &str) -> String {
    let tokens: Value = serde_json::from_str(TOKENS).unwrap();
    tokens[name].as_str().unwrap().to_owned()
}

fn with_token(target: &str, name: &str) -> Request {
    get(target).with("authorization", &format!("Bearer {}", token(name)))
}

/// One rule for the issuer with these further words.
fn tokens(more: &Value) -> Value {
    let mut rule = json!({"issuer": ISSUER, "jwks": JWKS});
    for (key, value) in more.as_object().unwrap() {
        rule[key] = value.clone();
    }
    json!({"jwtRules": [rule]})
}

fn auth() -> Vec<Case> {
    let only_ann = json!([{"rules": [{"from": [{"source": {"requestPrincipals": [format!("{ISSUER}/ann")]}}]}]}]);
    let by_token = json!({"requestAuthentication": tokens(&json!({})), "authorizationPolicies": only_ann});
    let names = ["HS256", "RS256", "RS256", "ES256", "ES384", "bob", "expired", "forged", "stranger"];
    let good = token("RS256");
    let broken = good.replacen(good.rsplit('.').next().unwrap(), "AAAA", 1);
    let mut requests: Vec<Request> = names.iter().map(|name| with_token("/x", name)).collect();
    requests.extend([
        get("/x"),
        get("/x").with("authorization", &format!("Bearer {broken}")),
        get("/x").with("authorization", "Bearer x.y.z"),
        get("/x").with("authorization", "Basic YTpi"),
        get(&format!("/x?a=1&access_token={good}&b=2")),
        grpc("/x.Y/Z").with("authorization", &format!("Bearer {}", token("expired"))),
    ]);
    let elsewhere = tokens(&json!({
        "fromHeaders": [{"name": "x-token", "prefix": "T "}], "fromParams": ["t"], "fromCookies": ["session"],
        "forwardOriginalToken": true, "outputPayloadToHeader": "x-payload",
        "outputClaimToHeaders": [{"header": "x-sub", "claim": "sub"}, {"header": "x-exp", "claim": "exp"}],
    }));
    let elsewhere_requests = vec![
        get("/x").with("x-token", &format!("T {good}")),
        get(&format!("/x?t={good}")),
        get("/x").with("cookie", &format!("a=b; session={good}")),
        get("/x").with("x-sub", "root").with("x-payload", "forged"),
        with_token("/x", "RS256"),
    ];
    // SHA-256 of `saltsecret`.
    let hash = "bede90386d450cea8b77b822f8887065e4e5abf132c2f9dccfcc7fbd4cba5e35";
    let secrets = json!({
        "apiKeys": {"keys": [{"name": "ci", "key": "k-123"}], "hideCredentials": true},
        "basic": {"realm": "shop", "users": [{"name": "eve", "salt": "salt", "sha256": hash}]},
    });
    let basic = |text: &str| get("/x").with("authorization", text);
    let secret_requests = vec![
        get("/x"),
        get("/x").with("x-api-key", "k-123").with("x-auth-user", "root"),
        get("/x").with("x-api-key", "k-124"),
        get("/x").with("x-api-key", "k-123").with("x-api-key", "k-123"),
        basic("Basic ZXZlOnNlY3JldA=="),
        basic("Basic ZXZlOm90aGVy"),
    ];
    vec![
        case("auth", "tokens", &by_token, requests),
        case("auth", "places of tokens", &json!({"requestAuthentication": elsewhere}), elsewhere_requests),
        case("auth", "keys and passwords", &secrets, secret_requests),
        case("auth", "policies", &policies(), policy_requests()),
    ]
}

fn policies() -> Value {
    json!({"authorizationPolicies": [
        {"action": "DENY", "rules": [
            {"to": [{"operation": {"paths": ["/admin*"]}}]},
            {"when": [{"key": "request.headers[x-bad]", "values": ["*"]}]},
            {"from": [{"source": {"notIpBlocks": ["127.0.0.0/8"]}}]},
            {"from": [{"source": {"remoteIpBlocks": ["10.0.0.0/8"]}}]},
        ]},
        {"rules": [
            {"to": [{"operation": {"methods": ["GET"], "hosts": ["peers"], "notPorts": ["1"]}}]},
            {"to": [{"operation": {"methods": ["POST"], "paths": ["/api/{*}/items", "/files/{**}"]}}],
             "from": [{"source": {"ipBlocks": ["127.0.0.1"]}}], "when": [{"key": "source.ip", "values": ["127.0.0.1"]}]},
        ]},
        {"action": "AUDIT", "rules": [{"to": [{"operation": {"paths": ["/audited"]}}]}]},
    ]})
}

fn policy_requests() -> Vec<Request> {
    vec![
        get("/x"),
        head("/x"),
        get("/admin/x"),
        get("/admin?q=1"),
        get("/x").with("x-bad", "1"),
        get("/x").with("x-forwarded-for", "10.1.2.3"),
        post("/x"),
        post("/api/7/items"),
        post("/api/7/8/items"),
        post("/files/a/b/c?q=1"),
        grpc("/x.Y/Z"),
        get("/audited"),
    ]
}

// === fault ===

fn fault() -> Vec<Case> {
    let always = json!({"value": 100});
    let never = json!({"value": 0});
    let rules = json!({"rules": [
        {"match": [{"uri": {"prefix": "/slow"}}], "fault": {"delay": {"fixedDelay": "50ms", "percentage": always}}},
        {"match": [{"uri": {"prefix": "/both"}}], "fault": {
            "delay": {"fixedDelay": "20ms", "percentage": always}, "abort": {"httpStatus": 418, "percentage": always}}},
        {"match": [{"headers": {"x-fail": {"exact": "grpc"}}}],
         "fault": {"abort": {"grpcStatus": "UNAVAILABLE", "percentage": always}}},
        {"match": [{"uri": {"prefix": "/never"}}], "fault": {"abort": {"httpStatus": 503, "percentage": never}}},
        {"match": [{"uri": {"exact": "/fail"}, "method": {"regex": "GET|POST"}}],
         "fault": {"abort": {"httpStatus": 503, "percentage": always}}},
    ]});
    let requests = vec![
        get("/x"),
        get("/slow"),
        post("/slow"),
        get("/both"),
        get("/x").with("x-fail", "grpc"),
        grpc("/x.Y/Z").with("x-fail", "grpc"),
        get("/never"),
        get("/fail"),
        head("/fail"),
        post("/fail"),
        grpc("/fail"),
    ];
    let wish = |name: &str, value: &str| get("/x").with(&format!("x-envoy-fault-{name}"), value);
    let wishes = vec![
        get("/x"),
        wish("abort-request", "429"),
        wish("abort-request", "199"),
        wish("abort-request", "x"),
        wish("abort-grpc-request", "14"),
        wish("abort-request", "500").with("x-envoy-fault-abort-request-percentage", "100"),
        wish("abort-request", "500").with("x-envoy-fault-abort-request-percentage", "0"),
        wish("delay-request", "30"),
        wish("delay-request", "30").with("x-envoy-fault-delay-request-percentage", "0"),
        wish("delay-request", "20").with("x-envoy-fault-abort-request", "404"),
    ];
    vec![
        case("fault", "rules", &rules, requests),
        case("fault", "headers", &json!({"headerControl": true}), wishes),
        case("fault", "a slow response", &json!({"responseRateLimit": {"bytesPerSecond": 1_000_000}}), vec![get("/x")]),
    ]
}

// === ratelimit ===

fn ratelimit() -> Vec<Case> {
    let bucket = |tokens: u32| json!({"maxTokens": tokens, "tokensPerFill": tokens, "fillInterval": "1h"});
    let all = json!({
        "tokenBucket": bucket(2), "enableXRatelimitHeaders": "DRAFT_VERSION_03",
        "match": [{"uri": {"prefix": "/api"}}], "statPrefix": "all",
        "responseHeadersToAdd": [{"header": {"key": "x-local-rate-limit", "value": "true"}}],
    });
    let all_requests =
        vec![get("/x"), get("/api"), post("/api"), get("/api"), head("/api"), grpc("/api.X/Y"), get("/x")];
    let by_user = json!({
        "tokenBucket": bucket(100), "alwaysConsumeDefaultTokenBucket": false, "statPrefix": "users",
        "enableXRatelimitHeaders": "DRAFT_VERSION_03", "rateLimitedAsResourceExhausted": true, "status": {"code": 503},
        "rateLimits": [
            {"actions": [{"requestHeaders": {"headerName": "x-user", "descriptorKey": "user"}}]},
            {"actions": [{"path": {}}, {"remoteAddress": {}}]},
            {"actions": [{"genericKey": {"descriptorValue": "v"}},
                         {"queryParameters": {"queryParameterName": "q", "descriptorKey": "q"}}]},
        ],
        "descriptors": [
            {"entries": [{"key": "user", "value": "ann"}], "tokenBucket": bucket(3)},
            {"entries": [{"key": "user"}], "tokenBucket": bucket(1)},
            {"entries": [{"key": "path", "value": "/one"}, {"key": "remote_address", "value": "127.0.0.1"}],
             "tokenBucket": bucket(1)},
            {"entries": [{"key": "generic_key", "value": "v"}, {"key": "q"}], "tokenBucket": bucket(2)},
        ],
    });
    let user = |name: &str| get("/x").with("x-user", name);
    let mut users: Vec<Request> = ["ann", "bob", "ann", "bob", "ann", "eve", "ann", "eve"].map(user).into();
    users.extend([get("/one"), get("/one"), get("/one?z=1"), get("/two")]);
    users.extend(["/a?q=1", "/b?q=1", "/c?q=1", "/a?q=2"].map(get));
    users.push(grpc("/x.Y/Z").with("x-user", "bob"));
    let marked = json!({
        "tokenBucket": bucket(1), "filterEnforced": {"defaultValue": {"numerator": 0}}, "statPrefix": "marked",
        "requestHeadersToAddWhenNotEnforced": [{"header": {"key": "x-over", "value": "yes"}}],
    });
    vec![
        case("ratelimit", "one bucket", &all, all_requests),
        case("ratelimit", "buckets by description", &by_user, users),
        case("ratelimit", "not enforced", &marked, vec![get("/x"), get("/x").with("x-over", "no")]),
    ]
}

// === telemetry ===

fn telemetry() -> Vec<Case> {
    let overrides = json!({"metrics": [{"overrides": [
        {"match": {"metric": "RESPONSE_SIZE"}, "disabled": true},
        {"tagOverrides": {
            "path": {"value": "request.path"}, "user": {"value": "request.headers['x-user']"},
            "bad": {"value": "response.code >= 400"}, "fixed": {"value": "'text'"},
            "source_app": {"operation": "REMOVE"}, "source_version": {"operation": "REMOVE"},
        }},
    ]}]});
    let of_shop = || get("/answer").with("x-host", "1");
    let host = |host: &str| Request { bytes: format!("GET /answer HTTP/1.1\r\nhost: {host}\r\n\r\n") };
    let requests = vec![
        of_shop(),
        get("/204"),
        get("/teapot"),
        head("/answer"),
        post("/answer"),
        host("shop.prod.svc.cluster.local:8080"),
        host("10.1.2.3"),
        host("[::1]:99"),
        grpc("/shop.Cart/Add"),
    ];
    let told = vec![get("/answer").with("x-user", "ann"), get("/teapot"), post("/answer")];
    vec![
        case("telemetry", "as it comes", &json!({}), requests),
        case("telemetry", "labels of an operator", &overrides, told),
    ]
}

// === router ===

/// The destination is where the host sends requests anyway, so that both sides show what else the filter does.
fn router() -> Vec<Case> {
    let route = json!([{"destination": {"host": CLUSTER}}]);
    let http = json!([
        {"name": "headers", "match": [{"uri": {"prefix": "/headers"}, "queryParams": {"v": {"exact": "1"}}}], "route": route,
         "headers": {
            "request": {"set": {"x-set": "%REQ(x-q?:path)%", "host": "shop"}, "add": {"x-q": "2"}, "remove": ["x-gone"]},
            "response": {"set": {"x-upstream": "%PROTOCOL%"}, "add": {"x-back": "%REQ(x-q)%"}, "remove": ["set-cookie"]}}},
        {"match": [{"uri": {"prefix": "/old/"}}], "rewrite": {"uri": "/new/", "authority": "new.example"}, "route": route},
        {"match": [{"uri": {"regex": "/user/[0-9]+"}}], "route": route,
         "rewrite": {"uriRegexRewrite": {"match": "^/user/([0-9]+)$", "rewrite": "/u?id=\\1"}}},
        {"match": [{"uri": {"exact": "/moved"}}],
         "redirect": {"uri": "/here", "authority": "other.example", "scheme": "https", "port": 8443, "redirectCode": 308}},
        {"match": [{"uri": {"prefix": "/gone/"}}], "redirect": {"prefixRewrite": "/there/"}},
        {"match": [{"uri": {"exact": "/direct"}}], "directResponse": {"status": 451, "body": {"string": "not here"}}},
        {"match": [{"uri": {"prefix": "/fault"}}], "route": route, "fault": {
            "delay": {"fixedDelay": "20ms", "percentage": {"value": 100}},
            "abort": {"httpStatus": 503, "percentage": {"value": 100}}}},
        {"match": [{"uri": {"prefix": "/cors"}}], "route": route, "corsPolicy": {
            "allowOrigins": [{"exact": "https://a.example"}], "allowMethods": ["GET", "PUT"], "allowHeaders": ["x-a"],
            "exposeHeaders": ["x-upstream"], "maxAge": "24h", "allowCredentials": true}},
        {"match": [{"uri": {"prefix": "/told"}}], "route": route, "timeout": "5s",
         "retries": {"attempts": 2, "retryOn": "5xx"}, "mirror": {"host": CLUSTER}, "mirrorPercentage": {"value": 0}},
        {"match": [{"uri": {"prefix": "/plain"}, "withoutHeaders": {"x-no": {}}}], "route": route},
    ]);
    let config = json!({"virtualServices": [{"hosts": ["peers", "*.example"], "http": http}]});
    let preflight = |origin: &str| {
        let bytes = "OPTIONS /cors HTTP/1.1\r\nhost: peers\r\naccess-control-request-method: PUT\r\n\r\n".to_owned();
        Request { bytes }.with("origin", origin)
    };
    let elsewhere = Request { bytes: "GET /plain HTTP/1.1\r\nhost: elsewhere\r\n\r\n".to_owned() };
    let requests = vec![
        get("/headers/x?v=1").with("x-gone", "1").with("x-q", "1"),
        get("/headers/x?v=2"),
        get("/old/a/b?c=d"),
        get("/user/17"),
        get("/moved?q=1"),
        get("/gone/x?q=1"),
        get("/direct"),
        head("/direct"),
        get("/fault"),
        grpc("/fault"),
        preflight("https://a.example"),
        preflight("https://b.example"),
        get("/cors").with("origin", "https://a.example"),
        get("/told"),
        post("/plain"),
        get("/plain").with("x-no", "1"),
        elsewhere,
    ];
    let weights = json!([
        {"destination": {"host": "nowhere", "subset": "v1"}, "weight": 0}, {"destination": {"host": CLUSTER}, "weight": 1},
    ]);
    let split = json!({"virtualServices": [{"hosts": ["*"], "http": [{"route": weights}]}]});
    let lost =
        json!({"virtualServices": [{"hosts": ["*"], "http": [{"route": [{"destination": {"host": "nowhere"}}]}]}]});
    vec![
        case("router", "routes", &config, requests),
        case("router", "a split", &split, vec![get("/x"), post("/x")]),
        case("router", "an unknown destination", &lost, vec![get("/x")]),
    ]
}
