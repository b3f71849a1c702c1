//! The process: it drains, it does not share its address, it comes back after a crash.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sidegate_tests::h2::Http2Client;
use sidegate_tests::sidegate::binary;
use sidegate_tests::{Answer, Client, Gate, Origin, Request, Sidegate, eventually};

use crate::frames::{Frames, GOAWAY, pseudo};
use crate::operator::{self, TOKEN};
use crate::setup::{config, fine, plain};

const PATIENCE: Duration = Duration::from_secs(20);

fn signal(sidegate: &Sidegate, signal: Signal) {
    kill_process(Pid::from_raw(sidegate.pid() as i32).unwrap(), signal).unwrap();
}

fn draining(drain: &str, origin: &Origin) -> Sidegate {
    Sidegate::start(&format!("drain: {drain}\n{}", config("", origin, "")))
}

fn held() -> (Origin, Gate) {
    let gate = Gate::closed();
    let closed = gate.clone();
    let answer = move |request: &Request| match request.target.as_str() {
        "/held" => Answer::ok("late").when(&closed),
        _ => Answer::ok("fine"),
    };
    (Origin::answering(answer), gate)
}

fn until_seen(origin: &Origin, count: usize) {
    eventually(PATIENCE, || (origin.request_count() >= count).then_some(())).unwrap();
}

fn until_draining(sidegate: &Sidegate) {
    let drains = eventually(PATIENCE, || {
        let answer = sidegate.ask_admin(&Request::get("/ready"));
        (answer.status == 503 && answer.text().trim() == "DRAINING").then_some(())
    });
    assert!(drains.is_some(), "/ready never said DRAINING");
}

