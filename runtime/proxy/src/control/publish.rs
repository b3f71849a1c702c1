//! Two steps: prepare the VMs of a snapshot for every worker while the present one serves, then commit it everywhere.
//! Any refusal leaves everything as it was.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use sidegate_config::{Config, Plugin, Problem, Problems, Severity};
use sidegate_wasm_host::{Fault, Vm};
use tokio::sync::{mpsc, oneshot};

use super::give_way;
use crate::listen::{self, Claim, Socket};
use crate::mailbox::{Message, Order, Seat, Seating, VmOrder};
use crate::snapshot::compile::{self, Modules as Code};
use crate::snapshot::plugin::Guest;
use crate::snapshot::{Address, PluginModule, PluginUse, Snapshot};
use crate::telemetry::metrics::Registry;
use crate::telemetry::plugins::PluginSeries;
use crate::worker::env::{ConfigProblem, Env, Process};

/// VMs of each plugin on each worker: one that serves, and a spare for the moment after a fault.
pub const VMS_PER_SLOT: usize = 2;

/// Prepared VMs: by worker, then by tag.
pub type Prepared = Vec<HashMap<u64, Vec<Vm<Guest>>>>;

/// Sockets of new listeners: by worker.
pub type Sockets = Vec<Vec<(Address, Socket)>>;

/// Makes snapshots the present one of all workers.
pub struct Publisher {
    process: Arc<Process>,
    mailboxes: Arc<[mpsc::Sender<Message>]>,
    claims: HashMap<Address, Claim>,
    current: Option<Arc<Snapshot>>,
    /// Snapshots that exchanges may still hold. The last holder frees one, and that shall not be a worker.
    past: Vec<Arc<Snapshot>>,
    /// Plugin uses that have no VM because theirs was refused; each update tries them again.
    refused: HashSet<u64>,
}

/// What became of a plugin whose VMs could not be prepared.
pub struct Refusal {
    pub plugin: Arc<PluginUse>,
    pub reason: String,
    pub problems: Vec<ConfigProblem>,
}

impl Publisher {
    pub fn new(process: Arc<Process>, mailboxes: Arc<[mpsc::Sender<Message>]>) -> Self {
        Self { process, mailboxes, claims: HashMap::new(), current: None, past: Vec::new(), refused: HashSet::new() }
    }

    pub fn metrics(&self) -> &Registry {
        &self.process.metrics
    }

    pub fn current(&self) -> Option<&Arc<Snapshot>> {
        self.current.as_ref()
    }

    /// Compiles a configuration against what is running now.
    pub fn compile(&self, config: &Config, plugins: &[Plugin], code: &Code) -> Result<Snapshot, Problems> {
        compile::compile(config, plugins, code, self.current.as_deref())
    }

    /// Starts and configures the VMs that are new in this snapshot. Ticks and callouts they ask for are recorded.
    pub fn prepare(&self, snapshot: &Snapshot) -> (Prepared, Vec<Refusal>) {
        let known = |plugin: &PluginUse| {
            if self.refused.contains(&plugin.spec.tag) {
                return false;
            }
            self.current
                .as_ref()
                .is_some_and(|current| current.plugins.iter().any(|known| known.spec.tag == plugin.spec.tag))
        };
        let mut prepared: Prepared = self.mailboxes.iter().map(|_| HashMap::new()).collect();
        let mut refusals = Vec::new();
        for plugin in snapshot.plugins.iter().filter(|plugin| !known(plugin)) {
            if let Err(refusal) = self.prepare_plugin(snapshot, plugin, &mut prepared) {
                prepared.iter_mut().for_each(|vms| {
                    vms.remove(&plugin.spec.tag);
                });
                refusals.push(refusal);
            }
        }
        (prepared, refusals)
    }

