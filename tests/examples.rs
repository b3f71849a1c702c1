//! Every configuration that a reader may copy is one that loads.

#![allow(clippy::unwrap_used, reason = "all of this file is a test")]

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_example_configuration_loads_without_a_word() {
    let mut said = Vec::new();
    let files = configurations();
    for file in &files {
        match sidegate_config::load(file) {
            Ok(loaded) => said.push(loaded.warnings.to_string()),
            Err(problems) => said.push(problems.to_string()),
        }
    }
    said.retain(|text| !text.is_empty());
    assert!(files.iter().any(|file| file.ends_with("quickstart/sidegate.yaml")), "{files:?}");
    assert!(said.is_empty(), "{}", said.join("\n"));
}

fn configurations() -> Vec<PathBuf> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples");
    let folders = fs::read_dir(&examples).unwrap().map(|entry| entry.unwrap().path());
    folders.map(|folder| folder.join("sidegate.yaml")).filter(|file| file.is_file()).collect()
}
