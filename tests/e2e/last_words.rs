//! What filters may still do when the process ends: their roots are told, may send what they kept, and hold up nobody.

use std::time::{Duration, Instant};

use sidegate_tests::{Answer, Client, Gate, Origin, Request, Sidegate, eventually};

use crate::guest::{FOREVER, guest};
use crate::operator::TOKEN;
use crate::setup::{config, fine};

const PATIENCE: Duration = Duration::from_secs(10);

/// A GET to the cluster `app`.
fn call(path: &str) -> String {
    let pairs = [(":method", "GET"), (":path", path), (":authority", "a")];
    let mut bytes = vec![pairs.len() as u8, 0, 0, 0];
    for (name, value) in pairs {
        bytes.extend([name.len() as u8, 0, 0, 0, value.len() as u8, 0, 0, 0]);
    }
    for (name, value) in pairs {
        bytes.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    }
    let text: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
    format!("(drop (call $http_call <app> <{text}> <> <> #5000 #48))")
}

/// A body for the root alone, which is the first context.
fn of_root(body: &str) -> String {
    format!("(if (i32.eq (local.get 0) #1) (then {body}))")
}

fn with_guest(hooks: &[(&str, &str)], drain: &str, origin: &Origin) -> Sidegate {
    let text = format!(
        "drain: {drain}\nadmin: {{tokenFile: token}}\nplugins: [{{name: guest, url: \"file:guest.wasm\"}}]\n{}",
        config(", filters: [{plugin: guest}]", origin, "")
    );
    Sidegate::configured(&text).with_file("guest.wasm", guest(hooks)).with_file("token", TOKEN).with_workers(1).start()
}

fn targets(origin: &Origin) -> Vec<String> {
    origin.requests().into_iter().map(|request| request.target).collect()
}

/// One exchange that the origin holds, in a process that was told to end; the filter tells of both ends.
struct Held {
    sidegate: Sidegate,
    client: Client,
    gate: Gate,
    _origin: Origin,
}

impl Held {
    fn draining(drain: &str) -> Self {
        let gate = Gate::closed();
        let closed = gate.clone();
        let origin = Origin::answering(move |_| Answer::ok("late").when(&closed));
        let said = |word: &str| format!("(drop (call $log #2 <{word}>))");
        let (log, done) = (said("exchange ended"), of_root(&said("root ended")));
        let sidegate = with_guest(&[("log", &log), ("done", &done)], drain, &origin);
        let mut client = sidegate.connect();
        client.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        eventually(PATIENCE, || (origin.request_count() == 1).then_some(())).unwrap();
        sidegate.terminate();
        Self { sidegate, client, gate, _origin: origin }
    }

    fn exchange_ended_before_root(&self) {
        let lines = self.sidegate.log().lines();
        let at = |word: &str| lines.iter().position(|line| line.contains(word));
        assert!(at("exchange ended").is_some() && at("exchange ended") < at("root ended"), "{lines:?}");
    }
}

#[test]
fn what_roots_say_and_send_at_the_end_goes_out() {
    let origin = fine();
    let done = of_root(&format!("(drop (call $log #2 <farewell>)) {}", call("/flush")));
    let delete = of_root("(drop (call $log #2 <deleted>))");
    let mut sidegate = with_guest(&[("done", &done), ("delete", &delete)], "{minimum: 0s, timeout: 20s}", &origin);
    assert_eq!(sidegate.get("/").status, 200);
    let asked = Instant::now();
    sidegate.terminate();
    assert!(sidegate.exit().success());
    assert!(asked.elapsed() < PATIENCE, "{:?}", asked.elapsed());
    assert_eq!(targets(&origin), ["/", "/flush"]);
    for word in ["farewell", "deleted"] {
        let told = sidegate.log().lines().iter().filter(|line| line.contains(word)).count();
        assert_eq!(told, 1, "{word}");
    }
}

#[test]
fn the_root_is_told_after_the_last_exchange() {
    let mut held = Held::draining("{minimum: 0s, timeout: 20s}");
    held.sidegate.log().line_with("draining", PATIENCE).unwrap();
    held.gate.open();
    assert_eq!(held.client.read_response().unwrap().text(), "late");
    assert!(held.sidegate.exit().success());
    held.exchange_ended_before_root();
}

#[test]
fn a_root_that_says_no_has_time_until_it_is_done() {
    let origin = fine();
    let done = format!("(if (i32.eq (local.get 0) #1) (then {} (return #0)))", call("/first"));
    let answered =
        format!("(if (i32.load #64) (then (drop (call $finish))) (else (i32.store #64 #1) {}))", call("/second"));
    let mut sidegate =
        with_guest(&[("done", &done), ("http_call_response", &answered)], "{minimum: 0s, timeout: 60s}", &origin);
    let asked = Instant::now();
    sidegate.terminate();
    assert!(sidegate.exit().success());
    assert!(asked.elapsed() < PATIENCE, "{:?}", asked.elapsed());
    assert_eq!(targets(&origin), ["/first", "/second"]);
}

#[test]
fn no_root_holds_up_the_end() {
    let origin = fine();
    let never = of_root("(return #0)");
    for (what, done, limit) in [
        ("says no for ever", never.as_str(), "1s"),
        ("loops", &of_root(FOREVER), "20s"),
        ("traps", &of_root("(unreachable)"), "20s"),
    ] {
        let mut sidegate = with_guest(&[("done", done)], &format!("{{minimum: 0s, timeout: {limit}}}"), &origin);
        assert_eq!(sidegate.get("/").status, 200);
        let asked = Instant::now();
        sidegate.terminate();
        assert!(sidegate.exit().success(), "{what}");
        assert!(asked.elapsed() < Duration::from_secs(8), "{what}: {:?}", asked.elapsed());
    }
}

#[test]
fn an_end_without_a_drain_tells_roots_too() {
    let gate = Gate::closed();
    let closed = gate.clone();
    let origin = Origin::answering(move |request| match request.target.as_str() {
        "/held" => Answer::ok("late").when(&closed),
        _ => Answer::ok("fine"),
    });
    let done = of_root(&call("/flush"));
    let mut sidegate = with_guest(&[("done", &done)], "{minimum: 60s, timeout: 120s}", &origin);
    let mut client = sidegate.connect();
    client.write(b"GET /held HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    eventually(PATIENCE, || (origin.request_count() == 1).then_some(())).unwrap();
    let quit = Request::new("POST", "/quitquitquit").with_header("authorization", &format!("Bearer {TOKEN}"));
    assert_eq!(sidegate.ask_admin(&quit).status, 200);
    assert!(sidegate.exit().success());
    assert_eq!(targets(&origin), ["/held", "/flush"]);
    assert!(client.read_response().is_err(), "nobody waited for it");
}

#[test]
fn an_exchange_that_does_not_end_is_cut_before_its_root_is_told() {
    let mut held = Held::draining("{minimum: 0s, timeout: 3s}");
    assert!(held.sidegate.exit().success());
    held.exchange_ended_before_root();
    held.gate.open();
}
