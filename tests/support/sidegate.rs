//! The real binary in a process of its own, on ports of its own.

#![expect(clippy::panic, reason = "a proxy that does not start or answer fails the test that needs it")]

mod start;

use std::fmt::Display;
use std::net::SocketAddr;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
pub use start::{Start, binary, run};
use tempfile::TempDir;

use crate::client::Client;
use crate::message::{Request, Response};
use crate::output::Output;
use crate::port::FreePort;
use crate::{eventually, prometheus};

/// How long a proxy may take to start, to stop, or to show a metric.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running proxy. Dropping it kills the process; when the test is failing, its log is printed.
pub struct Sidegate {
    child: Child,
    admin: FreePort,
    /// The addresses that the configuration names as `$name`, in order of appearance.
    listeners: Vec<(String, FreePort)>,
    folder: TempDir,
    stdout: Output,
    stderr: Output,
}

impl Sidegate {
    /// Starts a proxy with this configuration and waits until `/ready` says so. Every `$name` in the text becomes a
    /// free address; the admin address is given by the command line.
    ///
    /// # Panics
    /// When the binary is not there, exits, or is not ready within [`PATIENCE`].
    pub fn start(config: &str) -> Self {
        Self::configured(config).start()
    }

    /// The same, with files, arguments or environment to be added before it starts.
    pub fn configured(config: &str) -> Start {
        Start::new(config)
    }

    /// The address behind `$name` in the configuration.
    pub fn address(&self, name: &str) -> SocketAddr {
        let listener = self.listeners.iter().find(|(known, _)| known == name);
        listener.unwrap_or_else(|| panic!("the configuration names no ${name}")).1.address()
    }

    pub fn admin(&self) -> SocketAddr {
        self.admin.address()
    }

    /// The folder with the configuration, `sidegate.yaml`, and the files beside it.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// A new connection to the first listener of the configuration.
    pub fn connect(&self) -> Client {
        let (name, _) =
            self.listeners.first().unwrap_or_else(|| panic!("the configuration names no listener as $name"));
        answered("connects", Client::connect(self.address(name)))
    }

    /// Sends a GET on a new connection to the first listener.
    pub fn get(&self, target: &str) -> Response {
        self.send(&Request::get(target))
    }

    /// Sends a request on a new connection to the first listener.
    pub fn send(&self, request: &Request) -> Response {
        answered("answers", self.connect().send(request))
    }

    /// Sends a request to the admin address.
    pub fn ask_admin(&self, request: &Request) -> Response {
        let client = Client::connect(self.admin());
        answered("answers at its admin address", client.and_then(|mut client| client.send(request)))
    }

    /// The sum of a metric over the series with these labels, once it is there and the closure says that it will do.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)], will_do: impl Fn(f64) -> bool) -> f64 {
        let mut last = None;
        let seen = eventually(PATIENCE, || {
            let page = self.ask_admin(&Request::get("/stats/prometheus"));
            last = prometheus::sum(&page.text(), name, labels);
            last.filter(|value| will_do(*value))
        });
        seen.unwrap_or_else(|| panic!("{name} {labels:?} stayed at {last:?}"))
    }

    /// What the process writes to stdout: access logs.
    pub fn stdout(&self) -> &Output {
        &self.stdout
    }

    /// What the process writes to stderr: its log.
    pub fn log(&self) -> &Output {
        &self.stderr
    }

    /// Asks the process to drain (SIGTERM).
    pub fn terminate(&self) {
        answered("takes SIGTERM", kill_process(Pid::from_child(&self.child), Signal::TERM));
    }

    /// Waits for the process to end.
    pub fn exit(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let status = eventually(PATIENCE, || child.try_wait().ok().flatten());
        status.unwrap_or_else(|| panic!("sidegate has not ended within {PATIENCE:?}"))
    }

    /// The process id, for what only the operating system tells.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Sidegate {
    fn drop(&mut self) {
        // Both fail only when the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            self.stderr.has_ended(Duration::from_secs(1));
            eprintln!("--- log of sidegate\n{}\n---", self.stderr.lines().join("\n"));
        }
    }
}

fn answered<T>(what: &str, result: Result<T, impl Display>) -> T {
    result.unwrap_or_else(|error| panic!("sidegate {what}: {error}"))
}
