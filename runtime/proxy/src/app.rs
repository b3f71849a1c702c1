//! The only room that knows all the others: builds the parts, starts them, waits, drains.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use sidegate_config::{Config, Loaded, Problems, Source};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::admin::server::SetLogLevel;
use crate::admin::{self, Status};
use crate::cli::RunOptions;
use crate::control::actor::Control;
use crate::control::cache::Cache;
use crate::control::choose::{Choices, Chooser};
use crate::control::files::Files;
use crate::control::modules::Modules;
use crate::control::publish::{self, Publisher};
use crate::control::sealed::Sealed;
use crate::control::sources::{Asked, Sources};
use crate::control::store::{self, Index, Store};
use crate::control::update::Updater;
use crate::control::{builtins, change};
use crate::mailbox::{MAILBOX, Message, Phase};
use crate::overload;
use crate::snapshot::compile;
use crate::worker::env::Process;
use crate::worker::thread::{self, Start};

/// VMs that each engine has room for: per worker and plugin, as versions may overlap.
const SLOTS_PER_VM: usize = 12;
const MIN_SLOTS: usize = 256;
/// How often the process looks whether its workers have finished.
const DRAIN_POLL: Duration = Duration::from_millis(50);
/// How long before `drain.timeout` what is still under way is cut, so that filters can be told of the end; at most a
/// tenth of it.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How much lower than the workers' the priority is of threads that prepare, and of the administration interface:
/// requests come first.
const NICENESS: i32 = 5;

/// Loads a configuration, and everything it names, without starting anything.
pub fn check(path: &Path) -> Result<Problems, Problems> {
    let Loaded { config, mut warnings, .. } = sidegate_config::load(path)?;
    let process = Arc::new(Process::new(1));
    let mut modules = modules(&config, 1, None).map_err(|error| plain_problem(path, &error))?;
    let plugins = compile::plugins_of(&config, &builtins::names())?;
    let mut sources = Sources::new(None);
    sources.wait(&plugins.iter().filter_map(Asked::of).collect());
    let mut chooser = Chooser {
        modules: &mut modules,
        sources: &sources,
        store: None,
        index: &Index::new(),
        before: &Choices::new(),
    };
    let code = plugins.iter().map(|plugin| (plugin.name.clone(), chooser.of_source(plugin).module)).collect();
    let (mailbox, _keep) = mpsc::channel(1);
    let publisher = Publisher::new(process, Arc::new([mailbox]));
    let snapshot = publisher.compile(&config, &plugins, &code)?;
    let (mut prepared, refusals) = publisher.prepare(&snapshot);
    let mut problems: Vec<_> = refusals.iter().flat_map(|refusal| publish::problems_of(&config, refusal)).collect();
    warnings.0.extend(publish::remarks(&config, &snapshot, &mut prepared));
    for plugin in &plugins {
        let unused = !snapshot.plugins.iter().any(|used| used.name == plugin.name);
        if let (true, Some(Err(reason))) = (unused, code.get(&plugin.name).map(|module| module.code.as_ref())) {
            let mut problem = plain_problem(path, reason);
            problem.0.iter_mut().for_each(|problem| problem.location = plugin.location.clone());
            problems.append(&mut problem.0);
        }
    }
    drop(prepared);
    if problems.is_empty() {
        return Ok(warnings);
    }
    problems.append(&mut warnings.0);
    Err(Problems(problems))
}

fn plain_problem(path: &Path, message: &str) -> Problems {
    Problems(vec![sidegate_config::Problem {
        severity: sidegate_config::Severity::Error,
        location: sidegate_config::Location::start_of(path.into()),
        path: String::new(),
        message: message.to_owned(),
        fix: None,
    }])
}

fn modules(config: &Config, workers: usize, cache: Option<Cache>) -> Result<Modules, String> {
    let entries: usize = config.listeners.iter().map(|listener| listener.filters.len()).sum();
    let slots = (workers * entries * publish::VMS_PER_SLOT * SLOTS_PER_VM / 2).max(MIN_SLOTS);
    Modules::new(u32::try_from(slots).unwrap_or(u32::MAX), cache)
}

/// The configuration to begin with.
struct Beginning {
    texts: Vec<Source>,
    loaded: Loaded,
    /// Why it is an earlier one that is served, and not what the files say.
    problems: Option<Problems>,
}

