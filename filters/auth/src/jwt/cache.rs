//! Tokens that were verified lately.

use std::cell::RefCell;
use std::collections::HashMap;
use std::mem;
use std::rc::Rc;

use super::Verified;
use super::source::{Generation, Source};

/// Tokens in each of the two generations, and bytes of one: at most about 4 MiB with the claims.
const TOKENS: usize = 256;
const TOKEN_BYTES: usize = 4 * 1024;

/// Tokens by their text, in two generations: what is found in the old one moves to the young one, and when that is full
/// it becomes the old one. So tokens in use stay, and others are gone after a while without a list to keep in order.
#[derive(Default)]
pub(crate) struct Cache(RefCell<Both>);

#[derive(Default)]
struct Both {
    young: HashMap<Box<str>, Entry>,
    old: HashMap<Box<str>, Entry>,
}

struct Entry {
    verified: Rc<Verified>,
    /// Where its key came from, and when: with other keys it has to be verified again.
    source: Rc<Generation>,
    generation: u64,
}

impl Cache {
    /// A token that was verified with keys that still are the keys.
    pub(crate) fn find(&self, token: &str) -> Option<Rc<Verified>> {
        let mut both = self.0.borrow_mut();
        if let Some(entry) = both.young.get(token) {
            return entry.current();
        }
        let (token, entry) = both.old.remove_entry(token)?;
        let verified = entry.current()?;
        both.insert(token, entry);
        Some(verified)
    }

    pub(crate) fn keep(&self, token: &str, verified: &Rc<Verified>, source: &Source) {
        if token.len() > TOKEN_BYTES {
            return;
        }
        let source = source.generation();
        let entry = Entry { verified: Rc::clone(verified), generation: source.get(), source };
        self.0.borrow_mut().insert(token.into(), entry);
    }
}

impl Both {
    fn insert(&mut self, token: Box<str>, entry: Entry) {
        if self.young.len() >= TOKENS {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(token, entry);
    }
}

impl Entry {
    fn current(&self) -> Option<Rc<Verified>> {
        (self.source.get() == self.generation).then(|| Rc::clone(&self.verified))
    }
}
