//! Configuration texts that somebody damaged: they are read, or every problem has a place in them.

#![allow(clippy::indexing_slicing, reason = "the lints know test functions but not what those share")]

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use sidegate_config::{Source, parse};
use sidegate_tests::fuzz::fuzz;

/// Problems of one text, and the line that counts the others.
const PROBLEMS: usize = 1_001;

/// One text with most keys in it.
const SOUND: &str = r#"node: {id: app-1, cluster: shop, metadata: {WORKLOAD_NAME: app, LABELS: {app: app}}}
admin: {address: "127.0.0.1:15000", tokenFile: token}
workers: 2
drain: {minimum: 5s, timeout: 25s}
overload: {maxConnections: 0, memory: 90%}
extensionProviders:
- {name: log, envoyFileAccessLog: {path: /dev/stdout}}
plugins:
- name: hello
  url: file:hello.wasm
  sha256: "1ef0000000000000000000000000000000000000000000000000000000000000"
  signature: {publicKey: key.pem}
  vmConfig: {vmId: hello, env: [{name: REGION, value: eu}, {name: HOME, valueFrom: HOST}]}
  failStrategy: FAIL_OPEN
  limits: {cpuPerCall: 10ms, memory: 32Mi, pause: 5s, logRate: 100/s}
  rollout: {steps: [{weight: 5, hold: 60s}, {weight: 50}], stickyBy: {header: x-user}, abortOn: {faultRate: 0.1}}
- {name: remote, url: "https://registry.example/remote.wasm"}
listeners:
- name: inbound
  address: 127.0.0.1:8080
  direction: INBOUND
  requestTimeouts: {headers: 10s, idle: 60s, body: 60s}
  filters:
  - {plugin: hello, match: [{uri: {prefix: /api}}], config: {greeting: &a hi, again: *a, n: 18446744073709551615}}
  - {name: again, plugin: remote, config: "text"}
  cluster: app
clusters:
- name: app
  hosts: [app.default.svc.cluster.local]
  endpoints: [{address: "127.0.0.1:9001", labels: {version: v1}, weight: 1}, {address: "unix:/tmp/app"}]
  subsets: [{name: v1, labels: {version: v1}}]
  trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}
"#;

#[derive(Clone, Debug)]
enum Damage {
    /// A character is written over.
    Set(Index, char),
    Cut(Index),
    Insert(Index, &'static str),
    /// A line moves elsewhere, or is written twice.
    Line(Index, Index, bool),
}

const PIECES: [&str; 30] = [
    ": ",
    "\n",
    "\n  ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "&a ",
    "*a",
    "<<: *a",
    "!!int ",
    "? ",
    "|\n",
    "'",
    "\"",
    "0x",
    "-1",
    "1e999",
    ".inf",
    "~",
    "---\n",
    "#",
    "\t",
    "\0",
    "é",
    "\u{2028}",
    "99999999999999999999s",
    "\r",
];

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<Index>;
    prop_oneof![
        4 => (at(), any::<char>()).prop_map(|(at, with)| Damage::Set(at, with)),
        1 => at().prop_map(Damage::Cut),
        6 => (at(), select(PIECES.to_vec())).prop_map(|(at, piece)| Damage::Insert(at, piece)),
        3 => (at(), at(), any::<bool>()).prop_map(|(from, to, twice)| Damage::Line(from, to, twice)),
    ]
}

fn apply(text: &str, damage: &Damage) -> String {
    let chars: Vec<char> = text.chars().collect();
    let joined = |parts: &[&[char]]| parts.concat().into_iter().collect::<String>();
    match damage {
        _ if chars.is_empty() => String::new(),
        Damage::Set(at, with) => {
            let at = at.index(chars.len());
            joined(&[&chars[..at], &[*with], &chars[at + 1..]])
        }
        Damage::Cut(at) => joined(&[&chars[..at.index(chars.len())]]),
        Damage::Insert(at, piece) => {
            let at = at.index(chars.len());
            joined(&[&chars[..at], &piece.chars().collect::<Vec<_>>(), &chars[at..]])
        }
        Damage::Line(from, to, twice) => {
            let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
            let from = from.index(lines.len());
            let line = if *twice { lines[from] } else { lines.remove(from) };
            lines.insert(to.index(lines.len() + 1), line);
            lines.concat()
        }
    }
}

/// What holds for every text.
fn check(sources: &[Source]) {
    let lines = |source: &Source| source.text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count();
    let most = sources.iter().map(lines).max().unwrap_or_default();
    match parse(sources) {
        Ok(loaded) => {
            for entry in loaded.config.listeners.iter().flat_map(|listener| &listener.filters) {
                let _ = entry.config.bytes();
                entry.config.locate("/a/0/b");
            }
        }
        Err(problems) => {
            assert!(!problems.0.is_empty() && problems.0.len() <= PROBLEMS);
            for problem in problems.iter() {
                assert!(problem.location.line as usize <= most + 1, "{problem}");
                assert!(!problem.message.is_empty() && !problem.message.chars().any(char::is_control), "{problem:?}");
            }
        }
    }
}

fn source(path: &str, text: String) -> Source {
    Source { path: path.into(), text }
}

#[test]
fn a_damaged_text_is_read_or_its_problems_have_a_place() {
    assert!(parse(&[source("c.yaml", SOUND.to_owned())]).is_ok());
    fuzz(&vec(damage(), 0..6), |damages| {
        let text = damages.iter().fold(SOUND.to_owned(), |text, damage| apply(&text, damage));
        check(&[source("c.yaml", text)]);
    });
}

#[test]
fn any_text_is_read_or_refused() {
    let soup = vec(prop_oneof![select(PIECES.to_vec()), select(vec!["plugins", "name", "url", "a", "1"])], 0..60);
    fuzz(&prop_oneof![soup.prop_map(|pieces| pieces.concat()), any::<String>()], |text| {
        check(&[source("a.yaml", text.clone()), source("b.yaml", text)]);
    });
}
