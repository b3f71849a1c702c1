//! `sidegate check` and `sidegate schema`: what they print, and how they end.

use std::path::Path;

use serde_json::Value;
use sidegate_tests::sidegate::run;

fn check(config: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("sidegate.yaml"), config).unwrap();
    let output = run(folder.path(), &["check", "sidegate.yaml"]);
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn a_good_configuration_is_ok() {
    let (good, text) = check("listeners: [{name: in, address: 127.0.0.1:1, cluster: app}]\nclusters: [{name: app}]\n");
    assert!(good, "{text}");
    assert!(text.contains("ok"), "{text}");
}

#[test]
fn every_problem_is_told_with_its_place_and_a_likely_fix() {
    let (good, text) = check(
        "listeners:
- name: in
  adress: 127.0.0.1:1
  address: 127.0.0.1:1
  cluster: app
  requestTimeouts: {idle: 5}
clusters:
- name: app
  endpoints:
  - {address: nowhere}
  protocol: HTTP9
",
    );
    assert!(!good);
    let lines: Vec<_> = text.lines().collect();
    for (place, words) in [
        ("sidegate.yaml:3:3: ", &["adress", "address"][..]),
        ("sidegate.yaml:6:27: ", &["requestTimeouts.idle"]),
        ("sidegate.yaml:10:15: ", &["clusters[0].endpoints[0].address"]),
        ("sidegate.yaml:11:13: ", &["HTTP9", "clusters[0].protocol"]),
    ] {
        let found = lines.iter().find(|line| line.contains(place));
        assert!(found.is_some_and(|line| words.iter().all(|word| line.contains(word))), "{place}{words:?} in\n{text}");
    }
}

#[test]
fn a_problem_inside_a_filters_own_configuration_has_a_place_too() {
    let (good, text) = check(
        "listeners:
- name: in
  address: 127.0.0.1:1
  filters:
  - plugin: router
    config:
      virtualServices:
      - hosts: [\"*\"]
        http:
        - timeot: 5s
          route: [{destination: {host: app}}]
clusters: [{name: app}]
",
    );
    assert!(!good);
    let line = text.lines().find(|line| line.contains("timeot")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.starts_with("sidegate.yaml:10:"), "{text}");
    assert!(line.contains("listeners[0].filters[0].config.virtualServices[0].http[0]"), "{text}");
    assert!(line.contains("timeout"), "{text}");
}

#[test]
fn an_unknown_destination_is_a_warning() {
    let (good, text) = check(
        "listeners:
- name: in
  address: 127.0.0.1:1
  filters:
  - plugin: router
    config: {virtualServices: [{hosts: [\"*\"], http: [{route: [{destination: {host: ghost}}]}]}]}
clusters: [{name: app}]
",
    );
    assert!(good, "{text}");
    assert!(text.contains("ghost") && text.contains("sidegate.yaml:6:"), "{text}");
}

#[test]
fn a_module_that_cannot_run_is_a_problem_of_its_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bad.wasm"), b"not wasm").unwrap();
    std::fs::write(
        folder.path().join("sidegate.yaml"),
        "plugins:\n- {name: bad, url: \"file:bad.wasm\"}\n- {name: gone, url: \"file:gone.wasm\"}\n\
         listeners: [{name: in, address: 127.0.0.1:1, filters: [{plugin: bad}, {plugin: gone}]}]\n",
    )
    .unwrap();
    let output = run(folder.path(), &["check", "sidegate.yaml"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    for (place, word) in [("sidegate.yaml:", "bad"), ("sidegate.yaml:", "gone.wasm")] {
        assert!(text.lines().any(|line| line.starts_with(place) && line.contains(word)), "{word} in {text}");
    }
}

#[test]
fn check_needs_no_address_and_sends_nothing() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (good, text) = check(&format!(
        "listeners: [{{name: in, address: \"{address}\", cluster: app}}]\nclusters: [{{name: app, endpoints: [{{address: \"{address}\"}}]}}]\n"
    ));
    assert!(good, "{text}");
    taken.set_nonblocking(true).unwrap();
    assert!(taken.accept().is_err());
}

#[test]
fn the_schema_describes_the_quickstart() {
    let output = run(Path::new("."), &["schema"]);
    assert!(output.status.success());
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(schema["$schema"].as_str().is_some_and(|uri| uri.contains("json-schema.org")));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = std::fs::read_to_string(root.join("examples/quickstart/sidegate.yaml")).unwrap();
    let words = text.lines().filter(|line| !line.starts_with([' ', '#', '-'])).filter_map(|line| line.split_once(':'));
    let keys: Vec<_> = words.map(|(key, _)| key).collect();
    assert!(keys.contains(&"listeners"), "{keys:?}");
    for key in keys {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
    assert_eq!(schema["additionalProperties"], Value::Bool(false));
    assert_refers_to_itself(&schema, &schema);
}

/// Every reference of a schema leads somewhere.
fn assert_refers_to_itself(schema: &Value, at: &Value) {
    match at {
        Value::Object(fields) => {
            if let Some(Value::String(target)) = fields.get("$ref") {
                let pointer = target.strip_prefix('#').unwrap();
                assert!(schema.pointer(pointer).is_some(), "{target}");
            }
            fields.values().for_each(|value| assert_refers_to_itself(schema, value));
        }
        Value::Array(items) => items.iter().for_each(|value| assert_refers_to_itself(schema, value)),
        _ => {}
    }
}

#[test]
fn the_version_is_told() {
    let output = run(Path::new("."), &["--version"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.starts_with("sidegate "), "{text}");
}

#[test]
fn words_that_mean_nothing_are_an_error() {
    for arguments in [&["dance"][..], &["run"], &["check"], &["run", "missing.yaml"], &["check", "missing.yaml"]] {
        let output = run(Path::new("."), arguments);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}
