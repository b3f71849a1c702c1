//! The guest workspace: every filter and guest example as a portable .wasm.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::write_if_changed;
use crate::command::{Command, Failure};
use crate::workspace::{GUEST_TARGET, Workspace};

/// A crate of the guest workspace that becomes a .wasm.
struct Guest {
    /// The name of its folder, which is the name of the filter.
    name: String,
    /// What cargo calls its file.
    artifact: String,
}

/// Adds the standard library of the guest target when this toolchain has none.
pub(crate) fn ensure_target(workspace: &Workspace) -> Result<(), Failure> {
    let rustc = Command::new("rustc", workspace.root());
    let libraries = rustc.args(&["--print", "target-libdir", "--target", GUEST_TARGET]).output("rustc")?;
    let libraries = PathBuf::from(String::from_utf8_lossy(&libraries).trim());
    if has_standard_library(&libraries) {
        return Ok(());
    }
    let rustup = Command::new("rustup", workspace.root()).args(&["target", "add", GUEST_TARGET]);
    rustup.step(&format!("rustup target add {GUEST_TARGET}"))
}

/// Builds every guest and puts it to target/filters/NAME.wasm.
pub(crate) fn build(workspace: &Workspace) -> Result<(), Failure> {
    workspace.guest_cargo(&["build", "--release", "--workspace", "--target", GUEST_TARGET]).step("filters")?;
    let built = workspace.guest_target().join(GUEST_TARGET).join("release");
    for guest in guests(workspace)? {
        let from = built.join(&guest.artifact);
        let bytes = fs::read(&from).map_err(Failure::file(&from))?;
        if write_if_changed(&workspace.filters().join(format!("{}.wasm", guest.name)), &bytes)? {
            println!("           target/filters/{}.wasm ({} KiB)", guest.name, bytes.len() / 1024);
        }
    }
    Ok(())
}

fn has_standard_library(libraries: &Path) -> bool {
    let Ok(files) = fs::read_dir(libraries) else { return false };
    files.flatten().any(|file| file.file_name().to_string_lossy().starts_with("libstd-"))
}

fn guests(workspace: &Workspace) -> Result<Vec<Guest>, Failure> {
    let metadata =
        workspace.guest_cargo(&["metadata", "--no-deps", "--format-version", "1"]).output("cargo metadata")?;
    let metadata: Value =
        serde_json::from_slice(&metadata).map_err(|error| Failure::new(format!("cargo metadata: {error}")))?;
    Ok(list(metadata.get("packages")).iter().filter_map(guest).collect())
}

fn guest(package: &Value) -> Option<Guest> {
    let is_module = |target: &&Value| list(target.get("kind")).iter().any(|kind| kind == "cdylib");
    let target = list(package.get("targets")).iter().find(is_module)?;
    let artifact = format!("{}.wasm", target.get("name")?.as_str()?.replace('-', "_"));
    let folder = Path::new(package.get("manifest_path")?.as_str()?).parent()?;
    Some(Guest { name: folder.file_name()?.to_str()?.to_owned(), artifact })
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_named_by_its_folder_and_found_by_its_target() {
        let package = serde_json::json!({
            "manifest_path": "/r/examples/hello-filter/Cargo.toml",
            "targets": [{"name": "t", "kind": ["test"]}, {"name": "greeter-x", "kind": ["cdylib", "rlib"]}],
        });
        let guest = guest(&package).unwrap();
        assert_eq!((guest.name.as_str(), guest.artifact.as_str()), ("hello-filter", "greeter_x.wasm"));
    }

    #[test]
    fn a_library_is_no_guest() {
        let package =
            serde_json::json!({"manifest_path": "/r/sdk/Cargo.toml", "targets": [{"name": "s", "kind": ["lib"]}]});
        assert!(guest(&package).is_none());
    }
}
