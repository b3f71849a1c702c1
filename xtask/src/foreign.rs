//! Filters that other people's SDKs made: built from published packages, never kept in the repository.
//!
//! What a registry does not give is left out with a word about it, and the tests of it are ignored; what does not
//! compile is a failure.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::build::ensure_target;
use crate::command::{Command, Failure};
use crate::workspace::{GUEST_TARGET, Workspace};

/// A published version of the `proxy-wasm` crate whose package holds its examples.
struct Sdk {
    /// What the names of its filters begin with.
    prefix: &'static str,
    version: &'static str,
}

/// One for each ABI that this SDK spoke: 0.1.0 and 0.2.1.
const SDKS: [Sdk; 2] = [Sdk { prefix: "rs014", version: "0.1.4" }, Sdk { prefix: "rs020", version: "0.2.0" }];

const EXAMPLES: [&str; 5] = ["hello_world", "http_auth_random", "http_body", "http_config", "http_headers"];

/// Our own sources for the AssemblyScript SDK, without their ending.
const ASSEMBLYSCRIPT: [&str; 2] = ["hello", "multi"];

/// Makes sure that target/filters-foreign holds every foreign filter that can be built here.
pub(crate) fn foreign(workspace: &Workspace) -> Result<(), Failure> {
    let rooms = Rooms::of(workspace);
    for folder in [&rooms.work, &rooms.filters] {
        fs::create_dir_all(folder).map_err(Failure::file(folder))?;
    }
    rooms.rust(workspace)?;
    rooms.assemblyscript(workspace)
}

/// The folders of this command.
struct Rooms {
    /// Sources, packages and everything else on the way.
    work: PathBuf,
    /// Finished filters.
    filters: PathBuf,
}

impl Rooms {
    fn of(workspace: &Workspace) -> Self {
        let target = workspace.root().join("target");
        Self { work: target.join("foreign"), filters: target.join("filters-foreign") }
    }

    fn filter(&self, name: &str) -> PathBuf {
        self.filters.join(format!("{name}.wasm"))
    }

