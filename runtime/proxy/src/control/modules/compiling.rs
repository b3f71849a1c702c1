//! Modules whose code is not at hand are compiled beside control: the largest take a minute, and rollouts are judged and
//! other changes made meanwhile.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sidegate_wasm_host::Policy;

use crate::control::change::Desk;
use crate::control::compiler;

/// Modules that are compiled at the same time: a small one need not wait for a large one.
const AT_ONCE: usize = 2;
/// Modules that wait to be compiled, of 32 MiB at most; the oldest gives way, and is asked for again if it is needed.
const WAITING: usize = 8;
/// Results that nobody has come for; older ones are made again.
const KEPT: usize = 16;

/// Code, or why there is none.
type Compiled = Result<Vec<u8>, String>;

/// The threads that compile, and what they have made.
pub(super) struct Compiling {
    orders: Arc<Orders>,
    results: Receiver<Done>,
    /// What is compiled, or waits for it.
    under_way: HashSet<String>,
    done: HashMap<String, Done>,
    /// What updates have got since the last one had all, and what it took to make. An update that has to wait asks for
    /// all of it again.
    got: HashMap<String, Duration>,
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

/// Orders that nobody has begun with.
#[derive(Default)]
struct Orders {
    state: Mutex<Pending>,
    more: Condvar,
}

#[derive(Default)]
struct Pending {
    orders: VecDeque<Order>,
    closed: bool,
}

impl Orders {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one; returns the one that gave way.
    fn push(&self, order: Order) -> Option<Order> {
        let mut state = self.lock();
        state.orders.push_back(order);
        self.more.notify_one();
        if state.orders.len() > WAITING { state.orders.pop_front() } else { None }
    }

    /// Waits for the next one; none when nobody orders any more.
    fn next(&self) -> Option<Order> {
        let waits = |state: &mut Pending| state.orders.is_empty() && !state.closed;
        let mut state = self.more.wait_while(self.lock(), waits).unwrap_or_else(PoisonError::into_inner);
        if state.closed { None } else { state.orders.pop_front() }
    }
}

impl Compiling {
    /// `desk` is told when there is something new.
    pub(super) fn start(desk: &Desk) -> std::io::Result<Self> {
        let orders = Arc::<Orders>::default();
        let (sender, results) = channel();
        let compiling = Self {
            orders: orders.clone(),
            results,
            under_way: HashSet::new(),
            done: HashMap::new(),
            got: HashMap::new(),
            waits: false,
        };
        for _ in 0..AT_ONCE {
            let (orders, sender, desk) = (orders.clone(), sender.clone(), desk.clone());
            std::thread::Builder::new().name("compile".into()).spawn(move || serve(&orders, &sender, &desk))?;
        }
        Ok(compiling)
    }

    /// The code of a module. `None`: it is being made, and there will be news.
    pub(super) fn code(&mut self, name: &str, policy: Policy, wasm: &Bytes) -> Option<Compiled> {
        if let Some(done) = self.done.get(name) {
            self.got.insert(name.to_owned(), done.took);
            return Some(done.compiled.clone());
        }
        if self.under_way.insert(name.to_owned()) {
            let order = Order { name: name.to_owned(), policy, wasm: wasm.clone() };
            if let Some(oldest) = self.orders.push(order) {
                self.under_way.remove(&oldest.name);
            }
        }
        self.waits = true;
        None
    }

    /// Takes what has been made; whether there is any.
    pub(super) fn take(&mut self) -> bool {
        let mut news = false;
        while let Ok(done) = self.results.try_recv() {
            news = true;
            self.under_way.remove(&done.name);
            if self.done.len() >= KEPT {
                self.done.clear();
            }
            self.done.insert(done.name.clone(), done);
        }
        news
    }

    /// An update begins to ask.
    pub(super) fn begin(&mut self) {
        self.waits = false;
    }

    /// Whether the update has asked for something that is still being made.
    pub(super) fn waits(&self) -> bool {
        self.waits
    }

    /// The update has all that it asked for: nobody needs that again. How long it took to make.
    pub(super) fn end(&mut self) -> Duration {
        let got = std::mem::take(&mut self.got);
        self.done.retain(|name, _| !got.contains_key(name));
        got.values().sum()
    }
}

impl Drop for Compiling {
    fn drop(&mut self) {
        self.orders.lock().closed = true;
        self.orders.more.notify_all();
    }
}

/// Compiles one module after the other.
fn serve(orders: &Orders, results: &Sender<Done>, desk: &Desk) {
    while let Some(Order { name, policy, wasm }) = orders.next() {
        let begun = Instant::now();
        let compiled = compiler::compile(policy, &wasm);
        if results.send(Done { name, compiled, took: begun.elapsed() }).is_err() {
            return;
        }
        desk.look();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(name: usize) -> Order {
        Order { name: name.to_string(), policy: Policy::Foreign, wasm: Bytes::new() }
    }

    #[test]
    fn the_oldest_order_gives_way_and_the_end_is_heard() {
        let orders = Orders::default();
        for name in 0..WAITING {
            assert!(orders.push(order(name)).is_none());
        }
        assert_eq!(orders.push(order(WAITING)).map(|order| order.name), Some("0".to_owned()));
        assert_eq!(orders.next().map(|order| order.name), Some("1".to_owned()));
        orders.lock().closed = true;
        assert!(orders.next().is_none());
    }
}
