//! Versions of a plugin: back to the one before, back to one that still serves, and how many may serve at once.

use std::fs;
use std::time::Duration;

use sidegate_tests::{Answer, Client, Gate, Origin, Request, Response, eventually, prometheus};

use crate::guest::{guest, module};
use crate::operator::{json, plugin, push, rollback, serves, stamp, stamped, states};
use crate::setup::fine;

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn rollbacks_walk_back_until_there_is_nothing_before() {
    let origin = fine();
    let sidegate = stamped(&origin, "", "").start();
    assert_eq!(rollback(&sidegate).status, 409);
    for value in ["b", "c"] {
        assert_eq!(push(&sidegate, &stamp(value)).status, 200);
    }
    for (value, version) in [("b", 2), ("a", 1)] {
        let answer = rollback(&sidegate);
        assert_eq!((answer.status, json(&answer)["version"].as_u64()), (200, Some(version)), "{}", answer.text());
        assert_eq!(serves(&sidegate), value);
    }
    let answer = rollback(&sidegate);
    assert_eq!((answer.status, json(&answer)["error"].as_str()), (409, Some("no previous version")));
    assert_eq!(states(&sidegate)[0], (1, "LIVE".to_owned()));
    sidegate.metric("sidegate_plugin_swaps_total", &[("plugin", "stamp"), ("result", "rolled_back")], |n| n == 2.0);
    assert_eq!(push(&sidegate, &stamp("c")).status, 200);
    assert_eq!(json(&rollback(&sidegate))["version"], 1, "the one that served before it");
}

