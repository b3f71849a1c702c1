//! Everything before the first request: the files, the ports, the process, the wait.

use std::env;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::{PATIENCE, Sidegate};
use crate::client::Client;
use crate::eventually::eventually;
use crate::output::Output;
use crate::port::FreePort;

/// Workers of a proxy under test, whatever the machine: more than one, so that they can disagree.
const WORKERS: &str = "2";

/// A proxy that is about to start.
#[must_use = "nothing runs before `start`"]
pub struct Start {
    config: String,
    files: Vec<(String, Vec<u8>)>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    binary: Option<PathBuf>,
    awaits_ready: bool,
}

impl Start {
    pub(super) fn new(config: &str) -> Self {
        let arguments = vec!["--workers".to_owned(), WORKERS.to_owned()];
        Self {
            config: config.to_owned(),
            files: vec![],
            arguments,
            environment: vec![],
            binary: None,
            awaits_ready: true,
        }
    }

    /// Puts a file beside the configuration.
    pub fn with_file(mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.files.push((name.to_owned(), bytes.into()));
        self
    }

    pub fn with_arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Another number of workers than the usual two.
    pub fn with_workers(mut self, count: usize) -> Self {
        if let Some(workers) = self.arguments.get_mut(1) {
            *workers = count.to_string();
        }
        self
    }

    pub fn with_environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Another binary than [`binary`] names.
    pub fn with_binary(mut self, binary: &Path) -> Self {
        self.binary = Some(binary.to_owned());
        self
    }

    /// Waits only until the admin address answers, whatever `/ready` says.
    pub fn without_ready(mut self) -> Self {
        self.awaits_ready = false;
        self
    }

    /// Starts the process and waits for it.
    ///
    /// # Panics
    /// When the binary is not there, exits, or is not ready within [`PATIENCE`].
    pub fn start(self) -> Sidegate {
        let folder = done("makes a folder", TempDir::new());
        for (name, bytes) in &self.files {
            done("writes a file", fs::write(folder.path().join(name), bytes));
        }
        let (config, listeners) = with_addresses(&self.config);
        let file = folder.path().join("sidegate.yaml");
        done("writes the configuration", fs::write(&file, config));
        let admin = done("claims a port", FreePort::claim());

        let mut command = Command::new(self.binary.unwrap_or_else(binary));
        command.arg("run").arg(&file).args(["--admin", &admin.address().to_string()]).args(&self.arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = done("starts the binary", command.spawn());
        let stdout = child.stdout.take().map(Output::capture).unwrap_or_default();
        let stderr = child.stderr.take().map(Output::capture).unwrap_or_default();
        let mut sidegate = Sidegate { child, admin, listeners, folder, stdout, stderr };
        wait(&mut sidegate, self.awaits_ready);
        sidegate
    }
}

/// The binary under test: `SIDEGATE_BIN`, else the one beside the folder of the running test.
///
/// # Panics
/// When it is not there.
pub fn binary() -> PathBuf {
    let built = env::current_exe().ok().and_then(|test| Some(test.parent()?.parent()?.join("sidegate")));
    let path = env::var_os("SIDEGATE_BIN").map(PathBuf::from).or(built).unwrap_or_default();
    assert!(path.is_file(), "no binary at {}: run `cargo xtask build --profile dev` first", path.display());
    path
}

fn wait(sidegate: &mut Sidegate, awaits_ready: bool) {
    let mut last = "no answer at the admin address".to_owned();
    let outcome = eventually(PATIENCE, || {
        if let Ok(Some(status)) = sidegate.child.try_wait() {
            return Some(Err(format!("ended with {status}")));
        }
        let answer = Client::get_once(sidegate.admin(), "/ready").ok()?;
        last = format!("/ready says {} {}", answer.status, answer.text().trim());
        (answer.status == 200 || !awaits_ready).then_some(Ok(()))
    });
    match outcome {
        Some(Ok(())) => {}
        Some(Err(end)) => {
            sidegate.stderr.has_ended(PATIENCE);
            panic!("sidegate {end}");
        }
        None => panic!("sidegate is not ready after {PATIENCE:?}: {last}"),
    }
}

/// Gives every `$name` of the text a free address. A `$` before anything but a lower-case letter stays.
fn with_addresses(config: &str) -> (String, Vec<(String, FreePort)>) {
    let mut listeners: Vec<(String, FreePort)> = Vec::new();
    let mut pieces = config.split('$');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(piece.len());
        let (name, rest) = piece.split_at(end);
        if name.is_empty() {
            text.push('$');
        } else {
            if !listeners.iter().any(|(known, _)| known == name) {
                listeners.push((name.to_owned(), done("claims a port", FreePort::claim())));
            }
            for (_, port) in listeners.iter().filter(|(known, _)| known == name) {
                text += &port.address().to_string();
            }
        }
        text += rest;
    }
    (text, listeners)
}

fn done<T>(what: &str, result: Result<T, impl Display>) -> T {
    result.unwrap_or_else(|error| panic!("the test {what}: {error}"))
}

/// Runs the binary to its end with these arguments, in this folder.
///
/// # Panics
/// When it cannot be started.
pub fn run(folder: &Path, arguments: &[&str]) -> std::process::Output {
    done("runs the binary", Command::new(binary()).current_dir(folder).args(arguments).output())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_gets_one_address_and_other_dollars_stay() {
        let (text, listeners) = with_addresses("a: $in\nb: $out, c: \"$in\", regex: '^/x$', y: $1");
        let [(_, one), (_, two)] = &listeners[..] else { panic!("{listeners:?}") };
        let (one, two) = (one.address(), two.address());
        assert_eq!(text, format!("a: {one}\nb: {two}, c: \"{one}\", regex: '^/x$', y: $1"));
    }
}
