//! Plugins as chains use them.

use std::sync::Arc;
use std::time::Duration;

use sidegate_wasm_host::{Module, VmSpec};

use super::FailStrategy;
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
    /// Says whether two of them are made from the same configuration and code.
    pub fingerprint: u64,
    pub module: Arc<PluginModule>,
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
}
