//! The list of cases: filters of other people first, then the probe, one question after the other, then the standard
//! filters.

use sidegate_tests::probe::rows::{LOUD, QUIET};
use sidegate_tests::probe::{Abi, PHASES, Script};

use crate::case::{Case, Request, chunked, get, head, post};
use crate::standard;

pub(crate) fn all() -> Vec<Case> {
    let mut cases = filters();
    cases.extend(quiet());
    cases.extend(loud());
    cases.extend(returned());
    cases.extend(replies());
    cases.extend(heads());
    cases.extend(callouts());
    cases.push(properties());
    cases.extend(standard::all());
    cases
}

/// Published filters and our own.
fn filters() -> Vec<Case> {
    let mut cases = Vec::new();
    for sdk in ["rs014", "rs020"] {
        let of = |old: &'static str, new: &'static str| if sdk == "rs014" { old } else { new };
        let repeated = || get("/x").with("x-a", "1").with("x-a", "2");
        let headers = of("filters-foreign/rs014_http_headers", "filters-foreign/rs020_http_headers");
        cases.push(Case::file(headers, None, vec![get("/hello"), repeated(), post("/x")]).ignoring_log());
        let body = of("filters-foreign/rs014_http_body", "filters-foreign/rs020_http_body");
        cases.push(Case::file(body, None, vec![get("/secret"), get("/chunks"), get("/204"), head("/secret")]));
        let config = of("filters-foreign/rs014_http_config", "filters-foreign/rs020_http_config");
        cases.push(Case::file(config, None, vec![get("/x")]));
        cases.push(Case::file(config, Some("The secret"), vec![get("/x"), post("/x")]));
        let random = of("filters-foreign/rs014_http_auth_random", "filters-foreign/rs020_http_auth_random");
        cases.push(Case::file(random, None, vec![get("/x"), get("/x"), get("/x")]));
    }
    cases.push(Case::file("filters-foreign/as_hello", None, vec![get("/x")]));
    cases.push(Case::file("filters-foreign/as_hello", Some("cfgval"), vec![get("/x")]));
    let requests = vec![get("/a"), get("/deny"), chunked("/chunked"), post("/b"), get("/204"), head("/a")];
    cases.push(Case::file("filters-foreign/as_multi", None, requests));
    let greeting = Some(r#"{"greeting":"hi"}"#);
    for filter in ["filters/hello-filter", "filters/stock-sdk-filter"] {
        cases.push(Case::file(filter, greeting, vec![get("/x"), post("/x"), get("/chunks"), head("/x")]));
    }
    cases
}

/// Every call that changes nothing, in every phase, with bodies held so that their ends come whole.
fn quiet() -> Vec<Case> {
    [Abi::V0_1_0, Abi::V0_2_0, Abi::V0_2_1]
        .into_iter()
        .map(|abi| {
            let rows = QUIET.iter().filter(|row| is_linked(abi, row));
            let script = rows.fold(held(), |script, row| script.in_all(&ASKED, row));
            Case::probe_of(abi, format!("every harmless call in every phase, {abi:?}"), script, both())
        })
        .collect()
}

/// Calls that change something: each in all phases in which Envoy survives it.
fn loud() -> Vec<Case> {
    // Numbers of metrics count how often one is defined, and sizes of heads what a proxy adds to them.
    let elsewhere = ["send_local", "stream", "http_call", "define_metric", "map_size"];
    let is_here = |row: &&&str| !elsewhere.iter().any(|word| row.contains(word));
    LOUD.iter()
        .filter(is_here)
        .map(|row| Case::probe(*row, held().in_all(&ASKED, row), both()))
        .chain([Case::probe("metrics", metrics(), vec![get("/x")])])
        .collect()
}

/// Ids, values and refusals of metrics; once, since a count starts with the process.
fn metrics() -> Script {
    let steps = [
        "proxy_define_metric 0 'c' word",
        "proxy_define_metric 0 'd' word",
        "proxy_define_metric 1 'g' word",
        "proxy_define_metric 2 'h' word",
        "proxy_define_metric 0 'c' word",
        "proxy_increment_metric 4 0",
        "proxy_increment_metric 4 -1",
        "proxy_increment_metric 4 3",
        "proxy_record_metric 4 4",
        "proxy_get_metric 4 word",
        "proxy_increment_metric 5 -3",
        "proxy_get_metric 5 word",
        "proxy_record_metric 5 7",
        "proxy_get_metric 5 word",
        "proxy_record_metric 6 1",
        "proxy_increment_metric 6 1",
        "proxy_get_metric 6 word",
    ];
    steps.iter().fold(Script::default(), |script, step| script.on("request_headers", step))
}

/// What the returned number of each hook does; a filter that never goes on is not asked.
fn returned() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |phase: &str, value: u32| {
        let script = Script::default().on(phase, "arguments").returns(phase, value);
        cases.push(Case::probe(format!("{phase} returns {value}"), script, both()));
    };
    for side in ["request", "response"] {
        case(&format!("{side}_headers"), 2);
        for value in [1, 2, 3, 4] {
            case(&format!("{side}_body"), value);
        }
        for value in [2, 3] {
            case(&format!("{side}_body_end"), value);
        }
    }
    cases
}

