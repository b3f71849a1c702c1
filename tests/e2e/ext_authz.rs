//! A service outside that decides, asked over HTTP and over gRPC: `extAuthz` of `builtin:auth` in the whole proxy.

use std::fmt::Display;
use std::fs;
use std::time::{Duration, Instant};

use sidegate_tests::port::FreePort;
use sidegate_tests::{Answer, Client, Origin, Request, Sidegate, eventually};

use crate::grpc_service::{Call, GrpcService, Reply, message, number};
use crate::setup::{fine, logged, with_filter};

/// How long a line of the access log may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Far more than the service is waited for, far less than a hang.
const SOON: Duration = Duration::from_secs(3);

/// A proxy that asks the service, as `envoyExtAuthzHttp` or `envoyExtAuthzGrpc` with these further words.
fn guarded(origin: &Origin, kind: &str, service: impl Display, more: &str) -> Sidegate {
    let filter = format!("{{plugin: auth, config: {{extAuthz: {{{kind}: {{service: authz.local{more}}}}}}}}}");
    let authz = format!("{{name: authz, hosts: [authz.local], endpoints: [{{address: \"{service}\"}}]}}");
    Sidegate::start(&with_filter(&logged("", origin, ""), &filter, &authz))
}

fn by(user: &str) -> Request {
    Request::get("/shop?q=1").with_header("authorization", user).with_header("x-user", "root").with_header("x-old", "1")
}

/// Whether the log has this line for the request of [`by`].
fn logs(sidegate: &Sidegate, line: &str) {
    let line = format!("{line} GET /shop?q=1");
    assert!(sidegate.stdout().line_with(&line, PATIENCE).is_some(), "{line}: {:?}", sidegate.stdout().lines());
}

#[test]
fn an_http_service_lets_pass_refuses_and_fails() {
    let authz = Origin::answering(|request| match request.header("authorization") {
        Some("ann") => Answer::ok("").with_header("x-user", "ann").with_header("set-cookie", "s=1"),
        Some("ill") => Answer::status(500),
        _ => Answer::status(401).with_header("www-authenticate", "Bearer").with_body("who?"),
    });
    let origin = fine();
    let more = ", timeout: 5s, headersToUpstreamOnAllow: [x-user], headersToDownstreamOnAllow: [set-cookie]";
    let sidegate = guarded(&origin, "envoyExtAuthzHttp", &authz, more);
    let answer = sidegate.send(&by("ann"));
    assert_eq!((answer.status, answer.header("set-cookie")), (200, Some("s=1")));
    assert_eq!(origin.requests()[0].headers.all("x-user").collect::<Vec<_>>(), ["ann"]);
    let answer = sidegate.send(&by("eve"));
    assert_eq!((answer.status, answer.text().as_ref()), (401, "who?"));
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    assert_eq!(sidegate.send(&by("ill")).status, 403);
    assert_eq!(origin.request_count(), 1);
    assert_eq!(authz.requests()[0].target, "/shop?q=1");
    logs(&sidegate, "401 UAEX ext_authz_denied");
    logs(&sidegate, "403 UAEX ext_authz_error");
}

/// A `HeaderValueOption`.
fn option(name: &str, value: &str) -> Vec<u8> {
    message(&[(1, &message(&[(1, name.as_bytes()), (2, value.as_bytes())]))])
}

/// Lets `ann` pass, refuses everybody else.
fn check(call: &Call) -> Reply {
    Reply::Message(if call.tells(2, "ann") {
        let ok = [(2, &option("x-user", "ann")[..]), (5, b"x-old"), (6, &option("set-cookie", "s=1"))];
        message(&[(1, b""), (3, &message(&ok))])
    } else {
        let denied = [(1, &[1 << 3, 0x91, 0x03][..]), (2, &option("www-authenticate", "Bearer")), (3, b"who?")];
        message(&[(1, &number(1, 16)), (2, &message(&denied))])
    })
}

