//! The two proxies, each with one listener, one origin and one plugin per case.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use sidegate_tests::output::Output;
use sidegate_tests::port::FreePort;
use sidegate_tests::sidegate::PATIENCE;
use sidegate_tests::{Answer, Client, Origin, Sidegate, eventually};
use tempfile::TempDir;

use crate::case::{Case, Module};
use crate::installed::installed;
use crate::metrics;

/// A proxy under test.
pub(crate) trait Proxy {
    /// Where the case's filter listens.
    fn address(&self, case: usize) -> SocketAddr;
    /// The service behind the case's filter.
    fn origin(&self, case: usize) -> &Origin;
    /// Its own address, where its metrics are.
    fn admin(&self) -> SocketAddr;
    /// The name of the case that wrote a line of the proxy's log, and the guest's text.
    fn guest_line(line: &str) -> Option<(String, String)>;
    fn log(&self) -> &Output;
}

/// Who both proxies are.
fn node() -> Value {
    let labels = json!({"app": "shop", "version": "v1"});
    let metadata = json!({"WORKLOAD_NAME": "shop-v1", "NAMESPACE": "prod", "CLUSTER_ID": "eu", "LABELS": labels});
    json!({"id": "sidecar~1", "cluster": "shop", "metadata": metadata})
}

/// What every origin answers.
pub(crate) fn origin() -> Origin {
    let count = std::sync::atomic::AtomicU8::new(0);
    Origin::answering(move |request| {
        let answer = match request.target.as_str() {
            // Even, odd, and so on.
            "/bytes/1" => Answer::ok([2 - count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) % 2]),
            "/answer" => Answer::ok("an answer"),
            "/secret" => Answer::ok("this is a secret\n"),
            "/204" => Answer::status(204),
            "/teapot" => Answer::status(418),
            "/chunks" => Answer::ok("one-two-three").chunked(),
            "/full" => {
                Answer::ok("world").with_header("trailer", "x-response-trailer").with_trailer("x-response-trailer", "t")
            }
            _ => Answer::ok("fine"),
        };
        let fields = [("x-upstream", "main"), ("set-cookie", "a=1"), ("set-cookie", "b=2")];
        fields.into_iter().fold(answer, |answer, (name, value)| answer.with_header(name, value))
    })
}

// === Sidegate ===

pub(crate) struct Ours {
    process: Sidegate,
    origins: Vec<Origin>,
    _callouts: Origin,
}

impl Ours {
    pub(crate) fn start(cases: &[Case]) -> Self {
        let origins: Vec<Origin> = cases.iter().map(|_| origin()).collect();
        let callouts = origin();
        let cluster =
            |name: &str, origin: &Origin| json!({"name": name, "endpoints": [{"address": origin.to_string()}]});
        let mut clusters: Vec<Value> =
            origins.iter().enumerate().map(|(index, origin)| cluster(&Case::id(index), origin)).collect();
        clusters.extend(["httpbin", "auth"].map(|name| cluster(name, &callouts)));
        let plugin = |(index, case): (usize, &Case)| {
            let id = Case::id(index);
            let limits = json!({"logRate": "100000/s", "cpuPerCall": "500ms"});
            let vm = json!({"vmId": id, "configuration": case.vm_config()});
            json!({"name": id, "url": format!("file:{}", case.module.file()), "vmConfig": vm, "limits": limits})
        };
        let listener = |(index, case): (usize, &Case)| {
            let id = Case::id(index);
            let entry = json!({"plugin": id, "config": case.config(index)});
            let address = format!("$case{}", letters(index));
            json!({"name": id, "address": address, "cluster": id, "filters": [entry]})
        };
        // JSON is YAML.
        let config = json!({
            "node": node(),
            "plugins": cases.iter().enumerate().map(plugin).collect::<Vec<_>>(),
            "listeners": cases.iter().enumerate().map(listener).collect::<Vec<_>>(),
            "clusters": clusters,
        });
        let start = Sidegate::configured(&config.to_string())
            .with_workers(1)
            .with_arguments(&["--log-format", "json"])
            .with_environment("RUST_LOG", "warn,guest=trace");
        let process =
            modules(cases).into_iter().fold(start, |start, (file, bytes)| start.with_file(&file, bytes)).start();
        Self { process, origins, _callouts: callouts }
    }
}

/// A number as the letters that a name of an address may have.
fn letters(number: usize) -> String {
    number.to_string().bytes().map(|digit| char::from(b'a' + digit - b'0')).collect()
}

/// Every file once.
fn modules(cases: &[Case]) -> Vec<(String, Vec<u8>)> {
    let mut known = BTreeSet::new();
    let modules: Vec<&Module> = cases.iter().map(|case| &case.module).collect();
    let fresh = modules.into_iter().filter(|module| known.insert(module.file()));
    fresh.map(|module| (module.file(), module.bytes())).collect()
}

impl Proxy for Ours {
    fn address(&self, case: usize) -> SocketAddr {
        self.process.address(&format!("case{}", letters(case)))
    }
    fn origin(&self, case: usize) -> &Origin {
        &self.origins[case]
    }
    fn admin(&self) -> SocketAddr {
        self.process.admin()
    }
    fn guest_line(line: &str) -> Option<(String, String)> {
        let line: Value = serde_json::from_str(line).ok().filter(|line: &Value| line["target"] == "guest")?;
        Some((line["plugin"].as_str()?.to_owned(), line["message"].as_str()?.to_owned()))
    }
    fn log(&self) -> &Output {
        self.process.log()
    }
}

