//! Connections to upstreams: kept, used again, and replaced unnoticed when they have gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sidegate_tests::{Answer, Gate, Origin, Request, Sidegate, eventually};

use crate::setup::{config, fine, logged, plain};

#[test]
fn requests_of_one_client_share_one_upstream_connection() {
    let origin = fine();
    let sidegate = plain(&origin);
    let mut client = sidegate.connect();
    for _ in 0..20 {
        assert_eq!(client.get("/").unwrap().status, 200);
    }
    assert_eq!(origin.connection_count(), 1);
}

#[test]
fn a_kept_connection_that_was_closed_costs_no_request() {
    let origin = fine();
    let sidegate = plain(&origin);
    let mut client = sidegate.connect();
    for _ in 0..30 {
        assert_eq!(client.send(&Request::post("/", "hello")).unwrap().status, 200);
        origin.hang_up();
    }
}

/// The connection closes after the answer although nothing in the answer said so.
#[test]
fn an_upstream_that_closes_unannounced_costs_no_request() {
    let origin = Origin::answering(|_| Answer::raw("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine"));
    let sidegate = plain(&origin);
    let mut client = sidegate.connect();
    for _ in 0..50 {
        assert_eq!(client.get("/").unwrap().status, 200);
    }
}

#[test]
fn a_request_that_reached_the_upstream_is_not_sent_twice() {
    let count = Arc::new(AtomicUsize::new(0));
    let seen = count.clone();
    let origin = Origin::answering(move |request| match request.method.as_str() {
        "POST" => {
            seen.fetch_add(1, Ordering::SeqCst);
            Answer::nothing()
        }
        _ => Answer::ok("fine"),
    });
    let sidegate = plain(&origin);
    let mut client = sidegate.connect();
    for round in 1..=5 {
        assert_eq!(client.get("/").unwrap().status, 200);
        assert_eq!(client.send(&Request::post("/", "pay")).unwrap().status, 503);
        assert_eq!(count.load(Ordering::SeqCst), round);
    }
}

#[test]
fn a_client_that_leaves_ends_its_request_upstream() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = Origin::answering(move |_| Answer::ok("late").when(&held));
    let sidegate = Sidegate::start(&logged("", &origin, ""));
    let mut client = sidegate.connect();
    client.write(b"GET /left HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    eventually(Duration::from_secs(10), || (origin.request_count() == 1).then_some(())).unwrap();
    drop(client);
    let line = sidegate.stdout().line_with("/left", Duration::from_secs(10)).unwrap();
    assert!(line.contains(" DC "), "{line}");
    let clusters = || sidegate.ask_admin(&Request::get("/clusters")).text().into_owned();
    eventually(Duration::from_secs(10), || clusters().contains("app::rq_active::0").then_some(())).unwrap();
    gate.open();
    assert_eq!(sidegate.get("/").status, 200);
}

#[test]
fn a_full_cluster_refuses_at_once() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = Origin::answering(move |_| Answer::ok("late").when(&held));
    let policy = ", trafficPolicy: {connectionPool: {http: {http2MaxRequests: 2}}}";
    let sidegate = Sidegate::start(&logged("", &origin, policy));
    let mut held: Vec<_> = (0..2).map(|_| sidegate.connect()).collect();
    for client in &mut held {
        client.write(b"GET /held HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    }
    eventually(Duration::from_secs(10), || (origin.request_count() == 2).then_some(())).unwrap();
    assert_eq!(sidegate.get("/over").status, 503);
    let line = sidegate.stdout().line_with("/over", Duration::from_secs(10)).unwrap();
    assert!(line.starts_with("503 UO "), "{line}");
    gate.open();
    for client in &mut held {
        assert_eq!(client.read_response().unwrap().status, 200);
    }
    assert_eq!(sidegate.get("/again").status, 200);
}

#[test]
fn a_bound_on_connections_holds_over_all_workers() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = Origin::answering(move |_| Answer::ok("late").when(&held));
    let policy = ", trafficPolicy: {connectionPool: {tcp: {maxConnections: 3}}}";
    let sidegate = Sidegate::start(&config("", &origin, policy));
    let mut clients: Vec<_> = (0..10).map(|_| sidegate.connect()).collect();
    for client in &mut clients {
        client.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    }
    eventually(Duration::from_secs(10), || (origin.request_count() == 3).then_some(())).unwrap();
    gate.open();
    let statuses: Vec<_> = clients.iter_mut().map(|client| client.read_response().unwrap().status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 3, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 7, "{statuses:?}");
}
