//! Modules pushed over HTTP: who may, and what is refused.

use std::fs;
use std::time::{Duration, Instant};

use sidegate_tests::{Client, Request, eventually};

use crate::operator::{TOKEN, change, json, plugin, push, push_to, refusing, serves, stamp, stamped, states};
use crate::setup::fine;

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_pushed_module_serves_when_the_answer_comes() {
    let origin = fine();
    let sidegate = stamped(&origin, "", "").start();
    assert_eq!(serves(&sidegate), "a");
    let answer = push(&sidegate, &stamp("b"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    for _ in 0..8 {
        assert_eq!(serves(&sidegate), "b", "on every worker");
    }
    let said = json(&answer);
    assert_eq!((said["plugin"].as_str(), said["version"].as_u64()), (Some("stamp"), Some(2)));
    assert_eq!((said["state"].as_str(), said["durable"].as_bool()), (Some("LIVE"), Some(false)));
    assert!(said["prepareMs"].is_u64() && said["note"].as_str().unwrap().contains("stateDir"), "{said}");
    let shown = plugin(&sidegate);
    assert_eq!(shown["digest"], said["digest"]);
    assert!(shown["since"].as_str().unwrap().ends_with('Z'));
    assert_eq!(states(&sidegate), [(2, "LIVE".to_owned()), (1, "RETIRED".to_owned())]);

    let again = json(&push(&sidegate, &stamp("b")));
    assert_eq!((&again["version"], &again["prepareMs"]), (&said["version"], &serde_json::json!(0)), "a no-op");
    sidegate.metric("sidegate_plugin_swaps_total", &[("plugin", "stamp"), ("result", "committed")], |n| n == 1.0);
    let line = sidegate.log().line_with("/plugins/stamp/module", PATIENCE).expect("an audit line");
    assert!(line.contains("audit") && line.contains("127.0.0.1") && line.contains("200"), "{line}");
    let events = json(&sidegate.ask_admin(&Request::get("/plugins")))["events"].clone();
    assert_eq!(events.as_array().unwrap().last().unwrap()["text"], "push");
}

#[test]
fn a_bad_push_is_refused_and_what_ran_goes_on() {
    let origin = fine();
    let sidegate = stamped(&origin, "", "").start();
    let before = plugin(&sidegate)["digest"].clone();
    let whole = stamp("b");
    let cases: [(&[u8], &str); 4] = [
        (b"not wasm", "not WebAssembly"),
        (&whole[..whole.len() / 2], "does not load"),
        (&refusing(), "refused by the module"),
        (b"", "not WebAssembly"),
    ];
    for (module, error) in cases {
        let answer = push(&sidegate, module);
        assert_eq!(answer.status, 422, "{error}: {}", answer.text());
        let said = json(&answer);
        assert_eq!(said["error"], error, "{said}");
        assert!(!said["reason"].as_str().unwrap().is_empty());
        assert_eq!(plugin(&sidegate)["lastError"], said["reason"]);
        assert_eq!((serves(&sidegate).as_str(), &plugin(&sidegate)["digest"]), ("a", &before));
    }
    let request = change("PUT", "/plugins/stamp/module", &whole).with_header("x-sidegate-sha256", &"0".repeat(64));
    assert_eq!(json(&sidegate.ask_admin(&request))["error"], "wrong digest");
    assert!(states(&sidegate).contains(&(1, "LIVE".to_owned())));
    assert!(states(&sidegate).iter().any(|(_, state)| state == "REJECTED"), "{:?}", states(&sidegate));
    assert!(plugin(&sidegate)["lastError"].is_string());
    sidegate.metric("sidegate_plugin_swaps_total", &[("plugin", "stamp"), ("result", "refused")], |n| n == 5.0);
    let statuses = [
        ("PUT", "/plugins/ghost/module", 404),
        ("GET", "/plugins/stamp/module", 405),
        ("POST", "/plugins/stamp/module", 405),
        ("POST", "/plugins/stamp/rollout?action=abort", 409),
        ("POST", "/plugins/stamp/rollout?action=go", 422),
        ("POST", "/plugins/ghost/rollout?action=abort", 404),
        ("POST", "/plugins/ghost/rollback", 404),
    ];
    for (method, path, status) in statuses {
        assert_eq!(sidegate.ask_admin(&change(method, path, &whole)).status, status, "{method} {path}");
    }
    assert_eq!(push(&sidegate, &whole).status, 200, "a good one is taken after all that");
}

#[test]
fn without_the_token_nothing_is_done() {
    let origin = fine();
    let sidegate = stamped(&origin, "", "").start();
    for token in ["", "wrong", "secre", "secrets"] {
        let bearer = format!("Bearer {token}");
        let request = Request::new("PUT", "/plugins/stamp/module").with_header("authorization", &bearer);
        assert_eq!(sidegate.ask_admin(&request.with_body(stamp("b"))).status, 401, "{token}");
    }
    // The answer comes before any of the body: none was asked for.
    let mut client = Client::connect(sidegate.admin()).unwrap();
    client.write(b"PUT /plugins/stamp/module HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n").unwrap();
    assert_eq!(client.read_response().unwrap().status, 401);
    assert_eq!(serves(&sidegate), "a");
    let line = sidegate.log().line_with("result=401", PATIENCE).expect("an audit line");
    assert!(line.contains("audit"), "{line}");
}

#[test]
fn a_body_that_is_too_large_or_too_slow_is_not_waited_for() {
    let origin = fine();
    let sidegate = stamped(&origin, "", "").start();
    let head = |length: &str| {
        format!("PUT /plugins/stamp/module HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n{length}\r\n\r\n")
    };
    let mut large = Client::connect(sidegate.admin()).unwrap();
    large.write(head("content-length: 1073741824").as_bytes()).unwrap();
    assert_eq!(large.read_response().unwrap().status, 413, "by its announced length");
    let mut chunked = Client::connect(sidegate.admin()).unwrap();
    chunked.write(head("transfer-encoding: chunked").as_bytes()).unwrap();
    let chunk = [b"100000\r\n".as_slice(), &vec![0; 1 << 20], b"\r\n"].concat();
    // The proxy stops reading when it has seen enough.
    let sent = (0..64).take_while(|_| chunked.write(&chunk).is_ok()).count();
    assert!(sent >= 32, "{sent}");
    if let Ok(answer) = chunked.read_response() {
        assert_eq!(answer.status, 413);
    }
    let mut slow = Client::connect(sidegate.admin()).unwrap();
    slow.write(head("content-length: 1000").as_bytes()).unwrap();
    let begun = Instant::now();
    slow.set_patience(PATIENCE).unwrap();
    // While it dawdles the plugin is taken, and everything else answers.
    eventually(PATIENCE, || (push(&sidegate, &stamp("b")).status == 409).then_some(())).unwrap();
    assert_eq!((serves(&sidegate).as_str(), sidegate.ask_admin(&Request::get("/ready")).status), ("a", 200));
    assert_eq!(slow.read_response().unwrap().status, 408);
    assert!(begun.elapsed() < Duration::from_secs(15));
    eventually(PATIENCE, || (push(&sidegate, &stamp("b")).status == 200).then_some(()))
        .expect("the place is free again");
}

#[test]
fn a_hundred_pushes_at_once_are_put_in_order() {
    let origin = fine();
    let sidegate = stamped(&origin, "", "").start();
    let modules = [stamp("b"), stamp("c")];
    let statuses: Vec<_> = std::thread::scope(|scope| {
        let pushing: Vec<_> = (0..100)
            .map(|n| {
                let (module, admin) = (&modules[n % 2], sidegate.admin());
                scope.spawn(move || push_to(admin, module).map(|answer| answer.status))
            })
            .collect();
        pushing.into_iter().filter_map(|pushing| pushing.join().unwrap().ok()).collect()
    });
    assert!(statuses.iter().all(|status| [200, 409, 503].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&200));
    assert!(["b", "c"].contains(&serves(&sidegate).as_str()));
}

#[test]
fn the_command_line_pushes_lists_rolls_back_and_steers_rollouts() {
    let origin = fine();
    let sidegate = stamped(&origin, "", "").start();
    let folder = sidegate.folder();
    fs::write(folder.join("b.wasm"), stamp("b")).unwrap();
    fs::write(folder.join("bad.wasm"), b"not wasm").unwrap();
    let admin = format!("http://{}", sidegate.admin());
    let run = |arguments: &[&str]| {
        let output =
            sidegate_tests::sidegate::run(folder, &[arguments, &["--admin", &admin, "--token-file", "token"]].concat());
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    };
    let (pushed, text) = run(&["push", "b.wasm", "--plugin", "stamp"]);
    assert!(pushed && text.contains("LIVE"), "{text}");
    assert_eq!(serves(&sidegate), "b");
    let (pushed, text) = run(&["push", "bad.wasm", "--plugin", "stamp"]);
    assert!(!pushed && text.contains("422"), "{text}");
    let (listed, text) = run(&["plugins"]);
    let row = text.lines().find(|line| line.starts_with("stamp")).unwrap_or_else(|| panic!("{text}"));
    assert!(listed && row.contains("LIVE"), "{text}");
    assert!(run(&["rollback", "stamp"]).0);
    assert_eq!(serves(&sidegate), "a");
    assert!(!run(&["rollback", "stamp"]).0, "there is nothing before");

    assert!(run(&["push", "b.wasm", "--plugin", "stamp", "--rollout", "5,50", "--hold", "60s"]).0);
    assert!(run(&["rollout", "stamp", "pause"]).0);
    let (_, text) = run(&["plugins"]);
    assert!(text.contains("ROLLING_OUT 5% (1/2) paused"), "{text}");
    assert!(run(&["rollout", "stamp", "abort"]).0);
    let (again, text) = run(&["rollout", "stamp", "resume"]);
    assert!(!again && text.contains("409"), "{text}");
    let wrong = ["rollback", "stamp", "--admin", &admin];
    let output = sidegate_tests::sidegate::run(folder, &wrong);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("401") && text.contains("--token-file"), "{text}");
}
