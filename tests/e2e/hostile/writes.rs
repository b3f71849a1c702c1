//! CR, LF and NUL wherever a filter can write: nothing of it becomes a line of its own.

use super::arena::{Arena, Case, case, map};

/// What would be a line of its own.
const LINE: &str = "a\\0d\\0ainjected: yes";
const RAW_LINE: &str = "a\r\ninjected: yes";

struct Place {
    name: &'static str,
    /// Status codes that the client may get; 0: the response is cut.
    gets: &'static [u16],
    hook: &'static str,
    body: String,
}

fn places() -> Vec<Place> {
    let place = |name, gets, hook, body: String| Place { name, gets, hook, body };
    let set = |map: u32, name: &str| format!("(drop (call $set_header #{map} <{name}> <{LINE}>))");
    let pairs = map(&[(":method", "GET"), (":path", "/attack"), (":authority", "a"), ("x", RAW_LINE)]);
    let call = |pairs: &[(&str, &str)]| {
        let mut all = vec![(":method", "GET"), (":path", "/callout"), (":authority", "a")];
        all.retain(|(name, _)| pairs.iter().all(|(given, _)| given != name));
        all.extend(pairs);
        format!("(drop (call $http_call <app> {} <> <> #900 #300))", map(&all))
    };
    let reply = |headers: &[(&str, &str)]| format!("(drop (call $reply #403 <> <no> {} (i32.const -1)))", map(headers));
    vec![
        place("authority", &[503], "request_headers", set(0, ":authority")),
        place("host", &[503], "request_headers", set(0, "host")),
        place("method", &[503], "request_headers", set(0, ":method")),
        place("scheme", &[503], "request_headers", set(0, ":scheme")),
        place("unknown-pseudo", &[200, 503], "request_headers", set(0, ":other")),
        place("status", &[502], "response_headers", set(2, ":status")),
        place("request-map", &[503], "request_headers", format!("(drop (call $set_headers #0 {pairs}))")),
        place("request-trailer", &[503], "request_trailers", set(1, "x")),
        place("response-trailer", &[0], "response_trailers", set(3, "x")),
        place("reply-header", &[502], "request_headers", reply(&[("x", RAW_LINE)])),
        place("reply-name", &[502], "request_headers", reply(&[("x\r\ninjected", "yes")])),
        place("reply-framing", &[403], "request_headers", reply(&[
            ("content-length", "99"), ("transfer-encoding", "chunked"), ("connection", "injected"), (":status", "200"),
        ])),
        place(
            "reply-details",
            &[403],
            "request_headers",
            format!("(drop (call $reply #403 <{LINE}> <no> <> (i32.const -1)))"),
        ),
        place("callout-header", &[200], "request_headers", call(&[("x", RAW_LINE)])),
        place("callout-name", &[200], "request_headers", call(&[("x\r\ninjected", "yes")])),
        place("callout-path", &[200], "request_headers", call(&[(":path", "/ HTTP/1.1\r\ninjected: yes\r\n")])),
        place("callout-authority", &[200], "request_headers", call(&[(":authority", RAW_LINE)])),
        place("callout-method", &[200], "request_headers", call(&[(":method", "GET / HTTP/1.1\r\ninjected: yes\r\n\r\nGET")])),
        place("callout-framing", &[200], "request_headers", call(&[
            ("content-length", "99"), ("transfer-encoding", "chunked"), ("connection", "injected"),
        ])),
        place(
            "cluster",
            &[503],
            "request_headers",
            format!("(drop (call $set_property <sidegate.upstream.cluster> <{LINE}>))"),
        ),
        place(
            "metric",
            &[200],
            "request_headers",
            "(drop (call $define_metric #0 <n\\0ainjected 1\\0a> #300)) (drop (call $increment (i32.load #300) (i64.const 1)))
             (drop (call $define_metric #0 <n{k=\\22a\\0ainjected 1\\0a\\22}> #300)) (drop (call $increment (i32.load #300) (i64.const 1)))
             (drop (call $define_metric #0 <n{k=\\22a\\22}\\0ainjected 1\\0a{l=\\22\\22}> #300)) (drop (call $increment (i32.load #300) (i64.const 1)))"
                .to_owned(),
        ),
        place("function-name", &[503], "request_headers", "(call $evil)".to_owned()),
    ]
}

fn hostile(place: &Place) -> Case {
    // The name section is the module's own.
    let parts = "(func $evil (@name \"evil\\0ainjected: yes\\1b[31m\") unreachable)";
    case(place.name, parts, &[(place.hook, &place.body), ("http_call_response", "(drop (call $log #0 <answer>))")])
}

#[test]
fn a_line_break_stays_where_it_was_written_or_ends_the_exchange() {
    let places = places();
    let arena = Arena::open(places.iter().map(hostile).collect());
    for place in &places {
        let answer = arena.attack(place.name);
        let got = answer.as_ref().map_or(0, |answer| answer.status);
        assert!(place.gets.contains(&got), "{}: {got} {answer:?}", place.name);
        if let Ok(answer) = &answer {
            assert!(!String::from_utf8_lossy(&answer.raw).contains("injected"), "{}: {answer:?}", place.name);
            assert!(answer.header("connection").is_none_or(|value| value == "close"), "{}", place.name);
        }
        arena.recovers(place.name);
    }
    for request in arena.origin.requests() {
        let raw = String::from_utf8_lossy(&request.raw).into_owned();
        assert!(!raw.contains("\ninjected") && !raw.contains("connection: injected"), "{raw}");
        assert!(request.target == "/callout" || !raw.starts_with("GET") || request.body.is_empty(), "{raw}");
    }
    let lines = |text: &str| text.lines().filter(|line| line.starts_with("injected")).count();
    assert_eq!(lines(&arena.page()), 0, "{}", arena.page());
    let log = arena.sidegate.log().lines();
    assert_eq!(lines(&log.join("\n")), 0, "{log:#?}");
    assert!(!log.join("").contains('\x1b'), "{log:#?}");
    arena.close();
}
