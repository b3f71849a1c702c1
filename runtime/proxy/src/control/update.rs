//! One update: a change becomes what the workers run, or every reason why not, and nothing has changed.

mod documents;
mod keeping;
mod outcome;
mod rolling;

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use sidegate_config::{Config, Plugin, Problem, Problems, Severity, Source};

use super::builtins;
use super::change::{Change, Done, Push, Refused};
use super::choose::{Choice, Choices, Chooser, unloadable};
use super::difference;
use super::give_way;
use super::history::{History, State, Version};
use super::modules::Modules;
use super::publish::{Publisher, Refusal, problems_of};
use super::rollout::Rollouts;
use super::sources::{self, Sources};
use super::store::{Index, Store};
use crate::snapshot::{PluginModule, Snapshot, compile};
use crate::telemetry::metrics::{Kind, SeriesName};
use documents::{Document, Offers, trace_key};

pub use outcome::{Committed, Failure, Outcome};

/// Turns changes into snapshots.
pub struct Updater {
    path: PathBuf,
    modules: Modules,
    sources: Sources,
    publisher: Publisher,
    /// What the process was started with: some of it cannot change while it runs.
    first: Config,
    files: Vec<PathBuf>,
    offers: Offers,
    document: Option<Document>,
    choices: Choices,
    index: Index,
    store: Option<Store>,
    history: Arc<Mutex<History>>,
    rollouts: Rollouts,
    /// What plugins that are being rolled out ran before.
    stable: Choices,
    /// Modules of each plugin that have VMs, or had; the present one last.
    serving: HashMap<String, VecDeque<Arc<PluginModule>>>,
    /// Versions may have gone since their metrics were looked through.
    gone: bool,
}

impl Updater {
    pub fn new(
        path: PathBuf,
        first: Config,
        mut modules: Modules,
        sources: Sources,
        publisher: Publisher,
        store: Option<Store>,
        history: Arc<Mutex<History>>,
    ) -> Self {
        let index = store.as_ref().map(Store::index).unwrap_or_default();
        for (plugin, kept) in &index {
            let versions = kept.good.iter().map(|good| (good.version, good.digest.clone()));
            modules.resume(plugin, kept.newest, versions);
        }
        Self {
            path,
            modules,
            sources,
            publisher,
            first,
            files: Vec::new(),
            offers: Offers::default(),
            document: None,
            choices: Choices::new(),
            index,
            store,
            history,
            rollouts: Rollouts::default(),
            stable: Choices::new(),
            serving: HashMap::new(),
            gone: false,
        }
    }

    /// The files whose change makes an update: the configuration's own, and the modules it names.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Whether somebody is writing a module file at this moment.
    pub fn is_unsettled(&self) -> bool {
        self.document.as_ref().is_some_and(|document| sources::half_written(&document.config.plugins))
    }

    /// Whether a URL has something else than it had, or code of a module is there that was waited for.
    pub fn take_news(&mut self) -> bool {
        let of_sources = self.sources.take_news();
        self.modules.take_news() || of_sources
    }

    /// Serves these texts first, whatever the files say now: they are what could be loaded. Waits for what URLs have.
    pub fn begin(&mut self, texts: &[Source]) -> Result<Outcome, Failure> {
        let document = Document::parse(texts, 0)?;
        self.offers.begin(texts);
        self.carry_out(&Change::Sources, document)
    }

    /// Carries out a change. On any refusal the workers keep what they have; only at the start is a plugin that cannot
    /// run no reason to run nothing.
    pub fn apply(&mut self, change: &Change) -> Result<Outcome, Failure> {
        if let Some(done) = self.is_settled_at_once(change)? {
            return Ok(Outcome::Nothing(done));
        }
        let before = self.document.as_ref().map(|document| document.number);
        let document = self.document_after(change)?;
        let offer = document.offer();
        let outcome = self.carry_out(change, document);
        self.settle_offer(change, offer, before, &outcome);
        self.gone = true;
        outcome
    }

