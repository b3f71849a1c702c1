//! The part of an update that has to do with rollouts: whether a change begins, moves or ends one.

use std::time::Instant;

use sidegate_config::Plugin;

use super::Updater;
use crate::control::change::{Change, Done, Refused};
use crate::control::choose::{Choice, Choices};
use crate::control::history::State;
use crate::control::rollout::{Action, Due, Plan, Rollouts};
use crate::snapshot::Snapshot;

impl Change {
    /// Whether it brings back what served before.
    pub(super) fn goes_back(&self) -> bool {
        matches!(self, Self::Rollback { .. }) || self.aborts()
    }

    fn aborts(&self) -> bool {
        matches!(self, Self::Rollout { action: Action::Abort, .. } | Self::Step { due: Due::Abort(_), .. })
    }
}

impl Updater {
    /// The next thing to do about a rollout, if any is due.
    pub fn due(&self) -> Option<Change> {
        let (plugin, due) = self.rollouts.due(Instant::now())?;
        Some(Change::Step { plugin, due })
    }

    /// A step that was due has been refused.
    pub fn step_failed(&mut self, change: &Change) {
        if let Change::Step { plugin, due } = change {
            self.rollouts.failed(plugin, due, Instant::now());
        }
    }

    pub fn is_rolling_out(&self) -> bool {
        self.rollouts.is_running()
    }

    /// What needs no new snapshot: a rollout that is paused or goes on.
    pub(super) fn is_settled_at_once(&mut self, change: &Change) -> Result<Option<Done>, Refused> {
        let Change::Rollout { plugin, action } = change else { return Ok(None) };
        let Some(choice) = self.choices.get(plugin) else { return Err(Refused::UnknownPlugin(plugin.clone())) };
        if !self.rollouts.runs(plugin) {
            return Err(Refused::NoRollout(plugin.clone()));
        }
        if *action == Action::Abort {
            return Ok(None);
        }
        let done = self.done_with(plugin, choice, 0, false);
        self.rollouts.pause(plugin, *action == Action::Pause);
        self.history().set_progress(plugin, self.rollouts.progress(plugin));
        Ok(done)
    }

    /// What a plugin runs after a step of its rollout.
    pub(super) fn choice_of_step(&self, change: &Change, plugin: &str) -> Result<Choice, Refused> {
        let choice = self.choices.get(plugin).ok_or_else(|| Refused::UnknownPlugin(plugin.to_owned()))?;
        Ok(match self.stable.get(plugin).filter(|_| change.aborts()) {
            Some(stable) => stable.in_place_of(choice),
            None => choice.clone(),
        })
    }

    /// The rollouts after this change; the snapshot is made to hold two versions where one is rolled out.
    pub(super) fn rollouts_after(
        &self,
        change: &Change,
        plugins: &[Plugin],
        compiled: &mut Snapshot,
    ) -> Result<Rollouts, Refused> {
        let configured = |name: &str| plugins.iter().find(|plugin| plugin.name == name)?.rollout.as_ref();
        let mut asked = None;
        if let Change::Push(push) = change
            && let Some(shares) = &push.rollout
        {
            let plan = Plan::of_push(&shares.weights, shares.hold, configured(&push.plugin));
            asked = Some(plan.map_err(|reason| Refused::Invalid { error: "rollout", reason })?);
        }
        let now = Instant::now();
        let mut rollouts = self.rollouts.clone();
        match change {
            Change::Step { plugin, due } => rollouts.step(plugin, due, now),
            Change::Rollout { plugin, action: Action::Abort } => {
                rollouts.step(plugin, &Due::Abort(ASKED.to_owned()), now);
            }
            _ => {}
        }
        let at_once = matches!(change, Change::Step { .. } | Change::Rollout { .. } | Change::Rollback { .. });
        let plan = |name: &str| match change.plugin() == Some(name) {
            true if at_once => None,
            true if asked.is_some() => asked.clone(),
            _ => configured(name).map(Plan::of),
        };
        Ok(rollouts.after(compiled, self.publisher.current().map(|current| &**current), &plan, now))
    }

    /// Writes into the history what has become of rollouts by a change that took effect.
    pub(super) fn note_rollouts(&mut self, change: &Change, choices: &Choices, rollouts: Rollouts) {
        let before = std::mem::replace(&mut self.rollouts, rollouts);
        let names: Vec<String> = choices.keys().cloned().collect();
        for name in names {
            let Some(present) = self.choices.get(&name).cloned() else { continue };
            let (was, same) = (before.runs(&name), before.is_same(&self.rollouts, &name));
            if was && !same {
                let newer = (name.clone(), present.clone());
                match change {
                    Change::Step { plugin, due: Due::Finish } if *plugin == name => {
                        self.enter(&newer, State::Live, None);
                        self.count(&name, "committed");
                    }
                    Change::Step { plugin, due: Due::Abort(reason) } if *plugin == name => {
                        self.enter(&newer, State::Rejected, Some(&format!("rolled back: {reason}")));
                        // Of two configurations of one module only the new one was bad.
                        if choices.get(&name).is_some_and(|choice| choice.is_module_of(&present)) {
                            present.module.breaker.close();
                        }
                    }
                    Change::Rollout { plugin, .. } if *plugin == name => {
                        self.enter(&newer, State::Rejected, Some(ASKED));
                    }
                    // Another update took its place.
                    _ => self.enter(&newer, State::Retired, None),
                }
            }
            if self.rollouts.runs(&name) && !same {
                if !was {
                    self.stable.insert(name.clone(), present.clone());
                }
                // A new configuration of the same module is no version, but it is news.
                if let Some(choice) = choices.get(&name).filter(|choice| choice.is_module_of(&present)) {
                    self.enter(&(name.clone(), choice.clone()), State::RollingOut, Some("its configuration"));
                }
            } else if !self.rollouts.runs(&name) {
                self.stable.remove(&name);
            }
            self.history().set_progress(&name, self.rollouts.progress(&name));
        }
    }
}

/// Why a rollout ended that an operator aborted.
const ASKED: &str = "aborted by request";
