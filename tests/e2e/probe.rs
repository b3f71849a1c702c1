//! The scripted probe in the built proxy: calls that a filter may make at the wrong moment harm nobody.

use std::fmt::Write;
use std::time::Duration;

use sidegate_tests::probe::rows::QUIET;
use sidegate_tests::probe::{self, Abi, PHASES, Report, Script};
use sidegate_tests::{Answer, Client, Gate, Origin, Request, Sidegate};

const PATIENCE: Duration = Duration::from_secs(20);
const SEND: &str = "proxy_http_call 'auth' [:method=GET|:path=/answer|:authority=a] '' '' 5000 word";

/// One listener `$a`, `$b`, ... for each script, in front of this origin, which also answers callouts.
fn start(scripts: &[Script], origin: &Origin) -> Sidegate {
    let (mut plugins, mut listeners) = (String::new(), String::new());
    for (index, script) in scripts.iter().enumerate() {
        let (name, config) = (name(index), script.to_config());
        let limits = "limits: {logRate: 10000/s, cpuPerCall: 500ms}";
        let _ = writeln!(
            plugins,
            "- {{name: {name}, url: \"file:probe.wasm\", {limits}, vmConfig: {{vmId: {name}, configuration: \"{config}\"}}}}"
        );
        let _ =
            writeln!(listeners, "- {{name: {name}, address: ${name}, cluster: app, filters: [{{plugin: {name}}}]}}");
    }
    let endpoints = format!("endpoints: [{{address: \"{origin}\"}}]");
    let config = format!(
        "stateDir: {}/probe-state\nplugins:\n{plugins}listeners:\n{listeners}clusters: [{{name: app, {endpoints}}}, {{name: auth, {endpoints}}}]\n",
        env!("CARGO_TARGET_TMPDIR")
    );
    let module = wat::parse_str(probe::module(Abi::V0_2_1)).unwrap();
    Sidegate::configured(&config)
        .with_workers(1)
        .with_file("probe.wasm", module)
        .with_environment("RUST_LOG", "warn,guest=info")
        .start()
}

/// `p` and a number in letters.
fn name(index: usize) -> String {
    let letter = |digit: usize| char::from(b'a' + digit as u8);
    ['p', letter(index / 26), letter(index % 26)].iter().collect()
}

fn origin() -> Origin {
    Origin::answering(|_| Answer::ok("world").with_header("trailer", "x-t").with_trailer("x-t", "t"))
}

#[test]
fn harmless_calls_are_answered_in_every_phase_and_requests_go_on() {
    let script = QUIET.iter().fold(Script::default(), |script, row| script.in_all(&PHASES, row));
    let origin = origin();
    let sidegate = start(std::slice::from_ref(&script), &origin);
    assert_eq!(sidegate.send(&Request::post("/", "hello")).status, 200);
    let last = format!("probe {:08x}", script.len() - PHASES.len() + probe::phase("delete") as usize);
    assert!(sidegate.log().line_with(&last, PATIENCE).is_some(), "on_delete ran to its last step");
    let reports: Vec<Report> = sidegate.log().lines().iter().filter_map(|line| Report::read(line)).collect();
    let status = |step: &str| {
        let at = (0..script.len()).find(|at| script.text(*at) == step).unwrap();
        reports.iter().find(|report| report.step == at).map(|report| (report.status, report.text()))
    };
    assert_eq!(status("request_headers: proxy_get_header_map_value 0 ':path' out"), Some((0, "/".into())));
    assert_eq!(status("log: proxy_get_header_map_value 2 ':status' out"), Some((0, "200".into())));
    assert_eq!(status("log: proxy_get_property 'request\\0method' out"), Some((0, "POST".into())));
    assert_eq!(status("delete: proxy_get_property 'request\\0method' out"), Some((1, String::new())));
}

