//! The pages of reference say what a running proxy shows: no name too many, none too few.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use sidegate_tests::{Request, Sidegate};

use crate::guest::{guest, times};
use crate::operator::{TOKEN, change};
use crate::setup::{fine, standard_filters};

/// Metrics that this proxy has no reason to show, and who sees them.
const ELSEWHERE: [(&str, &str); 5] = [
    ("sidegate_mirrors_dropped_total", "mirrors.rs"),
    ("sidegate_panics_total", "nobody, as we hope"),
    ("envoy_cluster_upstream_rq_pending_overflow", "upstream_faults.rs"),
    ("envoy_tracing_opentelemetry_spans_sent", "telemetry_spans.rs"),
    ("envoy_tracing_opentelemetry_spans_dropped", "telemetry_spans.rs"),
];

/// Type and labels of a metric.
type Shape = (String, BTreeSet<String>);

#[test]
fn the_page_of_metrics_is_what_a_proxy_shows() {
    let shown = metrics_of(&busy().ask_admin(&Request::get("/metrics")).text());
    let mut written = metrics_of_page();
    for (name, shape) in &shown {
        assert_eq!(written.remove(name).as_ref(), Some(shape), "{name} on the page");
    }
    let rest: BTreeSet<&str> = written.keys().map(String::as_str).collect();
    assert_eq!(rest, BTreeSet::from(ELSEWHERE.map(|(name, _)| name)), "names that no proxy shows");
}

#[test]
fn the_page_of_the_admin_interface_is_its_help() {
    let sidegate = busy();
    let ask = |method: &str, path: &str| sidegate.ask_admin(&Request::new(method, path)).status;
    let help = sidegate.ask_admin(&Request::get("/help")).text().into_owned();
    let told: BTreeSet<String> = help.lines().filter_map(path_of).collect();
    let written: BTreeSet<String> =
        rows("admin.md").iter().filter_map(|cells| path_of(&cells[0].replace('`', ""))).collect();
    assert_eq!(written, told);
    assert!(told.len() > 15, "{help}");
    for (method, path) in told.iter().filter_map(|line| line.split_once(' ')) {
        let path = path.replace("NAME", "odd");
        match method {
            "GET" => assert_eq!((ask("GET", &path), ask("HEAD", &path)), (200, 200), "{path}"),
            _ => assert_eq!((ask("GET", &path), ask(method, &path)), (405, 401), "{path} without the token"),
        }
    }
}

/// A proxy that has done, and suffered, most of what is counted.
fn busy() -> Sidegate {
    let origin = fine();
    let text = format!(
        "{}admin: {{tokenFile: token}}\n\
         plugins:\n\
         - {{name: odd, url: \"file:odd.wasm\", limits: {{series: 0, cpuPerCall: 900ms, configure: 30s}}}}\n\
         - {{name: broken, url: \"file:broken.wasm\", failStrategy: FAIL_OPEN}}\n\
         listeners:\n\
         - name: inbound\n  address: $inbound\n  cluster: app\n  filters:\n\
         \x20 - plugin: auth\n\
         \x20   config: {{authorizationPolicies: [{{action: AUDIT, rules: [{{}}]}}, {{action: DENY, rules: [{{to: [{{operation: {{paths: [/denied]}}}}]}}]}}]}}\n\
         \x20 - plugin: odd\n\
         \x20 - plugin: broken\n\
         clusters: [{{name: app, endpoints: [{{address: \"{origin}\"}}]}}]\n",
        standard_filters()
    );
    let define = |kind: u8| format!("(drop (call $define_metric #{kind} <metric{kind}> #300))");
    let configure = format!("(drop (call $log #4 #1024 #9000)) {} {} {}", define(0), define(1), define(2));
    let timers = times(1000, "(drop (call $foreign <sidegate_timer> #400 #4 #16 #20))");
    let timers = format!("(i32.store #400 #3600000) {timers}");
    let sidegate = Sidegate::configured(&text)
        .with_workers(1)
        .with_file("token", TOKEN)
        .with_file("odd.wasm", guest(&[("configure", &configure), ("request_headers", &timers)]))
        .with_file("broken.wasm", guest(&[("request_headers", "(unreachable)")]))
        .start();
    for (path, status) in [("/", 200), ("/", 200), ("/denied", 403)] {
        assert_eq!(sidegate.get(path).status, status, "{path}");
    }
    for (path, body) in [("/config", "listeners: 7"), ("/plugins/odd/module", "no module")] {
        assert_eq!(sidegate.ask_admin(&change("PUT", path, body.as_bytes())).status, 422, "{path}");
    }
    sidegate
}

/// What a Prometheus page has of our metrics and of those with Envoy's names.
fn metrics_of(page: &str) -> BTreeMap<String, Shape> {
    let mut found: BTreeMap<String, Shape> = BTreeMap::new();
    let mut metric = String::new();
    for line in page.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|declared| declared.split_once(' ')) {
            name.clone_into(&mut metric);
            found.insert(metric.clone(), (kind.to_owned(), BTreeSet::new()));
        } else if let Some((_, labels)) = line.rsplit_once(' ').and_then(|(series, _)| series.split_once('{')) {
            let names = labels.split("=\"").filter_map(|before| before.rsplit(['"', ',']).next());
            let names = names.filter(|name| !["", "}", "le"].contains(name)).map(str::to_owned);
            found.get_mut(&metric).unwrap().1.extend(names);
        }
    }
    found.retain(|name, _| is_ours(name));
    found
}

fn metrics_of_page() -> BTreeMap<String, Shape> {
    let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let metric = |cells: Vec<String>| {
        let name = words(&cells[0]).pop().filter(|name| is_ours(name))?;
        Some((name, (cells[1].clone(), words(&cells[2]).into_iter().collect())))
    };
    rows("metrics.md").into_iter().filter_map(metric).collect()
}

fn is_ours(name: &str) -> bool {
    name.starts_with("sidegate_") || name.starts_with("envoy_")
}

/// The cells of every row of every table of a page.
fn rows(page: &str) -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let cells = |row: &str| row.split('|').map(|cell| cell.trim().to_owned()).collect();
    text.lines().filter_map(|line| line.strip_prefix("| ")).map(cells).collect()
}

/// `GET /ready`, of a text that begins so.
fn path_of(text: &str) -> Option<String> {
    let mut words = text.split_whitespace();
    let (method, path) = (words.next()?, words.next()?);
    (["GET", "PUT", "POST"].contains(&method) && path.starts_with('/')).then(|| format!("{method} {path}"))
}
