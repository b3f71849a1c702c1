//! Files change while the proxy runs: good changes take effect, bad ones change nothing, and no request is lost.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sidegate_tests::{Answer, Client, Origin, Sidegate, eventually};

/// How long a change may take to be seen on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn named(name: &'static str) -> Origin {
    Origin::answering(move |_| Answer::ok(name))
}

/// Writes a file as editors do: beside it, then renamed.
fn replace(path: &Path, text: &[u8]) {
    let beside = path.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, path).unwrap();
}

/// The configuration file of a running proxy, with its addresses filled in.
fn config_file(sidegate: &Sidegate) -> std::path::PathBuf {
    sidegate.folder().join("sidegate.yaml")
}

fn two_clusters(one: &Origin, two: &Origin) -> String {
    format!(
        "listeners: [{{name: inbound, address: $inbound, cluster: one}}]\n\
         clusters:\n\
         - {{name: one, endpoints: [{{address: \"{one}\"}}]}}\n\
         - {{name: two, endpoints: [{{address: \"{two}\"}}]}}\n"
    )
}

#[test]
fn a_changed_file_takes_effect_and_a_broken_one_does_not() {
    let (one, two) = (named("one"), named("two"));
    let sidegate = Sidegate::start(&two_clusters(&one, &two));
    assert_eq!(sidegate.get("/").text(), "one");
    let file = config_file(&sidegate);
    let text = fs::read_to_string(&file).unwrap();
    replace(&file, text.replace("cluster: one", "cluster: two").as_bytes());
    eventually(PATIENCE, || (sidegate.get("/").text() == "two").then_some(())).expect("the change takes effect");

    let mut refused = 0.0;
    for broken in ["listeners: nonsense\n", "no: yaml: at all", "", &text.replace("cluster: one", "cluster: nowhere")] {
        // in place this time, as some tools write
        fs::write(&file, broken).unwrap();
        refused += 1.0;
        sidegate.metric("sidegate_updates_refused_total", &[], |count| count >= refused);
        assert_eq!(sidegate.get("/").text(), "two", "{broken}");
    }
    replace(&file, text.as_bytes());
    eventually(PATIENCE, || (sidegate.get("/").text() == "one").then_some(())).expect("and back again");
}

#[test]
fn what_needs_a_restart_is_refused_with_those_words() {
    let one = named("one");
    let sidegate = Sidegate::start(&two_clusters(&one, &one));
    let file = config_file(&sidegate);
    let text = fs::read_to_string(&file).unwrap();
    replace(&file, format!("workers: 3\n{}", text.replace("workers:", "# workers:")).as_bytes());
    let line = sidegate.log().line_with("a change needs a restart", PATIENCE).expect("the refusal is logged");
    assert!(line.contains("workers"), "{line}");
    assert_eq!(sidegate.get("/").text(), "one");
}

