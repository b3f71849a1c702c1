//! The project's own benchmarks by name.

mod soak;
mod swap;
mod update;

use std::env;
use std::path::PathBuf;

use crate::command::Failure;
use crate::profile::Profile;
use crate::workspace::Workspace;

pub(crate) use soak::DEFAULT_REQUESTS;
pub(crate) use swap::DEFAULT_SWAPS;
pub(crate) use update::{DEFAULT_KILLS, DEFAULT_ROLLOUTS};

/// How much of it.
pub(crate) struct Amounts {
    pub(crate) requests: usize,
    pub(crate) swaps: usize,
    pub(crate) kills: usize,
    pub(crate) rollouts: usize,
}

struct Bench {
    name: &'static str,
    measures: &'static str,
    run: Run,
}

enum Run {
    /// A cargo command of the host workspace.
    Cargo(&'static [&'static str]),
    Soak,
    Swap,
    Update,
}

const BENCHES: &[Bench] = &[
    Bench {
        name: "host",
        measures: "nanoseconds of each kind of hook and hostcall in the Wasm host",
        run: Run::Cargo(&["run", "--release", "--package", "sidegate-wasm-host", "--example", "bench"]),
    },
    Bench {
        name: "router",
        measures: "time, memory and nanoseconds a request of the router with a large table; needs `build`",
        run: Run::Cargo(&["run", "--release", "--package", "sidegate-wasm-host", "--example", "router_table"]),
    },
    Bench {
        name: "soak",
        measures: "memory and open contexts over --requests N (1,000,000) through filters that keep state",
        run: Run::Soak,
    },
    Bench {
        name: "swap",
        measures: "--swaps N (1,000) of a filter under load: what is lost, latency, pause, memory; needs `build`",
        run: Run::Swap,
    },
    Bench {
        name: "update",
        measures: "--kills N (200) in the middle of pushes; --rollouts N (50) of a version like the one before, of one \
                   that traps, of one that is slow: what is lost, what goes back and when",
        run: Run::Update,
    },
];

/// Runs the benchmark of this name; without a name, lists what there is.
pub(crate) fn bench(workspace: &Workspace, name: Option<&str>, amounts: &Amounts) -> Result<(), Failure> {
    let Some(name) = name else {
        println!("{}", list());
        return Ok(());
    };
    let bench = BENCHES.iter().find(|bench| bench.name == name);
    let bench = bench.ok_or_else(|| Failure::new(format!("there is no benchmark {name:?}; there are\n{}", list())))?;
    match bench.run {
        Run::Cargo(cargo) => workspace.host_cargo(cargo).step(&format!("bench {name}")),
        Run::Soak => soak::soak(workspace, amounts.requests),
        Run::Swap => swap::swap(workspace, amounts.swaps),
        Run::Update => update::update(workspace, amounts.kills, amounts.rollouts),
    }
}

/// `SIDEGATE_BIN`, else the release build, else the other one.
fn binary(workspace: &Workspace) -> Result<PathBuf, Failure> {
    let built = [Profile::Release, Profile::Dev].map(|profile| workspace.binary(profile));
    let given = env::var_os("SIDEGATE_BIN").map(PathBuf::from);
    let found = given.or_else(|| built.into_iter().find(|binary| binary.is_file()));
    let found = found.ok_or_else(|| Failure::new("there is no proxy: run `cargo xtask build`"))?;
    println!("{}", found.display());
    Ok(found)
}

fn list() -> String {
    let lines: Vec<String> = BENCHES.iter().map(|bench| format!("  {:<8} {}", bench.name, bench.measures)).collect();
    lines.join("\n")
}