    /// The examples of the Rust SDK, from the sources that its packages carry.
    fn rust(&self, workspace: &Workspace) -> Result<(), Failure> {
        let missing: Vec<&Sdk> = SDKS.iter().filter(|sdk| !self.is_built(sdk)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        ensure_target(workspace)?;
        let packages = match self.fetch() {
            Ok(packages) => packages,
            Err(failure) => {
                println!("           no foreign Rust filters, their tests are ignored: {failure}");
                return Ok(());
            }
        };
        for sdk in missing {
            let source = packages.get("packages").and_then(|packages| source_of(packages, sdk.version));
            let source = source.ok_or_else(|| Failure::new(format!("proxy-wasm {} was not fetched", sdk.version)))?;
            self.build_sdk(sdk, &source)?;
        }
        Ok(())
    }

    fn is_built(&self, sdk: &Sdk) -> bool {
        EXAMPLES.iter().all(|example| self.filter(&sdk.filter(example)).is_file())
    }

    /// Lets cargo bring both versions as dependencies of an empty crate; returns what it says about them.
    fn fetch(&self) -> Result<Value, Failure> {
        let folder = self.work.join("fetch");
        let dependencies: String = SDKS
            .iter()
            .map(|sdk| format!("{} = {{ package = \"proxy-wasm\", version = \"={}\" }}\n", sdk.prefix, sdk.version))
            .collect();
        let manifest = format!(
            "[package]\nname = \"fetch\"\nedition = \"2024\"\n[workspace]\n[lib]\npath = \"lib.rs\"\n[dependencies]\n{dependencies}"
        );
        write(&folder.join("Cargo.toml"), manifest.as_bytes())?;
        write(&folder.join("lib.rs"), b"")?;
        let metadata = Command::new("cargo", &folder).args(&["metadata", "--format-version", "1"]);
        let metadata = metadata.output("cargo metadata")?;
        serde_json::from_slice(&metadata).map_err(|error| Failure::new(format!("cargo metadata: {error}")))
    }

    fn build_sdk(&self, sdk: &Sdk, source: &Path) -> Result<(), Failure> {
        let folder = self.work.join(format!("src-{}", sdk.version));
        copy_folder(source, &folder)?;
        // Without this, cargo takes it for a forgotten member of our workspace.
        let manifest = folder.join("Cargo.toml");
        let mut text = fs::read_to_string(&manifest).map_err(Failure::file(&manifest))?;
        text += "\n[workspace]\n";
        write(&manifest, text.as_bytes())?;
        let built = self.work.join("build");
        let cargo = ["build", "--release", "--examples", "--target", GUEST_TARGET];
        let cargo = Command::new("cargo", &folder).args(&cargo).env("CARGO_TARGET_DIR", &built);
        // Warnings that are errors here are no business of other people's sources.
        cargo.env("RUSTFLAGS", "").step(&format!("filters of proxy-wasm {}", sdk.version))?;
        for example in EXAMPLES {
            let from = built.join(GUEST_TARGET).join("release/examples").join(format!("{example}.wasm"));
            copy(&from, &self.filter(&sdk.filter(example)))?;
        }
        Ok(())
    }

    /// Our own small filters, compiled with another language's SDK.
    fn assemblyscript(&self, workspace: &Workspace) -> Result<(), Failure> {
        let (sources, folder) = (workspace.root().join("tests/foreign/as"), self.work.join("as"));
        let newest = |name: &str| is_newer(&self.filter(&format!("as_{name}")), &sources.join(format!("{name}.ts")));
        if ASSEMBLYSCRIPT.iter().all(|name| newest(name)) {
            return Ok(());
        }
        copy_folder(&sources, &folder)?;
        let npm = Command::new("npm", &folder);
        let install = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"];
        if let Err(failure) = npm.args(&install).output("npm install") {
            println!("           no AssemblyScript filters, their tests are ignored: {failure}");
            return Ok(());
        }
        for name in ASSEMBLYSCRIPT {
            let out = self.filter(&format!("as_{name}"));
            let compiler = Command::new("node", &folder).args(&["node_modules/assemblyscript/bin/asc.js"]);
            let compiler = compiler.args(&[&format!("{name}.ts"), "-O", "--use", "abort=abort_proc_exit"]);
            let compiler = compiler.args(&["--config", "node_modules/@assemblyscript/wasi-shim/asconfig.json"]);
            compiler.args(&["--outFile"]).arg_path(&out).step(&format!("filter as_{name}"))?;
        }
        Ok(())
    }
}

impl Sdk {
    fn filter(&self, example: &str) -> String {
        format!("{}_{example}", self.prefix)
    }
}

fn source_of(packages: &Value, version: &str) -> Option<PathBuf> {
    let is_it = |package: &&Value| {
        let says = |key: &str, value: &str| package.get(key).and_then(Value::as_str) == Some(value);
        says("name", "proxy-wasm") && says("version", version)
    };
    let manifest = packages.as_array()?.iter().find(is_it)?.get("manifest_path")?.as_str()?;
    Path::new(manifest).parent().map(Path::to_owned)
}

/// Whether a file is there and was written after its source.
fn is_newer(built: &Path, source: &Path) -> bool {
    let at = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    at(built).zip(at(source)).is_some_and(|(built, source)| built >= source)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(Failure::file(folder))?;
    fs::write(path, bytes).map_err(Failure::file(path))
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    let bytes = fs::read(from).map_err(Failure::file(from))?;
    write(to, &bytes)
}

/// Copies files and folders; what else is in the target stays.
fn copy_folder(from: &Path, to: &Path) -> Result<(), Failure> {
    for entry in fs::read_dir(from).map_err(Failure::file(from))? {
        let entry = entry.map_err(Failure::file(from))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() { copy_folder(&path, &target)? } else { copy(&path, &target)? }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_found_by_name_and_version() {
        let packages = serde_json::json!([
            {"name": "log", "version": "0.2.0", "manifest_path": "/r/log/Cargo.toml"},
            {"name": "proxy-wasm", "version": "0.1.4", "manifest_path": "/r/a/Cargo.toml"},
            {"name": "proxy-wasm", "version": "0.2.0", "manifest_path": "/r/b/Cargo.toml"},
        ]);
        assert_eq!(source_of(&packages, "0.2.0"), Some(PathBuf::from("/r/b")));
        assert_eq!(source_of(&packages, "0.3.0"), None);
    }
}
