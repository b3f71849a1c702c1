//! What a Cargo.toml says about dependencies.

use super::repository::{files_below, root};
use super::source::Source;

pub(crate) struct Manifest(Source);

/// One dependency that is compiled into the crate.
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// Where it stands, as file:line.
    pub(crate) at: String,
}

/// The manifests of all packages below these folders.
pub(crate) fn all_below(folders: &[&str]) -> Vec<String> {
    let files = folders.iter().flat_map(|folder| files_below(folder));
    let manifests = files.filter(|file| file.file_name().is_some_and(|name| name == "Cargo.toml"));
    manifests.map(|file| file.strip_prefix(root()).unwrap().display().to_string()).collect()
}

impl Manifest {
    pub(crate) fn read(path: &str) -> Self {
        Self(Source::read(root(), &root().join(path)))
    }

    /// Dependencies of every target; those of tests and build scripts are their own business.
    pub(crate) fn dependencies(&self) -> Vec<Dependency> {
        let mut found = Vec::new();
        let mut is_inside = false;
        for (line, text) in self.0.raw_lines() {
            if let Some(section) = text.trim().strip_prefix('[') {
                let section = section.trim_end_matches(']');
                let is_normal = |name: &str| name == "dependencies" || name.ends_with(".dependencies");
                is_inside = is_normal(section) && !section.starts_with("workspace");
                // `[dependencies.name]` is a dependency by itself.
                let single = section.rsplit_once('.').filter(|(before, _)| is_normal(before));
                if let Some((_, name)) = single.filter(|(before, _)| !before.starts_with("workspace")) {
                    found.push(Dependency { name: name.to_owned(), at: self.0.at(line) });
                }
            } else if let Some((key, value)) = text.split_once('=').filter(|_| is_inside) {
                let renamed = value.split_once("package = \"").and_then(|(_, rest)| rest.split('"').next());
                let key = key.split('.').next().unwrap().trim().trim_matches('"');
                if !key.starts_with('#') {
                    found.push(Dependency { name: renamed.unwrap_or(key).to_owned(), at: self.0.at(line) });
                }
            }
        }
        found
    }
}
