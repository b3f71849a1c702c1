//! What survives: a restart, a kill at any moment, a disk that takes nothing, files that somebody changed.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use sidegate_tests::sidegate::Start;
use sidegate_tests::{Origin, Request, Sidegate, eventually};

use crate::operator::{TOKEN, config, json, plugin, push, push_to, rollback, serves, stamp};
use crate::setup::fine;

const PATIENCE: Duration = Duration::from_secs(30);
/// Moments of a push at which the process is killed.
const KILLS: u32 = 20;

/// A proxy whose state, and whose module file, outlive it.
fn proxy(place: &Path, origin: &Origin) -> Start {
    let url = format!("file:{}/stamp.wasm", place.display());
    let text = format!("stateDir: {}/state\n{}", place.display(), config(&url, origin, ""));
    Sidegate::configured(&text).with_file("token", TOKEN)
}

fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("stamp.wasm"), stamp("a")).unwrap();
    place
}

#[test]
fn a_pushed_module_outlives_a_restart_until_its_file_changes() {
    let (origin, place) = (fine(), place());
    let sidegate = proxy(place.path(), &origin).start();
    let answer = json(&push(&sidegate, &stamp("b")));
    assert_eq!((answer["durable"].as_bool(), answer["note"].is_null()), (Some(true), true), "{answer}");
    drop(sidegate);
    let sidegate = proxy(place.path(), &origin).start();
    assert_eq!(serves(&sidegate), "b");
    assert_eq!(plugin(&sidegate)["version"], 2, "it keeps its number");
    assert_eq!(rollback(&sidegate).status, 200, "and its predecessor");
    assert_eq!(serves(&sidegate), "a");
    drop(sidegate);
    assert_eq!(serves(&proxy(place.path(), &origin).start()), "a", "a rollback holds too");
    fs::write(place.path().join("stamp.wasm"), stamp("c")).unwrap();
    assert_eq!(serves(&proxy(place.path(), &origin).start()), "c", "the file says something new");
}

#[test]
fn a_configuration_that_does_not_load_at_start_leaves_the_last_good_one_serving() {
    let (origin, place) = (fine(), place());
    let file = place.path().join("sidegate.yaml");
    let sidegate = proxy(place.path(), &origin).start();
    let text = fs::read_to_string(sidegate.folder().join("sidegate.yaml")).unwrap();
    drop(sidegate);
    // Its token file stood in the folder that is gone; the modules are kept, whatever became of their file.
    fs::remove_file(place.path().join("stamp.wasm")).unwrap();
    let state = format!("stateDir: {}/state\n", place.path().display());
    let sidegate = Sidegate::configured(&format!("{state}listeners: [$inbound\n")).start();
    assert!(sidegate.log().line_with("the last good one serves", PATIENCE).is_some());
    let address = text.split("address: ").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    let answer = sidegate_tests::Client::get_once(address, "/").unwrap();
    assert_eq!((answer.status, answer.header("x-gen")), (200, Some("a")));
    assert!(plugin(&sidegate)["lastError"].as_str().unwrap().contains("source missing"));
    let dump = json(&sidegate.ask_admin(&Request::get("/config_dump")));
    assert!(dump["lastRefusal"].as_str().unwrap().contains("sidegate.yaml"), "{dump}");
    // The file is mended: it takes effect.
    fs::write(&file, "").unwrap();
    fs::write(sidegate.folder().join("sidegate.yaml"), text.replace(", filters: [{plugin: stamp}]", "")).unwrap();
    let mended = || sidegate_tests::Client::get_once(address, "/").unwrap().header("x-gen").is_none().then_some(());
    eventually(PATIENCE, mended).expect("the mended file takes effect");
}

#[test]
fn a_kill_at_any_moment_of_a_push_leaves_the_old_or_the_new() {
    let (origin, place) = (fine(), place());
    let mut sidegate = proxy(place.path(), &origin).start();
    let modules = [stamp("b"), stamp("c")];
    let begun = Instant::now();
    assert_eq!(push(&sidegate, &modules[1]).status, 200);
    let whole = begun.elapsed();
    for kill in 0..KILLS {
        let module = &modules[kill as usize % 2];
        let admin = sidegate.admin();
        std::thread::scope(|scope| {
            let pushing = scope.spawn(move || push_to(admin, module));
            let until = Instant::now() + whole * kill / (KILLS / 2);
            eventually(Duration::from_secs(60), || (Instant::now() >= until).then_some(()));
            drop(sidegate);
            let _ = pushing.join();
        });
        sidegate = proxy(place.path(), &origin).start();
        assert!(["b", "c"].contains(&serves(&sidegate).as_str()), "after kill {kill}");
        assert_eq!(plugin(&sidegate)["state"], "LIVE");
    }
    assert_eq!(push(&sidegate, &stamp("d")).status, 200);
}

#[test]
fn a_disk_that_takes_nothing_costs_durability_and_nothing_else() {
    let (origin, place) = (fine(), place());
    let sidegate = proxy(place.path(), &origin).start();
    // What a full disk does to files, done to everybody: there is something else in the place of the folder.
    for folder in ["modules", "compiled"] {
        fs::remove_dir_all(place.path().join("state").join(folder)).unwrap();
        fs::write(place.path().join("state").join(folder), "in the way").unwrap();
    }
    let answer = push(&sidegate, &stamp("b"));
    assert_eq!((answer.status, json(&answer)["durable"].as_bool()), (200, Some(false)), "{}", answer.text());
    assert_eq!(serves(&sidegate), "b");
    assert!(sidegate.log().line_with("lost at a restart", PATIENCE).is_some());
}

#[test]
fn what_was_changed_on_disk_is_not_run() {
    let (origin, place) = (fine(), place());
    let sidegate = proxy(place.path(), &origin).start();
    assert_eq!(push(&sidegate, &stamp("b")).status, 200);
    drop(sidegate);
    let flip = |folder: &str| {
        for entry in fs::read_dir(place.path().join("state").join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes).unwrap();
        }
    };
    flip("compiled");
    let sidegate = proxy(place.path(), &origin).start();
    assert!(sidegate.log().line_with("not written by us", PATIENCE).is_some());
    assert_eq!(serves(&sidegate), "b", "compiled anew");
    drop(sidegate);
    flip("modules");
    let sidegate = proxy(place.path(), &origin).start();
    assert_eq!(serves(&sidegate), "a", "a kept module that was changed is no module: the file's serves");
    drop(sidegate);
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(place.path().join("state")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn only_so_many_versions_are_kept_on_disk() {
    let (origin, place) = (fine(), place());
    let sidegate = proxy(place.path(), &origin).start();
    for number in 0..12 {
        assert_eq!(push(&sidegate, &stamp(&number.to_string())).status, 200);
    }
    let kept = fs::read_dir(place.path().join("state/modules")).unwrap().count();
    assert_eq!(kept, 8);
}
