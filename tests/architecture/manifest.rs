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
        let mut found: Vec<Dependency> = Vec::new();
        let mut section = "";
        for (line, text) in self.0.raw_lines().filter(|(_, text)| !text.trim_start().starts_with('#')) {
            if let Some(header) = text.trim().strip_prefix('[') {
                section = header.trim_end_matches(']');
                // `[dependencies.name]` is a dependency by itself.
                if let Some(name) = single_dependency(section) {
                    found.push(Dependency { name: name.to_owned(), at: self.0.at(line) });
                }
            } else if let Some((key, value)) = text.split_once('=') {
                let key = key.split('.').next().unwrap().trim().trim_matches('"');
                if lists_dependencies(section) {
                    let renamed = value.split_once("package").and_then(|(_, rest)| quoted(rest));
                    found.push(Dependency { name: renamed.unwrap_or(key).to_owned(), at: self.0.at(line) });
                } else if let (Some(_), "package", Some(name)) = (single_dependency(section), key, quoted(value)) {
                    found.last_mut().unwrap().name = name.to_owned();
                }
            }
        }
        found
    }
}

fn lists_dependencies(section: &str) -> bool {
    section == "dependencies" || (section.starts_with("target.") && section.ends_with(".dependencies"))
}

fn single_dependency(section: &str) -> Option<&str> {
    section.rsplit_once('.').filter(|(list, _)| lists_dependencies(list)).map(|(_, name)| name)
}

fn quoted(text: &str) -> Option<&str> {
    text.split('"').nth(1)
}
