//! Which files a configuration consists of, and their text.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use crate::{
    Location,
    bounds::{MAX_FILES, MAX_TEXT},
    report::Report,
};

/// A text and the name of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Named in problems; relative paths inside the text are seen from its folder.
    pub path: PathBuf,
    /// YAML or JSON.
    pub text: String,
}

/// Reads a file, or every `*.yaml`, `*.yml` and `*.json` of a folder in the order of their names. Hidden files are left
/// out: a ConfigMap volume keeps its older versions there. What cannot be read is reported.
pub(crate) fn read(path: &Path, report: &Report) -> Vec<Source> {
    let names = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => match list(path) {
            Ok(names) => names,
            Err(error) => return refuse(path, report, error.to_string()),
        },
        Ok(_) => vec![path.to_owned()],
        Err(error) => return refuse(path, report, error.to_string()),
    };
    if names.is_empty() {
        return refuse(path, report, "no *.yaml, *.yml or *.json file in this folder".to_owned());
    }
    if names.len() > MAX_FILES {
        return refuse(path, report, format!("more than {MAX_FILES} files in this folder"));
    }
    let mut left = MAX_TEXT;
    let mut sources = Vec::new();
    for path in names {
        match text(&path, left) {
            Ok(text) => {
                left = left.saturating_sub(text.len());
                sources.push(Source { path, text });
            }
            Err(Unusable { line, column, why }) => {
                report.error(Location { file: path.into(), line, column }, "", why, None);
            }
        }
    }
    sources
}

fn refuse(path: &Path, report: &Report, why: String) -> Vec<Source> {
    report.error(Location::start_of(path.into()), "", format!("cannot be read: {why}"), None);
    Vec::new()
}

fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        let ours = path.extension().is_some_and(|kind| kind == "yaml" || kind == "yml" || kind == "json");
        if ours && !hidden && !path.is_dir() {
            names.push(path);
        }
    }
    names.sort();
    Ok(names)
}

struct Unusable {
    line: u32,
    column: u32,
    why: String,
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        Self { line: 1, column: 1, why: format!("cannot be read: {error}") }
    }
}

fn text(path: &Path, max: usize) -> Result<String, Unusable> {
    // Opening a pipe would wait for a writer that may never come.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file").into());
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > max {
        let why = format!("a configuration has at most {} MiB of text", MAX_TEXT >> 20);
        return Err(Unusable { line: 1, column: 1, why });
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let valid = String::from_utf8_lossy(valid);
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let column = valid.rsplit('\n').next().map_or(0, |line| line.chars().count());
        let why = "this byte is not UTF-8".to_owned();
        Unusable { line: number(valid.matches('\n').count() + 1), column: number(column + 1), why }
    })
}
