//! Plugins as chains use them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use sidegate_wasm_host::{Module, VmSpec};

use super::FailStrategy;
use super::cluster::fresh_id;
use crate::worker::env::Env;

/// The environment type that guests of this proxy run in.
pub type Guest = Box<Env>;

/// A plugin with one configuration: what one VM per worker is made from.
pub struct PluginUse {
    pub name: String,
    pub spec: Arc<VmSpec>,
    pub fail_strategy: FailStrategy,
    /// How long a filter may hold an exchange.
    pub pause: Duration,
    /// Bytes of a body that a filter may have buffered.
    pub body: usize,
    /// Chain entries that use it, for people.
    pub entries: Vec<String>,
    /// Says whether two of them are made from the same configuration.
    pub settings: u64,
    /// Says whether two of them are made from the same configuration and code.
    pub fingerprint: u64,
    pub module: Arc<PluginModule>,
}

impl PluginUse {
    /// The same configuration with another version.
    pub fn with_module(&self, module: &Arc<PluginModule>) -> Self {
        let spec = VmSpec { version: module.version.to_string(), tag: fresh_id() as u64, ..(*self.spec).clone() };
        Self {
            name: self.name.clone(),
            spec: Arc::new(spec),
            fail_strategy: self.fail_strategy,
            pause: self.pause,
            body: self.body,
            entries: self.entries.clone(),
            settings: self.settings,
            fingerprint: fingerprint(self.settings, module),
            module: module.clone(),
        }
    }
}

/// The fingerprint of a configuration with this version.
pub fn fingerprint(settings: u64, module: &PluginModule) -> u64 {
    let mut hasher = DefaultHasher::new();
    (settings, &module.digest, module.code.is_ok()).hash(&mut hasher);
    hasher.finish()
}

/// One version of a plugin: checked code, or why there is none.
pub struct PluginModule {
    /// Lower-case hex sha256 of the bytes; empty when there are none.
    pub digest: String,
    /// Counts up from 1 for each plugin.
    pub version: u32,
    /// Where the bytes came from, for people.
    pub source: String,
    pub code: Result<Module<Guest>, String>,
    pub breaker: Breaker,
    /// Workers and configurations that still have a VM of this version.
    pub serving: AtomicUsize,
}

impl PluginModule {
    pub fn new(digest: String, version: u32, source: String, code: Result<Module<Guest>, String>) -> Self {
        Self { digest, version, source, code, breaker: Breaker::default(), serving: AtomicUsize::new(0) }
    }
}

/// Whether a version gets no exchanges for a while, on any worker.
#[derive(Debug, Default)]
pub struct Breaker {
    /// Milliseconds since the first use of any breaker, at which it closes; 0: never opened.
    until: AtomicU64,
}

impl Breaker {
    pub fn open(&self, now: Instant, time: Duration) {
        self.until.store(Self::milliseconds(now + time).max(1), Ordering::Relaxed);
    }

    /// Lets exchanges in again.
    pub fn close(&self) {
        self.until.store(0, Ordering::Relaxed);
    }

    pub fn is_open(&self) -> bool {
        // The clock is read only for a version that has misbehaved.
        let until = self.until.load(Ordering::Relaxed);
        until != 0 && Self::milliseconds(Instant::now()) < until
    }

    fn milliseconds(at: Instant) -> u64 {
        static START: OnceLock<Instant> = OnceLock::new();
        let since = at.saturating_duration_since(*START.get_or_init(Instant::now));
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}
