//! What plugins asked for when they were configured, for every exchange they take part in. Written where VMs are
//! prepared, read when a VM takes its place on a worker.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::exchange::span::Rules;

/// Plugin uses that are remembered: all that can live at a time, and those whose update was refused.
const MAX_PLUGINS: usize = 1024;

/// What one plugin use asked for.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// Proxies tell each other of their workloads.
    pub introductions: bool,
    /// Exchanges have a span.
    pub spans: Option<Arc<Rules>>,
}

/// The wishes of all plugin uses by their tag.
#[derive(Default)]
pub struct WishList(Mutex<BTreeMap<u64, Wishes>>);

impl WishList {
    /// Adds to what a plugin use wants.
    pub fn add(&self, tag: u64, wish: impl FnOnce(&mut Wishes)) {
        let mut all = self.lock();
        wish(all.entry(tag).or_default());
        while all.len() > MAX_PLUGINS {
            all.pop_first();
        }
    }

    pub fn of(&self, tag: u64) -> Option<Arc<Wishes>> {
        self.lock().get(&tag).cloned().map(Arc::new)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Wishes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
