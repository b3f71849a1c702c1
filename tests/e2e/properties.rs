//! Every property, in every phase in which a filter may ask for it: value, encoding and status.

use std::time::Duration;

use sidegate_tests::{Answer, Origin, Request, Sidegate, hex};

use crate::guest::guest_with;
use crate::setup::config;

/// Reads the paths of its configuration, one in each line, and writes status and value of each in hex.
const REPORT: &str = r"
  (global $end (mut i32) #32768)
  (func $hex (param $n i32) (result i32) (i32.add (local.get $n) (select #48 #87 (i32.lt_u (local.get $n) #10))))
  (func $report (param $prefix i32) (result i32)
    (local $at i32) (local $next i32) (local $to i32) (local $from i32) (local $until i32)
    (i32.store #16384 (local.get $prefix))
    (local.set $to #16388)
    (local.set $at #32768)
    (block $done (loop $paths
      (br_if $done (i32.ge_u (local.get $at) (global.get $end)))
      (local.set $next (local.get $at))
      (block $found (loop $search
        (br_if $found (i32.ge_u (local.get $next) (global.get $end)))
        (br_if $found (i32.eq (i32.load8_u (local.get $next)) #10))
        (local.set $next (i32.add (local.get $next) #1))
        (br $search)))
      (i32.store #16 #0)
      (i32.store #20 #0)
      (i32.store8 (local.get $to)
        (call $hex (call $get_property (local.get $at) (i32.sub (local.get $next) (local.get $at)) #16 #20)))
      (i32.store8 offset=1 (local.get $to) #58)
      (local.set $to (i32.add (local.get $to) #2))
      (local.set $from (i32.load #16))
      (local.set $until (i32.add (local.get $from) (i32.load #20)))
      (block $written (loop $bytes
        (br_if $written (i32.ge_u (local.get $from) (local.get $until)))
        (i32.store8 (local.get $to) (call $hex (i32.shr_u (i32.load8_u (local.get $from)) #4)))
        (i32.store8 offset=1 (local.get $to) (call $hex (i32.and (i32.load8_u (local.get $from)) #15)))
        (local.set $to (i32.add (local.get $to) #2))
        (local.set $from (i32.add (local.get $from) #1))
        (br $bytes)))
      (i32.store8 (local.get $to) #59)
      (local.set $to (i32.add (local.get $to) #1))
      (local.set $at (i32.add (local.get $next) #1))
      (br $paths)))
    (i32.sub (local.get $to) #16384))";

const CONFIGURE: &str = "(drop (call $get_buffer #7 #0 #16000 #16 #20))
  (memory.copy #32768 (i32.load #16) (i32.load #20))
  (global.set $end (i32.add #32768 (i32.load #20)))
  (drop (call $set_tick #5))";

/// What a phase sees of a property.
#[derive(Clone, Copy)]
enum Seen {
    /// This status, and no value.
    Answers(u32),
    Text(&'static str),
    Int(u64),
    Hex(&'static str),
    /// Eight bytes.
    Number,
    /// Some bytes.
    Some,
}
use Seen::{Answers, Hex, Int, Number, Some as Any, Text};

const NO: Seen = Answers(1);
/// A group has no value.
const GROUP: Seen = Answers(3);
const EMPTY: Seen = Answers(0);
const EMPTY_MAP: Seen = Hex("00000000");

/// A path with dots between its segments; in `on_request_headers`, `on_response_headers`, `on_log` and on the root.
const TABLE: &[(&str, [Seen; 4])] = &[
    ("", [GROUP; 4]),
    ("none", [NO; 4]),
    ("request", [GROUP, GROUP, GROUP, NO]),
    ("request.path", [Text("/a/b?q=1"), NO, Text("/a/b?q=1"), NO]),
    ("request.url_path", [Text("/a/b"), NO, Text("/a/b"), NO]),
    ("request.query", [Text("q=1"), NO, Text("q=1"), NO]),
    ("request.host", [Text("shop.test"), NO, Text("shop.test"), NO]),
    ("request.scheme", [Text("http"), NO, Text("http"), NO]),
    ("request.method", [Text("POST"), NO, Text("POST"), NO]),
    ("request.id", [Text("id-1"), NO, Text("id-1"), NO]),
    ("request.referer", [Text("http://r/"), NO, Text("http://r/"), NO]),
    ("request.useragent", [Text("probe"), NO, Text("probe"), NO]),
    ("request.headers.X-Q", [Text("one,two"), NO, Text("one,two"), NO]),
    ("request.headers.none", [NO; 4]),
    ("request.headers", [Any, EMPTY_MAP, Any, NO]),
    ("request.time", [Number, Number, Number, NO]),
    ("request.protocol", [Text("HTTP/1.1"), Text("HTTP/1.1"), Text("HTTP/1.1"), NO]),
    ("request.duration", [NO, NO, Number, NO]),
    ("request.size", [Int(5), Int(5), Int(5), NO]),
    ("request.total_size", [Number, Int(5), Number, NO]),
    ("response", [GROUP, GROUP, GROUP, NO]),
    ("response.code", [NO, Int(200), Int(200), NO]),
    ("response.code_details", [NO, Text("via_upstream"), Text("via_upstream"), NO]),
    ("response.flags", [Int(0), Int(0), Int(0), NO]),
    ("response.grpc_status", [NO, Int(2), Int(2), NO]),
    ("response.headers", [EMPTY_MAP, Any, Any, NO]),
    ("response.headers.X-Origin", [NO, Text("here"), Text("here"), NO]),
    ("response.trailers", [EMPTY_MAP, EMPTY_MAP, EMPTY_MAP, NO]),
    ("response.size", [Int(0), Int(0), Int(4), NO]),
    ("response.total_size", [Int(0), Number, Number, NO]),
    ("response.backend_latency", [NO, NO, Number, NO]),
    ("source.address", [Any, Any, Any, NO]),
    ("source.port", [Number, Number, Number, NO]),
    ("destination.address", [Any, Any, Any, NO]),
    ("destination.port", [Number, Number, Number, NO]),
    ("connection.id", [Number, Number, Number, NO]),
    ("connection_id", [Number, Number, Number, NO]),
    ("connection.mtls", [Hex("00"), Hex("00"), Hex("00"), NO]),
    ("connection.requested_server_name", [EMPTY, EMPTY, EMPTY, NO]),
    ("connection.tls_version", [NO; 4]),
    ("connection.subject_peer_certificate", [NO; 4]),
    ("connection.uri_san_peer_certificate", [NO; 4]),
    ("connection.sha256_peer_certificate_digest", [NO; 4]),
    ("connection.termination_details", [NO; 4]),
    ("upstream.address", [NO, Any, Any, NO]),
    ("upstream.port", [NO, Number, Number, NO]),
    ("upstream.local_address", [NO, Any, Any, NO]),
    ("upstream.request_attempt_count", [Int(0), Int(1), Int(1), NO]),
    ("upstream.cx_pool_ready_duration", [NO, Number, Number, NO]),
    // Region and zone of `eu/a`, as a message.
    ("upstream.locality", [NO, Hex("0a026575120161"), Hex("0a026575120161"), NO]),
    ("upstream.transport_failure_reason", [NO, EMPTY, EMPTY, NO]),
    ("upstream.tls_version", [NO; 4]),
    ("metadata", [EMPTY, EMPTY, EMPTY, NO]),
    ("metadata.filter_metadata", [EMPTY_MAP, EMPTY_MAP, EMPTY_MAP, NO]),
    ("metadata.filter_metadata.ns.key", [NO; 4]),
    ("metadata.typed_filter_metadata", [EMPTY_MAP, EMPTY_MAP, EMPTY_MAP, NO]),
    ("filter_state", [GROUP, GROUP, GROUP, NO]),
    ("filter_state.none", [NO; 4]),
    ("upstream_filter_state.none", [NO; 4]),
    ("plugin_name", [Text("guest"); 4]),
    ("plugin_root_id", [Text("root"); 4]),
    ("plugin_vm_id", [Text("guest"); 4]),
    ("xds", [GROUP; 4]),
    ("xds.cluster_name", [Text("app"), Text("app"), Text("app"), NO]),
    ("xds.cluster_metadata", [EMPTY, EMPTY, EMPTY, NO]),
    ("xds.route_name", [EMPTY, EMPTY, EMPTY, NO]),
    ("xds.route_metadata", [EMPTY, EMPTY, EMPTY, NO]),
    ("xds.virtual_host_name", [EMPTY, EMPTY, EMPTY, NO]),
    ("xds.virtual_host_metadata", [EMPTY, EMPTY, EMPTY, NO]),
    ("xds.filter_chain_name", [EMPTY, EMPTY, EMPTY, NO]),
    ("xds.listener_direction", [Int(1), Int(1), Int(1), NO]),
    ("xds.listener_metadata", [EMPTY, EMPTY, EMPTY, NO]),
    ("xds.upstream_host_metadata", [NO, GROUP, GROUP, NO]),
    // The message: id, cluster and metadata.
    ("xds.node", [Hex("0a056170702d31120473686f701a0f0a0d0a044e414d4512051a0361707032087369646567617465"); 4]),
    ("xds.node.id", [Text("app-1"); 4]),
    ("xds.node.cluster", [Text("shop"); 4]),
    ("xds.node.user_agent_name", [Text("sidegate"); 4]),
    ("xds.node.locality.region", [EMPTY; 4]),
    ("xds.node.metadata.NAME", [Text("app"); 4]),
    ("xds.node.metadata.none", [NO; 4]),
    // Names that Envoy no longer has, and older filters use.
    ("node", [Hex("0a056170702d31120473686f701a0f0a0d0a044e414d4512051a0361707032087369646567617465"); 4]),
    ("node.id", [Text("app-1"); 4]),
    ("node.metadata.NAME", [Text("app"); 4]),
    ("cluster_name", [Text("app"), Text("app"), Text("app"), NO]),
    ("cluster_metadata", [EMPTY, EMPTY, EMPTY, NO]),
    ("route_name", [EMPTY, EMPTY, EMPTY, NO]),
    ("route_metadata", [EMPTY, EMPTY, EMPTY, NO]),
    ("listener_direction", [Int(1), Int(1), Int(1), NO]),
    ("listener_metadata", [EMPTY, EMPTY, EMPTY, NO]),
    ("upstream_host_metadata", [NO; 4]),
];

const PHASES: [&str; 4] = ["request", "response", "log", "root"];

#[test]
fn every_property_in_every_phase() {
    // A log line has its limit: the table in parts.
    let reports: Vec<[Vec<String>; 4]> = TABLE.chunks(30).map(seen).collect();
    let mut wrong = Vec::new();
    for (rows, report) in TABLE.chunks(30).zip(&reports) {
        for (at, (path, expected)) in rows.iter().enumerate() {
            for (phase, (expected, seen)) in PHASES.iter().zip(expected.iter().zip(report)) {
                let seen = seen.get(at).map_or("nothing", String::as_str);
                if !matches(*expected, seen) {
                    wrong.push(format!("{path} in {phase}: {seen}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn matches(expected: Seen, seen: &str) -> bool {
    match (expected, seen.split_once(':')) {
        (Answers(status), Some((found, ""))) => found == status.to_string(),
        (Text(text), Some(("0", value))) => value == hex(text.as_bytes()),
        (Int(number), Some(("0", value))) => value == hex(number.to_le_bytes()),
        (Hex(bytes), Some(("0", value))) => value == bytes,
        (Number, Some(("0", value))) => value.len() == 16,
        (Any, Some(("0", value))) => !value.is_empty(),
        _ => false,
    }
}

#[test]
fn bodies_are_told_where_they_go_and_how_long_the_answer_took() {
    // A trap is a 503: each hook asks for what it must be given.
    let must = |path: &str, length: usize| {
        format!(
            "(if (call $get_property <{path}> #16 #20) (then unreachable))
             (if (i32.lt_u (i32.load #20) #{length}) (then unreachable))"
        )
    };
    let must_not = "(if (i32.ne (call $get_property <response\\00backend_latency> #16 #20) #1) (then unreachable))";
    let going = [
        must("upstream\\00address", 9),
        must("upstream\\00port", 8),
        must("upstream\\00local_address", 9),
        must("upstream\\00cx_pool_ready_duration", 8),
        must("upstream\\00request_attempt_count", 8),
        "(if (i64.ne (i64.load (i32.load #16)) (i64.const 1)) (then unreachable))".to_owned(),
    ];
    let ended = must("response\\00backend_latency", 8);
    // With a body the answer's head comes before its end; without, that is the end.
    let head = format!("(if (local.get 2) (then {ended}) (else {must_not}))");
    let end = format!("(if (local.get 2) (then {ended} (drop (call $log #2 <known at the end>))))");
    let hooks =
        [("request_body", going.concat()), ("response_headers", head), ("response_body", end), ("done", ended.clone())];
    let hooks: Vec<_> = hooks.iter().map(|(hook, body)| (*hook, body.as_str())).collect();
    let origin = Origin::answering(|request| match request.target.as_str() {
        "/empty" => Answer::status(204),
        _ => Answer::ok("fine"),
    });
    let text = config(", filters: [{plugin: guest}]", &origin, "");
    let sidegate = Sidegate::configured(&format!("plugins: [{{name: guest, url: \"file:guest.wasm\"}}]\n{text}"))
        .with_file("guest.wasm", guest_with("", &hooks))
        .start();
    let mut client = sidegate.connect();
    for (path, status) in [("/", 200), ("/empty", 204)] {
        let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
        client.write(format!("{head}5\r\nhello\r\n0\r\n\r\n").as_bytes()).unwrap();
        assert_eq!(client.read_response().unwrap().status, status, "{path}");
    }
    sidegate.log().line_with("known at the end", Duration::from_secs(10)).unwrap();
    let faults = sidegate.log().lines().into_iter().find(|line| line.contains("unreachable"));
    assert_eq!(faults, None);
}

/// What each phase reported of these paths.
fn seen(rows: &[(&str, [Seen; 4])]) -> [Vec<String>; 4] {
    let origin = Origin::answering(|_| Answer::ok("fine").with_header("x-origin", "here"));
    let prefix = |word: &[u8; 4]| format!("(call $report #{})", u32::from_le_bytes(*word));
    let header = |map: u8| {
        format!("(local.set $i {}) (drop (call $set_header #{map} <x-seen> #16384 (local.get $i)))", prefix(b"hdr="))
    };
    let log = |word| format!("(local.set $i {}) (drop (call $log #2 #16384 (local.get $i)))", prefix(word));
    let guest = guest_with(
        REPORT,
        &[
            ("configure", CONFIGURE),
            ("tick", &format!("(drop (call $set_tick #0)) {}", log(b"rot="))),
            ("request_headers", &header(0)),
            ("response_headers", &header(2)),
            ("log", &log(b"log=")),
        ],
    );
    let paths: Vec<String> = rows.iter().map(|(path, _)| path.replace('.', "\\0")).collect();
    let chain = format!(", direction: INBOUND, filters: [{{plugin: guest, config: \"{}\"}}]", paths.join("\\n"));
    let cluster = config(&chain, "upstream", "").replace("\"upstream\"", &format!("\"{origin}\", locality: eu/a"));
    let text = format!(
        "node: {{id: app-1, cluster: shop, metadata: {{NAME: app}}}}\n\
         plugins: [{{name: guest, url: \"file:guest.wasm\", rootId: root, limits: {{cpuPerCall: 900ms}}}}]\n{cluster}"
    );
    let sidegate = Sidegate::configured(&text).with_file("guest.wasm", guest).with_workers(1).start();
    let request = Request::post("/a/b?q=1", "hello")
        .with_header("host", "shop.test")
        .with_header("x-request-id", "id-1")
        .with_header("referer", "http://r/")
        .with_header("user-agent", "probe")
        .with_header("x-q", "one")
        .with_header("x-q", "two");
    let answer = sidegate.connect().send(&request).unwrap();
    let request = origin.requests().pop().unwrap();
    let line = |word: &str| {
        let line = sidegate.log().line_with(word, Duration::from_secs(10)).unwrap();
        line.split_once(word).map(|(_, rest)| rest.to_owned()).unwrap()
    };
    let values = |text: &str| {
        let text = text.strip_prefix("hdr=").unwrap_or(text);
        let end = text.rfind(';').map_or(0, |at| at + 1);
        text[..end].split_terminator(';').map(str::to_owned).collect::<Vec<_>>()
    };
    [
        values(request.header("x-seen").unwrap()),
        values(answer.header("x-seen").unwrap()),
        values(&line("log=")),
        values(&line("rot=")),
    ]
}
