//! Modules that cannot run: each is refused with its reason, and the rest serves.

use std::time::Duration;

use serde_json::Value;
use sidegate_tests::{Client, Request, Sidegate, eventually};

use crate::guarded::{plain, with_guest};
use crate::guest::{FOREVER, guest};
use crate::setup::fine;

const PATIENCE: Duration = Duration::from_secs(20);

/// How long one of [`bad`] may configure: long enough for a good one.
pub(crate) const CONFIGURE: &str = ", limits: {configure: 200ms}";

/// One module of every kind that must be refused, by name.
pub(crate) fn bad() -> Vec<(&'static str, Vec<u8>)> {
    let whole = guest(&[("request_headers", "")]);
    // Where the first section says what it is.
    let mut flipped = whole.clone();
    flipped[8] ^= 0x40;
    let text = |parts: &str| wat::parse_str(format!("(module {parts} (memory (export \"memory\") 1))")).unwrap();
    let abi = "(func (export \"proxy_abi_version_0_2_1\"))";
    vec![
        ("empty", vec![]),
        ("text", b"not wasm".to_vec()),
        ("truncated", whole[..whole.len() / 2].to_vec()),
        ("bit-flip", flipped),
        ("component", b"\0asm\x0d\0\x01\0".to_vec()),
        ("no-abi", text("")),
        ("wrong-abi", text("(func (export \"proxy_abi_version_9_0_0\"))")),
        ("missing-import", text(&format!("(import \"env\" \"no_such_call\" (func)) {abi}"))),
        ("start-function-loop", text(&format!("{abi} (func $start (loop $l (br $l))) (start $start)"))),
        ("start-refused", guest(&[("vm_start", "(return #0)")])),
        ("configure-refused", guest(&[("configure", "(return #0)")])),
        ("start-trap", guest(&[("vm_start", "unreachable")])),
        ("start-loop", guest(&[("vm_start", FOREVER)])),
        ("configure-trap", guest(&[("configure", "unreachable")])),
        ("configure-loop", guest(&[("configure", FOREVER)])),
        ("configure-bomb", guest(&[("configure", "(loop $l (drop (memory.grow #64)) (br $l))")])),
    ]
}

#[test]
fn bad_modules_at_start_do_not_stop_the_rest() {
    let bad = bad();
    let origin = fine();
    let mut text = "plugins:\n".to_owned();
    let mut listeners = String::new();
    for (at, (name, _)) in bad.iter().enumerate() {
        let port = (b'a' + at as u8) as char;
        text += &format!("- {{name: {name}, url: \"file:{name}.wasm\"{CONFIGURE}}}\n");
        listeners +=
            &format!("- {{name: {name}, address: $bad_{port}, cluster: app, filters: [{{plugin: {name}}}]}}\n");
    }
    text += &format!(
        "listeners:\n- {{name: plain, address: $plain, cluster: app}}\n{listeners}\
         clusters: [{{name: app, endpoints: [{{address: \"{origin}\"}}]}}]\n"
    );
    let mut start = Sidegate::configured(&text).with_workers(1).without_ready();
    for (name, wasm) in &bad {
        start = start.with_file(&format!("{name}.wasm"), wasm.clone());
    }
    let sidegate = start.start();
    let state = || sidegate.ask_admin(&Request::get("/ready"));
    eventually(PATIENCE, || state().text().contains("INITIALIZING").then_some(())).unwrap();
    eventually(PATIENCE, || (!state().text().contains("PRE_")).then_some(())).unwrap();
    assert_eq!((state().status, state().text().trim()), (503, "INITIALIZING"));
    assert_eq!(plain(&sidegate), 200);
    let plugins = sidegate.ask_admin(&Request::get("/plugins"));
    let plugins: Value = serde_json::from_slice(&plugins.body).unwrap();
    for (at, (name, _)) in bad.iter().enumerate() {
        let port = (b'a' + at as u8) as char;
        let status = Client::get_once(sidegate.address(&format!("bad_{port}")), "/").unwrap().status;
        assert_eq!(status, 503, "{name}");
        let plugin = plugins["plugins"].as_array().unwrap().iter().find(|plugin| plugin["name"] == *name).unwrap();
        assert_eq!(plugin["state"], "REJECTED", "{plugin}");
        assert!(plugin["versions"][0]["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{plugin}");
    }
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn a_bad_module_that_may_fail_open_is_passed_over() {
    let origin = fine();
    let sidegate = with_guest(b"not wasm".to_vec(), ", failStrategy: FAIL_OPEN", &origin, 1);
    assert_eq!(sidegate.get("/").status, 200);
}
