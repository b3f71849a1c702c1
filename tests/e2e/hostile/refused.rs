//! Modules that must not run: each is refused in words that tell why, and damaged ones are refused or harmless.

use std::time::{Duration, Instant};

use sidegate_tests::sidegate::run;
use sidegate_tests::{Client, Request, Sidegate, eventually};

use crate::guest::{guest, module};
use crate::setup::fine;

const PATIENCE: Duration = Duration::from_secs(30);

fn wat(parts: &str) -> Vec<u8> {
    let rest = r#"(func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) (i32.const 0))"#;
    wat::parse_str(format!("(module {parts} {rest})")).unwrap()
}

/// A module, and a word of its refusal.
fn modules() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let memory = "(memory (export \"memory\") 1)";
    vec![
        ("empty", vec![], "\\0asm"),
        ("text", b"(module)".to_vec(), "\\0asm"),
        ("component", b"\0asm\x0d\0\x01\0".to_vec(), "component"),
        ("magic-only", b"\0asm".to_vec(), "not a WebAssembly module"),
        ("threads", wat("(memory (export \"memory\") 1 1 shared)"), "threads"),
        ("memory64", wat("(memory (export \"memory\") i64 1)"), "memory64"),
        ("multi-memory", wat(&format!("{memory} (memory 1)")), "multi"),
        ("exceptions", wat(&format!("{memory} (tag $t) (func (throw $t))")), "exceptions"),
        (
            "gc",
            wat(&format!("{memory} (type $s (struct (field i32))) (func (drop (struct.new $s (i32.const 1))))")),
            "gc",
        ),
        ("page-size", wat("(memory (export \"memory\") 1 2 (pagesize 1))"), "page"),
        ("large-memory", wat("(memory (export \"memory\") 10000)"), "memory"),
        ("large-table", wat(&format!("{memory} (table 1000000 funcref)")), "table"),
        ("many-tables", wat(&format!("{memory} {}", "(table 1 funcref) ".repeat(20))), "table"),
        ("no-memory", wat(""), "memory"),
        ("wrong-hook", wat(&format!("{memory} (func (export \"proxy_on_request_headers\") (param i64))")), "signature"),
        (
            "missing-import",
            wat(&format!("(import \"env\" \"no\\0ainjected\\1b[31m\" (func)) {memory}")),
            "cannot be linked",
        ),
        ("start-loop", module("(func $s (loop $l (br $l))) (start $s)"), "deadline"),
        ("start-trap", module("(func $s unreachable) (start $s)"), "trap"),
        ("start-recursion", module("(func $s (call $s)) (start $s)"), "trap"),
        ("start-bomb", module("(func $s (loop $l (drop (memory.grow #1)) (br $l))) (start $s)"), ""),
        ("start-calls", module("(func $s (drop (call $set_tick #1)) unreachable) (start $s)"), "start"),
        ("oversized", [b"\0asm\x01\0\0\0".to_vec(), vec![0; 33 << 20]].concat(), "more than"),
        ("data-outside", wat(&format!("{memory} (data (i32.const 70000) \"x\")")), "trap"),
    ]
}

