//! The proxy of the demo: the built binary with the quickstart configuration, as a child that never outlives us.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sidegate_tests::output::Output;
use sidegate_tests::{Client, eventually};

use super::services::taken;
use crate::command::{Command, Failure};
use crate::workspace::Workspace;

/// How long the proxy may take until it is ready, and a number until it is shown.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take to end before it is killed.
const FAREWELL: Duration = Duration::from_secs(3);

pub(crate) const LISTENER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
pub(crate) const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 15000);

/// Fails when something else listens where the proxy will.
pub(crate) fn demand_addresses() -> Result<(), Failure> {
    for (address, what) in [(LISTENER, "the proxy"), (ADMIN, "the proxy's admin")] {
        TcpListener::bind(address).map_err(|error| taken(address, what, &error))?;
    }
    Ok(())
}

pub(crate) struct Proxy {
    child: Child,
    command: Command,
    /// What it writes, where it does not write to our terminal.
    stdout: Output,
    stderr: Output,
    token: String,
}

impl Proxy {
    /// Starts the proxy, writing where we write.
    pub(crate) fn start(workspace: &Workspace, binary: &Path) -> Result<Self, Failure> {
        Self::spawn(workspace, binary, Stdio::inherit)
    }

    /// Starts the proxy and keeps what it writes.
    pub(crate) fn start_quietly(workspace: &Workspace, binary: &Path) -> Result<Self, Failure> {
        Self::spawn(workspace, binary, Stdio::piped)
    }

    fn spawn(workspace: &Workspace, binary: &Path, output: impl Fn() -> Stdio) -> Result<Self, Failure> {
        demand_addresses()?;
        let token = make_token(&workspace.demo_token())?;
        let command = Command::new(binary.display().to_string(), workspace.root())
            .args(&["run", "examples/quickstart/sidegate.yaml"]);
        let child = command.to_process().stdin(Stdio::null()).stdout(output()).stderr(output()).spawn();
        let mut child = child.map_err(|error| Failure::new(format!("cannot start {}: {error}", binary.display())))?;
        let stdout = child.stdout.take().map(Output::capture).unwrap_or_default();
        let stderr = child.stderr.take().map(Output::capture).unwrap_or_default();
        Ok(Self { child, command, stdout, stderr, token })
    }

    /// Waits for `/ready`, or until the caller has enough.
    pub(crate) fn wait_until_ready(&mut self, has_enough: impl Fn() -> bool) -> Result<(), Failure> {
        let ready = eventually(PATIENCE, || {
            if let Err(failure) = self.demand_running() {
                return Some(Err(failure));
            }
            let is_ready = Client::get_once(ADMIN, "/ready").is_ok_and(|answer| answer.status == 200);
            (is_ready || has_enough()).then_some(Ok(()))
        });
        ready.unwrap_or_else(|| Err(Failure::new(format!("the proxy is not ready after {} s", PATIENCE.as_secs()))))
    }

    /// Fails when the proxy has ended by itself.
    pub(crate) fn demand_running(&mut self) -> Result<(), Failure> {
        match self.child.try_wait() {
            Ok(Some(status)) => {
                Err(Failure::new(format!("the proxy ended with {status}; to repeat it:\n  {}", self.command)))
            }
            _ => Ok(()),
        }
    }

    /// What the proxy writes to stdout: its access log.
    pub(crate) fn access_log(&self) -> &Output {
        &self.stdout
    }

    /// What its admin demands of who wants to change something.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// The failure together with what the proxy had to say.
    pub(crate) fn with_log(&self, failure: &Failure) -> Failure {
        Failure::new(format!("{failure}\n--- log of the proxy\n{}", self.stderr.lines().join("\n")))
    }
}

/// Writes a token that nobody else can guess or read.
fn make_token(file: &Path) -> Result<String, Failure> {
    let write = || {
        let mut random = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        let token = format!("{:032x}", u128::from_ne_bytes(random));
        file.parent().map_or(Ok(()), fs::create_dir_all)?;
        // Its mode counts when it is made: one that is there already may be readable.
        match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?.write_all(token.as_bytes())?;
        Ok(token)
    };
    write().map_err(Failure::file(file))
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
        if eventually(FAREWELL, || self.child.try_wait().ok().flatten()).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
