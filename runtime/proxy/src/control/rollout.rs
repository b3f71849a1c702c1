//! Rollouts: which plugins have two versions at this moment, at which step each of them is, and what comes next.
//!
//! Nothing in here acts. An update asks what its snapshot must hold ([`Rollouts::after`]), the control thread asks now
//! and then whether a step is over ([`Rollouts::due`]), and both take effect as updates.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use http::HeaderName;
use sidegate_config as config;

use super::judge;
use crate::snapshot::rollout::{Rollout, Tally, WHOLE};
use crate::snapshot::staging::{self, Pins, Stable};
use crate::snapshot::{PluginModule, Snapshot};

/// Steps that a push may ask for.
const MAX_STEPS: usize = 20;
/// The pause after a step that could not be taken; doubled at each further time, up to the longest one.
const RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

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
        let min_requests = configured.as_ref().map_or(config::Rollout::MIN_REQUESTS.into(), |plan| plan.min_requests);
        Ok(Self { steps, sticky: configured.and_then(|plan| plan.sticky), min_requests, abort_on })
    }
}

fn parts(percent: f64) -> u32 {
    // A share that is not nothing gets at least the smallest part.
    ((percent / 100.0 * f64::from(WHOLE)).round() as u32).clamp(1, WHOLE - 1)
}

/// The plugins that are not simply what the sources say.
#[derive(Clone, Default)]
pub struct Rollouts {
    running: BTreeMap<String, Running>,
    /// Configurations that went back: the sources still say them.
    pinned: BTreeMap<String, Pins>,
}

#[derive(Clone)]
struct Running {
    plan: Plan,
    stable: Stable,
    /// The new version with its configurations: by entry, and as fingerprints.
    new: Stable,
    target: Vec<u64>,
    modules: Vec<Arc<PluginModule>>,
    tally: Arc<Tally>,
    step: usize,
    since: Instant,
    /// Requests that the new version had served when this step began.
    served: u64,
    paused: bool,
    trouble: Option<Trouble>,
}

/// What was due and could not be done.
#[derive(Clone, Copy)]
struct Trouble {
    /// It was the way back.
    abort: bool,
    times: u32,
    /// When it is tried again.
    until: Instant,
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

/// What an operator may ask of a rollout, on the command line and over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
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
        let mut after = Self::default();
        for name in names {
            let mut pins = self.pinned.get(&name).cloned().unwrap_or_default();
            pins.apply(compiled, &name, current);
            if let Some(running) = self.course(&name, compiled, current, plan, now) {
                after.running.insert(name.clone(), running);
            }
            if !pins.is_empty() {
                after.pinned.insert(name, pins);
            }
        }
        after
    }

    fn course(
        &self,
        name: &str,
        compiled: &mut Snapshot,
        current: Option<&Snapshot>,
        plan: &dyn Fn(&str) -> Option<Plan>,
        now: Instant,
    ) -> Option<Running> {
        let target = staging::fingerprint(compiled, name);
        let stable = match self.running.get(name) {
            Some(running) if running.target == target => {
                running.stage(name, compiled);
                return Some(running.clone());
            }
            Some(running) => running.stable.clone(),
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
            new: Stable::of(compiled, name),
            target,
            modules: modules.collect(),
            tally: Arc::default(),
            step: 0,
            since: now,
            served: 0,
            paused: false,
            trouble: None,
        };
        running.stage(name, compiled);
        Some(running)
    }

    /// The first rollout for which something is to be done.
    pub fn due(&self, now: Instant) -> Option<(String, Due)> {
        self.running.iter().find_map(|(name, running)| Some((name.clone(), running.due(now)?)))
    }

    /// Whether anything is being rolled out.
    pub fn is_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// Whether this plugin is being rolled out.
    pub fn runs(&self, plugin: &str) -> bool {
        self.running.contains_key(plugin)
    }

    /// Whether a plugin is, or is not, in the same rollout here and there, whatever its step.
    pub fn is_same(&self, other: &Self, plugin: &str) -> bool {
        let tally = |rollouts: &Self| rollouts.running.get(plugin).map(|running| running.tally.clone());
        match (tally(self), tally(other)) {
            (Some(one), Some(other)) => Arc::ptr_eq(&one, &other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }

    /// Does what is due; it takes effect with the next update.
    pub fn step(&mut self, plugin: &str, due: &Due, now: Instant) {
        let Some(running) = self.running.get_mut(plugin) else { return };
        match due {
            Due::Advance => {
                running.step += 1;
                running.since = now;
                running.served = running.tally.new.requests();
                running.trouble = None;
            }
            Due::Finish => {
                self.running.remove(plugin);
            }
            Due::Abort(_) => {
                self.pinned.entry(plugin.to_owned()).or_default().add(&running.new, &running.stable);
                self.running.remove(plugin);
            }
        }
    }

    /// What was due did not take effect: it is tried again after a pause.
    pub fn failed(&mut self, plugin: &str, due: &Due, now: Instant) {
        let Some(running) = self.running.get_mut(plugin) else { return };
        let abort = matches!(due, Due::Abort(_));
        let times = running.trouble.filter(|trouble| trouble.abort == abort).map_or(0, |trouble| trouble.times);
        let pause = RETRY.saturating_mul(1 << times.min(10)).min(LONGEST_RETRY);
        running.trouble = Some(Trouble { abort, times: times.saturating_add(1), until: now + pause });
    }

    /// Pauses or resumes; `false`: the plugin is not being rolled out.
    pub fn pause(&mut self, plugin: &str, paused: bool) -> bool {
        let running = self.running.get_mut(plugin);
        running.map(|running| running.paused = paused).is_some()
    }

    /// How far the rollout of a plugin is.
    pub fn progress(&self, plugin: &str) -> Option<Progress> {
        let running = self.running.get(plugin)?;
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

    /// What is due, unless it failed a moment ago.
    fn due(&self, now: Instant) -> Option<Due> {
        let due = self.verdict(now)?;
        let abort = matches!(due, Due::Abort(_));
        let waits = self.trouble.is_some_and(|trouble| trouble.abort == abort && now < trouble.until);
        (!waits).then_some(due)
    }

    fn verdict(&self, now: Instant) -> Option<Due> {
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
