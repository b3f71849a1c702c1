//! Which versions of each plugin there were, which one serves, and what happened when. Control writes, admin reads.

use std::collections::{BTreeMap, VecDeque};
use std::time::SystemTime;

use serde_json::{Value, json};

use super::rollout::Progress;
use crate::calendar::{self, Moment};
use crate::snapshot::rollout::Counts;

/// Records of versions kept for each plugin; the oldest that does not serve goes first.
const RECORDS: usize = 32;
/// Plugins that have a history; those that are not configured any more go first.
const PLUGINS: usize = 1024;
/// Events kept over all plugins.
const EVENTS: usize = 256;

/// What a version is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Preparing,
    /// A part of the exchanges goes to it.
    RollingOut,
    Live,
    Retired,
    Rejected,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Preparing => "PREPARING",
            Self::RollingOut => "ROLLING_OUT",
            Self::Live => "LIVE",
            Self::Retired => "RETIRED",
            Self::Rejected => "REJECTED",
        }
    }
}

/// One version: a module digest.
#[derive(Clone, Debug)]
pub struct Record {
    pub version: u32,
    pub digest: String,
    /// Where its bytes came from last, for people.
    pub source: String,
    /// Since when it is in this state.
    pub since: SystemTime,
    pub state: State,
    /// Why it was rejected.
    pub reason: Option<String>,
}

/// What identifies a version where something happens to it.
#[derive(Clone, Copy, Debug)]
pub struct Version<'a> {
    pub plugin: &'a str,
    pub version: u32,
    pub digest: &'a str,
    pub source: &'a str,
}

/// The history of all plugins.
#[derive(Default)]
pub struct History {
    plugins: BTreeMap<String, Plugin>,
    events: VecDeque<Event>,
}

#[derive(Default)]
struct Plugin {
    records: VecDeque<Record>,
    /// Why its source gives nothing, while an earlier module serves.
    source_error: Option<String>,
    rollout: Option<Progress>,
}

struct Event {
    at: SystemTime,
    plugin: String,
    version: u32,
    digest: String,
    state: State,
    text: String,
}

impl History {
    /// A version enters a state. The one that was live until now retires when another goes live.
    pub fn enter(&mut self, of: Version<'_>, state: State, reason: Option<&str>, now: SystemTime) {
        let plugin = self.plugins.entry(of.plugin.to_owned()).or_default();
        let known = plugin.records.iter().position(|record| record.version == of.version);
        let before = known.and_then(|at| plugin.records.remove(at));
        let unchanged =
            before.as_ref().is_some_and(|before| before.state == state && before.reason.as_deref() == reason);
        // A version that serves goes on serving when what was wrong with it was only where it came from this time.
        let keeps_serving = before.as_ref().is_some_and(|before| before.state == State::Live) && state != State::Live;
        if state == State::Live {
            for other in plugin.records.iter_mut().filter(|record| record.state == State::Live) {
                (other.state, other.since) = (State::Retired, now);
            }
        }
        plugin.records.push_back(Record {
            version: of.version,
            digest: of.digest.to_owned(),
            source: of.source.to_owned(),
            since: before.as_ref().filter(|_| unchanged || keeps_serving).map_or(now, |before| before.since),
            state: if keeps_serving { State::Live } else { state },
            reason: reason.map(str::to_owned),
        });
        while plugin.records.len() > RECORDS {
            let serves = |record: &Record| matches!(record.state, State::Live | State::RollingOut);
            let oldest = plugin.records.iter().position(|record| !serves(record)).unwrap_or_default();
            plugin.records.remove(oldest);
        }
        if self.plugins.len() > PLUGINS {
            let idle = |plugin: &Plugin| !plugin.records.iter().any(|record| record.state == State::Live);
            if let Some(name) = self.plugins.iter().find(|(_, plugin)| idle(plugin)).map(|(name, _)| name.clone()) {
                self.plugins.remove(&name);
            }
        }
        if !unchanged && state != State::Preparing {
            self.event(of, state, reason.unwrap_or(of.source), now);
        }
    }

    fn event(&mut self, of: Version<'_>, state: State, text: &str, at: SystemTime) {
        let Version { plugin, version, digest, .. } = of;
        tracing::info!(target: "versions", plugin, version, digest, state = state.as_str(), "{text}");
        if self.events.len() == EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(Event {
            at,
            plugin: plugin.to_owned(),
            version,
            digest: digest.to_owned(),
            state,
            text: text.to_owned(),
        });
    }

    /// The plugin is not used any more: nothing of it is live.
    pub fn retire_all_but(&mut self, used: &dyn Fn(&str) -> bool, now: SystemTime) {
        for plugin in self.plugins.iter_mut().filter(|(name, _)| !used(name)).map(|(_, plugin)| plugin) {
            for record in plugin.records.iter_mut().filter(|record| record.state == State::Live) {
                (record.state, record.since) = (State::Retired, now);
            }
        }
    }

    /// Notes that the source of a plugin gives nothing, or that it does again.
    pub fn source_error(&mut self, plugin: &str, error: Option<&str>) {
        let known = self.plugins.entry(plugin.to_owned()).or_default();
        if known.source_error.as_deref() != error {
            match error {
                Some(error) => tracing::warn!(plugin, "source missing: {error}; what was running goes on"),
                None => tracing::info!(plugin, "the source is there again"),
            }
            known.source_error = error.map(str::to_owned);
        }
    }