#[test]
fn a_grpc_service_lets_pass_and_refuses() {
    let authz = GrpcService::answering(check);
    let origin = fine();
    let sidegate = guarded(&origin, "envoyExtAuthzGrpc", &authz, ", timeout: 5s, contextExtensions: {tenant: shop}");
    let answer = sidegate.send(&by("ann"));
    assert_eq!((answer.status, answer.header("set-cookie")), (200, Some("s=1")));
    let seen = &origin.requests()[0];
    assert_eq!((seen.headers.all("x-user").collect::<Vec<_>>(), seen.header("x-old")), (vec!["ann"], None));
    let answer = sidegate.send(&by("eve"));
    assert_eq!((answer.status, answer.text().as_ref()), (401, "who?"));
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    assert_eq!(origin.request_count(), 1);
    logs(&sidegate, "401 UAEX ext_authz_denied");
    let call = &authz.calls()[0];
    assert_eq!(call.path, "/envoy.service.auth.v3.Authorization/Check");
    let address = sidegate.address("inbound").to_string();
    for (number, text) in [
        (2, "GET"),
        (4, "/shop?q=1"),
        (5, address.as_str()),
        (6, "http"),
        (10, "HTTP/1.1"),
        (1, ":path"),
        (1, "x-user"),
        (2, "127.0.0.1"),
        (1, "tenant"),
    ] {
        assert!(call.tells(number, text), "{number} {text}");
    }
}

#[test]
fn without_an_answer_nobody_passes_unless_it_is_said() {
    let nobody = FreePort::claim().unwrap();
    let silent = GrpcService::answering(|_| Reply::Silence);
    let refusing = GrpcService::answering(|_| Reply::Status(7));
    let babbling = GrpcService::answering(|_| Reply::Message(vec![0xff; 20]));
    let mute = Origin::answering(|_| Answer::ok("").after(SOON * 2));
    let grpc = [nobody.address().to_string(), silent.to_string(), refusing.to_string(), babbling.to_string()];
    let grpc = grpc.into_iter().map(|address| ("envoyExtAuthzGrpc", address));
    let http = [nobody.address().to_string(), mute.to_string()].map(|address| ("envoyExtAuthzHttp", address));
    for (kind, address) in grpc.chain(http) {
        for (more, status) in [(", statusOnError: \"503\"", 503), (", failOpen: true", 200)] {
            let origin = fine();
            let sidegate = guarded(&origin, kind, &address, more);
            let began = Instant::now();
            assert_eq!(sidegate.send(&by("ann")).status, status, "{kind} {address}{more}");
            assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
            assert_eq!(origin.request_count(), usize::from(status == 200));
        }
    }
}

