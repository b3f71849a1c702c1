//! The standard filters, compiled ahead of time by the proxy itself.

use std::fs;
use std::path::Path;
use std::process;

use super::write_if_changed;
use crate::command::{Command, Failure};
use crate::workspace::Workspace;

/// What `builtin:NAME` names.
const BUILTINS: [&str; 5] = ["auth", "fault", "ratelimit", "router", "telemetry"];

/// Compiles target/filters/NAME.wasm to NAME.cwasm beside it. Says whether any of them changed.
pub(crate) fn precompile(workspace: &Workspace, binary: &Path) -> Result<bool, Failure> {
    let folder = workspace.filters();
    let mut has_changed = false;
    for name in BUILTINS {
        // Compiled elsewhere and moved by content: an equal artifact keeps its time, so nothing is built again.
        let fresh = workspace.root().join("target").join(format!(".{name}.{}.cwasm", process::id()));
        let compile = Command::new(binary.display().to_string(), workspace.root())
            .args(&["compile", "--policy", "builtin", "--embeddable"])
            .arg_path(&folder.join(format!("{name}.wasm")))
            .arg_path(&fresh);
        let outcome = compile.output(&format!("compile {name}"));
        let bytes = fs::read(&fresh);
        let _ = fs::remove_file(&fresh);
        outcome?;
        let bytes = bytes.map_err(|error| Failure::new(format!("compile {name} has written nothing: {error}")))?;
        has_changed |= write_if_changed(&folder.join(format!("{name}.cwasm")), &bytes)?;
    }
    Ok(has_changed)
}
