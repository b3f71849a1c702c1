//! What hostile bytes may not do to the Wasm host, for as long as one likes.

use crate::command::Failure;
use crate::workspace::Workspace;

pub(crate) const DEFAULT_SECONDS: u64 = 60;

/// The targets: files of runtime/wasm-host/tests/fuzz.
const TARGETS: [(&str, &str); 3] = [
    ("pairs", "serialized header maps"),
    ("modules", "bytes in place of a module"),
    ("sequences", "any hostcalls with any arguments, in any order of hooks"),
];

/// Runs one target at random for so many seconds; without a name, lists what there is.
pub(crate) fn fuzz(workspace: &Workspace, name: Option<&str>, seconds: u64) -> Result<(), Failure> {
    let list: Vec<String> = TARGETS.iter().map(|(name, what)| format!("  {name:<10} {what}")).collect();
    let list = list.join("\n");
    let Some(name) = name else {
        println!("{list}");
        return Ok(());
    };
    if !TARGETS.iter().any(|(target, _)| *target == name) {
        return Err(Failure::new(format!("there is no target {name:?}; there are\n{list}")));
    }
    let filter = format!("{name}::");
    let cargo = ["test", "--package", "sidegate-wasm-host", "--test", "fuzz", "--", &filter, "--nocapture"];
    let cargo = workspace.host_cargo(&cargo).env("SIDEGATE_FUZZ_SECONDS", seconds.to_string());
    cargo.step(&format!("fuzz {name}"))
}