#[test]
fn twenty_requests_in_flight_are_all_completed() {
    let (origin, gate) = held();
    let mut sidegate = draining("{minimum: 1s, timeout: 20s}", &origin);
    let mut clients: Vec<_> = (0..20).map(|_| sidegate.connect()).collect();
    for client in &mut clients {
        client.write(b"GET /held HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    }
    until_seen(&origin, 20);
    let mut goaway = Frames::connect(sidegate.address("inbound"));
    goaway.headers(1, &pseudo("GET", "/", "a"), true);
    assert_eq!(goaway.status_of(1), Some(200));
    let mut kept = sidegate.connect();
    assert_eq!(kept.get("/").unwrap().header("connection"), None);

    sidegate.terminate();
    until_draining(&sidegate);
    let answer = kept.get("/").unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(goaway.until(|frame| frame.kind == GOAWAY).is_some());
    gate.open();
    for client in &mut clients {
        let answer = client.read_response().unwrap();
        assert_eq!((answer.status, answer.text().as_ref()), (200, "late"));
        assert!(client.is_closed_by_peer().unwrap());
    }
    assert!(sidegate.exit().success());
}

#[test]
fn new_clients_are_served_for_the_minimum_and_refused_after() {
    let (origin, gate) = held();
    let mut sidegate = draining("{minimum: 3s, timeout: 20s}", &origin);
    let mut running = sidegate.connect();
    running.write(b"GET /held HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    until_seen(&origin, 1);
    sidegate.terminate();
    until_draining(&sidegate);
    let answer = sidegate.get("/new");
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    let address = sidegate.address("inbound");
    eventually(PATIENCE, || Client::get_once(address, "/refused").is_err().then_some(())).unwrap();
    assert_eq!(sidegate.ask_admin(&Request::get("/ready")).status, 503, "the admin address still answers");
    gate.open();
    assert_eq!(running.read_response().unwrap().text(), "late");
    assert!(sidegate.exit().success());
}

#[test]
fn http2_streams_are_completed_too() {
    let (origin, gate) = held();
    let mut sidegate = draining("{minimum: 100ms, timeout: 20s}", &origin);
    let address = sidegate.address("inbound");
    let client = std::thread::spawn(move || {
        let mut client = Http2Client::connect(address).unwrap();
        let requests: Vec<_> = (0..20).map(|_| Request::get("/held")).collect();
        client
            .send_all(&requests)
            .unwrap()
            .into_iter()
            .filter(|answer| answer.as_ref().is_ok_and(|answer| answer.status == 200))
            .count()
    });
    until_seen(&origin, 20);
    sidegate.terminate();
    until_draining(&sidegate);
    gate.open();
    assert_eq!(client.join().unwrap(), 20);
    assert!(sidegate.exit().success());
}

#[test]
fn a_websocket_goes_on_until_the_timeout() {
    let origin = Origin::answering(|_| {
        Answer::upgrade("websocket", |mut stream| {
            let mut buffer = [0; 64];
            while let Ok(read @ 1..) = stream.read(&mut buffer) {
                let _ = stream.write_all(&buffer[..read]);
            }
        })
    });
    let mut sidegate = draining("{minimum: 100ms, timeout: 3s}", &origin);
    let mut client = sidegate.connect();
    let handshake = Request::get("/").with_header("connection", "upgrade").with_header("upgrade", "websocket");
    assert_eq!(client.send(&handshake).unwrap().status, 101);
    let (mut stream, _) = client.into_upgraded();
    sidegate.terminate();
    let address = sidegate.address("inbound");
    eventually(PATIENCE, || TcpStream::connect(address).is_err().then_some(())).unwrap();
    stream.write_all(b"still there").unwrap();
    let mut answer = [0; 11];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"still there");
    sidegate.exit();
    assert_eq!(stream.read(&mut answer).unwrap_or(0), 0);
}

#[test]
fn what_does_not_end_is_cut_at_the_timeout() {
    let (origin, _gate) = held();
    let mut sidegate = draining("{minimum: 100ms, timeout: 500ms}", &origin);
    let mut client = sidegate.connect();
    client.write(b"GET /held HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    until_seen(&origin, 1);
    sidegate.terminate();
    sidegate.exit();
    assert!(client.read_response().is_err());
}

#[test]
fn a_second_sigterm_ends_at_once() {
    let (origin, _gate) = held();
    let mut sidegate = draining("{minimum: 60s, timeout: 120s}", &origin);
    let mut client = sidegate.connect();
    client.write(b"GET /held HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    until_seen(&origin, 1);
    sidegate.terminate();
    until_draining(&sidegate);
    let asked = Instant::now();
    sidegate.terminate();
    sidegate.exit();
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
}

#[test]
fn a_sigterm_before_it_serves_ends_at_once() {
    let (origin, _gate) = held();
    let module = format!("http://{}/held", origin.address());
    let mut sidegate =
        Sidegate::configured(&operator::config(&module, &origin, "")).with_file("token", TOKEN).without_ready().start();
    until_seen(&origin, 1);
    sidegate.terminate();
    assert!(sidegate.exit().success());
}

#[test]
fn an_idle_proxy_ends_after_the_minimum() {
    let origin = fine();
    let mut sidegate = draining("{minimum: 100ms, timeout: 60s}", &origin);
    assert_eq!(sidegate.get("/").status, 200);
    let idle = sidegate.connect();
    let asked = Instant::now();
    sidegate.terminate();
    assert!(sidegate.exit().success());
    assert!(asked.elapsed() < Duration::from_secs(15));
    drop(idle);
}

#[test]
fn a_second_process_on_the_same_address_exits_with_an_error() {
    let origin = fine();
    let sidegate = plain(&origin);
    let mut second = Command::new(binary())
        .args(["run", "sidegate.yaml", "--admin", "127.0.0.1:0"])
        .current_dir(sidegate.folder())
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = eventually(PATIENCE, || second.try_wait().unwrap());
    let _ = second.kill();
    let output = second.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(status.is_some_and(|status| !status.success()), "{text}");
    assert!(text.contains(&sidegate.address("inbound").to_string()), "{text}");
    for _ in 0..10 {
        assert_eq!(sidegate.get("/").status, 200);
    }
}

#[test]
fn an_address_that_somebody_else_holds_is_an_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "listeners: [{{name: inbound, address: \"{}\", cluster: app}}]\nclusters: [{{name: app}}]\n",
        taken.local_addr().unwrap()
    );
    std::fs::write(folder.path().join("sidegate.yaml"), config).unwrap();
    let output = sidegate_tests::sidegate::run(folder.path(), &["run", "sidegate.yaml", "--admin", "127.0.0.1:0"]);
    assert!(!output.status.success());
}

#[test]
fn after_a_crash_the_same_address_serves_again() {
    let origin = fine();
    let mut sidegate = plain(&origin);
    let mut client = sidegate.connect();
    assert_eq!(client.get("/").unwrap().status, 200);
    signal(&sidegate, Signal::KILL);
    sidegate.exit();
    let mut again = Command::new(binary())
        .args(["run", "sidegate.yaml", "--admin", &sidegate.admin().to_string()])
        .current_dir(sidegate.folder())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let served = eventually(PATIENCE, || Client::get_once(sidegate.address("inbound"), "/").ok());
    again.kill().unwrap();
    again.wait().unwrap();
    assert_eq!(served.unwrap().status, 200);
}

#[test]
fn signals_that_mean_nothing_to_us_end_nothing() {
    let origin = fine();
    let sidegate = plain(&origin);
    for harmless in [Signal::PIPE, Signal::CHILD, Signal::WINCH, Signal::HUP, Signal::USR1, Signal::USR2] {
        signal(&sidegate, harmless);
    }
    for _ in 0..5 {
        assert_eq!(sidegate.get("/").status, 200);
    }
}

#[test]
fn connections_come_and_go_without_leaving_files_open() {
    let origin = fine();
    let sidegate = plain(&origin);
    let open = || std::fs::read_dir(format!("/proc/{}/fd", sidegate.pid())).unwrap().count();
    for _ in 0..20 {
        assert_eq!(sidegate.get("/").status, 200);
    }
    let before = open();
    for _ in 0..1000 {
        assert_eq!(sidegate.get("/").status, 200);
    }
    let settled = eventually(PATIENCE, || (open() <= before + 10).then_some(()));
    assert!(settled.is_some(), "{before} files became {}", open());
}
