//! A service outside that decides, asked over HTTP and over gRPC: `extAuthz` of `builtin:auth` in the whole proxy.

use std::fmt::Display;
use std::time::{Duration, Instant};

use sidegate_tests::port::FreePort;
use sidegate_tests::{Answer, Origin, Request, Sidegate};

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
