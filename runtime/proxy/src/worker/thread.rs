//! The thread of a worker: a runtime of its own, a loop over its mailbox, and a slow sweep over what may have
//! stalled and what is only shown.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use slab::Slab;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::commit::{Replaced, Seated};
use super::counters::Counters;
use super::env::{Env, Process};
use super::plugins::background::Lane;
use super::{Worker, WorkerSnapshot};
use crate::downstream;
use crate::exchange::held::HeldBytes;
use crate::listen::Socket;
use crate::mailbox::{Message, Order, Phase, Seating};
use crate::snapshot::{Address, Clusters, Node, Snapshot};
use crate::upstream::pool::Pools;

/// How often stalled connections and idle pools are looked for: the resolution of those timeouts.
const SWEEP: Duration = Duration::from_millis(500);
/// How often a worker that ends looks whether the roots of its VMs have finished.
const LAST_LOOK: Duration = Duration::from_millis(5);
/// How long exchanges that are cut may take to be over: none waits for anybody.
const CUT: Duration = Duration::from_millis(500);
/// Task polls between two looks at the sockets: frames of many HTTP/2 streams join one write before the next look.
const EVENT_INTERVAL: u32 = 256;
/// Stack of a worker thread: four times what a guest may use, and room for ours.
const STACK: usize = 4 << 20;

/// What a worker starts with.
pub struct Start {
    pub index: usize,
    pub process: Arc<Process>,
    pub mailbox: mpsc::Receiver<Message>,
    pub mailboxes: Arc<[mpsc::Sender<Message>]>,
    pub orders: mpsc::UnboundedSender<Order>,
}

/// Starts the thread. It ends when its mailbox is closed, or when it is drained and idle and every root of its VMs has
/// been told.
pub fn spawn(start: Start) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(format!("worker-{}", start.index)).stack_size(STACK).spawn(move || {
        let runtime =
            match tokio::runtime::Builder::new_current_thread().enable_all().event_interval(EVENT_INTERVAL).build() {
                Ok(runtime) => runtime,
                Err(error) => {
                    tracing::error!("worker cannot start: {error}");
                    return;
                }
            };
        LocalSet::new().block_on(&runtime, run(start));
    })
}

async fn run(start: Start) {
    let Start { index, process, mut mailbox, mailboxes, orders } = start;
    let empty = Arc::new(Snapshot::empty());
    let env = Env::new(index, process.clone(), Arc::<Clusters>::default(), Arc::<Node>::default());
    let worker = Rc::new(Worker {
        index,
        counters: Counters::new(&process),
        process,
        env: RefCell::new(Box::new(env)),
        snapshot: RefCell::new(Rc::new(WorkerSnapshot { shared: empty, slots: Vec::new() })),
        slots: RefCell::default(),
        pools: Pools::default(),
        connections: RefCell::new(Slab::new()),
        exchanges: RefCell::default(),
        lane: Lane::default(),
        held: HeldBytes::default(),
        phase: Cell::new(Phase::Serving),
        mirrors: Cell::new(0),
        orders,
        mailboxes,
    });
    let mut accepting = Accepting { loops: HashMap::new(), seated: None };
    let mut sweep = tokio::time::interval(SWEEP);
    let (mut leaving, mut cut) = (false, None);
    loop {
        tokio::select! {
            message = mailbox.recv() => match message {
                // As if the thread had ended: nothing new comes here any more.
                Some(Message::Seat(_) | Message::Commit(_)) if leaving => {}
                Some(Message::Seat(seating)) => accepting.seat(&worker, *seating),
                Some(Message::Commit(done)) => {
                    let replaced = accepting.commit(&worker);
                    tokio::task::yield_now().await;
                    replaced.into_iter().for_each(|replaced| worker.clear(replaced));
                    let _ = done.send(());
                }
                Some(Message::Vm { tag, vm }) => {
                    if let Some(slot) = worker.slot(tag) {
                        slot.arrived(&worker, *vm);
                    }
                }
                Some(Message::QueueReady { tag, queue }) => worker.queue_ready(tag, queue),
                Some(Message::Drain(phase)) => accepting.drain(&worker, phase),
                Some(Message::Reset(module)) => worker.reset(&module),
                Some(Message::LogLevel) => worker.with_env(Env::refresh_log_level),
                None => return,
            },
            _ = sweep.tick() => {
                let now = Instant::now();
                downstream::connection::sweep(&worker, now);
                worker.sweep_pools(now);
                worker.show_contexts();
            }
            () = tokio::time::sleep(LAST_LOOK), if leaving || cut.is_some() => {}
        }
        // A tunnel has left the list of connections; its exchange lasts as long as it does.
        let idle = || worker.connections.borrow().is_empty() && worker.with_env(|env| env.views.is_empty());
        if worker.phase.get() == Phase::Ending {
            cut.get_or_insert_with(Instant::now);
        }
        // Roots end after the exchanges that they were asked about.
        let over = worker.phase.get() >= Phase::Closing && idle();
        if !leaving && (over || cut.is_some_and(|cut: Instant| cut.elapsed() > CUT)) {
            leaving = true;
            accepting.end();
            worker.leave();
        }
        if leaving && worker.slots.borrow().is_empty() {
            return;
        }
    }
}

/// The accept loops of a worker.
struct Accepting {
    loops: HashMap<Address, tokio::task::AbortHandle>,
    /// What the next commit switches to, with the sockets of its new listeners.
    seated: Option<(Seated, Vec<(Address, Socket)>)>,
}

impl Accepting {
    fn seat(&mut self, worker: &Rc<Worker>, seating: Seating) {
        let Seating { snapshot, seats, sockets, ready } = seating;
        self.seated = Some((worker.seat(snapshot, seats), sockets));
        let _ = ready.send(());
    }

    fn commit(&mut self, worker: &Rc<Worker>) -> Option<Replaced> {
        let (seated, sockets) = self.seated.take()?;
        let begun = Instant::now();
        self.loops.retain(|address, task| {
            let kept = seated.snapshot().listeners.iter().any(|listener| listener.address == *address);
            if !kept {
                task.abort();
            }
            kept
        });
        let replaced = worker.switch(seated);
        for (address, socket) in sockets {
            match downstream::accept(worker, address.clone(), socket) {
                Ok(task) => {
                    self.loops.insert(address, task);
                }
                Err(error) => tracing::error!(%address, "cannot accept: {error}"),
            }
        }
        worker.counters.swapped(worker.index, begun.elapsed());
        Some(replaced)
    }

    /// Nobody is let in any more.
    fn end(&mut self) {
        self.loops.drain().for_each(|(_, task)| task.abort());
        self.seated = None;
    }

    /// Goes on towards the end. Outbound listeners accept until exit.
    fn drain(&mut self, worker: &Rc<Worker>, phase: Phase) {
        worker.phase.set(phase);
        if phase >= Phase::Closed {
            let snapshot = worker.snapshot();
            self.loops.retain(|address, task| {
                let outbound = snapshot.shared.listeners.iter().any(|listener| {
                    listener.address == *address && listener.direction == crate::snapshot::Direction::Outbound
                });
                if !outbound {
                    task.abort();
                }
                outbound
            });
        }
        for (_, connection) in worker.connections.borrow().iter() {
            connection.drain(phase);
        }
        if phase == Phase::Ending {
            worker.cut();
        }
    }
}
