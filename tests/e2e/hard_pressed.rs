//! The side that changes things is hard pressed: pushes that are large, slow and many, modules that take long to compile,
//! clients that flood the administration interface or take nothing from it. Traffic does not notice.

use std::fs;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sidegate_tests::traffic::{Generations, Report, during, witness};
use sidegate_tests::{Client, Request, Sidegate, eventually};

use crate::guest::module;
use crate::operator::{TOKEN, change, json, plugin, push_to, serves, stamp, stamped};
use crate::setup::{fine, memory};
use crate::slow_registry::two_plugins;
use crate::swaps::LOAD;

const PATIENCE: Duration = Duration::from_secs(60);
/// How many changes are received or prepared at a time.
const CHANGES: u64 = 4;
/// KiB of the largest module, and what a push may need of memory for it: the body, and the buffers on its way.
const MODULE: u64 = 32 << 10;
const OF_ONE_PUSH: u64 = 2 * MODULE;

/// What every client must have seen while `work` was done.
fn undisturbed(sidegate: &Sidegate, work: impl FnOnce(&Generations)) -> Report {
    let generations = Generations::new(&["a", "b"]);
    let ((), report) = during(sidegate.address("inbound"), &LOAD, &generations, || work(&generations));
    assert!(report.is_clean(), "{:?}", report.failures);
    assert!(report.by_kind.iter().all(|count| *count > 0), "{:?}", report.by_kind);
    report
}

fn head(framing: &str) -> Vec<u8> {
    let path = "/plugins/stamp/module";
    format!("PUT {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n{framing}\r\n\r\n").into_bytes()
}

#[test]
fn pushes_that_are_large_slow_and_many_cost_traffic_nothing_and_little_memory() {
    let origin = witness();
    let sidegate = stamped(&origin, "", "").start();
    let nonsense = vec![b'x'; usize::try_from(MODULE << 10).unwrap()];
    let before = memory(&sidegate, "VmHWM");
    undisturbed(&sidegate, |_| {
        std::thread::scope(|scope| {
            for number in 0..100 {
                let (admin, nonsense) = (sidegate.admin(), &nonsense);
                scope.spawn(move || {
                    // Who is turned away may find the connection closed while it still sends.
                    match number % 3 {
                        0 => drop(push_to(admin, nonsense)),
                        1 => {
                            let mut client = Client::connect(admin).unwrap();
                            let _ = client.write(&head("content-length: 1073741824"));
                            let status = client.read_response().map(|answer| answer.status);
                            assert!(
                                status.as_ref().map_or(true, |status| [409, 413, 503].contains(status)),
                                "{status:?}"
                            );
                        }
                        _ => {
                            let mut client = Client::connect(admin).unwrap();
                            let _ = client.write(&[head("content-length: 1000"), b"half".to_vec()].concat());
                            client.set_patience(PATIENCE).unwrap();
                            let status = client.read_response().map(|answer| answer.status);
                            assert!(
                                status.as_ref().map_or(true, |status| [408, 409, 503].contains(status)),
                                "{status:?}"
                            );
                        }
                    }
                });
            }
        });
    });
    let grown = memory(&sidegate, "VmHWM") - before;
    assert!(grown < CHANGES * OF_ONE_PUSH, "{grown} KiB for a hundred pushes");
    eventually(PATIENCE, || (push_to(sidegate.admin(), &stamp("b")).ok()?.status == 200).then_some(()))
        .expect("a good push is taken");
    assert_eq!(serves(&sidegate), "b");
}

