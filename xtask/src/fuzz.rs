//! What hostile input may not do, for as long as one likes.

use crate::command::Failure;
use crate::workspace::Workspace;

pub(crate) const DEFAULT_SECONDS: u64 = 60;

struct Target {
    name: &'static str,
    throws: &'static str,
    /// Which tests these are, for cargo.
    tests: [&'static str; 4],
    filter: &'static str,
}

const WASM_HOST: [&str; 4] = ["--package", "sidegate-wasm-host", "--test", "fuzz"];
const CONFIG: [&str; 4] = ["--package", "sidegate-config", "--test", "fuzz"];
const PROXY: [&str; 4] = ["--package", "sidegate", "--lib", "--quiet"];

const TARGETS: [Target; 6] = [
    Target { name: "pairs", throws: "serialized header maps", tests: WASM_HOST, filter: "pairs::" },
    Target { name: "modules", throws: "bytes in place of a module", tests: WASM_HOST, filter: "modules::" },
    Target {
        name: "sequences",
        throws: "any hostcalls with any arguments, in any order of hooks",
        tests: WASM_HOST,
        filter: "sequences::",
    },
    Target { name: "config", throws: "configuration texts", tests: CONFIG, filter: "" },
    Target {
        name: "signed",
        throws: "signed statements, and keys",
        tests: PROXY,
        filter: "control::signature::fuzz::",
    },
    Target {
        name: "admin",
        throws: "requests to the administration interface",
        tests: PROXY,
        filter: "admin::server::fuzz::",
    },
];

/// Runs one target at random for so many seconds; without a name, lists what there is.
pub(crate) fn fuzz(workspace: &Workspace, name: Option<&str>, seconds: u64) -> Result<(), Failure> {
    let list: Vec<String> = TARGETS.iter().map(|target| format!("  {:<10} {}", target.name, target.throws)).collect();
    let list = list.join("\n");
    let Some(name) = name else {
        println!("{list}");
        return Ok(());
    };
    let target = TARGETS.iter().find(|target| target.name == name);
    let target = target.ok_or_else(|| Failure::new(format!("there is no target {name:?}; there are\n{list}")))?;
    let cargo = [&["test"], &target.tests[..], &["--", target.filter, "--nocapture"]].concat();
    let cargo = workspace.host_cargo(&cargo).env("SIDEGATE_FUZZ_SECONDS", seconds.to_string());
    cargo.step(&format!("fuzz {name}"))
}
