//! The proxy, and what an operator does to it.

use std::fs;
use std::time::{Duration, Instant};

use sidegate_tests::{Origin, Request, Sidegate, eventually, prometheus};

use crate::{Outcome, modules};

const WORKERS: usize = 2;
const TOKEN: &str = "bench";
/// How long anything may take before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Operator {
    pub(crate) sidegate: Sidegate,
}

impl Operator {
    /// `stamp` takes turns on the listener `inbound`, `hello` is a filter of the SDK on one of its own.
    pub(crate) fn start(origin: &Origin, hello: &[u8]) -> Outcome<Self> {
        let config = format!(
            "admin: {{tokenFile: token}}\n\
             plugins: [{{name: stamp, url: \"file:stamp.wasm\"}}, {{name: hello, url: \"file:hello.wasm\"}}]\n\
             listeners:\n\
             - {{name: inbound, address: $inbound, cluster: app, filters: [{{plugin: stamp}}]}}\n\
             - {{name: other, address: $other, cluster: app, filters: [{{plugin: hello, config: {{greeting: hi}}}}]}}\n\
             clusters: [{{name: app, endpoints: [{{address: \"{origin}\"}}]}}]\n"
        );
        let sidegate = Sidegate::configured(&config)
            .with_workers(WORKERS)
            .with_file("token", TOKEN)
            .with_file("stamp.wasm", modules::stamp("first")?)
            .with_file("hello.wasm", hello)
            .with_environment("RUST_LOG", "warn")
            .start();
        Ok(Self { sidegate })
    }

    /// Pushes a module; the time until the answer.
    pub(crate) fn push(&self, plugin: &str, module: &[u8]) -> Outcome<Duration> {
        let request = Request::new("PUT", &format!("/plugins/{plugin}/module"))
            .with_header("authorization", &format!("Bearer {TOKEN}"))
            .with_body(module);
        let begun = Instant::now();
        let answer = self.sidegate.ask_admin(&request);
        if answer.status == 200 { Ok(begun.elapsed()) } else { Err(answer.text().into_owned().into()) }
    }

    /// Saves the file of `stamp`; the time until a response shows its name.
    pub(crate) fn save(&self, name: &str) -> Outcome<Duration> {
        let (file, module) = (self.sidegate.folder().join("stamp.wasm"), modules::stamp(name)?);
        let beside = file.with_extension("new");
        fs::write(&beside, module)?;
        let mut client = self.sidegate.connect();
        let begun = Instant::now();
        fs::rename(beside, file)?;
        while client.get("/")?.header("x-gen") != Some(name) {
            if begun.elapsed() > PATIENCE {
                return Err("a saved file does not take effect".into());
            }
        }
        Ok(begun.elapsed())
    }

    /// Resident memory in KiB.
    pub(crate) fn memory(&self) -> Outcome<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.sidegate.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        Ok(line.unwrap_or_default().trim().trim_end_matches(" kB").parse()?)
    }

    pub(crate) fn metrics(&self) -> String {
        self.sidegate.ask_admin(&Request::get("/stats/prometheus")).text().into_owned()
    }

    /// Versions of `stamp` that have VMs.
    pub(crate) fn versions(&self) -> f64 {
        let vms = prometheus::sum(&self.metrics(), "sidegate_plugin_vms", &[("plugin", "stamp")]);
        vms.unwrap_or_default() / WORKERS as f64
    }

    /// Waits until one version is left; the seconds that this takes.
    pub(crate) fn old_versions_gone(&self) -> Outcome<f64> {
        let begun = Instant::now();
        let gone = eventually(PATIENCE, || (self.versions() <= 1.0).then(|| begun.elapsed().as_secs_f64()));
        gone.ok_or_else(|| format!("{} versions stay", self.versions()).into())
    }
}
