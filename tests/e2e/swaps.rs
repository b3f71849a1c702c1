//! A filter is swapped many times while traffic of every kind goes through it: nothing is lost, no request meets two
//! versions, nobody goes back, nothing stays behind.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use sidegate_tests::traffic::{Generations, Load, during, witness};
use sidegate_tests::{Request, Sidegate};

use crate::guest::guest;
use crate::operator::{push, rollback, stamp, stamped, states};
use crate::setup::memory;

/// Versions that take turns: as many as may serve at once.
pub(crate) const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
const SWAPS: usize = 100;
/// Every so many swaps one comes as a file.
const FILE_EVERY: usize = 5;
/// KiB by which the proxy may grow once every version has served.
const GROWTH: u64 = 8 << 10;
/// How long a version may stay after its last exchange.
const GONE: Duration = Duration::from_secs(1);

pub(crate) const LOAD: Load = Load { http1: 4, http2: 2, slow: 2, websockets: 2, pace: Duration::from_millis(4) };

#[test]
fn a_hundred_swaps_under_traffic_lose_and_mix_nothing() {
    let origin = witness();
    let sidegate = stamped(&origin, "", "").start();
    let generations = Generations::new(&NAMES);
    let mut warm = 0;
    let (last, report) = during(sidegate.address("inbound"), &LOAD, &generations, || {
        let mut name = "";
        for swap in 1..=SWAPS {
            name = generations.begin();
            if swap % FILE_EVERY == 0 {
                by_file(&sidegate, name);
            } else {
                let answer = push(&sidegate, &stamp(name));
                assert_eq!(answer.status, 200, "{}", answer.text());
            }
            generations.commit();
            if swap == 2 * NAMES.len() {
                warm = memory(&sidegate, "VmRSS");
            }
        }
        name
    });
    let begun = Instant::now();
    sidegate.metric("sidegate_plugin_vms", &[("plugin", "stamp")], |vms| vms == 2.0);
    assert!(begun.elapsed() < GONE, "{:?}", begun.elapsed());
    assert!(report.is_clean(), "{:?}", report.failures);
    assert!(report.by_kind.iter().all(|count| *count > 0), "{:?}", report.by_kind);
    assert!(report.requests > 5 * SWAPS, "{}", report.requests);
    let grown = memory(&sidegate, "VmRSS").saturating_sub(warm);
    assert!(grown < GROWTH, "{grown} KiB");
    assert_eq!(sidegate.get("/").header("x-gen"), Some(last));
    assert_eq!(states(&sidegate).iter().filter(|(_, state)| state == "LIVE").count(), 1);
    // Shown by the slow sweep, so that requests pay nothing for it.
    sidegate.metric("sidegate_plugin_contexts", &[("plugin", "stamp")], |open| open == 0.0);
    sidegate.metric("sidegate_swap_pause_seconds_count", &[], |count| count >= 2.0 * SWAPS as f64);
    assert_eq!(rollback(&sidegate).status, 200);
}

#[test]
fn a_version_is_gone_within_a_second_of_its_last_exchange() {
    let origin = witness();
    // The root is the first context.
    let farewell = "(if (i32.eq (local.get 0) #1) (then (drop (call $log #2 <farewell>))))";
    let sidegate = stamped(&origin, "", "").start();
    assert_eq!(push(&sidegate, &guest(&[("done", farewell)])).status, 200);
    let mut client = sidegate.connect();
    let handshake = Request::get("/chat").with_header("connection", "Upgrade").with_header("upgrade", "websocket");
    assert_eq!(client.send(&handshake).unwrap().status, 101);
    assert_eq!(push(&sidegate, &stamp("b")).status, 200);
    // Two of the new version, and the worker's with the WebSocket.
    sidegate.metric("sidegate_plugin_vms", &[("plugin", "stamp")], |vms| vms == 3.0);
    let told = || sidegate.log().lines().iter().filter(|line| line.contains("farewell")).count();
    assert_eq!(told(), 1, "by the root of the other worker");
    drop(client);
    let begun = Instant::now();
    sidegate.metric("sidegate_plugin_vms", &[("plugin", "stamp")], |vms| vms == 2.0);
    assert!(begun.elapsed() < GONE, "{:?}", begun.elapsed());
    assert_eq!(told(), 2);
}

/// Replaces the plugin's file, and waits until that has taken effect on all workers.
fn by_file(sidegate: &Sidegate, name: &str) {
    let committed = [("plugin", "stamp"), ("result", "committed")];
    let before = sidegate.metric("sidegate_plugin_swaps_total", &committed, |_| true);
    replace(&sidegate.folder().join("stamp.wasm"), &stamp(name));
    sidegate.metric("sidegate_plugin_swaps_total", &committed, |count| count > before);
}

/// Writes a file as deployments do: beside it, then renamed.
pub(crate) fn replace(file: &Path, bytes: &[u8]) {
    let beside = file.with_extension("new");
    fs::write(&beside, bytes).unwrap();
    fs::rename(beside, file).unwrap();
}
