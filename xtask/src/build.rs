//! From sources to one binary with the standard filters inside.

mod builtins;
pub(crate) mod guests;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub(crate) use guests::ensure_target;

use crate::command::Failure;
use crate::profile::Profile;
use crate::workspace::Workspace;

/// Builds filters and proxy; returns the binary.
///
/// The proxy embeds the compiled forms of the standard filters, and is itself their compiler: when they change, it is
/// built once more. A binary of an earlier build compiles them first, so that this stays rare.
pub(crate) fn build(workspace: &Workspace, profile: Profile) -> Result<PathBuf, Failure> {
    ensure_target(workspace)?;
    guests::build(workspace)?;
    let binary = workspace.binary(profile);
    let before = built_at(&binary);
    // A binary too old to compile them is about to be replaced; then it is no matter that it fails.
    let is_compiled = before.is_some() && builtins::precompile(workspace, &binary).is_ok();
    let proxy = workspace.host_cargo(&["build", "--profile", profile.name(), "--package", "sidegate"]);
    proxy.step("proxy")?;
    let is_same = is_compiled && built_at(&binary) == before;
    if !is_same && builtins::precompile(workspace, &binary)? {
        proxy.step("proxy, with compiled filters")?;
    }
    println!("           {}", binary.strip_prefix(workspace.root()).unwrap_or(&binary).display());
    Ok(binary)
}

fn built_at(binary: &Path) -> Option<SystemTime> {
    fs::metadata(binary).and_then(|metadata| metadata.modified()).ok()
}

/// Writes a file unless it has these bytes already, so that nothing that depends on it is built again.
/// Says whether it was written.
fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<bool, Failure> {
    if fs::read(path).is_ok_and(|present| present == bytes) {
        return Ok(false);
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(Failure::file(folder))?;
    fs::write(path, bytes).map_err(Failure::file(path))?;
    Ok(true)
}