#[test]
fn a_reply_a_reset_or_a_resume_at_any_moment_leaves_the_proxy_whole() {
    let calls = [
        "proxy_send_local_response 403 'no' 'body' [k=v] -1",
        "proxy_close_stream 0",
        "proxy_continue_stream 0",
        "proxy_continue_stream 1",
    ];
    let phases =
        ["request_headers", "request_body_end", "response_headers", "response_body_end", "log", "done", "delete"];
    let mut scripts = vec![Script::default()];
    for call in calls {
        // Twice: the second finds what the first left behind.
        scripts.extend(phases.iter().map(|phase| Script::default().on(phase, call).on(phase, call)));
    }
    let origin = origin();
    let sidegate = start(&scripts, &origin);
    for (index, script) in scripts.iter().enumerate() {
        for request in [Request::get("/"), Request::post("/", "hello")] {
            let mut client = Client::connect(sidegate.address(&name(index))).unwrap();
            if let Err(error) = client.send(&request) {
                assert!(script.text(0).contains("close") || script.text(0).contains("response_body"), "{error}");
                assert_ne!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock,
                    "{} leaves the client waiting",
                    script.text(0)
                );
            }
        }
    }
    assert_eq!(sidegate.get("/").status, 200);
    let page = sidegate.ask_admin(&Request::get("/stats/prometheus")).text().into_owned();
    assert!(!page.contains("sidegate_plugin_faults_total{"), "no call was a fault");
    sidegate.metric("sidegate_plugin_contexts", &[], |open| open == 0.0);
}

#[test]
fn an_exchange_that_a_filter_reset_says_so() {
    let script = Script::default()
        .on("request_headers", "proxy_close_stream 0")
        .on("log", "proxy_get_property 'response\\0code_details' out")
        .on("log", "proxy_get_property 'response\\0flags' out");
    let origin = origin();
    let sidegate = start(std::slice::from_ref(&script), &origin);
    let mut client = Client::connect(sidegate.address("paa")).unwrap();
    client.send(&Request::get("/")).unwrap_err();
    let last = format!("probe {:08x}", script.len() - 1);
    assert!(sidegate.log().line_with(&last, PATIENCE).is_some());
    let reports: Vec<Report> = sidegate.log().lines().iter().filter_map(|line| Report::read(line)).collect();
    let text = |at: usize| reports.iter().find(|report| report.step == at).map(Report::text);
    assert_eq!(text(1), Some("wasm_close_stream".into()));
    assert_eq!(text(2), Some("\0".repeat(8)), "no flag: nobody failed");
}

#[test]
fn a_body_that_waits_for_a_callout_may_be_changed_by_the_callouts_hook() {
    let changed = |map: &str, side: &str, direction: u32| {
        Script::default()
            .on(&format!("{side}_body_end"), SEND)
            .returns(&format!("{side}_body"), 1)
            .returns(&format!("{side}_body_end"), 1)
            .on("http_call_response", "switch")
            .on("http_call_response", &format!("proxy_set_buffer_bytes {map} 0 1000 'changed'"))
            .on("http_call_response", &format!("proxy_continue_stream {direction}"))
    };
    let origin = Origin::answering(|_| Answer::ok("world"));
    let sidegate = start(&[changed("0", "request", 0), changed("1", "response", 1)], &origin);
    assert_eq!(sidegate.send(&Request::post("/first", "hello")).status, 200);
    let seen = origin.requests().into_iter().find(|request| request.target == "/first").unwrap();
    assert_eq!(seen.text(), "changed");
    let answer = Client::get_once(sidegate.address(&name(1)), "/second").unwrap();
    assert_eq!(answer.text(), "changed");
}

#[test]
fn open_contexts_are_counted_for_each_plugin() {
    let gate = Gate::closed();
    let opener = gate.clone();
    let origin = Origin::answering(move |_| Answer::ok("late").when(&gate));
    let sidegate = start(&[Script::default()], &origin);
    sidegate.metric("sidegate_plugin_contexts", &[("plugin", "paa")], |open| open == 0.0);
    let mut client = sidegate.connect();
    client.write(&Request::get("/").to_bytes("a")).unwrap();
    sidegate.metric("sidegate_plugin_contexts", &[("plugin", "paa")], |open| open == 1.0);
    opener.open();
    assert_eq!(client.read_response().unwrap().status, 200);
    sidegate.metric("sidegate_plugin_contexts", &[("plugin", "paa")], |open| open == 0.0);
}