    /// The last thing that went wrong with an update of this plugin: its source, else its newest version.
    pub fn last_error(&self, plugin: &str) -> Option<String> {
        let plugin = self.plugins.get(plugin)?;
        let missing = plugin.source_error.as_ref().map(|error| format!("source missing: {error}"));
        missing.or_else(|| plugin.records.back()?.reason.clone())
    }

    /// How far the rollout of a plugin is, if it has one.
    pub fn set_progress(&mut self, plugin: &str, progress: Option<Progress>) {
        if let Some(plugin) = self.plugins.get_mut(plugin) {
            plugin.rollout = progress;
        }
    }

    /// A rollout as `/plugins` shows it: share in percent, step and steps, what both versions have served since it began.
    pub fn rollout(&self, plugin: &str) -> Option<Value> {
        let Progress { weight, step, steps, tally, paused } = self.plugins.get(plugin)?.rollout.as_ref()?;
        let counts = |counts: &Counts| json!({"requests": counts.requests(), "faults": counts.faults(), "serverErrors": counts.server_errors()});
        let (new, old) = (counts(&tally.new), counts(&tally.old));
        Some(json!({"weight": weight, "step": step, "steps": steps, "paused": paused, "new": new, "old": old}))
    }

    /// The records of a plugin, oldest first.
    pub fn records(&self, plugin: &str) -> impl Iterator<Item = &Record> {
        self.plugins.get(plugin).into_iter().flat_map(|plugin| &plugin.records)
    }

    /// The versions of a plugin as `/plugins` shows them, newest first.
    pub fn versions(&self, plugin: &str) -> Value {
        let record = |record: &Record| {
            json!({
                "version": record.version,
                "digest": record.digest,
                "source": record.source,
                "since": timestamp(record.since),
                "state": record.state.as_str(),
                "reason": record.reason,
            })
        };
        let mut records: Vec<&Record> = self.records(plugin).collect();
        records.sort_by_key(|record| std::cmp::Reverse((record.state == State::Live, record.version)));
        records.into_iter().map(record).collect()
    }

    /// What happened, oldest first.
    pub fn events(&self) -> Value {
        let event = |event: &Event| {
            json!({
                "at": timestamp(event.at),
                "plugin": event.plugin,
                "version": event.version,
                "digest": event.digest,
                "state": event.state.as_str(),
                "text": event.text,
            })
        };
        self.events.iter().map(event).collect()
    }
}

/// A time as `2026-01-31T12:00:00.000Z`.
pub fn timestamp(at: SystemTime) -> String {
    let (since, second) = calendar::since_epoch(at);
    format!("{}.{:03}Z", Moment::at(second), since.subsec_millis())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn of(version: u32, digest: &str) -> Version<'_> {
        Version { plugin: "p", version, digest, source: "file:p.wasm" }
    }

    fn states(history: &History) -> Vec<(u32, State)> {
        let mut states: Vec<_> = history.records("p").map(|record| (record.version, record.state)).collect();
        states.sort_by_key(|(version, _)| *version);
        states
    }

    #[test]
    fn one_version_is_live_and_a_bad_one_changes_nothing() {
        let mut history = History::default();
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        history.enter(of(1, "a"), State::Live, None, at(1));
        history.enter(of(2, "b"), State::Preparing, None, at(2));
        history.enter(of(2, "b"), State::Rejected, Some("traps"), at(3));
        assert_eq!(states(&history), [(1, State::Live), (2, State::Rejected)]);
        assert_eq!(history.last_error("p").as_deref(), Some("traps"));
        history.enter(of(3, "c"), State::Live, None, at(4));
        assert_eq!(states(&history), [(1, State::Retired), (2, State::Rejected), (3, State::Live)]);
        assert_eq!(history.last_error("p"), None);
        history.enter(of(1, "a"), State::Live, None, at(5));
        assert_eq!(states(&history), [(1, State::Live), (2, State::Rejected), (3, State::Retired)]);
        assert_eq!(history.records("p").find(|record| record.version == 1).unwrap().since, at(5));
        history.enter(of(1, "a"), State::Live, None, at(6));
        assert_eq!(history.records("p").find(|record| record.version == 1).unwrap().since, at(5), "no news");
        assert_eq!(history.events().as_array().unwrap().len(), 4);
        assert_eq!(history.versions("p")[0]["version"], 1, "what serves comes first");
    }

    #[test]
    fn the_lists_end() {
        let mut history = History::default();
        history.enter(of(1, "first"), State::Live, None, SystemTime::UNIX_EPOCH);
        for version in 2..400 {
            history.enter(of(version, "bad"), State::Rejected, Some("no"), SystemTime::UNIX_EPOCH);
        }
        assert_eq!(history.records("p").count(), RECORDS);
        assert!(history.records("p").any(|record| record.state == State::Live), "what serves is never forgotten");
        assert_eq!(history.events().as_array().unwrap().len(), EVENTS);
    }

    #[test]
    fn times_are_written_for_people() {
        let at = |seconds| timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(1_767_225_599), "2025-12-31T23:59:59.000Z");
    }
}
