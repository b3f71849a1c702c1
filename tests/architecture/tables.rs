//! Tests that tables of the documentation name, and tests that there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::repository::{files_below, root};

/// A name in the last column of a table, where that is headed `test`.
pub(crate) struct Named {
    pub(crate) text: String,
    file: String,
    line: usize,
}

impl Named {
    pub(crate) fn at(&self) -> String {
        format!("{}:{}: {}", self.file, self.line, self.text)
    }
}

/// The names in the tables of all pages of a folder.
pub(crate) fn named_tests(folder: &str) -> Vec<Named> {
    let mut named = Vec::new();
    for page in files_below(folder) {
        let file = page.strip_prefix(root()).unwrap().display().to_string();
        let mut is_table_of_tests = false;
        for (at, line) in fs::read_to_string(&page).unwrap().lines().enumerate() {
            // A bar inside of code is written with a backslash.
            let line = line.replace("\\|", "");
            let Some(row) = line.trim().strip_prefix('|') else {
                is_table_of_tests = false;
                continue;
            };
            let last = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
            is_table_of_tests |= last.trim() == "test";
            if is_table_of_tests {
                let texts = last.split('`').skip(1).step_by(2).map(str::to_owned);
                named.extend(texts.map(|text| Named { text, file: file.clone(), line: at + 1 }));
            }
        }
    }
    named
}

/// What a table may name.
pub(crate) struct Known {
    functions: BTreeSet<String>,
    /// Files of tests, without their ending.
    files: BTreeSet<String>,
}

/// The test functions and files below these folders.
pub(crate) fn known_tests(folders: &[&str]) -> Known {
    let mut known = Known { functions: BTreeSet::new(), files: BTreeSet::new() };
    let files = folders.iter().flat_map(|folder| files_below(folder));
    for file in files.filter(|file| file.extension().is_some_and(|ending| ending == "rs")) {
        let stem = |file: &Path| file.with_extension("").display().to_string();
        if file.components().any(|part| part.as_os_str() == "tests") {
            known.files.insert(stem(file.strip_prefix(root()).unwrap()));
            known.files.insert(file.file_stem().unwrap().to_string_lossy().into_owned());
        }
        // Other attributes may stand between the mark of a test and its function.
        let mut is_marked = false;
        for line in fs::read_to_string(&file).unwrap().lines().map(str::trim) {
            is_marked |= line == "#[test]";
            if let Some(rest) = line.strip_prefix("fn ").filter(|_| is_marked) {
                is_marked = false;
                known.functions.insert(rest.split(['(', '<']).next().unwrap_or_default().to_owned());
            }
        }
    }
    known
}

impl Known {
    /// Whether a test has this name, or begins so where it ends in three dots, or a file or folder of tests is meant.
    pub(crate) fn has(&self, name: &str) -> bool {
        if let Some(begin) = name.strip_suffix("...") {
            return self.functions.iter().any(|function| function.starts_with(begin));
        }
        let path = name.trim_end_matches(".rs");
        self.functions.contains(name) || self.files.contains(path) || (name.contains('/') && root().join(name).is_dir())
    }
}