#[test]
fn the_latest_content_wins_be_it_pushed_or_a_file() {
    let origin = fine();
    let sidegate = stamped(&origin, "", "").start();
    let file = sidegate.folder().join("stamp.wasm");
    assert_eq!(push(&sidegate, &stamp("b")).status, 200);
    // The file is written again with what it had: its content does not change.
    fs::write(&file, stamp("a")).unwrap();
    fs::write(sidegate.folder().join("unrelated"), "x").unwrap();
    let config = sidegate.folder().join("sidegate.yaml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("name: inbound,", "name: inbound, numTrustedProxies: 1,")).unwrap();
    sidegate.metric("sidegate_snapshot_version", &[], |number| number >= 3.0);
    assert_eq!(serves(&sidegate), "b", "a change of the configuration leaves the pushed module");
    fs::write(&file, stamp("c")).unwrap();
    eventually(PATIENCE, || (serves(&sidegate) == "c").then_some(())).expect("new content of the file wins");
    assert!(plugin(&sidegate)["versions"][0]["source"].as_str().unwrap().starts_with("file:"));
}

/// Counts its requests, and tells the count as one digit in `x-n`.
fn counting() -> Vec<u8> {
    module(
        "(global $n (mut i32) (i32.const 0))
         (func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32)
           (global.set $n (i32.add (global.get $n) #1)) #0)
         (func (export \"proxy_on_response_headers\") (param i32 i32 i32) (result i32)
           (i32.store8 #512 (i32.add (global.get $n) #48))
           (drop (call $add_header #2 <x-n> #512 #1)) #0)",
    )
}

#[test]
fn coming_back_to_a_version_that_still_serves_finds_its_state() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin =
        Origin::answering(
            move |request| {
                if request.target == "/held" { Answer::ok("late").when(&held) } else { Answer::ok("fine") }
            },
        );
    let sidegate = stamped(&origin, "", "").with_workers(1).start();
    assert_eq!(push(&sidegate, &counting()).status, 200);
    let mut client = Client::connect(sidegate.address("inbound")).unwrap();
    client.write(b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    eventually(PATIENCE, || (origin.request_count() == 1).then_some(())).unwrap();
    assert_eq!(push(&sidegate, &stamp("b")).status, 200);
    assert_eq!(serves(&sidegate), "b");
    assert_eq!(push(&sidegate, &counting()).status, 200);
    assert_eq!(sidegate.get("/").header("x-n"), Some("2"), "the same VM");
    gate.open();
    assert_eq!(client.read_response().unwrap().header("x-n"), Some("2"));
    assert_eq!(push(&sidegate, &stamp("b")).status, 200);
    let fresh = eventually(PATIENCE, || {
        assert_eq!(push(&sidegate, &counting()).status, 200);
        let count = sidegate.get("/").header("x-n").map(str::to_owned);
        assert_eq!(push(&sidegate, &stamp("b")).status, 200);
        (count.as_deref() == Some("1")).then_some(())
    });
    assert!(fresh.is_some(), "after its last exchange it is gone");
}

/// Nine versions, each with an exchange that its service holds: the oldest one's is ended, and these are the answers of
/// the others.
fn nine_versions(module: impl Fn(usize) -> Vec<u8>) -> Vec<(usize, Response)> {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = Origin::answering(move |_| Answer::ok("late").when(&held));
    let sidegate = stamped(&origin, "", "").start();
    let mut clients = Vec::new();
    for number in 1..=9 {
        assert_eq!(push(&sidegate, &module(number)).status, 200);
        let mut client = Client::connect(sidegate.address("inbound")).unwrap();
        client.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        eventually(PATIENCE, || (origin.request_count() == number).then_some(())).unwrap();
        clients.push((number, client));
    }
    let (_, mut oldest) = clients.remove(0);
    oldest.set_patience(PATIENCE).unwrap();
    assert!(oldest.is_closed_by_peer().unwrap(), "nine versions are one too many");
    gate.open();
    clients.into_iter().map(|(number, mut client)| (number, client.read_response().unwrap())).collect()
}

#[test]
fn a_long_exchange_keeps_its_version_and_the_ninth_costs_the_oldest() {
    for (number, answer) in nine_versions(|number| stamp(&number.to_string())) {
        assert_eq!((answer.status, answer.header("x-gen")), (200, Some(&*number.to_string())));
    }
}

#[test]
fn the_ninth_version_ends_exchanges_that_the_oldest_only_logs() {
    let logging = |number| guest(&[("log", &format!("(drop (call $log #2 <{number}>))"))]);
    assert!(nine_versions(logging).iter().all(|(_, answer)| answer.status == 200));
}

#[test]
fn the_root_of_a_version_that_is_gone_is_told_so() {
    let origin = fine();
    let sidegate = stamped(&origin, "", "").start();
    assert_eq!(push(&sidegate, &guest(&[("done", "(drop (call $log #2 <farewell>))")])).status, 200);
    assert_eq!(push(&sidegate, &stamp("b")).status, 200);
    sidegate.log().line_with("farewell", Duration::from_secs(5)).expect("on_done is called");
}

#[test]
fn metrics_do_not_grow_with_every_version() {
    let origin = fine();
    let sidegate = stamped(&origin, "", "").with_workers(1).start();
    let requests = || plugin(&sidegate)["requests"].as_u64().unwrap();
    let (mut lines, mut sent) = (Vec::new(), 0);
    for number in 1..=100 {
        assert_eq!(push(&sidegate, &stamp(&format!("v{number}"))).status, 200);
        for _ in 0..3 {
            assert_eq!(sidegate.get("/").status, 200);
            sent += 1;
        }
        assert_eq!(requests(), sent, "no count is lost with its version");
        lines.push(sidegate.ask_admin(&Request::get("/metrics")).text().lines().count());
    }
    // Which hooks are measured is left to chance.
    assert!(lines[99] <= lines[49] + 20, "{lines:?}");
    let page = sidegate.ask_admin(&Request::get("/metrics")).text().into_owned();
    let of = |version| prometheus::sum(&page, "sidegate_plugin_requests_total", &[("version", version)]);
    assert!(of("1").is_none() && of("101").is_some());
    assert!(of("earlier") >= Some(180.0), "{:?}", of("earlier"));
}
