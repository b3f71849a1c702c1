//! What pages of Markdown say of other files: links, names.

use std::collections::BTreeSet;
use std::path::Path;

use super::repository::{root, rust_files, text_files};
use super::source::Source;

/// Where a relative link of a page leads to nothing: no file, no heading.
pub(crate) fn broken_links() -> Vec<String> {
    let mut broken = Vec::new();
    for page in text_files().iter().filter(|file| file.is_page()) {
        for (line, link) in links(page) {
            let (path, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { page.path().to_owned() } else { beside(page.path(), path) };
            let exists = root().join(&target).exists();
            if !exists || !(heading.is_empty() || has_heading(&target, heading)) {
                broken.push(format!("{} ({link})", page.at(line)));
            }
        }
    }
    broken
}

/// Literals of these rooms that look like names of ours, as `sidegate_plugin_vms`, each once with its place.
pub(crate) fn names_in_code(rooms: &[&str]) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for file in rooms.iter().flat_map(|room| rust_files(room)) {
        for (line, text) in file.raw_lines() {
            let literals = text.split('"').skip(1).step_by(2);
            let names = literals.filter(|literal| literal.starts_with("sidegate_") && is_name(literal));
            found.extend(names.map(|name| (name.to_owned(), file.at(line))));
        }
    }
    found.sort();
    found.dedup_by(|one, other| one.0 == other.0);
    found
}

/// Names of ours that a page defines: in the first cell of a row, or as a heading.
pub(crate) fn names_on(page: &str) -> BTreeSet<String> {
    let page = Source::read(root(), &root().join(page));
    let heads = page.raw_lines().filter_map(|(_, line)| line.strip_prefix("| `").or(line.strip_prefix("### `")));
    let names = heads.filter_map(|head| head.split_once('`')).map(|(name, _)| name.to_owned());
    names.filter(|name| name.starts_with("sidegate_")).collect()
}

/// Relative links outside of blocks and code, with their line.
fn links(page: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut is_block = false;
    for (number, line) in page.raw_lines() {
        is_block ^= line.trim_start().starts_with("```");
        if is_block {
            continue;
        }
        let prose: Vec<&str> = line.split('`').step_by(2).collect();
        let targets = prose.join("``");
        let targets = targets.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
        let relative = targets.filter(|target| !target.contains("://"));
        found.extend(relative.map(|target| (number, target.to_owned())));
    }
    found
}

/// A path seen from the folder of a page, without `..`.
fn beside(page: &str, path: &str) -> String {
    let folder = Path::new(page).parent().unwrap_or(Path::new("")).to_string_lossy().into_owned();
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Whether a page has a heading with this anchor, formed as GitHub does.
fn has_heading(page: &str, anchor: &str) -> bool {
    let page = Source::read(root(), &root().join(page));
    let headings = page.raw_lines().filter(|(_, line)| line.starts_with('#'));
    let slug = |heading: &str| -> String {
        let kept = heading.trim_start_matches('#').trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
    };
    headings.into_iter().any(|(_, heading)| slug(heading) == anchor)
}

fn is_name(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}