#[test]
fn a_module_is_swapped_under_traffic_without_losing_a_request() {
    let origin = named("origin");
    let guest = |value: &str| {
        wat::parse_str(format!(
            r#"(module
              (import "env" "proxy_add_header_map_value"
                (func $add (param i32 i32 i32 i32 i32) (result i32)))
              (memory (export "memory") 1)
              (data (i32.const 0) "x-gen{value}")
              (func (export "proxy_abi_version_0_2_1"))
              (func (export "malloc") (param i32) (result i32) i32.const 1024)
              (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (drop (call $add (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 5) (i32.const 1)))
                i32.const 0)
              (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
                (drop (call $add (i32.const 2) (i32.const 0) (i32.const 5) (i32.const 5) (i32.const 1)))
                i32.const 0))"#
        ))
        .unwrap()
    };
    let (a, b) = (guest("a"), guest("b"));
    let sidegate = Sidegate::configured(&format!(
        "plugins: [{{name: stamp, url: \"file:stamp.wasm\"}}]\n\
         listeners: [{{name: inbound, address: $inbound, cluster: one, filters: [{{plugin: stamp}}]}}]\n\
         clusters: [{{name: one, endpoints: [{{address: \"{origin}\"}}]}}]\n"
    ))
    .with_file("stamp.wasm", a.clone())
    .start();
    let stop = AtomicBool::new(false);
    let address = sidegate.address("inbound");
    let module = sidegate.folder().join("stamp.wasm");
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Client::connect(address).unwrap();
                    let mut count = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let answer = client.get("/").expect("no request is lost");
                        assert_eq!(answer.status, 200);
                        assert!(matches!(answer.header("x-gen"), Some("a" | "b")), "{answer:?}");
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        for turn in 0..6 {
            let (bytes, value) = if turn % 2 == 0 { (&b, "b") } else { (&a, "a") };
            replace(&module, bytes);
            eventually(PATIENCE, || (sidegate.get("/").header("x-gen") == Some(value)).then_some(()))
                .expect("the new module serves");
        }
        // one that is no module, and one that is gone: the last good one stays
        replace(&module, b"not wasm");
        sidegate.log().line_with("the update is refused", PATIENCE).expect("the bad module is refused");
        fs::remove_file(&module).unwrap();
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            assert!(client.join().unwrap() > 0);
        }
    });
    assert_eq!(sidegate.get("/").header("x-gen"), Some("a"));
    let stamped = origin.requests();
    assert!(stamped.iter().all(|request| matches!(request.header("x-gen"), Some("a" | "b"))));
}

#[test]
fn a_digest_that_is_pinned_later_holds_for_the_module_that_runs() {
    let origin = named("origin");
    let config = format!(
        "plugins: [{{name: stamp, url: \"file:stamp.wasm\"}}]\n\
         listeners: [{{name: inbound, address: $inbound, cluster: one, filters: [{{plugin: stamp}}]}}]\n\
         clusters: [{{name: one, endpoints: [{{address: \"{origin}\"}}]}}]\n"
    );
    let sidegate = Sidegate::configured(&config).with_file("stamp.wasm", wat::parse_str(EMPTY_GUEST).unwrap()).start();
    let file = config_file(&sidegate);
    let text = fs::read_to_string(&file).unwrap();
    let pinned = text.replace("file:stamp.wasm\"", &format!("file:stamp.wasm\", sha256: \"{}\"", "0".repeat(64)));
    replace(&file, pinned.as_bytes());
    let line = sidegate.log().line_with("the configuration says 0000", PATIENCE).expect("the pin is enforced");
    assert!(line.contains("sha256 is "), "{line}");
    assert_eq!(sidegate.get("/").text(), "origin");
}

#[test]
fn a_kept_connection_of_a_listener_that_is_gone_never_gets_past_its_filters() {
    let origin = named("origin");
    let config = |name: &str, filters: &str| {
        format!(
            "listeners: [{{name: {name}, address: $inbound, cluster: one, filters: [{filters}]}}]\n\
             clusters: [{{name: one, endpoints: [{{address: \"{origin}\"}}]}}]\n"
        )
    };
    let guarded =
        "{plugin: router, config: {virtualServices: [{hosts: [\"*\"], http: [{directResponse: {status: 403}}]}]}}";
    let sidegate = Sidegate::start(&config("before", guarded));
    let mut client = Client::connect(sidegate.address("inbound")).unwrap();
    assert_eq!(client.get("/").unwrap().status, 403);
    let file = config_file(&sidegate);
    let text = fs::read_to_string(&file).unwrap();
    replace(&file, text.replace("name: before", "name: after").replace(guarded, "").as_bytes());
    eventually(PATIENCE, || (sidegate.get("/").status == 200).then_some(())).expect("the new listener serves");
    // It was told to go, or its filter, or the lack of one, refuses it; it never gets past.
    if let Ok(answer) = client.get("/") {
        assert_ne!(answer.status, 200);
    }
}

/// A module without hooks.
const EMPTY_GUEST: &str = r#"(module (memory (export "memory") 1)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) i32.const 0))"#;
