//! The only room that knows all the others: builds the parts, starts them, waits, drains.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use sidegate_config::{Config, Loaded, Problems};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::admin::{self, Status};
use crate::cli::RunOptions;
use crate::control::builtins;
use crate::control::cache::Cache;
use crate::control::files::Files;
use crate::control::modules::Modules;
use crate::control::publish::{self, Publisher};
use crate::control::update::Updater;
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

/// Loads a configuration, and everything it names, without starting anything.
pub fn check(path: &Path) -> Result<Problems, Problems> {
    let Loaded { config, mut warnings, .. } = sidegate_config::load(path)?;
    let process = Arc::new(Process::new(1));
    let mut modules = modules(&config, 1, None).map_err(|error| plain_problem(path, &error))?;
    let plugins = compile::plugins_of(&config, &builtins::names())?;
    let code = plugins.iter().map(|plugin| (plugin.name.clone(), modules.load(plugin))).collect();
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

/// Runs the proxy until it is told to stop. The error is for people.
pub async fn run(options: RunOptions) -> Result<(), String> {
    let started = Instant::now();
    let loaded = sidegate_config::load(&options.config).map_err(|problems| problems.to_string())?;
    for warning in loaded.warnings.iter() {
        tracing::warn!("{warning}");
    }
    let config = loaded.config;
    warn_of_root();
    let workers = options.workers.or(config.workers).map_or_else(available_cpus, |workers| workers.get());
    let files = raise_file_limit();
    let max_connections = match config.overload.max_connections {
        0 => files / 2,
        given => given as usize,
    };

    let process = Arc::new(Process::new(workers));
    let status = Arc::new(Status::new(&process, &config, started));
    let admin_address = options.admin.clone().unwrap_or_else(|| config.admin.address.clone());
    let commands =
        admin::start(&admin_address, config.admin.probe_address.as_ref(), &status, config.admin.token_file.clone())?;

    let cache = config.state_dir.as_deref().and_then(|folder| match Cache::open(folder) {
        Ok(cache) => Some(cache),
        Err(error) => {
            tracing::warn!("{}: {error}: compiled code is not kept", folder.display());
            None
        }
    });
    let modules = modules(&config, workers, cache)?;
    let (orders, incoming_orders) = mpsc::unbounded_channel();
    let (mailboxes, receivers): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::channel(MAILBOX)).unzip();
    let mailboxes: Arc<[_]> = mailboxes.into();
    let mut threads = Vec::new();
    for (index, mailbox) in receivers.into_iter().enumerate() {
        let start = Start {
            index,
            process: process.clone(),
            mailbox,
            mailboxes: mailboxes.clone(),
            orders: orders.clone(),
            max_connections: (max_connections / workers).max(1),
        };
        threads.push(thread::spawn(start).map_err(|error| format!("cannot start a worker: {error}"))?);
    }
    drop(orders);
    let (maker_process, maker_mailboxes) = (process.clone(), mailboxes.clone());
    std::thread::Builder::new()
        .name("vm-maker".into())
        .stack_size(4 << 20)
        .spawn(move || publish::serve_orders(incoming_orders, &maker_process, &maker_mailboxes))
        .map_err(|error| error.to_string())?;

    tokio::spawn(overload::watch(process.clone(), config.overload.memory.0));
    let publisher = Publisher::new(process, mailboxes.clone());
    let updater = Updater::new(options.config.clone(), config.clone(), modules, publisher);
    start_control(updater, status.clone()).await?;
    tracing::info!(workers, milliseconds = started.elapsed().as_millis(), "serving");
    wait_and_drain(&config, &mailboxes, &status, commands, &threads).await;
    Ok(())
}

/// Starts the thread that makes updates; returns when the first one has taken effect.
async fn start_control(mut updater: Updater, status: Arc<Status>) -> Result<(), String> {
    let (done, first) = oneshot::channel();
    let control = move || {
        let mut begun = SystemTime::now();
        match updater.apply() {
            Ok(committed) => {
                status.committed(&committed);
                let _ = done.send(Ok(()));
            }
            Err(problems) => {
                let _ = done.send(Err(problems.to_string()));
                return;
            }
        }
        let mut files = Files::default();
        files.watch(updater.files(), begun);
        while files.wait(updater.files()) {
            begun = SystemTime::now();
            match updater.apply() {
                Ok(committed) => status.committed(&committed),
                Err(problems) => {
                    for problem in problems.iter() {
                        tracing::error!("{problem}");
                    }
                    tracing::error!("the update is refused; what was running goes on");
                    status.refused(&problems);
                }
            }
            files.watch(updater.files(), begun);
        }
    };
    std::thread::Builder::new()
        .name("control".into())
        .stack_size(4 << 20)
        .spawn(control)
        .map_err(|error| format!("cannot start the control thread: {error}"))?;
    first.await.unwrap_or_else(|_| Err("the control thread ended".to_owned()))
}

/// Waits for a reason to stop, then drains: a second signal ends at once.
async fn wait_and_drain(
    config: &Config,
    mailboxes: &[mpsc::Sender<Message>],
    status: &Status,
    mut commands: mpsc::Receiver<admin::Command>,
    threads: &[std::thread::JoinHandle<()>],
) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("cannot listen for signals");
        return;
    };
    // Taking them is enough: tools that send these to every daemon must not end one that gives them no meaning.
    let _harmless = [SignalKind::hangup(), SignalKind::user_defined1(), SignalKind::user_defined2()].map(signal);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => return,
            command = commands.recv() => match command {
                Some(admin::Command::Drain) => {
                    status.draining.store(true, Ordering::Relaxed);
                    tell(mailboxes, Phase::Announced).await;
                }
                Some(admin::Command::Quit) => return,
                None => {}
            },
        }
    }
    tracing::info!(minimum = ?config.drain.minimum, timeout = ?config.drain.timeout, "draining");
    status.draining.store(true, Ordering::Relaxed);
    let begun = Instant::now();
    let draining = async {
        tell(mailboxes, Phase::Announced).await;
        tokio::time::sleep(config.drain.minimum).await;
        tell(mailboxes, Phase::Closing).await;
        while threads.iter().any(|thread| !thread.is_finished()) && begun.elapsed() < config.drain.timeout {
            tokio::time::sleep(DRAIN_POLL).await;
        }
    };
    tokio::select! {
        () = draining => tracing::info!(milliseconds = begun.elapsed().as_millis(), "drained"),
        _ = terminate.recv() => tracing::warn!("second SIGTERM: exit at once"),
        _ = interrupt.recv() => tracing::warn!("SIGINT while draining: exit at once"),
    }
}

async fn tell(mailboxes: &[mpsc::Sender<Message>], phase: Phase) {
    for mailbox in mailboxes {
        let _ = mailbox.send(Message::Drain(phase)).await;
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

fn warn_of_root() {
    if rustix::process::geteuid().is_root() {
        tracing::warn!("running as root: a proxy needs no privileges; run it as a user of its own");
    }
}
