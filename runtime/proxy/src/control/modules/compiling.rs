//! Modules whose code is not at hand are compiled beside control: the largest take a minute, and rollouts are judged and
//! other changes made meanwhile.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sidegate_wasm_host::Policy;

use crate::control::change::Desk;
use crate::control::compiler;

/// Modules that are compiled at the same time: a small one need not wait for a large one.
const AT_ONCE: usize = 2;
/// Results that nobody has come for; older ones are made again.
const KEPT: usize = 16;

/// Code, or why there is none.
type Compiled = Result<Vec<u8>, String>;

/// The threads that compile, and what they have made.
pub(super) struct Compiling {
    orders: Sender<Order>,
    results: Receiver<Done>,
    /// What is compiled, or waits for it.
    under_way: HashSet<String>,
    done: VecDeque<Done>,
    /// What was asked for in the update that is being made.
    asked: HashMap<String, Duration>,
    waits: bool,
}

struct Order {
    name: String,
    policy: Policy,
    wasm: Bytes,
}

struct Done {
    name: String,
    compiled: Compiled,
    took: Duration,
}

impl Compiling {
    /// `desk` is told when there is something new.
    pub(super) fn start(desk: &Desk) -> std::io::Result<Self> {
        let (orders, incoming) = channel::<Order>();
        let (sender, results) = channel();
        let incoming = Arc::new(Mutex::new(incoming));
        for _ in 0..AT_ONCE {
            let (incoming, sender, desk) = (incoming.clone(), sender.clone(), desk.clone());
            let next = move || incoming.lock().unwrap_or_else(PoisonError::into_inner).recv();
            std::thread::Builder::new().name("compile".into()).spawn(move || {
                while let Ok(Order { name, policy, wasm }) = next() {
                    let begun = Instant::now();
                    let compiled = compiler::compile(policy, &wasm);
                    if sender.send(Done { name, compiled, took: begun.elapsed() }).is_err() {
                        return;
                    }
                    desk.look();
                }
            })?;
        }
        let (under_way, done, asked) = Default::default();
        Ok(Self { orders, results, under_way, done, asked, waits: false })
    }

    /// The code of a module. `None`: it is being made, and there will be news.
    pub(super) fn code(&mut self, name: &str, policy: Policy, wasm: &Bytes) -> Option<Compiled> {
        if let Some(done) = self.done.iter().find(|done| done.name == name) {
            self.asked.insert(name.to_owned(), done.took);
            return Some(done.compiled.clone());
        }
        if !self.under_way.contains(name) {
            let order = Order { name: name.to_owned(), policy, wasm: wasm.clone() };
            if self.orders.send(order).is_err() {
                return Some(Err("nobody compiles any more".to_owned()));
            }
            self.under_way.insert(name.to_owned());
        }
        self.waits = true;
        None
    }

    /// Takes what has been made; whether there is any.
    pub(super) fn take(&mut self) -> bool {
        let before = self.under_way.len();
        while let Ok(done) = self.results.try_recv() {
            self.under_way.remove(&done.name);
            self.done.push_back(done);
            if self.done.len() > KEPT {
                self.done.pop_front();
            }
        }
        self.under_way.len() < before
    }

    /// An update begins to ask.
    pub(super) fn begin(&mut self) {
        self.asked.clear();
        self.waits = false;
    }

    /// Whether the update has asked for something that is still being made.
    pub(super) fn waits(&self) -> bool {
        self.waits
    }

    /// The update has all that it asked for: nobody needs that again. How long it took to make.
    pub(super) fn end(&mut self) -> Duration {
        let asked = std::mem::take(&mut self.asked);
        self.done.retain(|done| !asked.contains_key(&done.name));
        asked.values().sum()
    }
}