    fn carry_out(&mut self, change: &Change, document: Document) -> Result<Outcome, Failure> {
        let begun = Instant::now();
        self.watch(&document);
        self.check_fixed(&document.config)?;
        let plugins = compile::plugins_of(&document.config, &builtins::names())?;
        if self.waits(change, &document, &plugins) {
            return Ok(Outcome::Waits);
        }
        self.modules.begin(self.publisher.current().is_none());
        let choices = self.choose(change, &plugins);
        if self.modules.are_awaited() {
            return Ok(Outcome::Waits);
        }
        let compiling = self.modules.end();
        let choices = choices?;
        self.note_sources(&choices);
        if let Some(done) = self.is_nothing_new(change, &document, &choices) {
            self.adopt(document, choices);
            return Ok(Outcome::Nothing(done));
        }
        let fresh = self.fresh(&choices);
        for choice in &fresh {
            self.enter(choice, State::Preparing, None);
        }
        let made = self.make(change, &document, &plugins, &choices);
        let (snapshot, refusals, prepared, rollouts) = match made {
            Ok(made) => made,
            Err((failure, refusals)) => {
                for choice in &fresh {
                    let reason = refusals.iter().find(|refusal| refusal.plugin.name == choice.0);
                    let own = choice.1.module.code.as_ref().err().cloned();
                    let reason = own.or_else(|| reason.map(|refusal| refusal.reason.clone()));
                    let reason = reason.unwrap_or_else(|| "the update that it was part of was refused".to_owned());
                    self.enter(choice, State::Rejected, Some(&reason));
                    self.count(&choice.0, "refused");
                }
                return Err(failure);
            }
        };
        self.note_rollouts(change, &choices, rollouts);
        for choice in &fresh {
            let reason = refusals.iter().find(|refusal| refusal.plugin.name == choice.0).map(|refusal| &refusal.reason);
            let reason = reason.or(choice.1.module.code.as_ref().err());
            let state = match reason {
                Some(_) => State::Rejected,
                None if self.rollouts.runs(&choice.0) => State::RollingOut,
                None => State::Live,
            };
            self.enter(choice, state, reason.map(String::as_str));
            if self.choices.contains_key(&choice.0) {
                self.count(&choice.0, if change.goes_back() { "rolled_back" } else { "committed" });
            }
        }
        let milliseconds = u64::try_from((prepared - begun + compiling).as_millis()).unwrap_or(u64::MAX);
        give_way();
        let shape = self.document.as_ref().map(|document| document.shape.clone()).unwrap_or_default();
        let changed = difference::paths(&shape, &document.shape);
        let config = document.config.clone();
        let durable = self.adopt(document, choices);
        tracing::info!(
            snapshot = snapshot.number,
            listeners = snapshot.listeners.len(),
            plugins = snapshot.plugins.len(),
            milliseconds,
            "committed"
        );
        let done = match change.plugin().and_then(|name| self.done(name, milliseconds, durable)) {
            Some(done) => done,
            None => Done::Config { snapshot: snapshot.number, changed },
        };
        Ok(Outcome::Committed(Box::new(Committed { config, snapshot, refusals }), done))
    }