/// Fields that come twice, pseudo headers in odd spellings, and what cannot be sent.
fn heads() -> Vec<Case> {
    let names = ["authorization", "accept", "via", "cookie", "x-a"];
    let twice = names.iter().fold(get("/x"), |request, name| request.with(name, "1").with(name, "2"));
    let reads = |script: Script, phase: &str, map: u8, name: &str| {
        script.on(phase, &format!("proxy_get_header_map_value {map} '{name}' out"))
    };
    let read = names.iter().fold(Script::default(), |script, name| reads(script, "request_headers", 0, name));
    let added = ["vary", "location", "set-cookie", "x-a"].iter().fold(Script::default(), |script, name| {
        let add = |value: u8| format!("proxy_add_header_map_value 2 '{name}' '{value}'");
        reads(script.on("response_headers", &add(1)).on("response_headers", &add(2)), "response_headers", 2, name)
    });
    let mut cases = vec![
        Case::probe("a client repeats fields", read, vec![twice]),
        Case::probe("a filter adds fields twice", added, vec![get("/x")]),
    ];
    for (name, value) in [(":PATH", "/y"), (":Method", "CONNECT"), (":path", "*"), (":path", "relative"), ("x y", "v")]
    {
        let script =
            Script::default().on("request_headers", &format!("proxy_replace_header_map_value 0 '{name}' '{value}'"));
        let script = reads(script, "request_headers", 0, &name.to_lowercase());
        cases.push(Case::probe(format!("writes {name} {value}"), script, vec![get("/x")]));
    }
    let removed = Script::default().on("request_headers", "proxy_remove_header_map_value 0 ':scheme'");
    cases.push(Case::probe("removes :scheme", reads(removed, "request_headers", 0, ":scheme"), vec![get("/x")]));
    let own = Script::default()
        .on("request_headers", "proxy_send_local_response 403 '' '' [grpc-status=3|grpc-message=mine] 17");
    cases.push(Case::probe("its own gRPC status", own, vec![get("/x").with("content-type", "application/grpc")]));
    cases
}

/// Replies, resets and resumes, where Envoy survives them.
fn replies() -> Vec<Case> {
    let reply = "proxy_send_local_response 403 'no way' 'body' [k=v|k=w] -1";
    let mut cases = Vec::new();
    let phases = ["request_headers", "request_body_end", "request_trailers", "response_headers", "response_body_end"];
    for phase in phases {
        let seen = Script::default().on("response_headers", "proxy_get_header_map_value 2 ':status' out");
        let request = both;
        cases.push(Case::probe(format!("reply in {phase}"), seen.clone().on(phase, reply), request()));
        if phase.starts_with("request") {
            // Envoy does not survive two in the response.
            let twice = seen.on(phase, reply).on(phase, "proxy_send_local_response 500 'b' 'second' '' -1");
            cases.push(Case::probe(format!("two replies in {phase}"), twice, request()));
        }
        let close = Script::default().on(phase, "proxy_close_stream 0");
        cases.push(Case::probe(format!("close in {phase}"), close, request()));
        if phase.starts_with("request") {
            let resume = Script::default()
                .on(phase, "proxy_continue_stream 0")
                .on(phase, "proxy_get_header_map_value 0 ':path' out")
                .on(phase, "proxy_continue_stream 0");
            cases.push(Case::probe(format!("resume in {phase} and go on"), resume, request()));
        }
    }
    let plain = [
        ("a reply without body", "proxy_send_local_response 204 '' '' '' -1"),
        ("a reply with its own type", "proxy_send_local_response 200 '' '{}' [Content-Type=application/json] -1"),
        ("a reply with a gRPC status", "proxy_send_local_response 403 'd' 'denied' '' 7"),
    ];
    for (name, step) in plain {
        let script = Script::default().on("request_headers", step);
        let grpc = get("/x").with("content-type", "application/grpc");
        cases.push(Case::probe(name, script, vec![get("/x"), head("/x"), grpc]));
    }
    cases
}

const HELD: &str = "proxy_http_call 'auth' [:method=GET|:path=/answer|:authority=a|x-c=1] '' '' 5000 word";

