//! The rules of the house, one test each. They read sources and manifests, and name file and line where one is broken.
//! A rule that is in the way is changed here, in the open; nothing is exempted silently.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "all of this file and its modules is a test; the lints know only test functions as such"
)]

#[path = "architecture/manifest.rs"]
mod manifest;
#[path = "architecture/pages.rs"]
mod pages;
#[path = "architecture/repository.rs"]
mod repository;
#[path = "architecture/source.rs"]
mod source;
#[path = "architecture/tables.rs"]
mod tables;

use manifest::Manifest;
use repository::{rust_files, text_files};
use source::{Path, Source};

/// The rooms of one worker thread: everything that a request passes.
const WORKER_ROOMS: [&str; 4] = ["worker", "downstream", "exchange", "upstream"];
/// The rooms that change what workers run.
const CONTROL_ROOMS: [&str; 2] = ["control", "admin"];
/// What a file of a worker room may do although it blocks, and why that never holds a request up.
const BLOCKING: [(&str, &str, &str); 4] = [
    ("worker/thread.rs", "block_on", "the entry point of the thread, where its runtime is entered"),
    ("worker/breaker.rs", "Mutex", "the record of faults, written when a VM has ended and read when one is made"),
    (
        "worker/wishes.rs",
        "Mutex",
        "what plugins asked for: written when they are configured, read when a VM takes its place",
    ),
    ("worker/env.rs", "Mutex", "quotas of metric series, asked once per new series and never on the path of a request"),
];
/// Rooms of the exchange that hold values only, which upstream takes and gives.
const EXCHANGE_VALUES: [&str; 4] = ["bodies", "head", "held", "reply"];
/// Files that may say `unsafe`: loading an artifact that we compiled, and the guest's side of the ABI.
const UNSAFE_FILES: [&str; 2] = ["runtime/wasm-host/src/native.rs", "sdk/src/abi.rs"];
/// What a file may have at most, and it should stay far below.
const FILE_LINES: usize = 500;

#[test]
fn the_wasm_host_knows_no_network_and_no_proxy() {
    let foreign = [
        "tokio", "hyper", "http", "h2", "rustls", "ring", "aws", "sha1", "sha2", "hmac", "flate2", "brotli", "zstd",
        "cel", "sidegate", "socket2", "mio",
    ];
    let is_foreign = |name: &str| {
        let name = name.replace('_', "-");
        foreign.iter().any(|word| name == *word || name.starts_with(&format!("{word}-")))
            && name != "sidegate-wasm-host"
    };
    let dependencies = Manifest::read("runtime/wasm-host/Cargo.toml").dependencies();
    let mut broken: Vec<String> =
        dependencies.iter().filter(|dep| is_foreign(&dep.name)).map(|dep| dep.at.clone()).collect();
    for file in rust_files("runtime/wasm-host/src") {
        broken.extend(file.paths().iter().filter(|path| is_foreign(path.first())).map(|path| file.at(path.line)));
    }
    holds("the Wasm host is the guest's world: network, crypto and expressions stay behind Host::foreign", &broken);
}

#[test]
fn the_configuration_knows_none_of_ours_but_matching() {
    holds("config is text to model and nothing else", &of_ours("runtime/config/Cargo.toml", &["sidegate-matching"]));
}

#[test]
fn the_sdk_knows_none_of_ours_but_its_own_parts() {
    let mut broken = of_ours("sdk/Cargo.toml", &["sidegate-matching", "sidegate-sdk-macros"]);
    broken.extend(of_ours("sdk/matching/Cargo.toml", &[]));
    broken.extend(of_ours("sdk/macros/Cargo.toml", &[]));
    holds("the SDK stands alone, so that authors need nothing else", &broken);
}

#[test]
fn filters_and_examples_use_only_the_sdk() {
    let manifests = manifest::all_below(&["filters", "examples"]);
    let broken: Vec<String> = manifests.iter().flat_map(|path| of_ours(path, &["sidegate-sdk"])).collect();
    holds("what our filters need, authors get: it belongs into the SDK", &broken);
}

#[test]
fn a_snapshot_knows_only_what_it_is_made_of() {
    let parts: [&[&str]; 2] = [&["sidegate_config"], &["crate", "worker", "env", "Env"]];
    let allowed = |path: &Path| parts.iter().any(|part| path.starts_with(part));
    holds("snapshot is a pure function of configuration and modules", &rooms_used_by(&["snapshot"], allowed));
}