    /// Compiles, prepares and commits; says when it was prepared. An error comes with what was refused.
    #[expect(clippy::type_complexity, reason = "a tuple that only its caller takes apart")]
    fn make(
        &mut self,
        change: &Change,
        document: &Document,
        plugins: &[Plugin],
        choices: &Choices,
    ) -> Result<(Arc<Snapshot>, Vec<Refusal>, Instant, Rollouts), (Failure, Vec<Refusal>)> {
        let config = &document.config;
        let code = choices.iter().map(|(name, choice)| (name.clone(), choice.module.clone())).collect();
        let mut compiled =
            self.publisher.compile(config, plugins, &code).map_err(|problems| (problems.into(), vec![]))?;
        compiled.trace_key = trace_key(config);
        let rollouts =
            self.rollouts_after(change, plugins, &mut compiled).map_err(|refused| (refused.into(), vec![]))?;
        give_way();
        let (prepared, refusals) = self.publisher.prepare(&compiled);
        let first = self.publisher.current().is_none();
        let problems: Vec<_> = refusals.iter().flat_map(|refusal| problems_of(config, refusal)).collect();
        if !first && refusals.iter().any(|refusal| !self.publisher.knows(refusal)) {
            let own = change.plugin().and_then(|name| refusals.iter().find(|refusal| refusal.plugin.name == name));
            let failure = match own {
                Some(refusal) => Refused::Invalid { error: "refused by the module", reason: detail(refusal) }.into(),
                None => Failure::Problems(Problems(problems)),
            };
            return Err((failure, refusals));
        }
        for problem in problems {
            tracing::error!("{problem}");
        }
        let sockets = match self.publisher.bind(&compiled) {
            Ok(sockets) => sockets,
            Err((address, error)) => {
                self.publisher.release_unused();
                return Err((self.problem("", format!("cannot listen on {address}: {error}")).into(), vec![]));
            }
        };
        for warning in document.warnings.iter() {
            tracing::warn!("{warning}");
        }
        let snapshot = Arc::new(compiled);
        let ready = Instant::now();
        give_way();
        self.publisher.commit(snapshot.clone(), prepared, &refusals, sockets);
        Ok((snapshot, refusals, ready, rollouts))
    }

    /// Notes what a change meets, if that is part of what it means.
    pub fn meet(&mut self, change: &mut Change) {
        let (Change::Push(Push { plugin, met, .. }) | Change::Rollback { plugin, met }) = change else { return };
        let Some(document) = &self.document else { return };
        let plugins = compile::plugins_of(&document.config, &builtins::names()).unwrap_or_default();
        let known = plugins.iter().find(|known| known.name == *plugin);
        *met = known.map(|known| self.chooser().met(known));
    }