/// A request that waits for a callout.
fn callouts() -> Vec<Case> {
    let waiting = || Script::default().on("request_headers", HELD).returns("request_headers", 1);
    let quiet = QUIET.iter().filter(|row| is_linked(Abi::V0_2_1, row));
    let on_root = quiet.clone().fold(waiting(), |script, row| script.on("http_call_response", row));
    let on_root = on_root.on("http_call_response", "switch").on("http_call_response", "proxy_continue_stream 0");
    let on_stream = quiet.fold(waiting().on("http_call_response", "switch"), |script, row| {
        // 0 would go back to the root.
        if *row == "proxy_set_effective_context 0" { script } else { script.on("http_call_response", row) }
    });
    let added = on_stream
        .on("http_call_response", "proxy_add_header_map_value 0 'x-added' '1'")
        .on("http_call_response", "proxy_continue_stream 0")
        .on("http_call_response", "proxy_get_header_map_value 0 ':path' out");
    let refused = waiting()
        .on("http_call_response", "switch")
        .on("http_call_response", "proxy_send_local_response 401 'no' 'go away' [k=v] -1");
    let from_response = Script::default()
        .on("response_headers", HELD)
        .returns("response_headers", 1)
        .on("http_call_response", "switch")
        .on("http_call_response", "proxy_add_header_map_value 2 'x-added' '1'")
        .on("http_call_response", "proxy_continue_stream 1");
    let from_body = Script::default()
        .on("request_body_end", HELD)
        .returns("request_body", 1)
        .returns("request_body_end", 1)
        .on("http_call_response", "switch")
        .on("http_call_response", "proxy_set_buffer_bytes 0 0 1000 'HELLO'")
        .on("http_call_response", "proxy_continue_stream 0");
    vec![
        Case::probe("a callout's hook on the root", on_root, vec![get("/plain")]),
        Case::probe("a callout's hook on its stream", added, vec![get("/plain")]),
        Case::probe("a callout's hook refuses", refused, vec![get("/full"), chunked("/full")]),
        Case::probe("a callout from the response", from_response, vec![get("/plain")]),
        Case::probe("a callout from the body", from_body, vec![post("/plain")]),
    ]
}

/// Properties in the phases that see most, least, and everything.
fn properties() -> Case {
    let phases = ["request_headers", "response_headers", "log", "delete", "tick"];
    let script = Script::default()
        .on("configure", "proxy_set_tick_period_milliseconds 200")
        .on("tick", "proxy_set_tick_period_milliseconds 0")
        .on("request_headers", "proxy_set_property 'mine' 'v'")
        .on("request_headers", "proxy_set_property 'a\\0b' 'v'");
    let script = PROPERTIES.iter().fold(script, |script, name| {
        let path = name.replace('.', "\\0");
        script.in_all(&phases, &format!("proxy_get_property '{path}' out"))
    });
    let request = get("/p?q=1").with("User-Agent", "peers").with("Referer", "r").with("x-q", "1").with("X-Q", "2");
    Case::probe("properties", script, vec![request])
}

/// By their dotted names.
const PROPERTIES: [&str; 66] = [
    "request.path",
    "request.url_path",
    "request.host",
    "request.scheme",
    "request.method",
    "request.id",
    "request.referer",
    "request.useragent",
    "request.query",
    "request.headers.x-q",
    "request.headers.X-Q",
    "request.headers.none",
    "request.time",
    "request.protocol",
    "request.duration",
    "request.size",
    "request.total_size",
    "response.code",
    "response.code_details",
    "response.flags",
    "response.grpc_status",
    "response.headers.x-upstream",
    "response.size",
    "response.total_size",
    "response.backend_latency",
    "source.address",
    "source.port",
    "destination.address",
    "destination.port",
    "connection.id",
    "connection.mtls",
    "connection.requested_server_name",
    "connection.tls_version",
    "connection.subject_local_certificate",
    "connection.subject_peer_certificate",
    "connection.termination_details",
    "upstream.address",
    "upstream.port",
    "upstream.local_address",
    "upstream.request_attempt_count",
    "upstream.cx_pool_ready_duration",
    "upstream.transport_failure_reason",
    "upstream.tls_version",
    "plugin_name",
    "plugin_root_id",
    "plugin_vm_id",
    "xds.cluster_name",
    "xds.route_name",
    "xds.node.id",
    "xds.node.cluster",
    "xds.listener_direction",
    "xds.upstream_host_metadata",
    "filter_state.wasm.mine",
    "filter_state.none",
    "mine",
    "a.b",
    "node.id",
    "cluster_name",
    "route_name",
    "listener_direction",
    "metadata.filter_metadata.none",
    "connection",
    "source",
    "upstream",
    "xds",
    "filter_state",
];

/// Bodies that end with trailers, and bodies that end by themselves.
fn both() -> Vec<Request> {
    vec![chunked("/full"), post("/plain")]
}

/// Phases of the probe that both proxies reach alike. A tick or a queue needs somebody to ask for it.
const ASKED: [&str; 15] = [
    PHASES[0], PHASES[1], PHASES[3], PHASES[4], PHASES[5], PHASES[6], PHASES[7], PHASES[8], PHASES[9], PHASES[10],
    PHASES[11], PHASES[12], PHASES[13], PHASES[14], "tick",
];

/// Bodies are held until their end, which both proxies then show whole.
fn held() -> Script {
    Script::default()
        .on("configure", "proxy_set_tick_period_milliseconds 200")
        .on("tick", "proxy_set_tick_period_milliseconds 0")
        .returns("request_body", 1)
        .returns("response_body", 1)
}

fn is_linked(abi: Abi, row: &str) -> bool {
    let name = row.split(' ').next().unwrap_or_default();
    sidegate_tests::probe::call(name).is_none_or(|(_, call)| abi.has(call))
}