impl Beginning {
    /// What the files say; when that cannot be loaded, what took effect last, from the state directory.
    fn read(path: &Path) -> Result<Self, Problems> {
        let read = sidegate_config::read(path).and_then(|texts| Ok((sidegate_config::parse(&texts)?, texts)));
        let problems = match read {
            Ok((loaded, texts)) => return Ok(Self { texts, loaded, problems: None }),
            Err(problems) => problems,
        };
        let kept = store::folder_named_in(path)
            .filter(|folder| folder.is_dir())
            .and_then(|folder| store::last_configuration(&Sealed::open(&folder).ok()?));
        let Some(texts) = kept else { return Err(problems) };
        let Ok(loaded) = sidegate_config::parse(&texts) else { return Err(problems) };
        Ok(Self { texts, loaded, problems: Some(problems) })
    }
}

/// What is kept in the state directory, as far as it can be.
fn state(config: &Config) -> (Option<Cache>, Option<Store>) {
    let Some(folder) = config.state_dir.as_deref() else { return (None, None) };
    let usable = |what: &str, error: std::io::Error| {
        tracing::warn!("{}: {error}: {what} is not kept", folder.display());
    };
    let sealed = match Sealed::open(folder) {
        Ok(sealed) => sealed,
        Err(error) => {
            usable("anything", error);
            return (None, None);
        }
    };
    let cache = Cache::open(sealed.clone()).map_err(|error| usable("compiled code", error)).ok();
    (cache, Store::open(sealed).map_err(|error| usable("what is pushed", error)).ok())
}

/// Runs the proxy until it is told to stop. The error is for people.
pub async fn run(options: RunOptions, log_level: SetLogLevel) -> Result<(), String> {
    let started = Instant::now();
    let begun = SystemTime::now();
    let mut signals = Signals::take()?;
    let beginning = Beginning::read(&options.config).map_err(|problems| problems.to_string())?;
    let config = beginning.loaded.config.clone();
    warn_of_root();
    let workers = options.workers.or(config.workers).map_or_else(available_cpus, |workers| workers.get());
    let process = Arc::new(Process::new(workers));
    process.allowance.set_files(raise_file_limit());
    process.allowance.set(config.overload.max_connections, config.overload.memory.0);
    let status = Arc::new(Status::new(&process, &config, started));
    let admin_address = options.admin.clone().unwrap_or_else(|| config.admin.address.clone());
    let (desk, inbox) = change::queue();
    let probe = config.admin.probe_address.as_ref();
    let commands = admin::start(&admin_address, probe, &status, desk.clone(), log_level)?;

    let (cache, store) = state(&config);
    let mut modules = modules(&config, workers, cache)?;
    let (orders, incoming_orders) = mpsc::unbounded_channel();
    let (mailboxes, receivers): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::channel(MAILBOX)).unzip();
    let mailboxes: Arc<[_]> = mailboxes.into();
    let mut threads = Vec::new();
    for (index, mailbox) in receivers.into_iter().enumerate() {
        let (process, mailboxes, orders) = (process.clone(), mailboxes.clone(), orders.clone());
        let start = Start { index, process, mailbox, mailboxes, orders };
        threads.push(thread::spawn(start).map_err(|error| format!("cannot start a worker: {error}"))?);
    }
    drop(orders);
    // This thread takes updates in, and those that are started from here on prepare them. What requests wait for, or
    // their deadlines need, has been started before.
    stand_back();
    modules.compile_beside(desk.clone()).map_err(|error| format!("cannot start a thread that compiles: {error}"))?;
    let (maker_process, maker_mailboxes) = (process.clone(), mailboxes.clone());
    std::thread::Builder::new()
        .name("vm-maker".into())
        .stack_size(4 << 20)
        .spawn(move || publish::serve_orders(incoming_orders, &maker_process, &maker_mailboxes))
        .map_err(|error| error.to_string())?;

    tokio::spawn(overload::watch(process.clone()));
    let publisher = Publisher::new(process, mailboxes.clone());
    let sources = Sources::new(Some(desk.clone()));
    let history = status.history.clone();
    let updater = Updater::new(options.config, config, modules, sources, publisher, store, history);
    let files = Files::new(move || desk.look());
    let control = Control { updater, inbox, files, observer: status.clone(), waiting: Vec::new(), news: false };
    tokio::select! {
        first = start_control(control, beginning, begun) => first?,
        () = signals.either() => {
            tracing::info!("told to stop before serving");
            return Ok(());
        }
    }
    tracing::info!(workers, milliseconds = started.elapsed().as_millis(), "serving");
    wait_and_drain(&mailboxes, &status, commands, &threads, signals).await;
    Ok(())
}

/// The signals that mean something, and those that are taken so that they mean nothing. They are taken before the
/// first listener opens: whoever can reach the process may also signal it.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Tools that send these to every daemon must not end one that gives them no meaning.
    _harmless: [Signal; 3],
}

