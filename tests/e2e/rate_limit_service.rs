//! A service that counts for many proxies: `rateLimitService` of `builtin:ratelimit` in the whole proxy.

use std::fmt::Display;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sidegate_tests::port::FreePort;
use sidegate_tests::{Origin, Request, Response, Sidegate};

use crate::grpc_service::{Call, GrpcService, Reply, message, number};
use crate::setup::{fine, logged, with_filter};

/// How long a line of the access log may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Far more than the service is waited for, far less than a hang.
const SOON: Duration = Duration::from_secs(2);

/// A proxy whose filter asks the service about each user; its configuration may have further words.
fn limited(origin: &Origin, service: impl Display, more: &str) -> Sidegate {
    let filter = format!(
        "{{plugin: ratelimit, config: {{enableXRatelimitHeaders: DRAFT_VERSION_03, \
         rateLimits: [{{actions: [{{requestHeaders: {{headerName: x-user, descriptorKey: user}}}}]}}], \
         rateLimitService: {{cluster: limits.local, domain: shop{more}}}}}}}"
    );
    let limits = format!("{{name: limits, hosts: [limits.local], endpoints: [{{address: \"{service}\"}}]}}");
    Sidegate::start(&with_filter(&logged("", origin, ""), &filter, &limits))
}

fn by(user: &str) -> Request {
    Request::get("/").with_header("x-user", user)
}

/// A `RateLimitResponse`: of 3 in an hour so many are left, and a header for each side.
fn ruling(code: u8, remaining: u8) -> Vec<u8> {
    let limit = [number(1, 3), number(2, 3)].concat();
    let status =
        [number(1, code), message(&[(2, &limit)]), number(3, remaining), message(&[(4, &number(1, 60))])].concat();
    let header = |name: &str| message(&[(1, name.as_bytes()), (2, b"yes")]);
    [number(1, code), message(&[(2, &status), (3, &header("x-for-client")), (4, &header("x-for-app"))])].concat()
}

/// Lets three requests pass.
fn three() -> impl Fn(&Call) -> Reply + Send + Sync {
    let asked = AtomicUsize::new(0);
    move |_| {
        let number = u8::try_from(asked.fetch_add(1, Ordering::SeqCst)).unwrap();
        Reply::Message(if number < 3 { ruling(1, 2 - number) } else { ruling(2, 0) })
    }
}

fn told(answer: &Response) -> [&str; 3] {
    ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"].map(|name| answer.header(name).unwrap_or(""))
}

#[test]
fn the_service_decides_and_both_sides_are_told() {
    let (origin, service) = (fine(), GrpcService::answering(three()));
    let sidegate = limited(&origin, &service, ", timeout: 5s");
    for left in ["2", "1", "0"] {
        let answer = sidegate.send(&by("ann"));
        assert_eq!((answer.status, told(&answer)), (200, ["3, 3;w=3600", left, "60"]));
        assert_eq!((answer.header("x-for-client"), answer.header("x-for-app")), (Some("yes"), None));
    }
    assert_eq!(origin.requests()[0].header("x-for-app"), Some("yes"));
    let answer = sidegate.send(&by("ann"));
    assert_eq!((answer.status, told(&answer)), (429, ["3, 3;w=3600", "0", "60"]));
    assert_eq!((answer.header("x-envoy-ratelimited"), answer.header("x-for-client")), (Some("true"), Some("yes")));
    assert_eq!((sidegate.get("/").status, origin.request_count()), (200, 4), "who is not described is not asked about");
    let calls = service.calls();
    assert_eq!(calls.len(), 4);
    assert_eq!(calls[0].path, "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit");
    assert!(calls[0].tells(1, "shop") && calls[0].tells(1, "user") && calls[0].tells(2, "ann"));
    assert!(sidegate.stdout().line_with("429 RL request_rate_limited", PATIENCE).is_some());
    sidegate
        .metric("envoy_cluster_ratelimit_over_limit", &[("envoy_cluster_name", "limits.local")], |count| count == 1.0);
}

#[test]
fn a_service_that_is_down_slow_or_out_of_order_stops_nobody_unless_it_is_said() {
    let nobody = FreePort::claim().unwrap();
    let silent = GrpcService::answering(|_| Reply::Silence);
    let refusing = GrpcService::answering(|_| Reply::Status(13));
    let babbling = GrpcService::answering(|_| Reply::Message(vec![0xff; 20]));
    for address in [nobody.address().to_string(), silent.to_string(), refusing.to_string(), babbling.to_string()] {
        for (more, status, line) in
            [("", 200, "200 - via_upstream"), (", failureModeDeny: true", 500, "500 RLSE rate_limiter_error")]
        {
            let origin = fine();
            let sidegate = limited(&origin, &address, more);
            let began = Instant::now();
            assert_eq!(sidegate.send(&by("ann")).status, status, "{address}{more}");
            assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
            assert!(sidegate.stdout().line_with(line, PATIENCE).is_some(), "{line}: {:?}", sidegate.stdout().lines());
            assert_eq!(origin.request_count(), usize::from(status == 200));
        }
    }
}
