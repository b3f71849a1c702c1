//! Sidegate's configuration: YAML or JSON text in, a checked [`Config`] out.
//!
//! Nothing is half accepted: a text gives a configuration or the list of all its [`Problems`], each with file, line,
//! column, the path inside the configuration and, where one can guess, the fix. What the text means is defined in
//! `model`, one struct field per key; how it is read stands in `read`, on top of `tree`, in which every value knows its
//! place.
//!
//! ```text
//! files -> Source -> tree (merged) -> model -> relations -> Loaded
//! ```
//!
//! This crate opens no file but the ones it is given, starts nothing and asks nobody: whether modules exist and filters
//! like their configuration is found out by who compiles it.

mod abi;
mod bounds;
mod checks;
mod cursor;
mod files;
mod model;
mod nearest;
mod not_yet;
mod path;
mod problem;
mod read;
mod relations;
mod report;
mod tree;
mod units;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

pub use files::Source;
pub use model::*;
pub use problem::{Location, Problem, Problems, Severity};
pub use units::{Percent, Rate, Share, Size, duration as parse_duration};

use crate::{bounds::MAX_TEXT, cursor::Cursor, read::Read, report::Report, tree::Tree};

/// A configuration that can be used.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// What its author should look at all the same.
    pub warnings: Problems,
    /// The files it was read from.
    pub files: Vec<PathBuf>,
    /// The whole text as one JSON value, to see what differs between two of them. A number that JSON does not know
    /// makes it null.
    pub shape: serde_json::Value,
}

/// Reads a YAML or JSON file, or all `*.yaml`, `*.yml` and `*.json` files of a folder as one configuration.
///
/// In a folder the lists `plugins`, `listeners`, `clusters` and `extensionProviders` are joined in the order of the
/// file names; every other key belongs to one file.
///
/// # Errors
/// All problems that were found, including files that cannot be read.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    let report = Report::default();
    let sources = files::read(path, &report);
    read_sources(&sources, report)
}

/// Reads the texts that [`load`] would read.
///
/// # Errors
/// Files that cannot be read.
pub fn read(path: &Path) -> Result<Vec<Source>, Problems> {
    let report = Report::default();
    let sources = files::read(path, &report);
    if report.has_errors() { Err(report.into_problems()) } else { Ok(sources) }
}

/// As [`load`], with the texts at hand. Touches no file.
///
/// # Errors
/// All problems that were found.
pub fn parse(sources: &[Source]) -> Result<Loaded, Problems> {
    read_sources(sources, Report::default())
}

/// The JSON Schema of the whole configuration, for editors. Its descriptions are the doc comments of the model.
pub fn schema() -> serde_json::Value {
    let mut generator = schemars::generate::SchemaSettings::draft2020_12().into_generator();
    let mut schema = Config::schema(&mut generator);
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
        schema.insert("title".to_owned(), "Sidegate configuration".into());
        schema.insert("$defs".to_owned(), generator.take_definitions(true).into());
    }
    schema
}

fn read_sources(sources: &[Source], report: Report) -> Result<Loaded, Problems> {
    let mut tree = Tree::new(sources.iter().map(|source| Arc::from(&*source.path)).collect());
    let mut roots = Vec::new();
    let mut readable = !report.has_errors();
    let mut length = 0usize;
    for (file, source) in sources.iter().enumerate() {
        length = length.saturating_add(source.text.len());
        if length > MAX_TEXT {
            let why = format!("a configuration has at most {} MiB of text", MAX_TEXT >> 20);
            report.error(Location::start_of(Arc::from(&*source.path)), "", why, None);
            return Err(report.into_problems());
        }
        let file = u32::try_from(file).unwrap_or(u32::MAX);
        match tree::build::add_text(&mut tree, file, &source.text, &report) {
            // A file that is being written is empty for a moment; nobody means "nothing" by it.
            Ok(None) => {
                let fix = Some("write {} for a configuration without anything".to_owned());
                report.error(Location::start_of(Arc::from(&*source.path)), "", "the file is empty", fix);
                readable = false;
            }
            Ok(root) => roots.extend(root),
            Err(tree::build::Unreadable) => readable = false,
        }
    }
    // Beyond a broken text every name it would have given is missing; its problems say enough.
    if !readable {
        return Err(report.into_problems());
    }
    let id = tree::merge::roots(&mut tree, &roots, &report);
    let tree = Arc::new(tree);
    let root = Cursor { tree: &tree, id, path: String::new(), report: &report };
    let config = Config::read(&root);
    relations::check(&root);
    match config {
        Some(config) if !report.has_errors() => {
            relations::warn(&root, &config);
            let files = sources.iter().map(|source| source.path.clone()).collect();
            let mut text = Vec::new();
            let shape = tree::json::write(&tree, id, &mut text).ok().and_then(|()| serde_json::from_slice(&text).ok());
            Ok(Loaded { config, warnings: report.into_problems(), files, shape: shape.unwrap_or_default() })
        }
        _ => Err(report.into_problems()),
    }
}
