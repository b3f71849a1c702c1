//! Where modules come from: files in every state, ConfigMaps, URLs.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sidegate_tests::{Answer, Origin, Sidegate, eventually};

use crate::guest::guest;
use crate::operator::{TOKEN, config, plugin, push, serves, stamp, stamped, states};
use crate::setup::fine;

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_file_that_is_being_written_is_waited_for() {
    let origin = fine();
    let sidegate = stamped(&origin, "", "").start();
    let module = stamp("b");
    let mut file = File::create(sidegate.folder().join("stamp.wasm")).unwrap();
    for piece in module.chunks(module.len() / 9) {
        file.write_all(piece).unwrap();
        let next = Instant::now() + Duration::from_millis(60);
        eventually(PATIENCE, || (Instant::now() >= next).then_some(())).unwrap();
        assert!(["a", "b"].contains(&serves(&sidegate).as_str()));
    }
    drop(file);
    eventually(PATIENCE, || (serves(&sidegate) == "b").then_some(())).expect("whole, it serves");
    assert_eq!(states(&sidegate), [(2, "LIVE".to_owned()), (1, "RETIRED".to_owned())], "no piece of it was tried");
}

#[test]
fn a_configmap_is_followed_through_every_swap() {
    let origin = fine();
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    let write = |number: usize, value: &str| {
        let folder = at(&format!("..{number}"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("stamp.wasm"), stamp(value)).unwrap();
        symlink(format!("..{number}"), at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        let _ = fs::remove_dir_all(at(&format!("..{}", number.wrapping_sub(1))));
    };
    write(0, "a");
    symlink("..data/stamp.wasm", at("stamp.wasm")).unwrap();
    let text = config(&format!("file:{}", at("stamp.wasm").display()), &origin, "");
    let sidegate = Sidegate::configured(&text).with_file("token", TOKEN).start();
    for number in 1..=20 {
        let value = format!("v{number}");
        write(number, &value);
        eventually(PATIENCE, || (serves(&sidegate) == value).then_some(())).expect("each version serves");
    }
    let versions = states(&sidegate);
    assert_eq!(versions.len(), 21, "each was loaded once");
    assert!(versions.iter().all(|(_, state)| state != "REJECTED"), "{versions:?}");
}

#[test]
fn a_file_that_is_gone_stops_nothing_and_is_loaded_when_it_returns() {
    let origin = fine();
    let sidegate = stamped(&origin, "", "").start();
    let file = sidegate.folder().join("stamp.wasm");
    fs::remove_file(&file).unwrap();
    let missing = || {
        plugin(&sidegate)["lastError"].as_str().is_some_and(|error| error.starts_with("source missing")).then_some(())
    };
    eventually(PATIENCE, missing).expect("it is told");
    assert_eq!((serves(&sidegate).as_str(), plugin(&sidegate)["state"].as_str()), ("a", Some("LIVE")));
    assert_eq!(push(&sidegate, &stamp("b")).status, 200, "pushes go on");
    fs::write(&file, stamp("c")).unwrap();
    eventually(PATIENCE, || (serves(&sidegate) == "c").then_some(())).expect("it serves when it returns");
    assert!(plugin(&sidegate)["lastError"].is_null());
}

#[test]
fn a_module_comes_from_a_url_through_redirects_and_trouble() {
    let origin = fine();
    let module = Arc::new(Mutex::new(Some(stamp("a"))));
    let served = module.clone();
    let registry = Origin::answering(move |request| match (request.target.as_str(), &*served.lock().unwrap()) {
        ("/old.wasm", _) => Answer::status(302).with_header("location", "/new.wasm"),
        (_, Some(_)) if request.header("if-none-match") == Some("\"one\"") => Answer::status(304),
        (_, Some(bytes)) => Answer::ok(bytes.clone()).with_header("etag", "\"one\""),
        (_, None) => Answer::status(500),
    });
    let url = format!("http://{registry}/old.wasm");
    let sidegate = Sidegate::configured(&config(&url, &origin, "")).with_file("token", TOKEN).start();
    assert_eq!(serves(&sidegate), "a");
    assert_eq!(plugin(&sidegate)["versions"][0]["source"], url);
    // A second proxy begins while the registry is in trouble: it asks again until it gets an answer.
    *module.lock().unwrap() = None;
    let late = Sidegate::configured(&config(&url, &origin, "")).with_file("token", TOKEN).without_ready().start();
    let told = || plugin(&late)["lastError"].as_str().is_some_and(|error| error.contains("500")).then_some(());
    eventually(PATIENCE, told).expect("the reason is shown");
    assert_eq!(late.get("/").status, 503);
    *module.lock().unwrap() = Some(stamp("a"));
    eventually(PATIENCE, || (serves(&late) == "a").then_some(())).expect("it is asked again");
}

#[test]
fn a_url_is_held_to_its_digest_and_to_bounds() {
    let origin = fine();
    let registry = Origin::answering(|request| match request.target.as_str() {
        "/loop.wasm" => Answer::status(302).with_header("location", "/loop.wasm"),
        _ => Answer::ok(guest(&[])),
    });
    for (path, keys, words) in [
        ("loop.wasm", String::new(), "redirects"),
        ("x.wasm", format!(", sha256: \"{}\"", "0".repeat(64)), "sha256 is"),
    ] {
        let text = config(&format!("http://{registry}/{path}"), &origin, &keys);
        let sidegate = Sidegate::configured(&text).with_file("token", TOKEN).without_ready().start();
        let told = || plugin(&sidegate)["lastError"].as_str().is_some_and(|error| error.contains(words)).then_some(());
        eventually(PATIENCE, told).expect(words);
        assert_eq!(sidegate.get("/").status, 503);
    }
}
