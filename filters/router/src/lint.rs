//! Warnings for routes that no request can reach.

use std::collections::HashMap;

use sidegate_sdk::Setup;
use sidegate_sdk::matching::UriMatch;

use crate::route::Match;

/// What earlier routes of a virtual service take for themselves.
#[derive(Default)]
pub(crate) struct Shadow {
    /// The first route that matches everything.
    catch_all: Option<usize>,
    /// Prefixes on which nothing else depends, with the route that has them.
    prefixes: HashMap<String, usize>,
    /// The same for whole paths.
    exacts: HashMap<String, usize>,
}

impl Shadow {
    /// Warns if all matches of a route are taken.
    pub(crate) fn check(&self, matches: &[Match], pointer: &str, setup: &mut Setup) {
        if let Some(earlier) = self.catch_all {
            setup.warning(pointer, format!("never used: http[{earlier}] before it matches every request"));
        } else if let Some(Some(earlier)) =
            matches.iter().map(|one| self.taken_by(one)).min_by_key(Option::is_some).filter(|_| !matches.is_empty())
        {
            setup.warning(pointer, format!("never used: http[{earlier}] before it matches the same requests"));
        }
    }

    /// Adds what route `number` takes.
    pub(crate) fn add(&mut self, matches: &[Match], number: usize) {
        for one in matches {
            if one.matcher.is_catch_all() {
                self.catch_all.get_or_insert(number);
            }
            if !one.matcher.is_path_only() || one.matcher.ignores_uri_case() {
                continue;
            }
            let (taken, path) = match one.matcher.uri() {
                UriMatch::Prefix(path) => (&mut self.prefixes, path),
                UriMatch::Exact(path) => (&mut self.exacts, path),
                UriMatch::Any | UriMatch::Regex => continue,
            };
            taken.entry(path.to_owned()).or_insert(number);
        }
    }

    fn taken_by(&self, one: &Match) -> Option<usize> {
        if one.matcher.ignores_uri_case() {
            return None;
        }
        let (path, same) = match one.matcher.uri() {
            UriMatch::Exact(path) => (path, self.exacts.get(path).copied()),
            UriMatch::Prefix(path) => (path, None),
            UriMatch::Any | UriMatch::Regex => return None,
        };
        if self.prefixes.is_empty() {
            return same;
        }
        let ends = path.char_indices().map(|(at, _)| at).chain([path.len()]);
        let prefix = ends.filter_map(|end| self.prefixes.get(path.get(..end)?)).min().copied();
        prefix.into_iter().chain(same).min()
    }
}
