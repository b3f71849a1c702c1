//! The part of `/plugins` that tells the history: versions, events, what went wrong last.

use std::sync::{MutexGuard, PoisonError};

use serde_json::Value;

use super::super::Status;
use crate::control::history::{History, State, timestamp};

pub(super) fn versions(status: &Status, plugin: &str) -> Value {
    history(status).versions(plugin)
}

pub(super) fn events(status: &Status) -> Value {
    history(status).events()
}

/// How far its rollout is; nothing: it has none.
pub(super) fn rollout(status: &Status, plugin: &str) -> Option<Value> {
    history(status).rollout(plugin)
}

/// The version that is live; while another one is rolled out, the one before it.
pub(super) fn live(status: &Status, plugin: &str) -> Option<u32> {
    let history = history(status);
    history.records(plugin).find(|record| record.state == State::Live).map(|record| record.version)
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
