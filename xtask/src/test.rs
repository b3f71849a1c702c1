//! Everything that CI runs, as steps: the first that fails ends the run and names the command that repeats it.

mod counts;
mod peers;

use std::time::Instant;

use counts::Counts;

use crate::build::{build, guests::ensure_target};
use crate::command::{Command, Failure};
use crate::demo;
use crate::foreign::foreign;
use crate::profile::Profile;
use crate::workspace::{GUEST_TARGET, Workspace};

/// Tests and CI need no release build of the proxy.
const PROFILE: Profile = Profile::Dev;

pub(crate) struct Options {
    /// Whether to compare with programs of other people.
    pub(crate) peers: Peers,
    /// Run only the tests whose name contains this, and nothing else.
    pub(crate) quick: Option<String>,
}

/// Envoy, Prometheus and others, beside which Sidegate is put.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peers {
    Without,
    With,
    /// And nothing else but what they need.
    Only,
}

/// Runs the steps; the last line is `N passed, N failed`, in tests.
pub(crate) fn test(workspace: &Workspace, options: &Options) -> Result<(), Failure> {
    let start = Instant::now();
    let mut run = Run { workspace, has_nextest: has_nextest(workspace), counts: Counts::default() };
    let outcome = match &options.quick {
        Some(name) => run.quick(name),
        None if options.peers == Peers::Only => run.only_peers(),
        None => run.everything(options.peers == Peers::With),
    };
    if let Err(failure) = &outcome {
        println!("\n{failure}");
        // A step without tests of its own counts as one.
        run.counts.failed = run.counts.failed.max(1);
    }
    println!("\n{:>7.1} s  in all", start.elapsed().as_secs_f64());
    println!("{} passed, {} failed", run.counts.passed, run.counts.failed);
    outcome.map_err(|_| Failure::told())
}

struct Run<'a> {
    workspace: &'a Workspace,
    has_nextest: bool,
    counts: Counts,
}

impl Run<'_> {
    fn everything(&mut self, peers: bool) -> Result<(), Failure> {
        let workspace = self.workspace;
        workspace.host_cargo(&["fmt", "--all", "--check"]).step("format")?;
        workspace.guest_cargo(&["fmt", "--all", "--check"]).step("format of guests")?;
        ensure_target(workspace)?;
        self.lint("lints of guests", &workspace.guest_cargo(&["clippy", "--workspace", "--all-targets"]))?;
        let for_wasm = ["clippy", "--workspace", "--target", GUEST_TARGET];
        self.lint("lints of guests as wasm", &workspace.guest_cargo(&for_wasm))?;
        let binary = build(workspace, PROFILE)?;
        foreign(workspace)?;
        self.lint("lints", &workspace.host_cargo(&["clippy", "--workspace", "--all-targets"]))?;
        self.tests("tests of guests", &workspace.guest_cargo(&[]), None)?;
        self.listen("examples in the SDK's documentation", &workspace.guest_cargo(&["test", "--workspace", "--doc"]))?;
        self.tests("tests", &workspace.host_cargo(&[]), None)?;
        for (what, cargo) in [
            ("documentation", workspace.host_cargo(&["doc", "--workspace", "--no-deps"])),
            ("documentation of guests", workspace.guest_cargo(&["doc", "--workspace", "--no-deps"])),
        ] {
            cargo.env("RUSTDOCFLAGS", "-D warnings").step(what)?;
        }
        let checks = demo::check(workspace, &binary)?;
        self.counts.add(Counts { passed: checks.passed, failed: checks.failed });
        if peers { self.peers() } else { Ok(()) }
    }

    /// The edit loop: no formats, lints, documentation or demo.
    fn quick(&mut self, name: &str) -> Result<(), Failure> {
        build(self.workspace, PROFILE)?;
        self.tests("tests of guests", &self.workspace.guest_cargo(&[]), Some(name))?;
        self.tests("tests", &self.workspace.host_cargo(&[]), Some(name))
    }

    fn only_peers(&mut self) -> Result<(), Failure> {
        build(self.workspace, PROFILE)?;
        foreign(self.workspace)?;
        self.peers()
    }

    fn peers(&mut self) -> Result<(), Failure> {
        let peers = peers::environment(self.workspace)?;
        let cargo = ["test", "--package", "sidegate-tests", "--test", "peers", "--", "--nocapture"];
        let cargo = self.workspace.host_cargo(&cargo);
        let cargo = peers.into_iter().fold(cargo, |cargo, (name, path)| cargo.env(name, path));
        self.listen("comparison with Envoy, Prometheus and others", &cargo)
    }

    fn lint(&self, what: &str, clippy: &Command) -> Result<(), Failure> {
        clippy.clone().args(&["--", "-D", "warnings"]).step(what)
    }

    /// The tests of a workspace, by nextest where it is installed: it runs test binaries at the same time. The whole
    /// run follows the profile of CI, a quick one ends at the first failure.
    fn tests(&mut self, what: &str, cargo: &Command, name: Option<&str>) -> Result<(), Failure> {
        let config = self.workspace.root().join(".config/nextest.toml");
        let config = config.to_string_lossy();
        let profile = if name.is_some() { "default" } else { "ci" };
        let runner: &[&str] = if self.has_nextest {
            &["nextest", "run", "--config-file", &config, "--profile", profile, "--workspace", "--no-tests", "pass"]
        } else {
            &["test", "--workspace", "--lib", "--bins", "--tests"]
        };
        self.listen(what, &cargo.clone().args(runner).args(name.as_slice()))
    }

    fn listen(&mut self, what: &str, tests: &Command) -> Result<(), Failure> {
        let (status, text) = tests.step_and_listen(what)?;
        self.counts.add(Counts::read(&text));
        tests.demand(what, status)
    }
}

fn has_nextest(workspace: &Workspace) -> bool {
    workspace.host_cargo(&["nextest", "--version"]).output("nextest").is_ok()
}
