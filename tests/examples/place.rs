//! A folder with everything that a configuration may name: a module, its signature, the key to it.

use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::Ed25519KeyPair;
use sidegate_tests::sidegate::run;
use tempfile::TempDir;

use super::{root, signing};

pub(crate) struct Place(TempDir);

impl Place {
    /// The module `hello.wasm`, signed by the key in `key.pem`, in this folder of the place.
    pub(crate) fn with_modules(folder: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let path = root().join("target/filters/hello-filter.wasm");
        let module = fs::read(&path)
            .unwrap_or_else(|error| panic!("{}: {error}: run `cargo xtask build --profile dev` first", path.display()));
        let pair = Ed25519KeyPair::generate().unwrap();
        let at = |name: &str| Path::new(folder).join(name).display().to_string();
        place.write(&at("key.pem"), signing::pem(&pair));
        place.write(&at("hello.wasm.sig"), signing::file(&pair, "hello", 1, &module));
        place.write(&at("hello.wasm"), &module);
        place
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }
}

/// Has the binary check a configuration; what it says besides `ok` is an error.
pub(crate) fn check(config: &Path) -> Result<(), String> {
    let output = run(root(), &["check", &config.display().to_string()]);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    if output.status.success() && said == format!("{}: ok\n", config.display()) { Ok(()) } else { Err(said) }
}