#[test]
fn every_module_that_cannot_run_is_told_why() {
    let folder = tempfile::tempdir().unwrap();
    let modules = modules();
    let mut text = "plugins:\n".to_owned();
    for (name, wasm, _) in &modules {
        std::fs::write(folder.path().join(format!("{name}.wasm")), wasm).unwrap();
        text += &format!("- {{name: {name}, url: \"file:{name}.wasm\", limits: {{configure: 200ms}}}}\n");
    }
    let chain: Vec<String> = modules.iter().map(|(name, ..)| format!("{{plugin: {name}}}")).collect();
    text += &format!("listeners: [{{name: l, address: \"127.0.0.1:1\", filters: [{}]}}]\n", chain.join(", "));
    std::fs::write(folder.path().join("c.yaml"), text).unwrap();
    let output = run(folder.path(), &["check", "c.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    for (name, _, word) in &modules {
        let from = said.find(&format!("plugin {name}: ")).unwrap_or_else(|| panic!("nothing about {name}:\n{said}"));
        let to = said[from + 1..].find("\nc.yaml:").map_or(said.len(), |end| from + 1 + end);
        assert!(said[from..to].contains(word), "{name}: {word} is not in {}", &said[from..to]);
    }
    assert!(!said.lines().any(|line| line.starts_with("injected")) && !said.contains('\x1b'), "{said}");
}

#[test]
fn a_module_with_a_hundred_thousand_functions_delays_nobody() {
    let small = guest(&[("request_headers", "")]);
    let functions = "(func (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))".repeat(100_000);
    let origin = fine();
    let text = format!(
        "plugins: [{{name: guest, url: \"file:guest.wasm\"}}]\n\
         listeners:\n- {{name: inbound, address: $inbound, cluster: app, filters: [{{plugin: guest}}]}}\n\
         - {{name: plain, address: $plain, cluster: app}}\n\
         clusters: [{{name: app, endpoints: [{{address: \"{origin}\"}}]}}]\n"
    );
    let sidegate = Sidegate::configured(&text).with_workers(1).with_file("guest.wasm", small).start();
    let digest = || {
        let page = sidegate.ask_admin(&Request::get("/plugins"));
        let page: serde_json::Value = serde_json::from_slice(&page.body).unwrap();
        page["plugins"][0]["digest"].as_str().unwrap().to_owned()
    };
    let before = digest();
    std::fs::write(sidegate.folder().join("guest.wasm"), module(&functions)).unwrap();
    let mut client = Client::connect(sidegate.address("plain")).unwrap();
    let mut worst = Duration::ZERO;
    let changed = eventually(PATIENCE, || {
        for _ in 0..50 {
            let started = Instant::now();
            assert_eq!(client.get("/").unwrap().status, 200);
            worst = worst.max(started.elapsed());
        }
        assert_eq!(sidegate.get("/").status, 200);
        (digest() != before).then_some(())
    });
    println!("the plain route waited {worst:?} at worst; taken: {}", changed.is_some());
    assert!(worst < Duration::from_secs(2), "{worst:?}");
}

#[test]
fn damaged_modules_are_refused_or_harmless() {
    const COUNT: usize = 60;
    let good = guest(&[
        ("request_headers", "(drop (call $add_header #0 <x-a> <1>)) (drop (call $log #2 <seen>))"),
        ("response_headers", "(drop (call $add_header #2 <x-b> <2>))"),
        ("log", "(drop (call $get_property <request.path> #300 #304))"),
    ]);
    let origin = fine();
    let port = |at: usize| format!("p{}{}", char::from(b'a' + (at / 26) as u8), char::from(b'a' + (at % 26) as u8));
    let (mut plugins, mut listeners) = ("plugins:\n".to_owned(), String::new());
    for at in 0..COUNT {
        plugins += &format!("- {{name: d{at}, url: \"file:{at}.wasm\", limits: {{configure: 100ms}}}}\n");
        listeners +=
            &format!("- {{name: d{at}, address: ${}, cluster: app, filters: [{{plugin: d{at}}}]}}\n", port(at));
    }
    let text = format!(
        "{plugins}listeners:\n- {{name: plain, address: $plain, cluster: app}}\n{listeners}\
         clusters: [{{name: app, endpoints: [{{address: \"{origin}\"}}]}}]\n"
    );
    let mut start = Sidegate::configured(&text).with_workers(1).without_ready();
    for at in 0..COUNT {
        let mut wasm = good.clone();
        // Spread over the file, behind the magic number.
        let bit = (at * 7919 * 8 + at) % ((wasm.len() - 8) * 8);
        wasm[8 + bit / 8] ^= 1 << (bit % 8);
        start = start.with_file(&format!("{at}.wasm"), wasm);
    }
    let sidegate = start.start();
    let settled = || !sidegate.ask_admin(&Request::get("/ready")).text().contains("PRE_");
    assert!(eventually(PATIENCE, || settled().then_some(())).is_some());
    for at in 0..COUNT {
        for _ in 0..2 {
            let answer = Client::get_once(sidegate.address(&port(at)), "/");
            assert!(answer.as_ref().is_ok_and(|answer| answer.status >= 200), "{at}: {answer:?}");
        }
        assert_eq!(Client::get_once(sidegate.address("plain"), "/").unwrap().status, 200, "beside {at}");
    }
    let page = sidegate.ask_admin(&Request::get("/stats/prometheus")).text().into_owned();
    assert_eq!(sidegate_tests::prometheus::sum(&page, "sidegate_panics_total", &[]).unwrap_or(0.0), 0.0);
}