/// `stamp(value)` with so many bytes of code behind it, or a few more.
fn large(value: &str, bytes: usize) -> Vec<u8> {
    let step = "(local.set 0 (i64.rotl (i64.mul (local.get 0) (i64.const 6364136223846793005)) (local.get 1)))";
    let add = |hook: &str, map: u8| {
        format!(
            "(func (export \"proxy_on_{hook}_headers\") (param i32 i32 i32) (result i32)
               (drop (call $add_header #{map} <x-gen> <{value}>)) #0)"
        )
    };
    let ballast = format!("(func (param i64 i64) (result i64) {} (local.get 0))", step.repeat(100));
    repeat_last_function(&module(&format!("{}{}{ballast}", add("request", 0), add("response", 2))), bytes)
}

/// The module with its last function so often that its code has so many bytes.
fn repeat_last_function(module: &[u8], bytes: usize) -> Vec<u8> {
    const FUNCTIONS: u8 = 3;
    const CODE: u8 = 10;
    let mut sections = Vec::new();
    let mut at = 8;
    while at < module.len() {
        let (id, length) = (module[at], leb(&module[at + 1..]));
        let start = at + 1 + length.1;
        sections.push((id, &module[start..start + length.0]));
        at = start + length.0;
    }
    // An entry of the one is a number, an entry of the other a length and so many bytes.
    let last = |id: u8| {
        let entries = sections.iter().find(|section| section.0 == id).unwrap().1;
        let (count, mut at) = leb(entries);
        let mut entry = &entries[at..];
        for _ in 0..count {
            let (value, width) = leb(&entries[at..]);
            let length = width + if id == CODE { value } else { 0 };
            entry = &entries[at..at + length];
            at += length;
        }
        (count, entry)
    };
    let times = bytes / last(CODE).1.len() + 1;
    let mut out = module[..8].to_vec();
    for (id, content) in &sections {
        let content = if [FUNCTIONS, CODE].contains(id) {
            let (count, entry) = last(*id);
            let (_, width) = leb(content);
            [&to_leb(count + times)[..], &content[width..], &entry.repeat(times)].concat()
        } else {
            content.to_vec()
        };
        out.push(*id);
        out.extend(to_leb(content.len()));
        out.extend(content);
    }
    out
}

/// An unsigned number of a module, and how many bytes it takes.
fn leb(bytes: &[u8]) -> (usize, usize) {
    let width = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let value = bytes[..width].iter().rev().fold(0, |value, byte| value << 7 | usize::from(byte & 0x7f));
    (value, width)
}

fn to_leb(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

#[test]
fn a_module_of_ten_megabytes_is_compiled_beside_traffic() {
    let origin = witness();
    let sidegate = stamped(&origin, "", "").start();
    let module = large("b", 10 << 20);
    assert!(module.len() > 9 << 20, "{}", module.len());
    let mut took = Duration::ZERO;
    let report = undisturbed(&sidegate, |generations| {
        assert_eq!(generations.begin(), "b");
        let begun = Instant::now();
        let mut client = Client::connect(sidegate.admin()).unwrap();
        client.set_patience(2 * PATIENCE).unwrap();
        let answer = client.send(&change("PUT", "/plugins/stamp/module", &module)).unwrap();
        took = begun.elapsed();
        assert_eq!(answer.status, 200, "{}", answer.text());
        generations.commit();
    });
    // The compiler has the lowest claim on the processor.
    let slow = report.latencies.iter().filter(|(_, time)| *time > Duration::from_secs(1)).count();
    assert!(slow * 100 < report.latencies.len(), "{slow} of {} took more than a second", report.latencies.len());
    println!("{took:?}, {} requests", report.requests);
}

/// A compilation that stands still, however fast the machine is, until this is dropped.
struct Held(Pid);

impl Held {
    /// The next one of this proxy: a child of its process, large enough to be met.
    fn compilation_of(sidegate: &Sidegate) -> Self {
        let parent = format!("PPid:\t{}\n", sidegate.pid());
        let is_it = |pid: &i32| {
            let told = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            told("status").contains(&parent) && told("cmdline").split('\0').nth(1) == Some("compile")
        };
        let held = eventually(PATIENCE, || {
            let names = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.file_name());
            let pid = names.filter_map(|name| name.to_str()?.parse().ok()).find(is_it).and_then(Pid::from_raw)?;
            kill_process(pid, Signal::STOP).ok().map(|()| Self(pid))
        });
        held.expect("the large module is received and compiled")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT);
    }
}

#[test]
fn a_long_compilation_lets_pushes_pass_and_bad_versions_go_back() {
    let origin = fine();
    let sidegate = two_plugins(&origin);
    let large = large("large", 8 << 20);
    let push = |path: &str, module: &[u8]| {
        let mut client = Client::connect(sidegate.admin()).unwrap();
        client.set_patience(2 * PATIENCE).unwrap();
        client.send(&change("PUT", path, module)).unwrap()
    };
    std::thread::scope(|scope| {
        let pushing = scope.spawn(|| push("/plugins/other/module", &large).status);
        let held = Held::compilation_of(&sidegate);
        let trapping =
            module("(func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32) unreachable)");
        let said = json(&push("/plugins/stamp/module?rollout=50&hold=60s", &trapping));
        assert_eq!(said["state"], "ROLLING_OUT", "{said}");
        let is_gone = || {
            sidegate.get("/");
            (plugin(&sidegate)["state"] == "LIVE").then_some(())
        };
        eventually(PATIENCE, is_gone).expect("the judge is awake");
        assert!(!pushing.is_finished(), "all of that before the large module is compiled");
        drop(held);
        assert_eq!(pushing.join().unwrap(), 200);
    });
    let answer = Client::get_once(sidegate.address("second"), "/").unwrap();
    assert_eq!(answer.header("x-gen"), Some("large"));
}

#[test]
fn a_flood_at_the_admin_address_costs_traffic_nothing() {
    let origin = witness();
    let sidegate = stamped(&origin, "", "").start();
    undisturbed(&sidegate, |_| {
        std::thread::scope(|scope| {
            for number in 0..32 {
                let admin = sidegate.admin();
                scope.spawn(move || {
                    let mut client = Client::connect(admin).unwrap();
                    for _ in 0..50 {
                        let answer = match number % 2 {
                            0 => client.get("/stats/prometheus").unwrap(),
                            _ => client.send(&Request::new("PUT", "/config").with_body("x")).unwrap(),
                        };
                        assert!([200, 401].contains(&answer.status));
                        if answer.header("connection") == Some("close") {
                            client = Client::connect(admin).unwrap();
                        }
                    }
                });
            }
        });
    });
    assert_eq!(json(&sidegate.ask_admin(&Request::get("/server_info")))["state"], "LIVE");
}

#[test]
fn who_takes_nothing_of_its_answers_does_not_keep_its_place() {
    let origin = fine();
    let sidegate = stamped(&origin, "", "").start();
    let mut greedy = Client::connect(sidegate.admin()).unwrap();
    greedy.set_patience(Duration::from_millis(200)).unwrap();
    let asked = Request::get("/stats/prometheus").to_bytes("x").repeat(1_000);
    // It asks until there is no room for its questions either, and then until it is cut off.
    let begun = Instant::now();
    let cut = eventually(PATIENCE, || match greedy.write(&asked) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
        Err(_) => Some(()),
        Ok(()) => None,
    });
    assert!(cut.is_some() && begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    assert!(TcpStream::connect(sidegate.admin()).is_ok());
    assert_eq!(sidegate.ask_admin(&Request::get("/ready")).status, 200);
}
