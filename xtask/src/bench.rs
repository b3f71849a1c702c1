//! The project's own benchmarks by name.

use crate::command::Failure;
use crate::workspace::Workspace;

struct Bench {
    name: &'static str,
    measures: &'static str,
    cargo: &'static [&'static str],
}

const BENCHES: &[Bench] = &[
    Bench {
        name: "host",
        measures: "nanoseconds of each kind of hook and hostcall in the Wasm host",
        cargo: &["run", "--release", "--package", "sidegate-wasm-host", "--example", "bench"],
    },
    Bench {
        name: "router",
        measures: "time, memory and nanoseconds a request of the router with a large table; needs `build`",
        cargo: &["run", "--release", "--package", "sidegate-wasm-host", "--example", "router_table"],
    },
];

/// Runs the benchmark of this name; without a name, lists what there is.
pub(crate) fn bench(workspace: &Workspace, name: Option<&str>) -> Result<(), Failure> {
    let Some(name) = name else {
        println!("{}", list());
        return Ok(());
    };
    let bench = BENCHES.iter().find(|bench| bench.name == name);
    let bench = bench.ok_or_else(|| Failure::new(format!("there is no benchmark {name:?}; there are\n{}", list())))?;
    workspace.host_cargo(bench.cargo).step(&format!("bench {name}"))
}

fn list() -> String {
    let lines: Vec<String> = BENCHES.iter().map(|bench| format!("  {:<8} {}", bench.name, bench.measures)).collect();
    lines.join("\n")
}