impl Signals {
    fn take() -> Result<Self, String> {
        let take = |kind| signal(kind).map_err(|error| format!("cannot listen for signals: {error}"));
        Ok(Self {
            terminate: take(SignalKind::terminate())?,
            interrupt: take(SignalKind::interrupt())?,
            _harmless: [
                take(SignalKind::hangup())?,
                take(SignalKind::user_defined1())?,
                take(SignalKind::user_defined2())?,
            ],
        })
    }

    /// Waits for a signal to stop.
    async fn either(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Starts the thread that makes updates; returns when the first one has taken effect.
async fn start_control(
    mut control: Control<Arc<Status>>,
    beginning: Beginning,
    begun: SystemTime,
) -> Result<(), String> {
    let (done, first) = oneshot::channel();
    let serve = move || {
        let started = control.begin(&beginning.texts);
        if let Some(problems) = beginning.problems.as_ref().filter(|_| started.is_ok()) {
            control.served_in_place_of(problems);
        }
        let serves = started.is_ok();
        let _ = done.send(started);
        if serves {
            control.run(begun);
        }
    };
    std::thread::Builder::new()
        .name("control".into())
        .stack_size(4 << 20)
        .spawn(serve)
        .map_err(|error| format!("cannot start the control thread: {error}"))?;
    first.await.unwrap_or_else(|_| Err("the control thread ended".to_owned()))
}

/// Waits for a reason to stop, then drains, or only lets filters finish: a second signal ends at once.
async fn wait_and_drain(
    mailboxes: &Arc<[mpsc::Sender<Message>]>,
    status: &Arc<Status>,
    mut commands: mpsc::Receiver<admin::Command>,
    threads: &[std::thread::JoinHandle<()>],
    mut signals: Signals,
) {
    let drains = loop {
        tokio::select! {
            _ = signals.terminate.recv() => break true,
            _ = signals.interrupt.recv() => return,
            command = commands.recv() => match command {
                Some(admin::Command::Drain { graceful }) => {
                    status.draining.store(true, Ordering::Relaxed);
                    tokio::spawn(close_listeners(mailboxes.clone(), status.clone(), graceful));
                }
                Some(admin::Command::LogLevel) => tell(mailboxes, || Message::LogLevel).await,
                Some(admin::Command::Quit) => break false,
                None => {}
            },
        }
    };
    let drain = status.shown().drain.clone();
    if drains {
        tracing::info!(minimum = ?drain.minimum, timeout = ?drain.timeout, "draining");
    }
    status.draining.store(true, Ordering::Relaxed);
    let begun = Instant::now();
    let draining = async {
        let finished_by = async |limit: Duration| {
            while threads.iter().any(|thread| !thread.is_finished()) && begun.elapsed() < limit {
                tokio::time::sleep(DRAIN_POLL).await;
            }
        };
        if drains {
            tell(mailboxes, || Message::Drain(Phase::Announced)).await;
            tokio::time::sleep(drain.minimum).await;
            tell(mailboxes, || Message::Drain(Phase::Closing)).await;
            finished_by(drain.timeout.saturating_sub(LAST_WORDS.min(drain.timeout / 10))).await;
        }
        tell(mailboxes, || Message::Drain(Phase::Ending)).await;
        finished_by(drain.timeout).await;
    };
    tokio::select! {
        () = draining => {
            let what = if drains { "drained" } else { "ended" };
            tracing::info!(milliseconds = begun.elapsed().as_millis(), "{what}");
        }
        _ = signals.terminate.recv() => tracing::warn!("SIGTERM again: exit at once"),
        _ = signals.interrupt.recv() => tracing::warn!("SIGINT: exit at once"),
    }
}

/// Closes the inbound listeners and goes on serving what is there.
async fn close_listeners(mailboxes: Arc<[mpsc::Sender<Message>]>, status: Arc<Status>, graceful: bool) {
    if graceful {
        tell(&mailboxes, || Message::Drain(Phase::Announced)).await;
        tokio::time::sleep(status.shown().drain.minimum).await;
    }
    tell(&mailboxes, || Message::Drain(Phase::Closed)).await;
}

async fn tell(mailboxes: &[mpsc::Sender<Message>], what: impl Fn() -> Message) {
    for mailbox in mailboxes {
        let _ = mailbox.send(what()).await;
    }
}

/// CPUs that this process may use: affinity and cgroup quota are respected.
fn available_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Raises the soft limit of open files to the hard one, and returns it.
fn raise_file_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let reached = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    reached.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}

/// Lowers the priority of this thread and of those that it starts (on Linux it is the thread's, not the process's).
fn stand_back() {
    let _ = rustix::process::nice(NICENESS);
}

fn warn_of_root() {
    if rustix::process::geteuid().is_root() {
        tracing::warn!("running as root: a proxy needs no privileges; run it as a user of its own");
    }
}