#[test]
fn control_never_touches_what_workers_hold() {
    let allowed = |path: &Path| {
        path.starts_with(&["crate", "worker", "env"])
            || !WORKER_ROOMS.iter().any(|room| path.starts_with(&["crate", room]))
    };
    holds("control reaches workers only through a published snapshot", &rooms_used_by(&["control"], allowed));
}

#[test]
fn workers_never_know_where_a_snapshot_comes_from() {
    let allowed = |path: &Path| {
        !CONTROL_ROOMS.iter().any(|room| path.starts_with(&["crate", room])) && path.first() != "sidegate_config"
    };
    holds("worker rooms see the snapshot, never control, admin or config", &rooms_used_by(&WORKER_ROOMS, allowed));
}

#[test]
fn a_request_flows_one_way() {
    let mut broken = rooms_used_by(&["exchange"], |path| !path.starts_with(&["crate", "downstream"]));
    broken.extend(rooms_used_by(&["upstream"], |path| {
        let is_value = EXCHANGE_VALUES.iter().any(|room| path.starts_with(&["crate", "exchange", room]));
        is_value || !["downstream", "exchange"].iter().any(|room| path.starts_with(&["crate", room]))
    }));
    holds("downstream -> exchange -> upstream, and never back", &broken);
}

#[test]
fn telemetry_is_used_by_all_and_uses_none() {
    let values: [&[&str]; 3] = [&["crate", "snapshot"], &["crate", "exchange", "view"], &["crate", "protobuf"]];
    let allowed = |path: &Path| values.iter().any(|value| path.starts_with(value));
    holds("telemetry only renders what it is handed", &rooms_used_by(&["telemetry"], allowed));
}

#[test]
fn only_app_knows_everyone() {
    let rooms = ["admin", "control", "downstream", "exchange", "snapshot", "telemetry", "upstream", "worker"];
    let broken = rooms_used_by(&rooms, |path| {
        let is_own_or_open = |room: &str| !path.starts_with(&["crate", room]);
        is_own_or_open("app") && is_own_or_open("cli") && is_own_or_open("main")
    });
    holds("nobody depends on app or the command line", &broken);
    let broken = rooms_used_by(&rooms[1..], |path| !path.starts_with(&["crate", "admin"]));
    holds("nobody but app depends on admin", &broken);
}

#[test]
fn nothing_blocks_a_worker() {
    let mut broken = Vec::new();
    for file in WORKER_ROOMS.iter().flat_map(|room| room_files(room)) {
        for word in ["Mutex", "RwLock", "spawn_blocking", "block_on"] {
            let is_named = BLOCKING.iter().any(|(path, allowed, _reason)| file.is(path) && *allowed == word);
            broken.extend(file.lines_with_word(word).into_iter().filter(|_| !is_named));
        }
        let reads = file.paths().into_iter().filter(|path| path.starts_with(&["std", "fs"]));
        broken.extend(reads.map(|path| file.at(path.line)));
    }
    holds("worker rooms take no lock, read no file and wait for nothing but their runtime", &broken);
}

#[test]
fn unsafe_stays_in_two_files() {
    let mut broken = Vec::new();
    for file in every_source().iter().filter(|file| !UNSAFE_FILES.iter().any(|allowed| file.is(allowed))) {
        // `#[unsafe(no_mangle)]` on an export that a macro writes is an attribute, with no unsafe code behind it.
        broken.extend(file.lines_with_word("unsafe").into_iter().filter(|at| !file.line_at(at).contains("#[unsafe(")));
    }
    holds("unsafe code loads our own artifacts and speaks the guest's ABI, nothing else", &broken);
}

