//! A registry that takes its time holds up nobody but the configuration that needs it.

use std::collections::HashMap;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sidegate_tests::{Answer, Client, Gate, Origin, Request, Response, Sidegate, eventually};

use crate::guest::module;
use crate::operator::{TOKEN, change, json, serves, stamp, stamped};
use crate::setup::fine;

const PATIENCE: Duration = Duration::from_secs(60);
/// What nobody may wait for: less than a registry may take.
const AT_ONCE: Duration = Duration::from_secs(8);

/// A registry with what was put there by path; it answers when its gate is open.
struct Registry {
    origin: Origin,
    gate: Gate,
    modules: Arc<Mutex<HashMap<String, Vec<u8>>>>,
}

impl Registry {
    fn stalled() -> Self {
        let (gate, modules) = (Gate::closed(), Arc::<Mutex<HashMap<String, Vec<u8>>>>::default());
        let (closed, known) = (gate.clone(), modules.clone());
        let origin = Origin::answering(move |request| match known.lock().unwrap().get(&request.target) {
            Some(bytes) => Answer::ok(bytes.clone()).when(&closed),
            None => Answer::status(404).when(&closed),
        });
        Self { origin, gate, modules }
    }

    /// The URL of a module.
    fn with(&self, path: &str, module: Vec<u8>) -> String {
        self.modules.lock().unwrap().insert(path.to_owned(), module);
        format!("http://{}{path}", self.origin)
    }

    fn is_asked(&self, times: usize) {
        eventually(PATIENCE, || (self.origin.request_count() >= times).then_some(())).expect("the registry is asked");
    }
}

/// The configuration of a proxy with another module for `stamp`.
fn from_url(sidegate: &Sidegate, url: &str) -> String {
    let text = fs::read_to_string(sidegate.folder().join("sidegate.yaml")).unwrap();
    assert!(text.contains("file:stamp.wasm"), "{text}");
    text.replace("file:stamp.wasm", url)
}

fn put(sidegate: &Sidegate, document: &str) -> Response {
    let mut client = Client::connect(sidegate.admin()).unwrap();
    client.set_patience(PATIENCE).unwrap();
    client.send(&change("PUT", "/config", document.as_bytes())).unwrap()
}

/// A second plugin, which is what waits for nobody.
const OTHER: &str = "- {name: other, url: \"file:stamp.wasm\"}";

/// `stamp` on the listener `inbound`, `other` on `second`, both from one file.
pub(crate) fn two_plugins(origin: &Origin) -> Sidegate {
    let text = format!(
        "admin: {{tokenFile: token}}\n\
         plugins:\n- {{name: stamp, url: \"file:stamp.wasm\"}}\n{OTHER}\n\
         listeners:\n\
         - {{name: inbound, address: $inbound, cluster: app, filters: [{{plugin: stamp}}]}}\n\
         - {{name: second, address: $second, cluster: app, filters: [{{plugin: other}}]}}\n\
         clusters: [{{name: app, endpoints: [{{address: \"{origin}\"}}]}}]\n"
    );
    Sidegate::configured(&text).with_file("token", TOKEN).with_file("stamp.wasm", stamp("a")).start()
}

#[test]
fn a_stalled_registry_lets_pushes_pass_and_bad_versions_go_back() {
    let (origin, registry) = (fine(), Registry::stalled());
    let sidegate = two_plugins(&origin);
    let url = registry.with("/b.wasm", stamp("b"));
    let text = fs::read_to_string(sidegate.folder().join("sidegate.yaml")).unwrap();
    // The configuration that waits names another plugin's module, so that `stamp` is free for a rollout.
    fs::write(
        sidegate.folder().join("sidegate.yaml"),
        text.replace(OTHER, &format!("- {{name: other, url: \"{url}\"}}")),
    )
    .unwrap();
    registry.is_asked(1);

    let begun = Instant::now();
    let answer = sidegate.ask_admin(&change("PUT", "/plugins/other/module", &stamp("pushed")));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let trapping = module("(func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32) unreachable)");
    let query = "/plugins/stamp/module?rollout=50&hold=60s";
    let said = json(&sidegate.ask_admin(&change("PUT", query, &trapping)));
    assert_eq!(said["state"], "ROLLING_OUT", "{said}");
    let gone = || {
        sidegate.get("/");
        let plugins = json(&sidegate.ask_admin(&Request::get("/plugins")));
        let stamp = plugins["plugins"].as_array().unwrap().iter().find(|plugin| plugin["name"] == "stamp").cloned()?;
        (stamp["state"] == "LIVE").then_some(())
    };
    eventually(PATIENCE, gone).expect("the judge is awake");
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    assert_eq!(serves(&sidegate), "a");

    registry.gate.open();
    let second = || Client::get_once(sidegate.address("second"), "/").unwrap().header("x-gen").map(str::to_owned);
    eventually(PATIENCE, || (second().as_deref() == Some("b")).then_some(())).expect("the configuration takes effect");
}