// === Envoy ===

pub(crate) struct Envoy {
    child: Child,
    log: Output,
    admin: FreePort,
    listeners: Vec<FreePort>,
    origins: Vec<Origin>,
    _callouts: Origin,
    _folder: TempDir,
}

impl Envoy {
    pub(crate) fn start(cases: &[Case]) -> Self {
        let origins: Vec<Origin> = cases.iter().map(|_| origin()).collect();
        let callouts = origin();
        let folder = TempDir::new().unwrap();
        for (file, bytes) in modules(cases) {
            fs::write(folder.path().join(file), bytes).unwrap();
        }
        let admin = FreePort::claim().unwrap();
        let listeners: Vec<FreePort> = cases.iter().map(|_| FreePort::claim().unwrap()).collect();
        let filters: Vec<Value> = cases
            .iter()
            .enumerate()
            .map(|(index, case)| wasm(index, case, &folder.path().join(case.module.file())))
            .collect();
        let mut clusters: Vec<Value> =
            origins.iter().enumerate().map(|(index, origin)| cluster(&Case::id(index), origin.address())).collect();
        clusters.extend(["httpbin", "auth"].map(|name| cluster(name, callouts.address())));
        let listeners_json: Vec<Value> = filters
            .into_iter()
            .enumerate()
            .map(|(index, filter)| listener(&Case::id(index), listeners[index].address(), &cases[index], filter))
            .collect();
        let bootstrap = json!({
            "node": node(),
            "admin": {"address": socket(admin.address())},
            // Histograms are shown after it.
            "stats_flush_interval": "0.2s",
            "stats_config": {"stats_tags": metrics::stats_tags()},
            "static_resources": {"listeners": listeners_json, "clusters": clusters},
        });
        let file = folder.path().join("envoy.json");
        fs::write(&file, bootstrap.to_string()).unwrap();
        let binary = installed("SIDEGATE_ENVOY");
        let mut command = Command::new(&binary);
        command.arg("-c").arg(&file).args(["--concurrency", "1", "--use-dynamic-base-id", "-l", "warning"]);
        command.args(["--component-log-level", "wasm:trace", "--log-format", "%l %v"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
        let log = child.stderr.take().map(Output::capture).unwrap_or_default();
        let mut envoy = Self { child, log, admin, listeners, origins, _callouts: callouts, _folder: folder };
        let ready = eventually(PATIENCE * 4, || {
            if let Ok(Some(status)) = envoy.child.try_wait() {
                envoy.log.has_ended(PATIENCE);
                panic!("Envoy ended with {status}:\n{}", envoy.log.lines().join("\n"));
            }
            Client::get_once(envoy.admin(), "/ready").ok().filter(|answer| answer.status == 200)
        });
        ready.unwrap_or_else(|| panic!("Envoy is not ready:\n{}", envoy.log.lines().join("\n")));
        envoy
    }
}

fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}

fn cluster(name: &str, address: SocketAddr) -> Value {
    let endpoint = json!({"endpoint": {"address": socket(address)}});
    let options = json!({"explicit_http_config": {"http_protocol_options": {"enable_trailers": true}},
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"});
    json!({
        "name": name,
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
    })
}

fn wasm(index: usize, case: &Case, file: &std::path::Path) -> Value {
    let text = |text: &str| json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text});
    let id = Case::id(index);
    let mut config = json!({
        "name": id,
        "vm_config": {
            "vm_id": id,
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"filename": file.display().to_string()}},
            "configuration": text(&case.vm_config()),
        },
    });
    if let Some(given) = case.config(index) {
        config["configuration"] = text(&given);
    }
    json!({"name": "wasm", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm", "config": config,
    }})
}

fn listener(name: &str, address: SocketAddr, case: &Case, filter: Value) -> Value {
    let router = json!({"name": "router", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
    }});
    // What Sidegate counts itself.
    let counted = json!({"name": "grpc_stats", "typed_config": {"emit_filter_state": true,
        "@type": "type.googleapis.com/envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
    }});
    let filters = if case.counts_messages() { vec![filter, counted, router] } else { vec![filter, router] };
    let route = json!({"match": {"prefix": "/"}, "route": {"cluster": name}});
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "codec_type": "AUTO",
        "use_remote_address": true,
        "http_protocol_options": {"enable_trailers": true},
        "route_config": {"virtual_hosts": [{"name": name, "domains": ["*"], "routes": [route]}]},
        "http_filters": filters,
    });
    let chain = json!({"filters": [{"name": "http", "typed_config": manager}]});
    json!({"name": name, "address": socket(address), "traffic_direction": "INBOUND", "filter_chains": [chain]})
}

impl Envoy {
    /// How it ended, if it has.
    pub(crate) fn end(&mut self) -> Option<String> {
        self.child.try_wait().ok().flatten().map(|status| status.to_string())
    }
}

impl Proxy for Envoy {
    fn address(&self, case: usize) -> SocketAddr {
        self.listeners[case].address()
    }
    fn origin(&self, case: usize) -> &Origin {
        &self.origins[case]
    }
    fn admin(&self) -> SocketAddr {
        self.admin.address()
    }
    fn guest_line(line: &str) -> Option<(String, String)> {
        // "info wasm log NAME ROOT VM: text", without the name for the root.
        let (about, text) = line.split_once("wasm log ")?.1.split_once(": ")?;
        Some((about.split_whitespace().last()?.to_owned(), text.to_owned()))
    }
    fn log(&self) -> &Output {
        &self.log
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
