//! Which version of a filter may have served a request: the versions in the order of their swaps.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Versions that take turns. Each has a name, which the filter writes as `x-gen` on requests and responses.
pub struct Generations {
    names: Vec<String>,
    begun: AtomicUsize,
    committed: AtomicUsize,
}

/// Where one connection stands: its requests may stay there or go on, never back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place(usize);

impl Generations {
    /// The first of these names serves already.
    pub fn new(names: &[&str]) -> Self {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Self { names, begun: AtomicUsize::new(0), committed: AtomicUsize::new(0) }
    }

    /// A swap begins: the name of its version, which may be seen from now on.
    pub fn begin(&self) -> &str {
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        self.name(number)
    }

    /// The swap that began last has taken effect on all workers: nothing older may be seen from now on.
    pub fn commit(&self) {
        self.committed.store(self.begun.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// A request is about to leave on a connection; what is behind now must not answer it.
    pub fn at_least(&self, place: &mut Place) {
        place.0 = place.0.max(self.committed.load(Ordering::SeqCst));
    }

    /// Whether this name may be on an answer that has just come; the connection has got so far then.
    pub fn admits(&self, place: &mut Place, name: &str) -> bool {
        let last = self.begun.load(Ordering::SeqCst);
        let seen = (place.0..=last).find(|number| self.name(*number) == name);
        place.0 = seen.unwrap_or(place.0);
        seen.is_some()
    }

    fn name(&self, number: usize) -> &str {
        self.names.get(number % self.names.len().max(1)).map(String::as_str).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_goes_from_what_was_committed_to_what_has_begun() {
        let generations = Generations::new(&["a", "b", "c"]);
        let mut place = Place::default();
        assert!(generations.admits(&mut place, "a") && !generations.admits(&mut place, "b"), "b has not begun");
        assert_eq!(generations.begin(), "b");
        assert!(generations.admits(&mut place, "a") && generations.admits(&mut place, "b"));
        assert!(!generations.admits(&mut place, "a"), "back");
        let mut other = Place::default();
        generations.commit();
        assert!(generations.admits(&mut other, "a"), "sent before the commit");
        generations.at_least(&mut other);
        assert!(!generations.admits(&mut other, "a"), "sent after it");
    }
}
