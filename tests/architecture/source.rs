//! A file as the rules see it: its code without comments and strings, and every path that the code names.

#[path = "mask.rs"]
mod mask;

use std::fmt;
use std::fs;
use std::path::Path as FilePath;

/// A file of the repository.
pub(crate) struct Source {
    /// Relative to the repository.
    path: String,
    raw: String,
    /// The same text with comments and literals blanked out, line by line as long as the raw text.
    code: String,
}

/// A path that the code names, with `use` groups spread out and `super` resolved: `crate::worker::env::Env`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) line: usize,
    segments: Vec<String>,
}

// === impl Source ===

impl Source {
    pub(crate) fn read(root: &FilePath, file: &FilePath) -> Self {
        let bytes = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let path = file.strip_prefix(root).unwrap().display().to_string();
        Self::new(path, String::from_utf8_lossy(&bytes).into_owned())
    }

    fn new(path: String, raw: String) -> Self {
        let code = if path.ends_with(".rs") { mask::without_comments_and_literals(&raw) } else { raw.clone() };
        Self { path, raw, code }
    }

    /// Relative to the repository.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn is_page(&self) -> bool {
        self.path.ends_with(".md")
    }

    /// `file:line`.
    pub(crate) fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path)
    }

    /// Whether this is the file at the end of this path.
    pub(crate) fn is(&self, path: &str) -> bool {
        self.path == path || self.path.ends_with(&format!("/{path}"))
    }

    pub(crate) fn line_count(&self) -> usize {
        self.raw.lines().count()
    }

    /// The raw text of a line that `at` named.
    pub(crate) fn line_at(&self, at: &str) -> &str {
        let line: usize = at.rsplit(':').next().unwrap().parse().unwrap();
        self.raw.lines().nth(line - 1).unwrap()
    }

    pub(crate) fn raw_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.raw.lines())
    }

    /// Where the code has this text.
    pub(crate) fn lines_with(&self, text: &str) -> Vec<String> {
        self.find(&self.code, |line| line.contains(text))
    }

    /// Where the code has this identifier.
    pub(crate) fn lines_with_word(&self, word: &str) -> Vec<String> {
        self.find(&self.code, |line| has_word(line, word))
    }

    /// Where the file has this text, comments included.
    pub(crate) fn raw_lines_with(&self, text: &str) -> Vec<String> {
        self.find(&self.raw, |line| line.contains(text))
    }

    /// Where the file has this word, comments included.
    pub(crate) fn raw_lines_with_word(&self, word: &str) -> Vec<String> {
        self.find(&self.raw, |line| has_word(line, word))
    }

    fn find(&self, text: &str, is_hit: impl Fn(&str) -> bool) -> Vec<String> {
        (1..).zip(text.lines()).filter(|(_, line)| is_hit(line)).map(|(number, _)| self.at(number)).collect()
    }

    /// Every path of two or more segments, and every `use` of one.
    pub(crate) fn paths(&self) -> Vec<Path> {
        let tokens = tokens(&self.code);
        let mut found = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            let starts = is_name(tokens[at].1) && (at == 0 || tokens[at - 1].1 != "::");
            let is_path = starts && tokens.get(at + 1).is_some_and(|(_, next)| *next == "::");
            at = if is_path { spread(&tokens, at, &[], &mut found) } else { at + 1 };
        }
        for path in &mut found {
            path.segments = self.resolve(&path.segments);
        }
        found
    }

    /// Replaces `self` and `super` by the modules of this file. Modules inside the file are taken for the file.
    fn resolve(&self, segments: &[String]) -> Vec<String> {
        let climbs = segments.iter().take_while(|segment| *segment == "super").count();
        if climbs == 0 && segments[0] != "self" {
            return segments.to_vec();
        }
        let inside = self.path.split_once("src/").map_or("", |(_, inside)| inside).trim_end_matches(".rs");
        let mut modules: Vec<String> = inside.split('/').map(str::to_owned).collect();
        modules.truncate(modules.len().saturating_sub(climbs));
        let rest = segments.iter().skip(climbs.max(1)).cloned();
        [vec!["crate".to_owned()], modules].concat().into_iter().chain(rest).collect()
    }
}

// === impl Path ===

impl Path {
    pub(crate) fn first(&self) -> &str {
        &self.segments[0]
    }

    pub(crate) fn starts_with(&self, prefix: &[&str]) -> bool {
        self.segments.len() >= prefix.len()
            && self.segments.iter().zip(prefix).all(|(segment, wanted)| segment == wanted)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.segments.join("::"))
    }
}

/// Reads the path that starts at a token, with the groups in it; returns the token behind it.
fn spread(tokens: &[(usize, &str)], mut at: usize, before: &[String], found: &mut Vec<Path>) -> usize {
    let line = tokens[at].0;
    let mut segments = before.to_vec();
    loop {
        match tokens.get(at).map(|(_, token)| *token) {
            Some("{") => {
                at += 1;
                while let Some((_, token)) = tokens.get(at) {
                    at = match *token {
                        "}" => return at + 1,
                        name if is_name(name) || name == "*" => spread(tokens, at, &segments, found),
                        _ => at + 1,
                    };
                }
                return at;
            }
            Some(name) if is_name(name) || name == "*" => segments.push(name.to_owned()),
            _ => break,
        }
        at += 1;
        if tokens.get(at).is_none_or(|(_, token)| *token != "::") {
            break;
        }
        at += 1;
    }
    found.push(Path { line, segments });
    at
}

/// Names, `::`, and single characters, each with its line.
fn tokens(code: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(code.lines()) {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = match first {
                c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
                ':' if rest.starts_with("::") => 2,
                c => c.len_utf8(),
            };
            found.push((number, &rest[..length]));
            rest = rest[length..].trim_start();
        }
    }
    found
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

fn is_name(token: &str) -> bool {
    token.chars().next().is_some_and(|c| is_word(c) && !c.is_ascii_digit())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(path: &str, code: &str) -> Vec<String> {
        Source::new(path.to_owned(), code.to_owned()).paths().iter().map(Path::to_string).collect()
    }

    #[test]
    fn groups_are_spread_out_and_comments_name_nothing() {
        let code = "use crate::{worker::env::{self, Env}, snapshot};\n// crate::control\nfn f() { crate::app::run(\"x::y\"); }";
        let expected = ["crate::worker::env::self", "crate::worker::env::Env", "crate::snapshot", "crate::app::run"];
        assert_eq!(paths("a/src/b.rs", code), expected);
    }

    #[test]
    fn super_leads_out_of_the_file() {
        assert_eq!(paths("a/src/worker/env.rs", "use super::super::control::X;"), ["crate::control::X"]);
        assert_eq!(
            paths("a/src/worker/env.rs", "use super::{thread, env::*};"),
            ["crate::worker::thread", "crate::worker::env::*"]
        );
        assert_eq!(paths("a/src/worker.rs", "use self::env::Env;"), ["crate::worker::env::Env"]);
    }
}
