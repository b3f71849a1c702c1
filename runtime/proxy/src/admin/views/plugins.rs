//! The part of `/plugins` that tells the history: versions, events, what went wrong last.

use std::sync::{MutexGuard, PoisonError};

use serde_json::Value;

use super::super::Status;
use crate::control::history::{History, timestamp};

pub(super) fn versions(status: &Status, plugin: &str) -> Value {
    history(status).versions(plugin)
}

pub(super) fn events(status: &Status) -> Value {
    history(status).events()
}

/// Since when this version is in its state.
pub(super) fn since(status: &Status, plugin: &str, version: u32) -> Option<String> {
    let history = history(status);
    let since = history.records(plugin).find(|record| record.version == version).map(|record| record.since);
    since.map(timestamp)
}

/// What went wrong last: with an update, else in a hook.
pub(super) fn last_error(status: &Status, plugin: &str) -> Option<String> {
    let of_update = history(status).last_error(plugin);
    of_update.or_else(|| status.process.health.last(plugin))
}

fn history(status: &Status) -> MutexGuard<'_, History> {
    status.history.lock().unwrap_or_else(PoisonError::into_inner)
}
