//! Where the keys of a rule come from: the configuration, or an URI that is asked again and again.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use sidegate_sdk::{Callout, debug, sleep, warn};

use super::keys::{self, Key};

/// How often keys are fetched when all is well; issuers keep an old key valid for hours.
const REFRESH: Duration = Duration::from_secs(300);
/// First and longest pause after a fetch that failed.
const RETRY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];
/// How long a fetch counts as fresh when a token names an unknown key.
const FRESH: Duration = Duration::from_secs(30);
/// How often a request looks whether the fetch of another one has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Counts the key sets of a source.
pub(crate) type Generation = Cell<u64>;

/// The keys of a rule.
#[derive(Default)]
pub(crate) struct Source {
    keys: RefCell<Vec<Key>>,
    generation: Rc<Generation>,
    remote: Option<Remote>,
}

/// Whether there are keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceState {
    /// None yet.
    Empty,
    Filled,
}

/// A set that is fetched.
struct Remote {
    target: Target,
    timeout: Duration,
    /// When it is to be fetched next, and when it was last.
    next: Cell<SystemTime>,
    asked: Cell<SystemTime>,
    failures: Cell<u32>,
    is_fetching: Cell<bool>,
}

/// What an URI of keys says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) cluster: String,
    pub(crate) authority: String,
    pub(crate) path: String,
}

// === impl Source ===

impl Source {
    pub(crate) fn inline(keys: Vec<Key>) -> Self {
        Self { keys: RefCell::new(keys), ..Self::default() }
    }

    pub(crate) fn remote(target: Target, timeout: Duration) -> Self {
        let start = SystemTime::UNIX_EPOCH;
        let remote = Remote {
            target,
            timeout,
            next: Cell::new(start),
            asked: Cell::new(start),
            failures: Cell::new(0),
            is_fetching: Cell::new(false),
        };
        Self { remote: Some(remote), ..Self::default() }
    }

    pub(crate) fn is_remote(&self) -> bool {
        self.remote.is_some()
    }

    pub(crate) fn state(&self) -> SourceState {
        if self.keys.borrow().is_empty() { SourceState::Empty } else { SourceState::Filled }
    }

    pub(crate) fn with<R>(&self, look: impl FnOnce(&[Key]) -> R) -> R {
        look(&self.keys.borrow())
    }

    pub(crate) fn generation(&self) -> Rc<Generation> {
        Rc::clone(&self.generation)
    }

    /// Whether it is time to fetch.
    pub(crate) fn is_due(&self, now: SystemTime) -> bool {
        self.remote.as_ref().is_some_and(|remote| now >= remote.next.get() && !remote.is_fetching.get())
    }

    /// Whether the keys are old enough that a key we do not know may have been added.
    pub(crate) fn may_know_more(&self, now: SystemTime) -> bool {
        self.remote.as_ref().is_some_and(|remote| now >= remote.asked.get() + FRESH)
    }

    /// Fetches keys for a request that needs them, or waits for a fetch that runs. After one that failed it does
    /// nothing until the next is due.
    pub(crate) async fn wait(&self) {
        let Some(remote) = &self.remote else { return };
        if !remote.is_fetching.get() {
            let is_too_soon = remote.failures.get() > 0 && sidegate_sdk::now() < remote.next.get();
            if !is_too_soon {
                self.refresh().await;
            }
            return;
        }
        let mut left = remote.timeout;
        while remote.is_fetching.get() && !left.is_zero() {
            sleep(LOOK).await;
            left = left.saturating_sub(LOOK);
        }
    }

    /// Fetches the keys. The last good ones stay when that fails.
    pub(crate) async fn refresh(&self) {
        let Some(remote) = &self.remote else { return };
        let fetched = {
            let _running = Fetching::begin(remote);
            remote.fetch().await
        };
        match fetched {
            Ok(keys) => {
                debug!("{} keys from {}{}", keys.len(), remote.target.authority, remote.target.path);
                remote.failures.set(0);
                remote.next.set(sidegate_sdk::now() + REFRESH);
                *self.keys.borrow_mut() = keys;
                self.generation.set(self.generation.get() + 1);
            }
            Err(problem) => {
                let failures = remote.failures.get();
                let [first, longest] = RETRY;
                let pause = first.saturating_mul(1 << failures.min(16)).min(longest);
                remote.failures.set(failures.saturating_add(1));
                remote.next.set(sidegate_sdk::now() + pause);
                warn!("no keys from {}{}: {problem}", remote.target.authority, remote.target.path);
            }
        }
    }
}

impl Remote {
    async fn fetch(&self) -> Result<Vec<Key>, String> {
        let Target { cluster, authority, path } = self.target.clone();
        let call = Callout::to(cluster).get(path).authority(authority).header("accept", "application/json");
        let answer = call.timeout(self.timeout).send().await.map_err(|problem| problem.to_string())?;
        match answer.status() {
            200 => keys::read(answer.body()),
            status => Err(format!("the answer has status {status}")),
        }
    }
}

/// A fetch that runs: it also ends when the request that waits for it goes away.
struct Fetching<'r>(&'r Remote);

impl<'r> Fetching<'r> {
    fn begin(remote: &'r Remote) -> Self {
        remote.is_fetching.set(true);
        remote.asked.set(sidegate_sdk::now());
        Self(remote)
    }
}

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        self.0.is_fetching.set(false);
    }
}
