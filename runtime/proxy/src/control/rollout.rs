//! Rollouts: which plugins have two versions at this moment, at which step each of them is, and what comes next.
//!
//! Nothing in here acts. An update asks what its snapshot must hold ([`Rollouts::after`]), the control thread asks now
//! and then whether a step is over ([`Rollouts::due`]), and both take effect as updates.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderName;
use sidegate_config as config;

use super::judge;
use crate::snapshot::rollout::{Rollout, Tally, WHOLE};
use crate::snapshot::staging::{self, Stable};
use crate::snapshot::{PluginModule, Snapshot};

/// Steps that a push may ask for.
const MAX_STEPS: usize = 20;

/// How a new version takes over.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    steps: Vec<Step>,
    sticky: Option<HeaderName>,
    min_requests: u64,
    abort_on: config::AbortOn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    /// Parts of `WHOLE`.
    weight: u32,
    hold: Duration,
}

impl Plan {
    /// What the configuration of a plugin says.
    pub fn of(rollout: &config::Rollout) -> Self {
        let steps = rollout.steps.iter().map(|step| Step { weight: parts(step.weight.0), hold: step.hold });
        Self {
            steps: steps.collect(),
            sticky: rollout.sticky_by.as_ref().and_then(|by| by.header.parse().ok()),
            min_requests: rollout.min_requests.into(),
            abort_on: rollout.abort_on.clone(),
        }
    }

    /// What a push asks for: `5,50` are the shares, `hold` lasts each of them. Everything else is as configured.
    pub fn of_push(shares: &str, hold: Duration, configured: Option<&config::Rollout>) -> Result<Self, String> {
        let mut steps = Vec::new();
        for share in shares.split(',') {
            let weight = share.trim().parse::<f64>().ok().filter(|share| *share > 0.0 && *share < 100.0).map(parts);
            let rises = |weight: u32| steps.last().is_none_or(|last: &Step| last.weight < weight);
            match weight.filter(|weight| rises(*weight)) {
                Some(weight) if steps.len() < MAX_STEPS => steps.push(Step { weight, hold }),
                Some(_) => return Err(format!("rollout has more than {MAX_STEPS} steps")),
                None => return Err("rollout is a list of rising shares below 100, such as 5,50".to_owned()),
            }
        }
        let configured = configured.map(Self::of);
        let abort_on = configured.as_ref().map(|plan| plan.abort_on.clone()).unwrap_or_default();
        let min_requests = configured.as_ref().map_or(200, |plan| plan.min_requests);
        Ok(Self { steps, sticky: configured.and_then(|plan| plan.sticky), min_requests, abort_on })
    }
}

fn parts(percent: f64) -> u32 {
    // A share that is not nothing gets at least the smallest part.
    ((percent / 100.0 * f64::from(WHOLE)).round() as u32).clamp(1, WHOLE - 1)
}

/// The plugins that are not simply what the sources say.
#[derive(Clone, Default)]
pub struct Rollouts(BTreeMap<String, Course>);

#[derive(Clone)]
enum Course {
    Running(Running),
    /// A rollout ended: the old version serves until the sources say something else than they say now.
    Pinned {
        stable: Stable,
        target: Option<Vec<u64>>,
    },
}

#[derive(Clone)]
struct Running {
    plan: Plan,
    stable: Stable,
    /// The new version with its configurations.
    target: Vec<u64>,
    modules: Vec<Arc<PluginModule>>,
    tally: Arc<Tally>,
    step: usize,
    since: Instant,
    /// Requests that the new version had served when this step began.
    served: u64,
    paused: bool,
}

/// What is to be done about a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// The next step.
    Advance,
    /// The new version gets everything.
    Finish,
    /// Back to the old version; why.
    Abort(String),
}

/// What an operator may ask of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// No further step, until resumed. The judge goes on watching.
    Pause,
    Resume,
    Abort,
}

impl Rollouts {
    /// The rollouts of an update: `compiled` is what the sources say, and is changed to hold two versions where one is
    /// rolled out. `current` serves; `plan` knows how a plugin's new version takes over.
    pub fn after(
        &self,
        compiled: &mut Snapshot,
        current: Option<&Snapshot>,
        plan: &dyn Fn(&str) -> Option<Plan>,
        now: Instant,
    ) -> Self {
        let mut names: Vec<String> = compiled.plugins.iter().map(|plugin| plugin.name.clone()).collect();
        names.sort();
        names.dedup();
        let mut after = BTreeMap::new();
        for name in names {
            if let Some(course) = self.course(&name, compiled, current, plan, now) {
                after.insert(name, course);
            }
        }
        Self(after)
    }

