//! What a filter may write, and what becomes of too much or the wrong thing: messages stay whole, quotas bite quietly.

use std::time::Duration;

use sidegate_tests::h2::Http2Client;
use sidegate_tests::sidegate::Start;
use sidegate_tests::{Answer, Origin, Request, Sidegate, eventually};

use crate::guest::{guest, times};
use crate::setup::{config, fine, memory};

fn with_guest(hooks: &[(&str, &str)], plugin: &str, upstream: &Origin) -> Sidegate {
    configured(hooks, plugin, upstream).start()
}

fn configured(hooks: &[(&str, &str)], plugin: &str, upstream: &Origin) -> Start {
    let text = format!(
        "plugins: [{{name: guest, url: \"file:guest.wasm\"{plugin}}}]\n{}",
        config(", filters: [{plugin: guest}]", upstream, "")
    );
    Sidegate::configured(&text).with_file("guest.wasm", guest(hooks)).with_workers(1)
}

#[test]
fn a_line_break_in_a_header_ends_the_exchange() {
    for value in ["<a\\0d\\0aset-cookie: b>", "<a\\0ab>", "<a\\0db>", "<a\\00b>"] {
        for call in ["add_header", "set_header"] {
            let origin = fine();
            let body = format!("(drop (call ${call} #0 <x-bad> {value}))");
            let sidegate = with_guest(&[("request_headers", &body)], "", &origin);
            assert_eq!(sidegate.get("/").status, 503, "{call} {value} in the request");
            assert_eq!(origin.request_count(), 0);

            let body = format!("(drop (call ${call} #2 <x-bad> {value}))");
            let sidegate = with_guest(&[("response_headers", &body)], "", &origin);
            let answer = sidegate.get("/");
            assert_eq!((answer.status, answer.header("set-cookie")), (502, None), "{call} {value} in the response");
        }
    }
    let origin = fine();
    let sidegate = with_guest(&[("request_headers", "(drop (call $add_header #0 <x\\0d\\0ay> <z>))")], "", &origin);
    assert_eq!(sidegate.get("/").status, 503, "in a name");
    for path in ["</x HTTP/1.1\\0d\\0ahost: evil>", "</a b>", "<>", "<x>"] {
        let body = format!("(drop (call $set_header #0 <:path> {path}))");
        let sidegate = with_guest(&[("request_headers", &body)], "", &origin);
        let status = sidegate.get("/").status;
        assert!(status >= 400, "{path} as path: {status}");
    }
    assert_eq!(origin.request_count(), 0);
}