#[test]
fn a_head_that_a_filter_broke_goes_nowhere() {
    let set = |name: &str, value: &str| {
        let call = format!("proxy_replace_header_map_value 0 '{name}' '{value}'");
        Script::default().on("request_headers", &call)
    };
    let cases = [
        (set(":Method", "CONNECT"), 503),
        (set(":method", "get it"), 503),
        (set(":PATH", "*"), 404),
        (set(":path", "relative"), 404),
        (set("x y", "v"), 503),
        (Script::default().on("request_headers", "proxy_add_header_map_value 0 ':other' 'v'"), 503),
    ];
    let origin = origin();
    let sidegate = start(&cases.each_ref().map(|(script, _)| script.clone()), &origin);
    for (index, (script, status)) in cases.iter().enumerate() {
        let answer = Client::get_once(sidegate.address(&name(index)), "/").unwrap();
        assert_eq!(answer.status, *status, "{}", script.text(0));
    }
    assert_eq!(origin.request_count(), 0);
}

#[test]
fn replies_say_what_their_filters_said() {
    let empty = "proxy_send_local_response 401 '' '' '' -1";
    let seen = "proxy_get_header_map_value 2 'content-length' out";
    let grpc = "proxy_send_local_response 403 '' '' [grpc-status=3|grpc-message=mine] 17";
    let reply = |status: u16| format!("proxy_send_local_response {status} '' '' '' -1");
    let called = Script::default().on("request_headers", SEND).returns("request_headers", 1);
    let called = called.on("http_call_response", "switch").on("http_call_response", &reply(403));
    let scripts = [
        Script::default().on("request_headers", empty).on("response_headers", seen),
        Script::default().on("request_headers", grpc),
        called.on("http_call_response", &reply(418)),
    ];
    let origin = origin();
    let sidegate = start(&scripts, &origin);
    let send = |index: usize, request: &Request| {
        Client::connect(sidegate.address(&name(index))).unwrap().send(request).unwrap()
    };
    let answer = send(0, &Request::get("/"));
    assert_eq!((answer.status, answer.header("content-length")), (401, Some("0")));
    let line = sidegate.log().line_with("probe 00000001", PATIENCE).unwrap();
    assert_eq!(Report::read(&line).map(|report| report.status), Some(1), "hooks see no length of nothing");
    let answer = send(1, &Request::get("/").with_header("content-type", "application/grpc"));
    assert_eq!((answer.header("grpc-status"), answer.header("grpc-message")), (Some("3"), Some("mine")));
    assert_eq!(send(2, &Request::get("/")).status, 418, "the last of two in a callout's hook");
}

#[test]
fn a_response_whose_length_a_filter_removed_leaves_in_chunks() {
    let remove = "proxy_remove_header_map_value 2 'content-length'";
    let script = Script::default().on("response_headers", remove);
    let also_body = script.clone().on("response_body_end", "proxy_set_buffer_bytes 1 0 0 'Hi '");
    let origin = Origin::answering(|request| match request.target.as_str() {
        "/nothing" => Answer::status(200),
        _ => Answer::ok("world"),
    });
    let sidegate = start(&[script, also_body], &origin);
    for (listener, text) in [("paa", "world"), ("pab", "Hi world")] {
        let mut client = Client::connect(sidegate.address(listener)).unwrap();
        let answer = client.send(&Request::get("/")).unwrap();
        assert_eq!((answer.header("content-length"), answer.header("transfer-encoding")), (None, Some("chunked")));
        assert_eq!(answer.text(), text);
        let answer = client.send(&Request::get("/nothing")).unwrap();
        assert_eq!((answer.status, answer.text().as_ref()), (200, ""));
        let answer = client.send(&Request::new("HEAD", "/")).unwrap();
        assert_eq!((answer.status, answer.header("content-length")), (200, None));
    }
}
