//! By what a bucket is known to all workers.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

/// Bytes of values that a key carries as they are. Longer ones are hashed: clients choose them.
const PLAIN: usize = 256;

/// A bucket's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    text: String,
    of_a_value: bool,
}

impl Key {
    /// Of a bucket that is there once. `what` is everything that makes it another bucket when it is changed.
    pub(crate) fn new(prefix: &str, what: &impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        Self { text: format!("{prefix}/{:016x}", hasher.finish()), of_a_value: false }
    }

    /// Of the bucket for these values among those of `self`.
    pub(crate) fn with_values<'v>(&self, values: impl Iterator<Item = &'v str>) -> Self {
        let mut told = String::new();
        for value in values {
            // Lengths keep `a` and `bc` apart from `ab` and `c`.
            told.push_str(&format!("/{}:{value}", value.len()));
        }
        if told.len() > PLAIN {
            told = format!("/{:032x}", fingerprint(&told));
        }
        Self { text: format!("{}{told}", self.text), of_a_value: true }
    }

    /// The key as hosts take it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a client's value is part of it, so that there may be any number of such buckets.
    pub(crate) fn is_of_a_value(&self) -> bool {
        self.of_a_value
    }

    /// The key in 128 bits.
    pub(crate) fn fingerprint(&self) -> u128 {
        fingerprint(&self.text)
    }
}

/// So many bits that no client finds another one's bucket by trying.
fn fingerprint(text: &str) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, text).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(1) << 64 | half(2)
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn other_values_are_other_buckets() {
        let base = Key::new("p", &"x");
        let of = |values: &[&str]| base.with_values(values.iter().copied());
        assert_ne!(of(&["a", "bc"]), of(&["ab", "c"]));
        assert_ne!(of(&["a"]), base);
        let (long, longer) = ("x".repeat(10_000), "x".repeat(10_001));
        assert_ne!(of(&[&long]), of(&[&longer]));
        assert!(of(&[&long]).as_str().len() < 1024);
        assert_ne!(Key::new("p", &"y"), base);
    }
}