    fn course(
        &self,
        name: &str,
        compiled: &mut Snapshot,
        current: Option<&Snapshot>,
        plan: &dyn Fn(&str) -> Option<Plan>,
        now: Instant,
    ) -> Option<Course> {
        let target = staging::fingerprint(compiled, name);
        let stable = match self.0.get(name) {
            Some(Course::Running(running)) if running.target == target => {
                running.stage(name, compiled);
                return Some(Course::Running(running.clone()));
            }
            Some(Course::Pinned { stable, target: pinned })
                if pinned.as_ref().is_none_or(|pinned| *pinned == target) =>
            {
                staging::pin(compiled, name, stable);
                let still = staging::fingerprint(compiled, name) != target;
                return still.then(|| Course::Pinned { stable: stable.clone(), target: Some(target) });
            }
            Some(Course::Running(Running { stable, .. }) | Course::Pinned { stable, .. }) => stable.clone(),
            None => Stable::of(current?, name),
        };
        let plan = plan(name)?;
        if !stable.differs(compiled, name) {
            return None;
        }
        let modules = compiled.plugins.iter().filter(|plugin| plugin.name == name).map(|plugin| plugin.module.clone());
        let running = Running {
            plan,
            stable,
            target,
            modules: modules.collect(),
            tally: Arc::default(),
            step: 0,
            since: now,
            served: 0,
            paused: false,
        };
        running.stage(name, compiled);
        Some(Course::Running(running))
    }

    /// The first rollout for which something is to be done.
    pub fn due(&self, now: Instant) -> Option<(String, Due)> {
        self.0.iter().find_map(|(name, course)| match course {
            Course::Running(running) => Some((name.clone(), running.due(now)?)),
            Course::Pinned { .. } => None,
        })
    }

    /// Whether anything is being rolled out.
    pub fn is_running(&self) -> bool {
        self.0.values().any(|course| matches!(course, Course::Running(_)))
    }

    /// Whether this plugin is being rolled out.
    pub fn runs(&self, plugin: &str) -> bool {
        matches!(self.0.get(plugin), Some(Course::Running(_)))
    }

    /// Whether a plugin is, or is not, in the same rollout here and there, whatever its step.
    pub fn is_same(&self, other: &Self, plugin: &str) -> bool {
        let tally = |rollouts: &Self| match rollouts.0.get(plugin) {
            Some(Course::Running(running)) => Some(running.tally.clone()),
            _ => None,
        };
        match (tally(self), tally(other)) {
            (Some(one), Some(other)) => Arc::ptr_eq(&one, &other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }

    /// Does what is due; it takes effect with the next update.
    pub fn step(&mut self, plugin: &str, due: &Due, now: Instant) {
        let Some(course) = self.0.get_mut(plugin) else { return };
        let Course::Running(running) = course else { return };
        match due {
            Due::Advance => {
                running.step += 1;
                running.since = now;
                running.served = running.tally.new.requests();
            }
            Due::Finish => {
                self.0.remove(plugin);
            }
            Due::Abort(_) => *course = Course::Pinned { stable: running.stable.clone(), target: None },
        }
    }

    /// Pauses or resumes; `false`: the plugin is not being rolled out.
    pub fn pause(&mut self, plugin: &str, paused: bool) -> bool {
        match self.0.get_mut(plugin) {
            Some(Course::Running(running)) => {
                running.paused = paused;
                true
            }
            _ => false,
        }
    }

    /// How far the rollout of a plugin is.
    pub fn progress(&self, plugin: &str) -> Option<Progress> {
        let Some(Course::Running(running)) = self.0.get(plugin) else { return None };
        Some(Progress {
            weight: f64::from(running.weight()) * 100.0 / f64::from(WHOLE),
            step: running.step + 1,
            steps: running.plan.steps.len(),
            tally: running.tally.clone(),
            paused: running.paused,
        })
    }
}

/// How far a rollout is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Percent.
    pub weight: f64,
    /// From 1.
    pub step: usize,
    pub steps: usize,
    /// What both versions have served so far.
    pub tally: Arc<Tally>,
    pub paused: bool,
}

impl Running {
    fn weight(&self) -> u32 {
        self.plan.steps.get(self.step).map_or(WHOLE, |step| step.weight)
    }

    fn stage(&self, name: &str, compiled: &mut Snapshot) {
        let rollout = Rollout {
            plugin: name.to_owned(),
            weight: self.weight(),
            sticky: self.plan.sticky.clone(),
            tally: self.tally.clone(),
        };
        staging::stage(compiled, rollout, &self.stable);
    }

    fn due(&self, now: Instant) -> Option<Due> {
        if self.modules.iter().any(|module| module.breaker.is_open()) {
            return Some(Due::Abort("it faulted so often that its breaker opened".to_owned()));
        }
        if let Some(reason) = judge::worse(&self.tally, &self.plan.abort_on) {
            return Some(Due::Abort(reason));
        }
        let step = self.plan.steps.get(self.step)?;
        let held = now.saturating_duration_since(self.since) >= step.hold;
        let served = self.tally.new.requests().saturating_sub(self.served) >= self.plan.min_requests;
        if !held || !served || self.paused {
            return None;
        }
        Some(if self.step + 1 < self.plan.steps.len() { Due::Advance } else { Due::Finish })
    }
}

#[cfg(test)]
mod tests;
