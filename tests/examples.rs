//! Every configuration that a reader may copy is one that loads: examples, the pod's, and the blocks of the pages. They
//! go through `sidegate check`, with modules and filter configurations.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this file and its module is a test; the lints know only test functions as such"
)]

#[path = "examples/pages.rs"]
mod pages;
#[path = "examples/place.rs"]
mod place;
mod signing;

use std::fs;
use std::path::{Path, PathBuf};

use pages::Block;
use place::Place;

#[test]
fn every_example_loads_without_a_word() {
    let examples = fs::read_dir(root().join("examples")).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<PathBuf> =
        examples.map(|folder| folder.join("sidegate.yaml")).filter(|file| file.is_file()).collect();
    assert!(files.iter().any(|file| file.ends_with("quickstart/sidegate.yaml")), "{files:?}");
    let said: Vec<String> = files.iter().filter_map(|file| place::check(file).err()).collect();
    assert!(said.is_empty(), "{}", said.join("\n"));
}

#[test]
fn the_configuration_of_the_pod_loads_without_a_word() {
    // The folders are mounted side by side.
    let place = Place::with_modules("modules");
    let file = place.write("config/sidegate.yaml", read(&root().join("deploy/kubernetes/sidegate.yaml")));
    place::check(&file).unwrap();
}

#[test]
fn every_block_of_a_page_loads_without_a_word() {
    let blocks: Vec<Block> = pages::all().iter().flat_map(|page| pages::blocks(page)).collect();
    assert!(blocks.len() > 7, "the pages have lost their examples");
    let mut said = Vec::new();
    for block in blocks {
        let place = Place::with_modules("");
        match block.framed() {
            Ok(None) => continue,
            Ok(Some((text, frame))) => {
                place.write("page.yaml", &text);
                place.write("surroundings.yaml", &frame);
                said.extend(place::check(place.folder()).err().map(|why| format!("{}:\n{why}", block.at)));
            }
            Err(why) => said.push(format!("{}: {why}", block.at)),
        }
    }
    assert!(said.is_empty(), "{}", said.join("\n"));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
