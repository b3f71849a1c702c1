//! `PUT /config`, and what else an operator turns while the proxy runs.

use std::fs;
use std::time::Duration;

use sidegate_tests::{Answer, Client, Origin, Request, Sidegate, eventually};

use crate::operator::{TOKEN, change, json};
use crate::setup::{config, fine};

const PATIENCE: Duration = Duration::from_secs(30);

fn started(text: &str) -> Sidegate {
    Sidegate::configured(&format!("admin: {{tokenFile: token}}\n{text}")).with_file("token", TOKEN).start()
}

fn config_of(sidegate: &Sidegate) -> String {
    fs::read_to_string(sidegate.folder().join("sidegate.yaml")).unwrap()
}

#[test]
fn a_document_serves_in_place_of_the_files_until_one_changes() {
    let (one, two) = (Origin::answering(|_| Answer::ok("one")), Origin::answering(|_| Answer::ok("two")));
    let sidegate = started(&config("", &one, ""));
    let file = config_of(&sidegate);
    let document = file.replace(&one.to_string(), &two.to_string());
    let answer = sidegate.ask_admin(&change("PUT", "/config", document.as_bytes()));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let said = json(&answer);
    assert_eq!(said["changed"], serde_json::json!(["clusters[app].endpoints[0].address"]));
    assert_eq!(said["snapshot"], 2);
    assert_eq!(sidegate.get("/").text(), "two");
    let again = json(&sidegate.ask_admin(&change("PUT", "/config", document.as_bytes())));
    assert_eq!((&again["snapshot"], again["changed"].as_array().unwrap().len()), (&said["snapshot"], 0));

    for bad in ["listeners: nonsense\n", "workers: 7\n", "\u{0}"] {
        let answer = sidegate.ask_admin(&change("PUT", "/config", bad.as_bytes()));
        assert_eq!(answer.status, 422, "{bad}");
        assert!(json(&answer)["reason"].as_str().unwrap().contains("pushed.yaml") || bad == "workers: 7\n");
        assert_eq!(sidegate.get("/").text(), "two");
    }
    fs::write(sidegate.folder().join("sidegate.yaml"), format!("{file}# touched\n")).unwrap();
    eventually(PATIENCE, || (sidegate.get("/").text() == "one").then_some(())).expect("the file wins when it changes");
}

#[test]
fn files_change_who_may_change_how_it_drains_and_who_it_is() {
    let origin = fine();
    let sidegate = started(&config("", &origin, ""));
    fs::write(sidegate.folder().join("other"), "other\n").unwrap();
    let file = config_of(&sidegate).replace("tokenFile: token", "tokenFile: other");
    let file = format!("{file}node: {{id: renamed}}\ndrain: {{minimum: 0s, timeout: 5s}}\n");
    fs::write(sidegate.folder().join("sidegate.yaml"), file).unwrap();
    let renamed = || json(&sidegate.ask_admin(&Request::get("/server_info")))["node"]["id"] == "renamed";
    eventually(PATIENCE, || renamed().then_some(())).expect("the node has another id");
    assert_eq!(sidegate.ask_admin(&change("POST", "/healthcheck/ok", b"")).status, 401, "the old token");
    let request = Request::new("POST", "/healthcheck/ok").with_header("authorization", "Bearer other");
    assert_eq!(sidegate.ask_admin(&request).status, 200);
    let mut sidegate = sidegate;
    sidegate.terminate();
    assert!(sidegate.exit().success());
    assert!(sidegate.log().line_with("minimum=0ns", PATIENCE).is_some(), "the new drain times count");
}

#[test]
fn connections_are_limited_by_what_the_file_says_now() {
    let origin = fine();
    let sidegate = started(&config("", &origin, ""));
    let held: Vec<_> = (0..6).map(|_| sidegate.connect()).collect();
    assert_eq!(sidegate.get("/").status, 200);
    let file = format!("{}overload: {{maxConnections: 2}}\n", config_of(&sidegate));
    fs::write(sidegate.folder().join("sidegate.yaml"), file).unwrap();
    let refused = || Client::get_once(sidegate.address("inbound"), "/").is_ok_and(|answer| answer.status == 503);
    eventually(PATIENCE, || refused().then_some(())).expect("no more connections");
    drop(held);
    eventually(PATIENCE, || (!refused()).then_some(())).expect("room again");
}

#[test]
fn the_log_level_changes_while_it_runs() {
    let origin = fine();
    let sidegate = started(&config("", &origin, ""));
    assert_eq!(sidegate.ask_admin(&change("POST", "/logging?level=loud", b"")).status, 400);
    assert_eq!(sidegate.ask_admin(&change("POST", "/logging?level=debug", b"")).status, 200);
    sidegate.connect().write(b"NONSENSE\r\n\r\n").unwrap();
    assert!(sidegate.log().line_with("DEBUG", PATIENCE).is_some());
}

#[test]
fn listeners_close_on_demand_and_the_process_stays() {
    let origin = fine();
    for query in ["", "?graceful"] {
        let sidegate = started(&format!("drain: {{minimum: 100ms}}\n{}", config("", &origin, "")));
        assert_eq!(sidegate.ask_admin(&change("POST", &format!("/drain_listeners{query}"), b"")).status, 200);
        let closed = || Client::connect(sidegate.address("inbound")).is_err().then_some(());
        eventually(PATIENCE, closed).expect("no new connection");
        assert_eq!(sidegate.ask_admin(&Request::get("/ready")).text().trim(), "DRAINING");
        assert_eq!(sidegate.ask_admin(&change("PUT", "/config", b"{}")).status, 503);
    }
}
