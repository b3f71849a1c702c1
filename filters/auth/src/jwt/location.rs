//! Places of a request where tokens stand.

use sidegate_sdk::matching::RequestView;
use sidegate_sdk::{Request, RequestHead, Result, Setup};

use crate::config::{JwtHeader, JwtRule};
use crate::names;

const BEARER: &str = "Bearer ";

/// All places, each with the rules that look there.
#[derive(Default)]
pub(crate) struct Locations(Vec<Location>);

struct Location {
    place: Place,
    rules: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// Name, and what stands before the token.
    Header(String, String),
    Param(String),
    Cookie(String),
}

/// A token in its place.
pub(crate) struct Found {
    pub(crate) token: String,
    /// The rules that may judge it.
    pub(crate) rules: Vec<usize>,
    place: Place,
}

impl Locations {
    /// Adds the places of a rule.
    pub(crate) fn add(&mut self, rule: &JwtRule, number: usize, pointer: &str, setup: &mut Setup) {
        let is_written = !(rule.from_headers.is_empty() && rule.from_params.is_empty() && rule.from_cookies.is_empty());
        if !is_written {
            self.put(Place::Header("authorization".to_owned(), BEARER.to_owned()), number);
            self.put(Place::Param("access_token".to_owned()), number);
        }
        for (at, JwtHeader { name, prefix }) in rule.from_headers.iter().enumerate() {
            if !names::is_header(name) {
                setup.error(format!("{pointer}/fromHeaders/{at}/name"), format!("`{name}` is no header name"));
            }
            self.put(Place::Header(name.to_ascii_lowercase(), prefix.clone()), number);
        }
        for (at, name) in rule.from_params.iter().enumerate() {
            if name.is_empty() {
                setup.error(format!("{pointer}/fromParams/{at}"), "a parameter needs a name");
            }
            self.put(Place::Param(name.clone()), number);
        }
        for (at, name) in rule.from_cookies.iter().enumerate() {
            if name.is_empty() {
                setup.error(format!("{pointer}/fromCookies/{at}"), "a cookie needs a name");
            }
            self.put(Place::Cookie(name.clone()), number);
        }
    }

    fn put(&mut self, place: Place, rule: usize) {
        match self.0.iter_mut().find(|known| known.place == place) {
            Some(known) => known.rules.push(rule),
            None => self.0.push(Location { place, rules: vec![rule] }),
        }
    }

    /// All tokens of a request.
    pub(crate) fn find(&self, head: &RequestHead<'_>) -> Vec<Found> {
        let mut all = Vec::new();
        for Location { place, rules } in &self.0 {
            let mut found = |token: &str| {
                all.push(Found { token: token.to_owned(), rules: rules.clone(), place: place.clone() });
            };
            match place {
                Place::Header(name, prefix) => {
                    for value in head.all(name) {
                        after_prefix(&value, prefix).into_iter().for_each(&mut found);
                    }
                }
                Place::Param(name) => {
                    let (_, query) = split_query(RequestView::path(head));
                    pairs(query).filter(|(key, _)| key == name).for_each(|(_, token)| found(token));
                }
                Place::Cookie(name) => {
                    for value in head.all("cookie") {
                        cookies(&value).filter(|(key, _)| key == name).for_each(|(_, token)| found(token));
                    }
                }
            }
        }
        all
    }
}

impl Found {
    /// Takes the token out of the request.
    pub(crate) fn remove(&self, req: &mut Request) -> Result<()> {
        match &self.place {
            Place::Header(name, _) => req.headers_mut().remove(name),
            Place::Param(name) => {
                let path = req.path();
                let (before, query) = split_query(&path);
                let left: Vec<&str> = query.split('&').filter(|pair| split_pair(pair).0 != name).collect();
                let mark = if left.is_empty() { "" } else { "?" };
                req.headers_mut().set(":path", format!("{before}{mark}{}", left.join("&")))
            }
            Place::Cookie(name) => {
                let values = req.headers().get_all("cookie");
                let all = values.iter().flat_map(|value| value.split(';')).map(str::trim);
                let left: Vec<&str> =
                    all.filter(|cookie| !cookie.is_empty() && split_pair(cookie).0.trim() != name).collect();
                if left.is_empty() {
                    return req.headers_mut().remove("cookie");
                }
                req.headers_mut().set("cookie", left.join("; "))
            }
        }
    }
}

/// The token behind its prefix. `Bearer` is a scheme: its case does not count, and more spaces may follow.
fn after_prefix<'v>(value: &'v str, prefix: &str) -> Option<&'v str> {
    let (begin, rest) = value.split_at_checked(prefix.len())?;
    let is_prefix = begin == prefix || (prefix == BEARER && begin.eq_ignore_ascii_case(prefix));
    Some(rest.trim()).filter(|token| is_prefix && !token.is_empty())
}

fn split_query(path: &str) -> (&str, &str) {
    path.split_once('?').unwrap_or((path, ""))
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(split_pair)
}

fn cookies(header: &str) -> impl Iterator<Item = (&str, &str)> {
    header.split(';').map(|cookie| {
        let (name, value) = split_pair(cookie.trim());
        (name.trim(), value.trim().trim_matches('"'))
    })
}

fn split_pair(pair: &str) -> (&str, &str) {
    pair.split_once('=').unwrap_or((pair, ""))
}
