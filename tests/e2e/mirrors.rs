//! Copies of requests: they arrive whole, and whatever becomes of them is no matter of the original.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use sidegate_tests::port::FreePort;
use sidegate_tests::{Answer, Gate, Origin, Request, Sidegate, eventually};

use crate::setup::{routed, with_clusters};

const PATIENCE: Duration = Duration::from_secs(20);

/// A proxy whose one route goes to `app` with these mirror keys.
fn start(mirror: &str, app: &Origin, copy: SocketAddr) -> Sidegate {
    let route = format!("{{route: [{{destination: {{host: app}}}}], {mirror}}}");
    let copy = format!("{{name: copy, endpoints: [{{address: \"{copy}\"}}], subsets: [{{name: all, labels: {{}}}}]}}");
    Sidegate::configured(&with_clusters(&routed("", app, &route), &copy)).with_workers(1).start()
}

fn echo() -> Origin {
    Origin::answering(|request| Answer::ok(request.body.clone()))
}

fn arrived(origin: &Origin, count: usize) {
    let seen = eventually(PATIENCE, || (origin.request_count() >= count).then_some(()));
    assert!(seen.is_some(), "{} of {count} copies", origin.request_count());
}

#[test]
fn a_copy_is_the_same_request_to_another_host() {
    let (app, copy) = (echo(), Origin::answering(|_| Answer::status(500).with_body("never seen")));
    let sidegate = start("mirror: {host: copy, subset: all}", &app, copy.address());
    let mut client = sidegate.connect();
    let chunked = "POST /chunked HTTP/1.1\r\nhost: shop.test\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    for turn in 0..20 {
        let traced = Request::get("/get?q=1")
            .with_header("host", "shop.test:81")
            .with_header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        assert_eq!(client.send(&traced).unwrap().status, 200);
        let post = Request::post("/post", format!("body {turn}")).with_header("host", "shop.test");
        assert_eq!(client.send(&post).unwrap().text(), format!("body {turn}"));
        client.write(chunked.as_bytes()).unwrap();
        assert_eq!(client.read_response().unwrap().text(), "abcde");
    }
    arrived(&copy, 60);
    let copies = copy.requests();
    let get = copies.iter().find(|request| request.target == "/get?q=1").unwrap();
    assert_eq!(get.header("host"), Some("shop.test-shadow:81"));
    assert!(get.header("traceparent").unwrap().ends_with("-00"), "a copy is not traced");
    let mut bodies: Vec<_> = copies.iter().filter(|request| request.target == "/post").map(|r| r.text()).collect();
    bodies.sort();
    let mut wanted: Vec<_> = (0..20).map(|turn| format!("body {turn}")).collect();
    wanted.sort();
    assert_eq!(bodies, wanted);
    let chunked: Vec<_> = copies.iter().filter(|request| request.target == "/chunked").collect();
    assert!(chunked.len() == 20 && chunked.iter().all(|request| request.text() == "abcde"));
    assert!(app.requests().iter().all(|request| !request.header("host").unwrap().contains("shadow")));
    // Answers are read away, so that connections of the mirror serve again.
    assert!(copy.connection_count() < 40, "{} connections", copy.connection_count());
}

#[test]
fn a_mirror_that_is_gone_hangs_or_does_not_exist_changes_nothing() {
    let gate = Gate::closed();
    let held = gate.clone();
    let (app, hanging) = (echo(), Origin::answering(move |_| Answer::ok("late").when(&held)));
    let nobody = FreePort::claim().unwrap();
    for (mirror, copy) in [
        ("mirror: {host: copy}", nobody.address()),
        ("mirror: {host: copy}", hanging.address()),
        ("mirror: {host: ghost}", nobody.address()),
        ("mirror: {host: copy, subset: ghost}", nobody.address()),
    ] {
        let sidegate = start(mirror, &app, copy);
        let mut client = sidegate.connect();
        let begun = Instant::now();
        for turn in 0..20 {
            let body = format!("{turn}").repeat(1000);
            assert_eq!(client.send(&Request::post("/", body.clone())).unwrap().text(), body, "{mirror}");
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{mirror}: {:?}", begun.elapsed());
    }
    gate.open();
}

#[test]
fn a_copy_that_falls_behind_is_dropped_and_the_original_is_whole() {
    let app = Origin::answering(|request| Answer::ok(request.body.len().to_string()));
    // Takes connections and reads nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let sidegate = start("mirror: {host: copy}", &app, silent.local_addr().unwrap());
    let size = 32 << 20;
    let answer = sidegate.send(&Request::post("/", vec![b'x'; size]));
    assert_eq!(answer.text(), size.to_string());
    let labels = [("envoy_cluster_name", "copy")];
    assert!(sidegate.metric("sidegate_mirrors_dropped_total", &labels, |count| count >= 1.0) >= 1.0);
    // What was sent of it ends with the connection: no half request is taken for a whole one.
    let (mut connection, _) = silent.accept().unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut received = Vec::new();
    let _ = connection.read_to_end(&mut received);
    assert!(received.len() < size, "{} bytes of {size}", received.len());
}

#[test]
fn only_the_share_that_is_asked_for_is_copied() {
    let (app, copy) = (echo(), echo());
    let mirrors = "mirrors: [{destination: {host: copy}, percentage: {value: 25}}, \
                   {destination: {host: copy}, percentage: {value: 0}}]";
    let sidegate = start(mirrors, &app, copy.address());
    let mut client = sidegate.connect();
    for _ in 0..400 {
        assert_eq!(client.get("/").unwrap().status, 200);
    }
    arrived(&copy, 50);
    assert!(copy.request_count() < 160, "{} copies of 400 with 25 %", copy.request_count());
}
