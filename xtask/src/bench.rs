//! The project's own benchmarks by name.

mod soak;

use crate::command::Failure;
use crate::workspace::Workspace;

pub(crate) use soak::DEFAULT_REQUESTS;

struct Bench {
    name: &'static str,
    measures: &'static str,
    run: Run,
}

enum Run {
    /// A cargo command of the host workspace.
    Cargo(&'static [&'static str]),
    Soak,
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
];

/// Runs the benchmark of this name; without a name, lists what there is.
pub(crate) fn bench(workspace: &Workspace, name: Option<&str>, requests: usize) -> Result<(), Failure> {
    let Some(name) = name else {
        println!("{}", list());
        return Ok(());
    };
    let bench = BENCHES.iter().find(|bench| bench.name == name);
    let bench = bench.ok_or_else(|| Failure::new(format!("there is no benchmark {name:?}; there are\n{}", list())))?;
    match bench.run {
        Run::Cargo(cargo) => workspace.host_cargo(cargo).step(&format!("bench {name}")),
        Run::Soak => soak::soak(workspace, requests),
    }
}

fn list() -> String {
    let lines: Vec<String> = BENCHES.iter().map(|bench| format!("  {:<8} {}", bench.name, bench.measures)).collect();
    lines.join("\n")
}
