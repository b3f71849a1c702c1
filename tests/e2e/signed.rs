//! Signed modules: with a key configured nothing unsigned runs, and no version comes back unasked.

use std::fs;
use std::time::Duration;

use aws_lc_rs::signature::Ed25519KeyPair;
use sidegate_tests::{Response, Sidegate, eventually};

use crate::operator::{change, config, json, plugin, push, serves, stamp, stamped};
use crate::setup::fine;
use crate::signing::{self, pem, sign};

const PATIENCE: Duration = Duration::from_secs(30);
const KEY: &str = ", signature: {publicKey: key.pem}";

fn file(pair: &Ed25519KeyPair, version: u64, module: &[u8]) -> String {
    signing::file(pair, "stamp", version, module)
}

fn push_signed(sidegate: &Sidegate, query: &str, module: &[u8], (statement, signature): (String, String)) -> Response {
    let request = change("PUT", &format!("/plugins/stamp/module{query}"), module);
    let request = request.with_header("x-sidegate-statement", &statement);
    sidegate.ask_admin(&request.with_header("x-sidegate-signature", &signature))
}

#[test]
fn only_what_the_key_signed_is_pushed_and_only_upwards() {
    let origin = fine();
    let (pair, stranger) = (Ed25519KeyPair::generate().unwrap(), Ed25519KeyPair::generate().unwrap());
    let (b, c) = (stamp("b"), stamp("c"));
    let sidegate = stamped(&origin, "", KEY)
        .with_file("key.pem", pem(&pair))
        .with_file("stamp.wasm.sig", file(&pair, 1, &stamp("a")))
        .start();
    assert_eq!(serves(&sidegate), "a");
    assert_eq!(push(&sidegate, &b).status, 422, "unsigned");
    for (signed, words) in [
        (sign(&stranger, "stamp", 2, &b), "not valid"),
        (sign(&pair, "other", 2, &b), "signed for plugin other"),
        (sign(&pair, "stamp", 2, &c), "its signature is of"),
        (sign(&pair, "stamp", 1, &b), "not above"),
    ] {
        let answer = push_signed(&sidegate, "", &b, signed);
        assert_eq!(answer.status, 422, "{words}");
        assert!(json(&answer)["reason"].as_str().unwrap().contains(words), "{}", answer.text());
        assert_eq!(serves(&sidegate), "a");
    }
    assert_eq!(push_signed(&sidegate, "", &b, sign(&pair, "stamp", 5, &b)).status, 200);
    assert_eq!(serves(&sidegate), "b");
    assert_eq!(push_signed(&sidegate, "", &c, sign(&pair, "stamp", 4, &c)).status, 422, "an old one played again");
    assert_eq!(push_signed(&sidegate, "?allowRollback", &c, sign(&pair, "stamp", 4, &c)).status, 200);
    assert_eq!(serves(&sidegate), "c");
    assert_eq!(push_signed(&sidegate, "", &stamp("d"), sign(&pair, "stamp", 5, &stamp("d"))).status, 422, "5 was seen");
}

#[test]
fn files_need_their_signature_beside_them() {
    let origin = fine();
    let pair = Ed25519KeyPair::generate().unwrap();
    let sidegate = stamped(&origin, "", KEY)
        .with_file("key.pem", pem(&pair))
        .with_file("stamp.wasm.sig", file(&pair, 1, &stamp("a")))
        .start();
    let at = |name: &str| sidegate.folder().join(name);
    fs::write(at("stamp.wasm"), stamp("b")).unwrap();
    assert!(sidegate.log().line_with("its signature is of", PATIENCE).is_some());
    assert_eq!(serves(&sidegate), "a");
    fs::write(at("stamp.wasm.sig"), file(&pair, 2, &stamp("b"))).unwrap();
    eventually(PATIENCE, || (serves(&sidegate) == "b").then_some(())).expect("signed, it serves");
}

#[test]
fn an_unsigned_module_at_start_does_not_run_and_the_highest_version_is_remembered() {
    let origin = fine();
    let pair = Ed25519KeyPair::generate().unwrap();
    let place = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(place.path().join(name), bytes).unwrap();
    write("key.pem", pem(&pair).as_bytes());
    write("stamp.wasm", &stamp("a"));
    let at = place.path().display();
    let key = format!(", signature: {{publicKey: \"{at}/key.pem\"}}");
    let text = format!("stateDir: {at}/state\n{}", config(&format!("file:{at}/stamp.wasm"), &origin, &key));
    let start = || Sidegate::configured(&text).with_file("token", "secret").without_ready().start();
    let sidegate = start();
    eventually(PATIENCE, || (plugin(&sidegate)["state"] == "REJECTED").then_some(())).expect("it does not run");
    assert_eq!(sidegate.get("/").status, 503);
    write("stamp.wasm.sig", file(&pair, 7, &stamp("a")).as_bytes());
    eventually(PATIENCE, || (serves(&sidegate) == "a").then_some(())).expect("tried again when its signature comes");
    drop(sidegate);
    let sidegate = start();
    eventually(PATIENCE, || (plugin(&sidegate)["state"] == "LIVE").then_some(())).expect("it runs again");
    assert_eq!(serves(&sidegate), "a");
    let b = stamp("b");
    assert_eq!(push_signed(&sidegate, "", &b, sign(&pair, "stamp", 6, &b)).status, 422, "also after a restart");
    assert_eq!(push_signed(&sidegate, "", &b, sign(&pair, "stamp", 8, &b)).status, 200);
}