#[test]
fn no_filter_touches_framing() {
    let meddle = |map: u8| {
        format!(
            "(drop (call $add_header #{map} <transfer-encoding> <chunked>))
             (drop (call $add_header #{map} <content-length> <99>))
             (drop (call $set_header #{map} <content-length> <3>))
             (drop (call $remove_header #{map} <content-length>))
             (drop (call $add_header #{map} <connection> <close, x-kept>))
             (drop (call $add_header #{map} <keep-alive> <5>))
             (drop (call $add_header #{map} <upgrade> <h2c>))
             (drop (call $add_header #{map} <x-kept> <1>))"
        )
    };
    let origin = Origin::answering(|request| match request.target.as_str() {
        "/chunked" => Answer::ok("fine").chunked(),
        _ => Answer::ok("fine"),
    });
    let sidegate = with_guest(&[("request_headers", &meddle(0)), ("response_headers", &meddle(2))], "", &origin);
    let mut client = sidegate.connect();
    for target in ["/", "/chunked"] {
        let answer = client.send(&Request::post(target, "hello")).unwrap();
        assert_eq!((answer.status, answer.text().as_ref()), (200, "fine"));
        assert_eq!(answer.header("x-kept"), Some("1"));
        for name in ["connection", "keep-alive", "upgrade"] {
            assert_eq!(answer.header(name), None, "{name}");
        }
        let request = origin.requests().pop().unwrap();
        assert_eq!((request.body.as_slice(), request.header("x-kept")), (&b"hello"[..], Some("1")));
        let framings = request.headers.all("content-length").count() + request.headers.all("transfer-encoding").count();
        assert_eq!(framings, 1, "{}", String::from_utf8_lossy(&request.raw));
        assert_eq!((request.header("connection"), request.header("upgrade")), (None, None));
    }
    let mut client = Http2Client::connect(sidegate.address("inbound")).unwrap();
    assert_eq!(client.send(&Request::post("/", "hello")).unwrap().text(), "fine");
}

#[test]
fn a_flood_of_log_lines_is_dropped_and_counted() {
    let origin = fine();
    let flood = times(2000, "(drop (call $log #2 #1024 #6))");
    let sidegate = with_guest(&[("request_headers", &flood)], ", limits: {cpuPerCall: 900ms}", &origin);
    for _ in 0..5 {
        assert_eq!(sidegate.get("/").status, 200);
    }
    let dropped = sidegate.metric("sidegate_plugin_log_dropped_total", &[("plugin", "guest")], |count| count >= 9000.0);
    let written = sidegate.log().lines().iter().filter(|line| line.contains("guest")).count();
    assert!(written < 1000, "{written} lines, {dropped} dropped");
}

#[test]
fn a_log_line_cannot_pretend_to_be_two() {
    let origin = fine();
    let body = "(drop (call $log #2 <one\\0a2026 ERROR forged\\1b[31m\\00>))";
    let sidegate = with_guest(&[("request_headers", body)], "", &origin);
    assert_eq!(sidegate.get("/").status, 200);
    let line = sidegate.log().line_with("forged", Duration::from_secs(10)).unwrap();
    assert!(line.contains("one") && line.contains("guest"), "{line}");
    assert!(!line.contains(['\x1b', '\0']), "{line:?}");
}

#[test]
fn a_json_log_holds_the_text_as_the_guest_gave_it() {
    let origin = fine();
    let body = "(drop (call $log #2 <one\\0atwo \\22\\1b>))";
    let sidegate =
        configured(&[("request_headers", body)], "", &origin).with_arguments(&["--log-format", "json"]).start();
    assert_eq!(sidegate.get("/").status, 200);
    let line = sidegate.log().line_with("one", Duration::from_secs(10)).unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((line["message"].as_str(), line["plugin"].as_str()), (Some("one\ntwo \"\u{1b}"), Some("guest")));
}

#[test]
fn too_many_metrics_become_one_overflow_series() {
    let origin = fine();
    // The name is six letters, one for each four bits of the number.
    let letter = |at: u32| {
        format!("(i32.store8 #{} (i32.add #97 (i32.and (i32.shr_u (local.get $i) #{}) #15)))", 200 + at, at * 4)
    };
    let letters: String = (0..6).map(letter).collect();
    let define = times(
        100_000,
        &format!(
            "{letters} (drop (call $define_metric #0 #200 #6 #300)) (drop (call $increment (i32.load #300) (i64.const 1)))"
        ),
    );
    let sidegate =
        with_guest(&[("configure", &define), ("request_headers", "")], ", limits: {configure: 10s}", &origin);
    assert_eq!(sidegate.get("/").status, 200);
    sidegate.metric("sidegate_plugin_overflow_total", &[("plugin", "guest")], |count| count >= 1.0);
    let page = sidegate.ask_admin(&Request::get("/stats/prometheus")).text().into_owned();
    assert!(page.lines().count() < 4000, "{} lines", page.lines().count());
    assert!(memory(&sidegate, "VmRSS") < 200 << 10);
}

#[test]
fn a_reply_from_a_filter_reaches_the_client_and_not_the_upstream() {
    let origin = fine();
    let reply = |status: u32| format!("(drop (call $reply #{status} <> <not you> #0 #0 (i32.const -1)))");
    let sidegate = with_guest(&[("request_headers", &reply(403))], "", &origin);
    let answer = sidegate.get("/");
    assert_eq!((answer.status, answer.text().as_ref()), (403, "not you"));
    for status in [0, 1, 99, 100, 199, 600, 999, 99999] {
        let sidegate = with_guest(&[("request_headers", &reply(status))], "", &origin);
        assert_eq!(sidegate.get("/").status, 502, "{status}");
    }
    assert_eq!(origin.request_count(), 0);
}

#[test]
fn a_reply_when_all_is_over_does_nothing() {
    let origin = fine();
    for hook in ["log", "done", "delete", "tick"] {
        let body = "(drop (call $reply #403 <> <late> #0 #0 (i32.const -1)))";
        let tick = "(drop (call $set_tick #5))";
        let sidegate = with_guest(&[(hook, body), ("vm_start", tick)], "", &origin);
        let mut client = sidegate.connect();
        for _ in 0..5 {
            let answer = client.get("/").unwrap();
            assert_eq!((answer.status, answer.text().as_ref()), (200, "fine"), "{hook}");
        }
    }
}

#[test]
fn a_body_that_a_filter_may_not_hold_is_413() {
    let origin = fine();
    let sidegate = with_guest(&[("request_body", "(return #1)")], ", limits: {body: 1Ki}", &origin);
    assert_eq!(sidegate.connect().send(&Request::post("/", "x".repeat(10_000))).unwrap().status, 413);
    assert_eq!(origin.request_count(), 0);
}

#[test]
fn what_all_filters_hold_together_has_a_bound_too() {
    let origin = fine();
    let sidegate = with_guest(&[("request_body", "(return #1)")], ", limits: {body: 40Mi, pause: 30s}", &origin);
    // Two of them fit, and are held for as long as a filter may hold them.
    let holders: Vec<_> = (0..2)
        .map(|_| {
            let mut client = sidegate.connect();
            client.write(&Request::post("/", vec![b'x'; 31 << 20]).to_bytes("a")).unwrap();
            client
        })
        .collect();
    let third = sidegate.connect().send(&Request::post("/", vec![b'x'; 3 << 20])).unwrap();
    assert_eq!((third.status, third.text().as_ref()), (503, "overload"));
    drop(holders);
    let freed = eventually(Duration::from_secs(5), || {
        let answer = sidegate.connect().send(&Request::post("/", vec![b'x'; 41 << 20])).ok()?;
        (answer.status == 413).then_some(())
    });
    assert!(freed.is_some(), "what a dropped exchange held counts no more");
}
