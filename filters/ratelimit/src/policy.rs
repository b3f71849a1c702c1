//! Whether a request is within its limits, as plain Rust: which buckets it asks, in which order, and what follows.

use sidegate_sdk::matching::Matcher;

use crate::bucket::{Taken, Terms};
use crate::describe::{Description, Facts, Part, describe};
use crate::key::Key;

/// The compiled limits.
#[derive(Debug)]
pub struct Policy {
    /// One of them has to match; none: all requests.
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) default: Option<Bucket>,
    /// Those without open values first, so that a request finds the one that says most about it.
    pub(crate) descriptors: Vec<Descriptor>,
    /// Each makes one description.
    pub(crate) rate_limits: Vec<Vec<Part>>,
    pub(crate) always_consume_default: bool,
}

/// One bucket, or one for each value.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) key: Key,
    pub(crate) terms: Terms,
}

/// A bucket of requests that are described so.
#[derive(Debug)]
pub(crate) struct Descriptor {
    /// Keys, and values where they are not open.
    pub(crate) entries: Vec<(String, Option<String>)>,
    pub(crate) bucket: Bucket,
}

/// The answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether all buckets had a token.
    pub allowed: bool,
    /// The bucket that decided, to be told to the client: what it holds, and what it answered.
    pub told: Option<(u64, Taken)>,
}

impl Policy {
    /// Whether the request is one of those that are limited.
    pub fn is_meant(&self, request: &impl Facts) -> bool {
        self.matchers.is_empty() || self.matchers.iter().any(|matcher| matcher.matches(request))
    }

    /// Asks the buckets of a request, the slowest first. A bucket that does not answer lets the request pass; tokens
    /// that were taken before another bucket refused are spent.
    pub fn judge(&self, request: &impl Facts, mut take: impl FnMut(&Key, &Terms) -> Option<Taken>) -> Verdict {
        let mut told = None;
        let described = self.described(request);
        for (key, terms) in &described {
            if let Some(taken) = take(key, terms) {
                if !taken.allowed {
                    return Verdict { allowed: false, told: Some((terms.max_tokens, taken)) };
                }
                told.get_or_insert((terms.max_tokens, taken));
            }
        }
        if let Some(Bucket { key, terms }) =
            self.default.as_ref().filter(|_| self.always_consume_default || described.is_empty())
            && let Some(taken) = take(key, terms)
        {
            if !taken.allowed {
                return Verdict { allowed: false, told: Some((terms.max_tokens, taken)) };
            }
            told.get_or_insert((terms.max_tokens, taken));
        }
        Verdict { allowed: true, told }
    }

    /// How the request is described.
    pub fn descriptions<'r>(&'r self, request: &'r impl Facts) -> impl Iterator<Item = Description<'r>> {
        self.rate_limits.iter().filter_map(|parts| describe(parts, request))
    }

    /// The buckets of the request's descriptions.
    fn described(&self, request: &impl Facts) -> Vec<(Key, Terms)> {
        if self.descriptors.is_empty() {
            return Vec::new();
        }
        let bucket = |description: Description<'_>| {
            self.descriptors.iter().find_map(|descriptor| descriptor.bucket_of(&description))
        };
        let mut buckets: Vec<(Key, Terms)> = self.descriptions(request).filter_map(bucket).collect();
        buckets.sort_by(|(_, one), (_, other)| one.rate().total_cmp(&other.rate()));
        buckets
    }
}

impl Descriptor {
    fn bucket_of(&self, description: &Description<'_>) -> Option<(Key, Terms)> {
        let fits = |((key, value), (known, found)): (&(String, Option<String>), &(&str, _))| {
            key == known && value.as_ref().is_none_or(|value| value == found)
        };
        if self.entries.len() != description.len() || !self.entries.iter().zip(description).all(fits) {
            return None;
        }
        let open = self.entries.iter().zip(description).filter(|((_, value), _)| value.is_none());
        let mut open = open.map(|(_, (_, found))| &**found).peekable();
        let key = if open.peek().is_some() { self.bucket.key.with_values(open) } else { self.bucket.key.clone() };
        Some((key, self.bucket.terms))
    }
}
