//! How often a plugin version may fault before it gets no VM for a while, and how fast VMs are made again. One state
//! for all workers.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Faults within `WINDOW` that open the breaker.
const FAULTS: usize = 5;
const WINDOW: Duration = Duration::from_secs(10);
/// The first opening; doubled at each further one.
const OPEN_FIRST: Duration = Duration::from_secs(10);
const OPEN_MAX: Duration = Duration::from_secs(300);
/// The pause before a VM is made after the second fault in a row; doubled at each further one.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// The faults of all plugin versions.
#[derive(Default)]
pub struct Health {
    versions: Mutex<HashMap<(String, String), Version>>,
    last: Mutex<HashMap<String, String>>,
}

#[derive(Default)]
struct Version {
    faults: VecDeque<Instant>,
    in_a_row: u32,
    opened: u32,
    open_until: Option<Instant>,
}

/// What follows from a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Make a VM after this pause.
    Restart(Duration),
    /// No VM before this time has passed.
    Open(Duration),
}

impl Verdict {
    pub fn delay(self) -> Duration {
        match self {
            Self::Restart(delay) | Self::Open(delay) => delay,
        }
    }
}

impl Health {
    /// Counts a fault of a version (plugin and digest).
    pub fn fault(&self, plugin: &str, digest: &str, now: Instant) -> Verdict {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let version = versions.entry((plugin.to_owned(), digest.to_owned())).or_default();
        if let Some(left) = version.open_until.and_then(|until| until.checked_duration_since(now)) {
            // A VM of another worker that was still there: one more fault of what is known to be bad.
            return Verdict::Open(left);
        }
        if version.faults.back().is_none_or(|last| now.duration_since(*last) > WINDOW) {
            version.in_a_row = 0;
        }
        version.in_a_row += 1;
        version.faults.push_back(now);
        while version.faults.front().is_some_and(|first| now.duration_since(*first) > WINDOW) {
            version.faults.pop_front();
        }
        if version.faults.len() >= FAULTS {
            version.faults.clear();
            let open = OPEN_FIRST.saturating_mul(1 << version.opened.min(16)).min(OPEN_MAX);
            version.opened += 1;
            version.open_until = Some(now + open);
            tracing::error!(plugin, digest, "{FAULTS} faults within {WINDOW:?}: no VM for {open:?}");
            return Verdict::Open(open);
        }
        // The first fault costs nothing; a plugin that keeps faulting is made again ever later.
        let doublings = version.in_a_row.checked_sub(2);
        let delay = doublings.map_or(Duration::ZERO, |n| BACKOFF_FIRST.saturating_mul(1 << n.min(16)).min(BACKOFF_MAX));
        Verdict::Restart(delay)
    }

    /// How long to wait before a VM of this version may be made.
    pub fn delay(&self, plugin: &str, digest: &str, now: Instant) -> Duration {
        let versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let until = versions.get(&(plugin.to_owned(), digest.to_owned())).and_then(|version| version.open_until);
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// Keeps the text of a plugin's last fault for `/plugins`.
    pub fn note(&self, plugin: &str, text: &str) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).insert(plugin.to_owned(), text.to_owned());
    }

    pub fn last(&self, plugin: &str) -> Option<String> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).get(plugin).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_then_breaker() {
        let health = Health::default();
        let start = Instant::now();
        let at = |seconds| health.fault("p", "d", start + Duration::from_secs(seconds));
        assert_eq!(at(0), Verdict::Restart(Duration::ZERO));
        assert_eq!(at(1), Verdict::Restart(Duration::from_secs(1)));
        assert_eq!(at(2), Verdict::Restart(Duration::from_secs(2)));
        assert_eq!(at(3), Verdict::Restart(Duration::from_secs(4)));
        assert_eq!(at(4), Verdict::Open(Duration::from_secs(10)));
        assert_eq!(health.delay("p", "d", start + Duration::from_secs(5)), Duration::from_secs(9));
        assert_eq!(at(5), Verdict::Open(Duration::from_secs(9)), "open once, not twice");
        assert_eq!(at(60), Verdict::Restart(Duration::ZERO), "calm again");
        for second in 61..64 {
            at(second);
        }
        assert_eq!(at(64), Verdict::Open(Duration::from_secs(20)));
        assert_eq!(health.fault("p", "other", start), Verdict::Restart(Duration::ZERO), "each version has its own");
    }
}