    fn prepare_plugin(
        &self,
        snapshot: &Snapshot,
        plugin: &Arc<PluginUse>,
        prepared: &mut Prepared,
    ) -> Result<(), Refusal> {
        for (worker, vms) in prepared.iter_mut().enumerate() {
            for _ in 0..VMS_PER_SLOT {
                give_way();
                let env = Env::new(worker, self.process.clone(), snapshot.clusters.clone(), snapshot.node.clone());
                let made = make_vm(plugin, env).map_err(|(reason, problems)| Refusal {
                    plugin: plugin.clone(),
                    reason,
                    problems,
                })?;
                vms.entry(plugin.spec.tag).or_default().push(made);
            }
        }
        Ok(())
    }

    /// Whether this refusal is an old one: the plugin had no VM before either.
    pub fn knows(&self, refusal: &Refusal) -> bool {
        self.refused.contains(&refusal.plugin.spec.tag)
    }

    /// Whether a plugin of this name has no VM because its own were refused.
    pub fn has_refused(&self, plugin: &str) -> bool {
        let current = self.current.iter().flat_map(|current| &current.plugins);
        current.filter(|known| known.name == plugin).any(|known| self.refused.contains(&known.spec.tag))
    }

    /// Ends the exchanges that are inside this version.
    pub fn reset(&self, module: &Arc<PluginModule>) {
        for mailbox in self.mailboxes.iter() {
            let _ = mailbox.blocking_send(Message::Reset(module.clone()));
        }
    }

    /// Frees the snapshots that nobody else holds any more.
    pub fn sweep(&mut self) {
        self.past.retain(|snapshot| Arc::strong_count(snapshot) > 1);
    }

    /// Opens the sockets of listeners that are new in this snapshot.
    pub fn bind(&mut self, snapshot: &Snapshot) -> Result<Sockets, (Address, io::Error)> {
        let mut sockets: Vec<Vec<_>> = self.mailboxes.iter().map(|_| Vec::new()).collect();
        for listener in &snapshot.listeners {
            if self.claims.contains_key(&listener.address) {
                continue;
            }
            let bind = || listen::bind(&listener.address, self.mailboxes.len());
            let bound = if self.current.is_none() { listen::at_start(bind) } else { bind() };
            let (claim, opened) = bound.map_err(|error| (listener.address.clone(), error))?;
            self.claims.insert(listener.address.clone(), claim);
            for (sockets, socket) in sockets.iter_mut().zip(opened) {
                sockets.push((listener.address.clone(), socket));
            }
        }
        Ok(sockets)
    }

    /// Gives back addresses that were bound for a snapshot which did not come to be.
    pub fn release_unused(&mut self) {
        let current = self.current.clone();
        let listeners = current.iter().flat_map(|current| &current.listeners);
        let used: Vec<_> = listeners.map(|listener| listener.address.clone()).collect();
        self.claims.retain(|address, _| used.contains(address));
    }

    /// Makes the snapshot the present one; returns when every worker has switched. Blocks: not for a runtime's thread.
    pub fn commit(&mut self, snapshot: Arc<Snapshot>, prepared: Prepared, refusals: &[Refusal], sockets: Sockets) {
        self.refused = refusals.iter().map(|refusal| refusal.plugin.spec.tag).collect();
        let seated: Vec<_> = prepared.into_iter().map(|vms| self.seats(&snapshot, vms)).collect();
        let mut parts = seated.into_iter().zip(sockets);
        self.tell_all(|ready| {
            let (seats, sockets) = parts.next()?;
            Some(Message::Seat(Box::new(Seating { snapshot: snapshot.clone(), seats, sockets, ready })))
        });
        self.tell_all(|done| Some(Message::Commit(done)));
        self.claims.retain(|address, _| snapshot.listeners.iter().any(|listener| listener.address == *address));
        self.past.extend(self.current.replace(snapshot));
        self.sweep();
    }

    /// Sends each worker its message and waits for their answers.
    fn tell_all(&self, mut message: impl FnMut(oneshot::Sender<()>) -> Option<Message>) {
        let mut answers = Vec::with_capacity(self.mailboxes.len());
        for mailbox in self.mailboxes.iter() {
            let (done, answer) = oneshot::channel();
            if message(done).is_some_and(|message| mailbox.blocking_send(message).is_ok()) {
                answers.push(answer);
            }
        }
        for answer in answers {
            let _ = answer.blocking_recv();
        }
    }

