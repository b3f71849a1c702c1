//! What a request is changed into before it is sent.

use sidegate_sdk::Setup;
use sidegate_sdk::matching::{Pattern, RequestView, UriMatch, path_only};

use crate::config::HttpRewrite;
use crate::policy::Chosen;
use crate::template::Template;

#[derive(Debug)]
pub(crate) struct Rewrite {
    path: Option<PathRewrite>,
    pub(crate) authority: Option<Template>,
}

#[derive(Debug)]
enum PathRewrite {
    /// In place of the matched prefix, or of everything.
    Matched(Box<str>),
    Found(Pattern, Box<str>),
}

/// A path before and after.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rewritten {
    pub(crate) original: String,
    pub(crate) path: String,
}

impl Rewrite {
    /// Checks and compiles; problems are told to `setup` below `pointer`.
    pub(crate) fn compile(written: &HttpRewrite, pointer: &str, setup: &mut Setup) -> Self {
        let path = match (&written.uri, &written.uri_regex_rewrite) {
            (Some(_), Some(_)) => {
                setup.error(format!("{pointer}/uriRegexRewrite"), "uri and uriRegexRewrite exclude each other");
                None
            }
            (Some(uri), None) => Some(PathRewrite::Matched(uri.as_str().into())),
            (None, Some(regex)) => match Pattern::searching(&regex.pattern) {
                Ok(pattern) => {
                    if let Some(group) = highest_group(&regex.rewrite).filter(|group| *group > pattern.groups()) {
                        let text = format!("there is no group {group}; the expression has {}", pattern.groups());
                        setup.error(format!("{pointer}/uriRegexRewrite/rewrite"), text);
                    }
                    Some(PathRewrite::Found(pattern, regex.rewrite.as_str().into()))
                }
                Err(problem) => {
                    setup.error(format!("{pointer}/uriRegexRewrite/match"), problem);
                    None
                }
            },
            (None, None) => {
                if written.authority.is_none() {
                    setup.error(pointer, "one of uri, uriRegexRewrite and authority is needed");
                }
                None
            }
        };
        Self { path, authority: written.authority.as_deref().map(|host| Template::Fixed(host.into())) }
    }

    /// The path, if it changes.
    pub(crate) fn path(&self, chosen: &Chosen<'_>, head: &impl RequestView) -> Option<Rewritten> {
        self.path
            .as_ref()
            .map(|rewrite| {
                let original = head.path();
                let path = match rewrite {
                    PathRewrite::Matched(uri) => replace_matched(original, uri, chosen.matched.matcher.uri()),
                    PathRewrite::Found(pattern, replacement) => {
                        let bare = path_only(original);
                        let behind = original.get(bare.len()..).unwrap_or_default();
                        pattern.replace_all(bare, replacement) + behind
                    }
                };
                Rewritten { original: original.to_owned(), path: if path.is_empty() { "/".to_owned() } else { path } }
            })
            .filter(|path| path.original != path.path)
    }
}

/// Puts `uri` in place of the matched prefix; of the whole path where an exact path or an expression matched.
pub(crate) fn replace_matched(original: &str, uri: &str, matched: UriMatch<'_>) -> String {
    let replaced = match matched {
        // Without a condition on the path, Istio takes the prefix `/` as matched.
        UriMatch::Any => 1,
        UriMatch::Prefix(prefix) => prefix.len(),
        UriMatch::Exact(_) | UriMatch::Regex => path_only(original).len(),
    };
    format!("{uri}{}", original.get(replaced..).unwrap_or_default())
}

fn highest_group(replacement: &str) -> Option<usize> {
    let mut bytes = replacement.bytes();
    let mut highest = None;
    while let Some(byte) = bytes.next() {
        if byte == b'\\'
            && let Some(digit @ b'0'..=b'9') = bytes.next()
        {
            highest = highest.max(Some(usize::from(digit - b'0')));
        }
    }
    highest
}