#[test]
fn every_file_has_one_subject() {
    let sources = every_source();
    let long = sources.iter().filter(|file| file.line_count() > FILE_LINES).map(|file| file.at(FILE_LINES));
    holds("a file over 500 lines holds a second subject: find it", &long.collect::<Vec<_>>());
    let nameless = sources.iter().filter(|file| file.is("mod.rs")).map(|file| file.at(1));
    holds("foo.rs stands beside foo/, so that tabs and traces have names", &nameless.collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_for_later_in_the_code() {
    let mut broken = Vec::new();
    for file in every_source() {
        broken.extend(["todo", "unimplemented"].iter().flat_map(|name| file.lines_with(&format!("{name}!"))));
    }
    for file in text_files() {
        broken.extend(
            [concat!("FIX", "ME"), concat!("TO", "DO"), concat!("XX", "X")]
                .iter()
                .flat_map(|mark| file.raw_lines_with_word(mark)),
        );
    }
    holds("what is not built is refused or absent, and said in the documentation", &broken);
}

#[test]
fn the_repository_speaks_of_itself_only() {
    let foreign = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("issue", " #"), concat!("Issue", " #")];
    let broken: Vec<String> =
        text_files().iter().flat_map(|file| foreign.iter().flat_map(|word| file.raw_lines_with(word))).collect();
    holds("no path of a machine, no number of a tracker", &broken);
}

#[test]
fn every_link_leads_somewhere() {
    holds("a page links to files and headings that are there", &pages::broken_links());
}

#[test]
fn every_page_can_be_found() {
    let index = std::fs::read_to_string(repository::root().join("docs/README.md")).unwrap();
    let pages = text_files().into_iter().filter(Source::is_page);
    let is_missing = |path: &&str| path.strip_prefix("docs/").is_some_and(|page| !index.contains(&format!("({page})")));
    let paths: Vec<String> = pages.map(|page| page.path().to_owned()).filter(|path| path != "docs/README.md").collect();
    let missing: Vec<String> = paths.iter().map(String::as_str).filter(is_missing).map(str::to_owned).collect();
    holds("docs/README.md lists every page of docs", &missing);
}

#[test]
fn every_name_of_ours_is_explained() {
    let mut explained = pages::names_on("docs/metrics.md");
    explained.append(&mut pages::names_on("docs/foreign-functions.md"));
    let names = pages::names_in_code(&[
        "runtime/proxy/src",
        "filters/auth/src",
        "filters/fault/src",
        "filters/ratelimit/src",
        "filters/router/src",
        "filters/telemetry/src",
        "runtime/wasm-host/src/bodies",
    ]);
    let unknown = names.iter().filter(|(name, _)| !explained.contains(name)).map(|(name, at)| format!("{at} ({name})"));
    holds(
        "metrics and foreign functions stand in docs/metrics.md or docs/foreign-functions.md",
        &unknown.collect::<Vec<_>>(),
    );
    let stale = explained.iter().filter(|page| !names.iter().any(|(name, _)| name == *page));
    holds("what these pages explain is in the code", &stale.cloned().collect::<Vec<_>>());
}

#[test]
fn every_test_that_a_page_names_exists() {
    let named: Vec<tables::Named> = tables::named_tests("docs/filters");
    assert!(named.len() > 50, "the tables of the standard filters name their tests, {}", named.len());
    let known = tables::known_tests(&["filters", "sdk", "tests"]);
    let broken: Vec<String> = named.iter().filter(|name| !known.has(&name.text)).map(tables::Named::at).collect();
    holds("a test that a table names has that name", &broken);
}

/// Dependencies on crates of ours that are not in the list.
fn of_ours(manifest: &str, allowed: &[&str]) -> Vec<String> {
    let dependencies = Manifest::read(manifest).dependencies();
    let is_ours = |name: &str| name == "sidegate" || name.starts_with("sidegate-");
    dependencies
        .iter()
        .filter(|dep| is_ours(&dep.name) && !allowed.contains(&dep.name.as_str()))
        .map(|dep| dep.at.clone())
        .collect()
}

/// The files of a room of the proxy: room.rs and what lies in room/.
fn room_files(room: &str) -> Vec<Source> {
    rust_files(&format!("runtime/proxy/src/{room}"))
}

/// Where these rooms name a path into the proxy, or into config, that is not allowed. A path into the room itself
/// always is.
fn rooms_used_by(rooms: &[&str], allowed: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut broken = Vec::new();
    for room in rooms {
        for file in room_files(room) {
            for path in file.paths() {
                let is_of_interest = ["crate", "sidegate_config"].contains(&path.first());
                if is_of_interest && !path.starts_with(&["crate", room]) && !allowed(&path) {
                    broken.push(format!("{} ({path})", file.at(path.line)));
                }
            }
        }
    }
    broken
}

fn every_source() -> Vec<Source> {
    ["runtime", "sdk", "filters", "examples", "tests", "xtask"].iter().flat_map(|folder| rust_files(folder)).collect()
}

#[track_caller]
fn holds(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}\n  {}", broken.join("\n  "));
}