    fn chooser(&mut self) -> Chooser<'_> {
        Chooser {
            modules: &mut self.modules,
            sources: &self.sources,
            store: self.store.as_ref(),
            index: &self.index,
            before: &self.choices,
        }
    }

    fn choose(&mut self, change: &Change, plugins: &[Plugin]) -> Result<Choices, Refused> {
        let of_step = self.choice_of_step(change, change.plugin().unwrap_or_default());
        let mut chooser = self.chooser();
        let asked = change.plugin().map(|name| {
            let plugin = plugins.iter().find(|plugin| plugin.name == name);
            plugin.ok_or_else(|| Refused::UnknownPlugin(name.to_owned()))
        });
        let Some(asked) = asked.transpose()? else {
            return Ok(plugins.iter().map(|plugin| (plugin.name.clone(), chooser.of_source(plugin))).collect());
        };
        let choice = match change {
            Change::Push(push) => chooser.of_push(asked, push),
            Change::Rollout { .. } | Change::Step { .. } => of_step,
            Change::Rollback { met, .. } => chooser.of_history(asked, met.as_ref()),
            Change::Sources | Change::Config { .. } => chooser.of_history(asked, None),
        };
        let name = asked.name.clone();
        let awaited = self.modules.are_awaited();
        let refused = match choice {
            Ok(choice) => match unloadable(&choice).filter(|_| matches!(change, Change::Push(_))) {
                Some(refused) if awaited => refused,
                Some(refused) => {
                    let reason = choice.module.code.as_ref().err().cloned();
                    self.enter(&(name.clone(), choice), State::Rejected, reason.as_deref());
                    refused
                }
                None => {
                    let mut choices = self.choices.clone();
                    choices.insert(name, choice);
                    return Ok(choices);
                }
            },
            Err(refused) => refused,
        };
        if !awaited {
            self.count(&name, "refused");
        }
        Err(refused)
    }

    /// A change that changes nothing: no snapshot is made of it.
    fn is_nothing_new(&self, change: &Change, document: &Document, choices: &Choices) -> Option<Done> {
        if matches!(change, Change::Rollout { .. } | Change::Step { .. }) {
            return None;
        }
        let current = self.document.as_ref().filter(|current| current.shape == document.shape)?;
        let same = |(name, choice): (&String, &Choice)| {
            self.choices.get(name).is_some_and(|before| Arc::ptr_eq(&before.module, &choice.module))
        };
        // Settings may lean on the place where they stand: relative paths.
        let same_places = current.texts.iter().map(|text| &text.path).eq(document.texts.iter().map(|text| &text.path));
        let trusted = self.publisher.current().map(|snapshot| snapshot.trace_key) == Some(trace_key(&document.config));
        let same = same_places && trusted && choices.len() == self.choices.len() && choices.iter().all(same);
        if !same || change.plugin().is_some_and(|name| self.publisher.has_refused(name)) {
            return None;
        }
        match change.plugin() {
            Some(name) => self.done_with(name, choices.get(name)?, 0, self.store.is_some()),
            None => {
                let snapshot = self.publisher.current().map_or(0, |snapshot| snapshot.number);
                Some(Done::Config { snapshot, changed: Vec::new() })
            }
        }
    }

    fn done(&self, plugin: &str, prepare_ms: u64, durable: bool) -> Option<Done> {
        self.done_with(plugin, self.choices.get(plugin)?, prepare_ms, durable)
    }

    fn done_with(&self, plugin: &str, choice: &Choice, prepare_ms: u64, durable: bool) -> Option<Done> {
        let rolling = self.rollouts.runs(plugin);
        let durable = durable && !rolling;
        let note = match (&self.store, durable) {
            (_, true) => None,
            _ if rolling => Some("lost at a restart until the rollout has ended well"),
            (None, false) => Some("lost at a restart: there is no stateDir"),
            (Some(_), false) => Some("lost at a restart: stateDir cannot be written"),
        };
        Some(Done::Plugin {
            plugin: plugin.to_owned(),
            version: choice.module.version,
            digest: choice.module.digest.clone(),
            state: if rolling { State::RollingOut } else { State::Live }.as_str(),
            prepare_ms,
            durable,
            note,
        })
    }

    /// Choices that run another module than before, with their plugins' names.
    fn fresh(&self, choices: &Choices) -> Vec<(String, Choice)> {
        let is_fresh = |(name, choice): &(&String, &Choice)| {
            self.choices.get(*name).is_none_or(|before| !Arc::ptr_eq(&before.module, &choice.module))
        };
        choices.iter().filter(is_fresh).map(|(name, choice)| (name.clone(), choice.clone())).collect()
    }

    fn note_sources(&self, choices: &Choices) {
        let mut history = self.history();
        for (name, choice) in choices {
            history.source_error(name, choice.missing.as_deref());
        }
    }

    fn enter(&self, (plugin, choice): &(String, Choice), state: State, reason: Option<&str>) {
        let Choice { module, source, .. } = choice;
        let of = Version { plugin, version: module.version, digest: &module.digest, source };
        self.history().enter(of, state, reason, SystemTime::now());
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, plugin: &str, result: &str) {
        let name = SeriesName::new("sidegate_plugin_swaps_total", &[("plugin", plugin), ("result", result)]);
        self.publisher.metrics().series(Kind::Counter, &name).add_shared(1);
    }

    fn problem(&self, path: &str, message: String) -> Problems {
        let location = sidegate_config::Location::start_of(Path::new(&self.path).into());
        let path = path.to_owned();
        Problems(vec![Problem { severity: Severity::Error, location, path, message, fix: None }])
    }
}

/// The reason, and what the guest said about its configuration.
fn detail(refusal: &Refusal) -> String {
    let mut reason = refusal.reason.clone();
    for problem in &refusal.problems {
        reason += &format!("; {} ({})", problem.text, problem.pointer);
    }
    reason
}
