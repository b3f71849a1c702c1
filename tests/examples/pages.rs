//! The blocks of YAML in the pages, and what they need around them to be a configuration.

use std::fs;
use std::path::{Path, PathBuf};

use super::{read, root};

/// A block between ```` ```yaml ```` and ```` ``` ````.
pub(crate) struct Block {
    /// Page and line.
    pub(crate) at: String,
    /// What stands behind `yaml`: nothing, or `fragment`.
    mark: String,
    text: String,
}

/// Clusters that blocks speak of. A block that defines one of them does not get it a second time.
const CLUSTERS: [(&str, &str); 7] = [
    ("app", ""),
    ("audit", ""),
    ("collector", ""),
    ("issuer", ", hosts: [issuer.example.com]"),
    ("limits", ""),
    ("reviews", ", subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]"),
    ("shop", ""),
];

const ENDPOINTS: &str =
    "{address: '127.0.0.1:9001', labels: {version: v1}}, {address: '127.0.0.1:9002', labels: {version: v2}}";

/// A listener that waits for its filters.
const LISTENER: &str = "listeners:\n- name: inbound\n  address: 127.0.0.1:8080\n  cluster: app\n";

/// Every page that people read.
pub(crate) fn all() -> Vec<PathBuf> {
    let mut found = vec![];
    for folder in ["", "docs", "docs/filters", "deploy", "sdk"] {
        pages_in(&root().join(folder), &mut found);
    }
    for example in fs::read_dir(root().join("examples")).unwrap() {
        pages_in(&example.unwrap().path(), &mut found);
    }
    found
}

fn pages_in(folder: &Path, found: &mut Vec<PathBuf>) {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    found.extend(files.filter(|file| file.extension().is_some_and(|ending| ending == "md")));
}

pub(crate) fn blocks(page: &Path) -> Vec<Block> {
    let mut found = vec![];
    let mut open: Option<Block> = None;
    for (number, line) in (1..).zip(read(page).lines()) {
        let fence = line.trim_start().strip_prefix("```");
        match (&mut open, fence) {
            (Some(block), None) => block.text += &format!("{line}\n"),
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some(language)) => {
                let (language, mark) = language.trim().split_once(' ').unwrap_or((language.trim(), ""));
                let at = format!("{}:{number}", page.display());
                open = Some(Block { at, mark: format!("{language} {mark}"), text: String::new() });
            }
            (None, None) => {}
        }
    }
    found.retain(|block| block.mark.starts_with("yaml") || block.mark.starts_with("yml"));
    found
}

impl Block {
    /// The block as a file of a configuration, and the file beside it with what it leaves out; nothing for one that is
    /// marked as a part of something.
    pub(crate) fn framed(&self) -> Result<Option<(String, String)>, String> {
        if self.mark == "yaml fragment" {
            return Ok(None);
        }
        let first = self.text.lines().find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or_default();
        let key = first.split_once(':').map_or(first, |(key, _)| key);
        let indented = || self.text.lines().map(|line| format!("  {line}\n")).collect::<String>();
        let text = match key {
            "filters" => format!("{LISTENER}{}", indented()),
            "- plugin" | "- name" => format!("{LISTENER}  filters:\n{}", indented()),
            key if is_of_the_configuration(key) => self.text.clone(),
            key => return Err(format!("begins with `{key}`: a part of something is marked ```yaml fragment")),
        };
        let clusters = CLUSTERS.iter().filter(|(name, _)| !text.contains(&format!("- name: {name}\n")));
        let clusters = clusters.map(|(name, keys)| format!("- {{name: {name}, endpoints: [{ENDPOINTS}]{keys}}}\n"));
        let mut frame = format!("clusters:\n{}", clusters.collect::<String>());
        if !text.contains("listeners:\n") {
            frame += LISTENER;
            if text.contains("name: hello") {
                frame += "  filters: [{plugin: hello, config: {greeting: hello}}]\n";
            }
        }
        Ok(Some((text, frame)))
    }
}

fn is_of_the_configuration(key: &str) -> bool {
    sidegate_config::schema().get("properties").and_then(|keys| keys.get(key)).is_some()
}