    /// One worker's part of each plugin.
    fn seats(&self, snapshot: &Snapshot, mut vms: HashMap<u64, Vec<Vm<Guest>>>) -> Vec<Seat> {
        let seat = |plugin: &Arc<PluginUse>| Seat {
            vms: vms.remove(&plugin.spec.tag).unwrap_or_default(),
            series: PluginSeries::new(self.metrics(), &plugin.name, &plugin.spec.version),
            wishes: self.process.wishes.of(plugin.spec.tag),
        };
        snapshot.plugins.iter().map(seat).collect()
    }
}

/// Makes one VM; a refusal comes with what the guest said about its configuration.
fn make_vm(plugin: &PluginUse, env: Env) -> Result<Vm<Guest>, (String, Vec<ConfigProblem>)> {
    let module = plugin.module.code.as_ref().map_err(|reason| (reason.clone(), Vec::new()))?;
    // What a failed VM recorded is lost with it: problems are kept outside of it.
    let reports = env.problem_reports();
    match Vm::prepare(module, plugin.spec.clone(), Box::new(env)) {
        Ok(vm) => Ok(vm),
        Err(fault) => Err((fault.to_string(), reports.take())),
    }
}

/// Makes VMs for workers that lost one and frees those they are done with, on a thread of its own, until they are gone.
pub fn serve_orders(
    mut orders: mpsc::UnboundedReceiver<Order>,
    process: &Arc<Process>,
    mailboxes: &[mpsc::Sender<Message>],
) {
    while let Some(order) = orders.blocking_recv() {
        let VmOrder { worker, plugin, clusters, node } = match order {
            Order::Make(order) => order,
            Order::Free(vm) => {
                drop(vm);
                continue;
            }
        };
        let env = Env::new(worker, process.clone(), clusters, node);
        let vm: Result<Vm<Guest>, Fault> = match &plugin.module.code {
            Ok(module) => Vm::prepare(module, plugin.spec.clone(), Box::new(env)),
            Err(_) => continue,
        };
        if let Some(mailbox) = mailboxes.get(worker) {
            let _ = mailbox.blocking_send(Message::Vm { tag: plugin.spec.tag, vm: Box::new(vm) });
        }
    }
}

/// What guests that accept their configuration have to say about it all the same.
pub fn remarks(config: &Config, snapshot: &Snapshot, prepared: &mut Prepared) -> Vec<Problem> {
    let mut remarks = Vec::new();
    // Every VM of a plugin says the same.
    let Some(vms) = prepared.first_mut() else { return remarks };
    for plugin in &snapshot.plugins {
        let Some(vm) = vms.get_mut(&plugin.spec.tag).and_then(|vms| vms.first_mut()) else { continue };
        let problems = vm.own_host().problem_reports().take();
        if !problems.is_empty() {
            remarks.extend(problems_of(config, &Refusal { plugin: plugin.clone(), reason: String::new(), problems }));
        }
    }
    remarks
}

/// A refusal as problems of the configuration: what the guest said about its own part, else the reason as a whole.
pub fn problems_of(config: &Config, refusal: &Refusal) -> Vec<Problem> {
    let entries =
        config.listeners.iter().enumerate().flat_map(|(at, listener)| {
            listener.filters.iter().enumerate().map(move |(index, entry)| (at, index, entry))
        });
    let configuration = refusal.plugin.spec.configuration.as_deref();
    let matching = entries.filter(|(_, _, entry)| {
        entry.plugin == refusal.plugin.name && entry.config.bytes().as_deref() == configuration
    });
    let mut problems = Vec::new();
    for (at, index, entry) in matching {
        if refusal.problems.is_empty() {
            problems.push(Problem {
                severity: Severity::Error,
                location: entry.location.clone(),
                path: format!("listeners[{at}].filters[{index}]"),
                message: format!("plugin {}: {}", refusal.plugin.name, refusal.reason),
                fix: None,
            });
        }
        for found in &refusal.problems {
            let severity = if found.warning { Severity::Warning } else { Severity::Error };
            problems.push(entry.config.problem(severity, &found.pointer, found.text.clone()));
        }
    }
    problems
}
