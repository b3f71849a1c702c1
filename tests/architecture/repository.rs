//! The files of the repository, without what is built or fetched.

use std::fs;
use std::path::{Path, PathBuf};

use super::source::Source;

/// What holds nothing of ours; `.git` is a file where the repository is a second work tree.
const SKIPPED: [&str; 3] = ["target", ".git", "node_modules"];
/// Endings of files that people read.
const TEXT: [&str; 6] = ["rs", "md", "toml", "yaml", "yml", "sh"];

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Every Rust file at `path.rs` and below `path/`.
pub(crate) fn rust_files(path: &str) -> Vec<Source> {
    let start = root().join(path);
    let mut found = Vec::new();
    let beside = start.with_extension("rs");
    if beside.is_file() {
        found.push(beside);
    }
    walk(&start, &mut found);
    found.retain(|file| file.extension().is_some_and(|ending| ending == "rs"));
    found.iter().map(|file| Source::read(root(), file)).collect()
}

/// Every file that people read, in any language.
pub(crate) fn text_files() -> Vec<Source> {
    let is_text = |file: &PathBuf| match file.extension() {
        Some(ending) => TEXT.iter().any(|text| ending == *text),
        None => true,
    };
    files_below("").iter().filter(|file| is_text(file)).map(|file| Source::read(root(), file)).collect()
}

pub(crate) fn files_below(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    found
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut entries: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if SKIPPED.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() { walk(&path, found) } else { found.push(path) }
    }
}
