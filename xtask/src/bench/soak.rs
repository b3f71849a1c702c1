//! Many requests through filters that keep state: for each exchange in the guest, and in shared data. Afterwards no
//! context may be open, and memory may not have grown since the proxy was warm.

use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use sidegate_tests::probe::{self, Abi, Script};
use sidegate_tests::{Answer, Client, Origin, Request, Sidegate, eventually, prometheus};

use super::binary;
use crate::command::Failure;
use crate::workspace::Workspace;

pub(crate) const DEFAULT_REQUESTS: usize = 1_000_000;
/// Rows of the table: memory is compared from the second on, when pools and caches are full.
const ROWS: usize = 10;
/// KiB by which resident memory may grow between the second row and the last.
const GROWTH: u64 = 8 << 10;
/// Keep-alive connections, each with a thread here.
const CONNECTIONS: usize = 8;
/// Requests whose answers one connection reports together.
const BATCH: usize = 100;
/// How long the last contexts may take until the gauge shows that they are closed.
const PATIENCE: Duration = Duration::from_secs(10);

/// The chain: filters of both SDKs, and one that shares data.
const PLUGINS: [&str; 3] = ["hello-filter", "stock-sdk-filter", "probe"];

pub(crate) fn soak(workspace: &Workspace, requests: usize) -> Result<(), Failure> {
    let origin = Origin::answering(|_| Answer::ok("fine"));
    let proxy = start(workspace, &origin)?;
    let start = Instant::now();
    let rows = drive(&proxy, requests)?;
    let seconds = start.elapsed().as_secs_f64();
    println!("{requests} requests in {seconds:.1} s, {:.0} a second", requests as f64 / seconds);
    let open = contexts(&proxy);
    for (plugin, open) in PLUGINS.iter().zip(&open) {
        println!("{plugin}: {} contexts open", open.map_or("unknown".to_owned(), |open| open.to_string()));
    }
    if open.iter().any(|open| *open != Some(0.0)) {
        return Err(Failure::new("contexts are left behind"));
    }
    let warm = rows.get(1).or(rows.first()).copied().unwrap_or_default();
    let last = rows.last().copied().unwrap_or_default();
    println!("resident memory: {warm} KiB when warm, {last} KiB at the end");
    if last > warm + GROWTH {
        return Err(Failure::new(format!("memory has grown by {} KiB, more than {GROWTH}", last - warm)));
    }
    Ok(())
}

fn start(workspace: &Workspace, origin: &Origin) -> Result<Sidegate, Failure> {
    // State of its own for each exchange, and an entry of shared data that every request changes.
    let script = Script::default()
        .on("request_headers", "proxy_set_property 'soak' 'state of this exchange'")
        .on("request_headers", "proxy_get_shared_data 'key' out word")
        .on("request_headers", "proxy_set_shared_data 'key' 'a value that all exchanges share' 0")
        .on("response_headers", "proxy_add_header_map_value 2 'x-soak' '1'")
        .on("log", "proxy_get_property 'soak' out");
    let probe = wat::parse_str(probe::module(Abi::V0_2_1)).map_err(|error| Failure::new(error.to_string()))?;
    let config = format!(
        "plugins:\n\
         - {{name: hello-filter, url: \"file:hello-filter.wasm\"}}\n\
         - {{name: stock-sdk-filter, url: \"file:stock-sdk-filter.wasm\"}}\n\
         - {{name: probe, url: \"file:probe.wasm\", vmConfig: {{vmId: soak, configuration: {script}}}}}\n\
         listeners:\n\
         - name: inbound\n\
         \x20 address: $inbound\n\
         \x20 cluster: app\n\
         \x20 filters: [{{plugin: hello-filter, config: {{greeting: hi}}}}, {{plugin: stock-sdk-filter, config: {{greeting: hi}}}}, {{plugin: probe}}]\n\
         clusters: [{{name: app, endpoints: [{{address: \"{origin}\"}}]}}]\n",
        script = script.to_config()
    );
    let mut proxy =
        Sidegate::configured(&config).with_binary(&binary(workspace)?).with_environment("RUST_LOG", "error");
    for filter in ["hello-filter", "stock-sdk-filter"] {
        let file = workspace.filters().join(format!("{filter}.wasm"));
        proxy = proxy.with_file(&format!("{filter}.wasm"), fs::read(&file).map_err(Failure::file(&file))?);
    }
    Ok(proxy.with_file("probe.wasm", probe).start())
}

/// Sends all requests; resident memory in KiB after each tenth of them.
fn drive(proxy: &Sidegate, requests: usize) -> Result<Vec<u64>, Failure> {
    let (done, progress) = mpsc::channel();
    let address = proxy.address("inbound");
    for index in 0..CONNECTIONS {
        let share = requests / CONNECTIONS + usize::from(index < requests % CONNECTIONS);
        let done = done.clone();
        thread::spawn(move || {
            let result = send(address, share, &done);
            if let Err(error) = result {
                let _ = done.send(Err(error.to_string()));
            }
        });
    }
    drop(done);
    let (mut answered, mut rows) = (0, Vec::new());
    println!("{:>10}  {:>10}", "requests", "KiB");
    for batch in progress {
        answered += batch.map_err(Failure::new)?;
        while answered * ROWS >= requests * (rows.len() + 1) && rows.len() < ROWS {
            let memory = resident(proxy.pid())?;
            rows.push(memory);
            println!("{:>10}  {memory:>10}", requests * rows.len() / ROWS);
        }
    }
    Ok(rows)
}

fn send(
    address: std::net::SocketAddr,
    share: usize,
    done: &mpsc::Sender<Result<usize, String>>,
) -> std::io::Result<()> {
    let mut client = Client::connect(address)?;
    let request = Request::get("/soak");
    let mut unreported = 0;
    for number in 1..=share {
        let answer = client.send(&request)?;
        if answer.status != 200 || answer.header("x-soak").is_none() {
            return Err(std::io::Error::other(format!("an answer {} without the filters' header", answer.status)));
        }
        unreported += 1;
        if unreported == BATCH || number == share {
            let _ = done.send(Ok(unreported));
            unreported = 0;
        }
    }
    Ok(())
}

/// Open contexts by plugin, once they are all closed or patience is at its end.
fn contexts(proxy: &Sidegate) -> Vec<Option<f64>> {
    let mut open = Vec::new();
    eventually(PATIENCE, || {
        let page = proxy.ask_admin(&Request::get("/stats/prometheus"));
        let of = |plugin: &&str| prometheus::sum(&page.text(), "sidegate_plugin_contexts", &[("plugin", plugin)]);
        open = PLUGINS.iter().map(of).collect();
        open.iter().all(|open| *open == Some(0.0)).then_some(())
    });
    open
}

/// Resident memory of a process in KiB.
fn resident(pid: u32) -> Result<u64, Failure> {
    let file = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&file).map_err(Failure::file(Path::new(&file)))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    number.ok_or_else(|| Failure::new(format!("{file} does not tell the resident memory")))
}
