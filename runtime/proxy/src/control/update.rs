//! One update: what the files say now becomes what the workers run, or every reason why not, and nothing has changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use sha2::{Digest, Sha256};
use sidegate_config::{Config, Loaded, PluginUrl, Problem, Problems, Severity};

use super::builtins;
use super::modules::Modules;
use super::publish::{Publisher, Refusal, problems_of};
use crate::snapshot::{Snapshot, TraceKey, compile};

/// Turns files into snapshots.
pub struct Updater {
    path: PathBuf,
    modules: Modules,
    publisher: Publisher,
    /// What the process was started with: some of it cannot change while it runs.
    first: Config,
    files: Vec<PathBuf>,
}

/// An update that took effect.
pub struct Committed {
    pub config: Config,
    pub snapshot: Arc<Snapshot>,
    /// Plugins that have no VM; only an update that is the first may have any.
    pub refusals: Vec<Refusal>,
}

impl Updater {
    pub fn new(path: PathBuf, first: Config, modules: Modules, publisher: Publisher) -> Self {
        Self { path, modules, publisher, first, files: Vec::new() }
    }

    /// The files whose change makes an update: the configuration's own, and the modules it names.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Reads everything anew and commits it. On any refusal the workers keep what they have; only at the start is a
    /// plugin that cannot run no reason to run nothing.
    pub fn apply(&mut self) -> Result<Committed, Problems> {
        let begun = Instant::now();
        let Loaded { config, warnings, files } = sidegate_config::load(&self.path)?;
        self.watch(&config, files);
        self.check_fixed(&config)?;
        let plugins = compile::plugins_of(&config, &builtins::names())?;
        let code = plugins.iter().map(|plugin| (plugin.name.clone(), self.modules.load(plugin))).collect();
        let mut snapshot = self.publisher.compile(&config, &plugins, &code)?;
        snapshot.trace_key = config.admin.token_file.as_deref().and_then(trace_key);
        let (prepared, refusals) = self.publisher.prepare(&snapshot);
        let first = self.publisher.current().is_none();
        let problems: Vec<_> = refusals.iter().flat_map(|refusal| problems_of(&config, refusal)).collect();
        if !first && refusals.iter().any(|refusal| !self.publisher.knows(refusal)) {
            return Err(Problems(problems));
        }
        for problem in problems {
            tracing::error!("{problem}");
        }
        let sockets = self.publisher.bind(&snapshot).map_err(|(address, error)| {
            self.publisher.release_unused();
            self.problem(format!("cannot listen on {address}: {error}"))
        })?;
        for warning in warnings.iter() {
            tracing::warn!("{warning}");
        }
        let snapshot = Arc::new(snapshot);
        self.publisher.commit(snapshot.clone(), prepared, &refusals, sockets);
        tracing::info!(
            snapshot = snapshot.number,
            listeners = snapshot.listeners.len(),
            plugins = snapshot.plugins.len(),
            milliseconds = begun.elapsed().as_millis(),
            "committed"
        );
        Ok(Committed { config, snapshot, refusals })
    }

    fn watch(&mut self, config: &Config, mut files: Vec<PathBuf>) {
        files.extend(config.plugins.iter().filter_map(|plugin| match &plugin.url {
            PluginUrl::File(path) => Some(path.clone()),
            PluginUrl::Builtin(_) | PluginUrl::Http(_) => None,
        }));
        files.extend(config.admin.token_file.clone());
        // A folder is watched for files that come and go.
        if self.path.is_dir() {
            files.push(self.path.clone());
        }
        self.files = files;
    }

    /// Refuses changes that only a restart can make.
    fn check_fixed(&self, config: &Config) -> Result<(), Problems> {
        let changed = [
            ("workers", self.first.workers != config.workers),
            ("admin.address", self.first.admin.address != config.admin.address),
            ("stateDir", self.first.state_dir != config.state_dir),
        ];
        let problems: Vec<_> = changed
            .into_iter()
            .filter(|(_, changed)| *changed)
            .flat_map(|(key, _)| {
                let mut problem = self.problem("a change needs a restart".to_owned());
                problem.0.iter_mut().for_each(|problem| problem.path = key.to_owned());
                problem.0
            })
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
    }

    fn problem(&self, message: String) -> Problems {
        let location = sidegate_config::Location::start_of(Path::new(&self.path).into());
        Problems(vec![Problem { severity: Severity::Error, location, path: String::new(), message, fix: None }])
    }
}

/// The admin token as workers know it; an unreadable or empty file is no token.
fn trace_key(file: &Path) -> Option<TraceKey> {
    let token = std::fs::read_to_string(file).ok()?;
    let token = token.trim();
    (!token.is_empty()).then(|| TraceKey(Sha256::digest(token).into()))
}