#[test]
fn a_pushed_configuration_is_answered_when_its_module_is_there() {
    let (origin, registry) = (fine(), Registry::stalled());
    let sidegate = stamped(&origin, "", "").start();
    let document = from_url(&sidegate, &registry.with("/b.wasm", stamp("b")));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| put(&sidegate, &document));
        registry.is_asked(1);
        assert_eq!(serves(&sidegate), "a", "what was running goes on");
        assert_eq!(sidegate.ask_admin(&change("PUT", "/plugins/stamp/module", &stamp("c"))).status, 200);
        assert_eq!(serves(&sidegate), "c");
        registry.gate.open();
        let answer = waiting.join().unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(json(&answer)["changed"], serde_json::json!(["plugins[stamp].url"]));
    });
    assert_eq!(serves(&sidegate), "b");

    let missing = put(&sidegate, &document.replace("b.wasm", "missing.wasm"));
    assert_eq!(missing.status, 422, "{}", missing.text());
    assert!(missing.text().contains("answered with 404"), "{}", missing.text());
    assert_eq!(serves(&sidegate), "b");
}

#[test]
fn the_latest_configuration_wins_over_one_that_waits() {
    let (origin, registry) = (fine(), Registry::stalled());
    let sidegate = stamped(&origin, "", "").start();
    let file = fs::read_to_string(sidegate.folder().join("sidegate.yaml")).unwrap();
    let slow = from_url(&sidegate, &registry.with("/b.wasm", stamp("b")));
    let slower = slow.replace("b.wasm", "c.wasm");
    registry.with("/c.wasm", stamp("c"));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| put(&sidegate, &slow));
        registry.is_asked(1);
        assert_eq!(put(&sidegate, "listeners: nonsense").status, 422, "one that is refused changes nothing");
        let second = scope.spawn(|| put(&sidegate, &slower));
        let answer = first.join().unwrap();
        assert_eq!((answer.status, json(&answer)["error"].as_str()), (409, Some("superseded")));
        registry.is_asked(2);
        fs::write(sidegate.folder().join("sidegate.yaml"), format!("{file}node: {{id: later}}\n")).unwrap();
        assert_eq!(second.join().unwrap().status, 409, "a file that changed later");
    });
    registry.gate.open();
    let id = || json(&sidegate.ask_admin(&Request::get("/server_info")))["node"]["id"].clone();
    assert_eq!((id(), serves(&sidegate).as_str()), ("later".into(), "a"));

    // A file that waits gives way to what is pushed after it.
    let closed = Registry::stalled();
    let late = from_url(&sidegate, &closed.with("/d.wasm", stamp("d")));
    fs::write(sidegate.folder().join("sidegate.yaml"), late).unwrap();
    closed.is_asked(1);
    assert_eq!(put(&sidegate, &format!("{file}node: {{id: pushed}}\n")).status, 200);
    closed.gate.open();
    fs::write(sidegate.folder().join("stamp.wasm"), stamp("e")).unwrap();
    eventually(PATIENCE, || (serves(&sidegate) == "e").then_some(())).expect("the pushed configuration's file counts");
    assert_eq!(id(), "pushed");
}

#[test]
fn the_start_asks_all_registries_at_once_and_waits_for_them() {
    let (origin, registry) = (fine(), Registry::stalled());
    let (one, two) = (registry.with("/one.wasm", stamp("one")), registry.with("/two.wasm", stamp("two")));
    let text = format!(
        "plugins: [{{name: one, url: \"{one}\"}}, {{name: two, url: \"{two}\"}}]\n\
         listeners:\n\
         - {{name: inbound, address: $inbound, cluster: app, filters: [{{plugin: one}}]}}\n\
         - {{name: second, address: $second, cluster: app, filters: [{{plugin: two}}]}}\n\
         clusters: [{{name: app, endpoints: [{{address: \"{origin}\"}}]}}]\n"
    );
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Neither was answered when both are asked.
            registry.is_asked(2);
            registry.gate.open();
        });
        let sidegate = Sidegate::start(&text);
        assert_eq!(serves(&sidegate), "one");
        assert_eq!(Client::get_once(sidegate.address("second"), "/").unwrap().header("x-gen"), Some("two"));
    });
}

#[test]
fn pushes_that_are_compiled_meanwhile_ask_no_registry_again() {
    let (origin, registry) = (fine(), Registry::stalled());
    let sidegate = two_plugins(&origin);
    let url = registry.with("/b.wasm", stamp("b"));
    let text = fs::read_to_string(sidegate.folder().join("sidegate.yaml")).unwrap();
    let text = text.replace(OTHER, &format!("- {{name: other, url: \"{url}\"}}"));
    std::thread::scope(|scope| {
        let configured = scope.spawn(|| put(&sidegate, &text));
        registry.is_asked(1);
        for value in ["c", "d", "e"] {
            let answer = sidegate.ask_admin(&change("PUT", "/plugins/stamp/module", &stamp(value)));
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        assert_eq!(registry.origin.request_count(), 1, "the configuration goes on waiting for its first answer");
        registry.gate.open();
        assert_eq!(configured.join().unwrap().status, 200);
    });
}