/// What the service is told of bodies, and who is asked by which policy: extension providers.
#[test]
fn providers_are_asked_by_policy_and_told_of_bodies() {
    let bodies = GrpcService::answering(|call| match call.tells(11, "drop table") {
        true => Reply::Message(message(&[(1, &number(1, 7))])),
        false => Reply::Message(message(&[(1, b"")])),
    });
    let users = Origin::answering(|request| match request.header("authorization") {
        Some("ann") => Answer::ok("").with_header("x-user", "ann"),
        _ => Answer::status(401),
    });
    let origin = Origin::answering(|request| Answer::ok(request.body.clone()));
    let config = {
        let custom = |name: &str, operation: &str| {
            format!("{{action: CUSTOM, provider: {{name: {name}}}, rules: [{{to: [{{operation: {operation}}}]}}]}}")
        };
        let policies = [custom("users", "{paths: [/shop*]}"), custom("bodies", "{methods: [POST]}")].join(", ");
        let filter = format!("{{plugin: auth, config: {{authorizationPolicies: [{policies}]}}}}");
        let clusters = format!(
            "{{name: users, endpoints: [{{address: \"{users}\"}}]}}, {{name: bodies, endpoints: [{{address: \"{bodies}\"}}]}}"
        );
        let providers = "extensionProviders:\n\
             - {name: users, envoyExtAuthzHttp: {service: users, port: 80, timeout: 5s, headersToUpstreamOnAllow: [x-user]}}\n\
             - name: bodies\n  envoyExtAuthzGrpc:\n    {service: bodies, port: 80, timeout: 5s, failOpen: true,\n     \
             includeRequestBodyInCheck: {maxRequestBytes: 20}}\n".to_string();
        providers + &with_filter(&logged("", &origin, ""), &filter, &clusters)
    };
    let sidegate = Sidegate::start(&config);
    let ask = |request: Request| sidegate.send(&request.with_header("authorization", "ann"));
    assert_eq!(ask(Request::get("/free")).status, 200);
    assert_eq!((users.request_count(), bodies.calls().len()), (0, 0));
    let answer = ask(Request::post("/shop", "select"));
    assert_eq!((answer.status, answer.text().as_ref()), (200, "select"), "what the service saw arrives whole");
    assert_eq!(origin.requests()[1].header("x-user"), Some("ann"));
    assert_eq!((users.request_count(), bodies.calls().len()), (1, 1));
    assert_eq!(ask(Request::post("/free", "drop table")).status, 403);
    assert_eq!(ask(Request::post("/free", vec![b'x'; 21])).status, 413, "failOpen is about answers");
    assert_eq!(sidegate.send(&Request::post("/shop", "select")).status, 401);
    // A provider belongs to the configuration of who names it.
    let file = sidegate.folder().join("sidegate.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("maxRequestBytes: 20", "maxRequestBytes: 21")).unwrap();
    let passes = || (ask(Request::post("/free", vec![b'x'; 21])).status == 200).then_some(());
    assert!(eventually(PATIENCE, passes).is_some(), "the new words count");
    let line = "413 - request_payload_too_large POST /free";
    assert!(sidegate.stdout().line_with(line, PATIENCE).is_some(), "{:?}", sidegate.stdout().lines());
}

/// An upload much larger than what a filter may hold: the service sees its beginning, the upstream all of it.
#[test]
fn the_beginning_of_a_large_body_is_told_and_the_rest_waits_outside() {
    const LARGE: usize = 8 << 20;
    let authz = Origin::answering(|request| match request.header("x-envoy-auth-partial-body") {
        Some("true") if request.body.len() == 4096 => Answer::ok("").after(Duration::from_millis(300)),
        _ => Answer::status(403),
    });
    let origin = Origin::answering(|request| Answer::ok(request.body.len().to_string()));
    let more = ", timeout: 5s, includeRequestBodyInCheck: {maxRequestBytes: 4096, allowPartialMessage: true}";
    let sidegate = guarded(&origin, "envoyExtAuthzHttp", &authz, more);
    let answer = sidegate.send(&Request::post("/", vec![b'x'; LARGE]));
    assert_eq!((answer.status, answer.text().as_ref()), (200, LARGE.to_string().as_str()));
    assert_eq!(sidegate.send(&Request::post("/", "small")).status, 403, "this one is whole");
}

/// Pieces that come while one service after the other is asked, the last of them empty: none of them is unjudged.
#[test]
fn a_body_in_pieces_is_told_to_both_services() {
    let slowly = || Answer::ok("").after(Duration::from_millis(300));
    let users = Origin::answering(move |_| slowly());
    let first = Origin::answering(move |_| slowly());
    let second = Origin::answering(|request| Answer::status(if request.text() == "drop table" { 403 } else { 200 }));
    let origin = fine();
    let services = [("users", &users, None), ("first", &first, Some(4)), ("second", &second, Some(64))];
    let policies = services.map(|(name, ..)| format!("{{action: CUSTOM, provider: {{name: {name}}}, rules: [{{}}]}}"));
    let clusters =
        services.map(|(name, service, _)| format!("{{name: {name}, endpoints: [{{address: \"{service}\"}}]}}"));
    let providers = services.map(|(name, _, most)| {
        let body = "includeRequestBodyInCheck: {allowPartialMessage: true, maxRequestBytes:";
        let body = most.map(|most| format!(", {body} {most}}}")).unwrap_or_default();
        format!("- {{name: {name}, envoyExtAuthzHttp: {{service: {name}, port: 80, timeout: 5s{body}}}}}\n")
    });
    let filter = format!("{{plugin: auth, config: {{authorizationPolicies: [{}]}}}}", policies.join(", "));
    let config = with_filter(&logged("", &origin, ""), &filter, &clusters.join(", "));
    let sidegate = Sidegate::start(&format!("extensionProviders:\n{}{config}", providers.concat()));
    let mut client = Client::connect(sidegate.address("inbound")).unwrap();
    let asked = |service: &Origin| eventually(PATIENCE, || (service.request_count() == 1).then_some(())).is_some();
    client.write(b"POST / HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: chunked\r\n\r\n5\r\ndrop \r\n").unwrap();
    assert!(asked(&users));
    client.write(b"5\r\ntable\r\n").unwrap();
    assert!(asked(&first));
    client.write(b"0\r\n\r\n").unwrap();
    assert_eq!(client.read_response().unwrap().status, 403);
    let told = |service: &Origin| {
        let request = &service.requests()[0];
        (request.text().into_owned(), request.header("x-envoy-auth-partial-body").map(str::to_owned))
    };
    assert_eq!(told(&first), ("drop".to_owned(), Some("true".to_owned())));
    assert_eq!(told(&second), ("drop table".to_owned(), Some("false".to_owned())));
    assert_eq!(origin.request_count(), 0);
}
