//! Rollouts: a new version gets a share, proves itself or goes back by itself.

use std::collections::HashMap;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use sidegate_tests::{Request, Sidegate, eventually, traffic};

use crate::guest::{module, times};
use crate::operator::{TOKEN, change, json, plugin, serves, stamp, stamped};
use crate::setup::fine;

const PATIENCE: Duration = Duration::from_secs(60);

/// Stamps like `stamp(value)`, and does this to every request before.
fn stamping(value: &str, does: &str) -> Vec<u8> {
    module(&format!(
        "(global $n (mut i32) (i32.const 0))
         (func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32) (local $i i32)
           (global.set $n (i32.add (global.get $n) #1)) {does} #0)
         (func (export \"proxy_on_response_headers\") (param i32 i32 i32) (result i32)
           (drop (call $add_header #2 <x-gen> <{value}>)) #0)"
    ))
}

fn push(sidegate: &Sidegate, query: &str, wasm: &[u8]) -> Value {
    let answer = sidegate.ask_admin(&change("PUT", &format!("/plugins/stamp/module?{query}"), wasm));
    assert_eq!(answer.status, 200, "{}", answer.text());
    json(&answer)
}

fn act(sidegate: &Sidegate, action: &str) -> u16 {
    sidegate.ask_admin(&change("POST", &format!("/plugins/stamp/rollout?action={action}"), b"")).status
}

/// What `/plugins` says of the version from this push.
fn version(sidegate: &Sidegate, digest: &Value) -> Value {
    let plugin = plugin(sidegate);
    let versions = plugin["versions"].as_array().unwrap();
    versions.iter().find(|version| version["digest"] == *digest).cloned().unwrap_or_default()
}

/// Sends requests from several clients while `work` goes on; how many answers carried which stamp (or status).
fn under_traffic(sidegate: &Sidegate, work: impl FnOnce()) -> HashMap<String, usize> {
    let counts = Mutex::new(HashMap::new());
    let client = |stop: &AtomicBool| {
        let mut client = sidegate.connect();
        while !stop.load(Ordering::SeqCst) {
            let seen = match client.get("/") {
                Ok(answer) if answer.status == 200 => answer.header("x-gen").unwrap_or("none").to_owned(),
                Ok(answer) => answer.status.to_string(),
                Err(error) => error.to_string(),
            };
            *counts.lock().unwrap().entry(seen).or_insert(0) += 1;
        }
    };
    traffic::beside(4, client, work);
    counts.into_inner().unwrap()
}

/// Waits until the version from this push is in this state.
fn reaches(sidegate: &Sidegate, digest: &Value, state: &str) -> Value {
    let reached = eventually(PATIENCE, || {
        let version = version(sidegate, digest);
        (version["state"] == state).then_some(version)
    });
    reached.unwrap_or_else(|| panic!("never {state}: {}", plugin(sidegate)))
}

#[test]
fn a_version_that_faults_for_some_goes_back_by_itself() {
    let origin = fine();
    let sidegate = stamped(&origin, "", "").start();
    let faulting = "(if (i32.eqz (i32.rem_u (global.get $n) #50)) (then unreachable))";
    let mut said = Value::Null;
    let counts = under_traffic(&sidegate, || {
        said = push(&sidegate, "rollout=5,50&hold=60s", &stamping("b", faulting));
        assert_eq!(said["state"], "ROLLING_OUT");
        let rejected = reaches(&sidegate, &said["digest"], "REJECTED");
        assert!(rejected["reason"].as_str().unwrap().starts_with("rolled back: "), "{rejected}");
    });
    let shown = plugin(&sidegate);
    assert_eq!((shown["state"].as_str(), &shown["rollout"]), (Some("LIVE"), &Value::Null), "{shown}");
    for _ in 0..50 {
        assert_eq!(serves(&sidegate), "a");
    }
    let (old, new, lost) = (counts["a"], counts["b"], counts.get("503").copied().unwrap_or_default());
    assert!(lost <= 10 && counts.len() <= 3, "only requests inside the faulting VMs are lost: {counts:?}");
    // 200 requests, and a second of its share of them.
    assert!(new + lost <= 200 + (old + new) / 20, "{counts:?}");
    sidegate.metric("sidegate_plugin_swaps_total", &[("plugin", "stamp"), ("result", "rolled_back")], |n| n == 1.0);
}

#[test]
fn a_slower_version_goes_back_by_itself() {
    let origin = fine();
    let sidegate = stamped(&origin, "", ", limits: {cpuPerCall: 500ms}").start();
    let slow = times(20_000_000, "(drop #0)");
    let counts = under_traffic(&sidegate, || {
        let said = push(&sidegate, "rollout=5&hold=60s", &stamping("b", &slow));
        let rejected = reaches(&sidegate, &said["digest"], "REJECTED");
        assert!(rejected["reason"].as_str().unwrap().contains("99th percentile"), "{rejected}");
    });
    assert_eq!(serves(&sidegate), "a");
    assert_eq!(counts.len(), 2, "nobody lost anything: {counts:?}");
}

#[test]
fn a_version_like_the_old_one_takes_over_step_by_step() {
    let origin = fine();
    let plugin_keys = ", rollout: {steps: [{weight: 5, hold: 0s}, {weight: 50, hold: 0s}], minRequests: 50}";
    let sidegate = stamped(&origin, "", plugin_keys).start();
    let counts = under_traffic(&sidegate, || {
        for value in ["b", "c", "d"] {
            let said = push(&sidegate, "", &stamp(value));
            assert_eq!(said["state"], "ROLLING_OUT", "as configured");
            reaches(&sidegate, &said["digest"], "LIVE");
        }
        // The same by file.
        fs::write(sidegate.folder().join("stamp.wasm"), stamp("e")).unwrap();
        eventually(PATIENCE, || (serves(&sidegate) == "e" && plugin(&sidegate)["state"] == "LIVE").then_some(()))
            .expect("the file's module takes over");
    });
    assert!(counts.keys().all(|stamp| ["a", "b", "c", "d", "e"].contains(&stamp.as_str())), "{counts:?}");
    let events = json(&sidegate.ask_admin(&Request::get("/plugins")))["events"].clone();
    let states: Vec<&str> = events.as_array().unwrap().iter().map(|event| event["state"].as_str().unwrap()).collect();
    assert_eq!(states.iter().filter(|state| **state == "ROLLING_OUT").count(), 4, "{events}");
    assert!(!states.contains(&"REJECTED"), "{events}");
}

#[test]
fn an_operator_pauses_resumes_and_aborts() {
    let origin = fine();
    let sidegate = stamped(&origin, "", "").start();
    assert_eq!(act(&sidegate, "abort"), 409, "nothing is rolled out");
    let said = push(&sidegate, "rollout=50&hold=0s", &stamp("b"));
    assert_eq!((act(&sidegate, "pause"), act(&sidegate, "nonsense")), (200, 422));
    under_traffic(&sidegate, || {
        let served = || plugin(&sidegate)["rollout"]["new"]["requests"].as_u64().filter(|served| *served > 500);
        eventually(PATIENCE, served).expect("the new version gets requests");
    });
    let shown = plugin(&sidegate);
    assert_eq!((&shown["state"], &shown["rollout"]["paused"]), (&"ROLLING_OUT".into(), &true.into()), "{shown}");
    assert_ne!(shown["digest"], said["digest"], "what is live is the old one");
    assert_eq!(act(&sidegate, "resume"), 200);
    reaches(&sidegate, &said["digest"], "LIVE");

    let said = push(&sidegate, "rollout=99&hold=60s", &stamp("c"));
    assert_eq!(act(&sidegate, "abort"), 200);
    assert_eq!(version(&sidegate, &said["digest"])["state"], "REJECTED");
    for _ in 0..20 {
        assert_eq!(serves(&sidegate), "b");
    }
    // A new push of the same is a new try; a rollback in the middle of it is an end, too.
    push(&sidegate, "rollout=99&hold=60s", &stamp("c"));
    assert_eq!(sidegate.ask_admin(&change("POST", "/plugins/stamp/rollback", b"")).status, 200);
    assert_eq!((serves(&sidegate).as_str(), plugin(&sidegate)["state"].as_str()), ("b", Some("LIVE")));
}

#[test]
fn an_update_in_the_middle_starts_from_what_was_live() {
    let origin = fine();
    let sidegate = stamped(&origin, "", "").start();
    let first = push(&sidegate, "rollout=50&hold=60s", &stamp("b"));
    let second = push(&sidegate, "rollout=50&hold=60s", &stamp("c"));
    assert_eq!(version(&sidegate, &first["digest"])["state"], "RETIRED");
    assert_eq!(version(&sidegate, &second["digest"])["state"], "ROLLING_OUT");
    let seen: Vec<String> = (0..200).map(|_| serves(&sidegate)).collect();
    assert!(seen.contains(&"a".to_owned()) && seen.contains(&"c".to_owned()) && !seen.contains(&"b".to_owned()));
    // Without a rollout asked for, it takes over at once.
    assert_eq!(push(&sidegate, "", &stamp("d"))["state"], "LIVE");
    assert!((0..50).all(|_| serves(&sidegate) == "d"));
}

#[test]
fn who_is_sticky_does_not_go_back_and_forth() {
    let origin = fine();
    let keys = ", rollout: {steps: [{weight: 30, hold: 60s}], stickyBy: {header: x-user}}";
    let sidegate = stamped(&origin, "", keys).start();
    push(&sidegate, "", &stamp("b"));
    let of_user = |user: u32| {
        let request = Request::get("/").with_header("x-user", &user.to_string());
        sidegate.connect().send(&request).unwrap().header("x-gen").unwrap().to_owned()
    };
    let first: Vec<String> = (0..60).map(of_user).collect();
    let new = first.iter().filter(|stamp| *stamp == "b").count();
    assert!((5..35).contains(&new), "about 30 %: {new} of 60");
    assert_eq!((0..60).map(of_user).collect::<Vec<_>>(), first);
}

#[test]
fn a_changed_configuration_is_rolled_out_too() {
    let origin = fine();
    let keys = ", rollout: {steps: [{weight: 50, hold: 60s}]}";
    let sidegate = stamped(&origin, "", keys).start();
    let file = sidegate.folder().join("sidegate.yaml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("{plugin: stamp}"), "{text}");
    fs::write(&file, text.replace("{plugin: stamp}", "{plugin: stamp, config: new}")).unwrap();
    let rolling = || (plugin(&sidegate)["state"] == "ROLLING_OUT").then_some(());
    eventually(PATIENCE, rolling).expect("the configuration is rolled out");
    assert_eq!(act(&sidegate, "abort"), 200);
    assert_eq!(plugin(&sidegate)["state"], "LIVE");
    // It stays away until the file says something else.
    fs::write(&file, text.replace("{plugin: stamp}", "{plugin: stamp, config: newer}")).unwrap();
    eventually(PATIENCE, rolling).expect("the next one gets its chance");
}

#[test]
fn what_a_push_cannot_ask_for() {
    let origin = fine();
    let sidegate = stamped(&origin, "", "").start();
    for query in ["rollout=50,5", "rollout=", "rollout=100", "hold=60s", "rollout=5&hold=60"] {
        let request = change("PUT", &format!("/plugins/stamp/module?{query}"), &stamp("b"));
        let answer = sidegate.ask_admin(&request);
        assert_eq!((answer.status, json(&answer)["error"].as_str()), (422, Some("rollout")), "{query}");
    }
    assert_eq!(serves(&sidegate), "a");
    let without = Request::new("POST", "/plugins/stamp/rollout?action=abort");
    assert_eq!(sidegate.ask_admin(&without).status, 401, "{TOKEN} is needed");
}
