//! Where things are.

use std::path::{Path, PathBuf};

use crate::command::{Command, Failure};
use crate::profile::Profile;

/// The triple of every guest.
pub(crate) const GUEST_TARGET: &str = "wasm32-wasip1";

/// The repository on this machine. The host workspace is its root, the guest workspace is filters/.
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    pub(crate) fn find() -> Result<Self, Failure> {
        let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = xtask.parent().filter(|root| root.join("Cargo.toml").is_file());
        let root = root.ok_or_else(|| Failure::new(format!("the repository is gone from {}", xtask.display())))?;
        Ok(Self { root: root.to_owned() })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the portable filters and their compiled forms are collected; build.rs of the proxy looks here.
    pub(crate) fn filters(&self) -> PathBuf {
        self.root.join("target/filters")
    }

    /// The token of the demo's admin; examples/quickstart/sidegate.yaml names it.
    pub(crate) fn demo_token(&self) -> PathBuf {
        self.root.join("target/demo/token")
    }

    /// The target folder of the guest workspace.
    pub(crate) fn guest_target(&self) -> PathBuf {
        self.root.join("target/guest")
    }

    pub(crate) fn binary(&self, profile: Profile) -> PathBuf {
        self.root.join("target").join(profile.folder()).join("sidegate")
    }

    /// Cargo in the host workspace, whatever target folder the caller's environment names.
    pub(crate) fn host_cargo(&self, arguments: &[&str]) -> Command {
        Command::new("cargo", &self.root).args(arguments).env("CARGO_TARGET_DIR", self.root.join("target"))
    }

    /// Cargo in the guest workspace.
    pub(crate) fn guest_cargo(&self, arguments: &[&str]) -> Command {
        Command::new("cargo", &self.root.join("filters")).args(arguments).env("CARGO_TARGET_DIR", self.guest_target())
    }
}
