//! What may be asked of control, and what it answers. Everything that changes what runs comes through one queue.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::rollout::{Action, Due};
use super::signature::Signed;

/// Changes that are received, wait or are prepared at a time: each may hold a module of 32 MiB.
pub const CHANGES: usize = 4;
/// Entries of the queue: every change, and one call to look around.
const QUEUE: usize = CHANGES + 1;

/// Something to be changed.
#[derive(Debug)]
pub enum Change {
    /// Files, or what URLs lead to, may say something else than before.
    Sources,
    /// A module in place of what the plugin's source has.
    Push(Push),
    /// The version that served before.
    Rollback { plugin: String, met: Option<Met> },
    /// What an operator asks of a rollout.
    Rollout { plugin: String, action: Action },
    /// What is due in a rollout.
    Step { plugin: String, due: Due },
    /// A document in place of all configuration files.
    Config { text: String },
}

/// A module that was pushed.
#[derive(Debug)]
pub struct Push {
    pub plugin: String,
    pub module: Bytes,
    /// What the pusher says its sha256 is.
    pub digest: Option<String>,
    pub signed: Option<Signed>,
    /// A signed version that is not above the highest accepted is welcome.
    pub allow_rollback: bool,
    /// How it takes over, if not as configured.
    pub rollout: Option<Shares>,
    pub met: Option<Met>,
}

/// What a change met when it came: it may have to wait, and what happens meanwhile does not change what it means.
#[derive(Clone, Debug)]
pub struct Met {
    /// The digest that the plugin's source had.
    pub source: Option<String>,
    /// The digest of the version before the one that ran.
    pub previous: Option<String>,
}

/// The rollout that a push asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares {
    /// `5,50`.
    pub weights: String,
    /// How long each step lasts at least.
    pub hold: Duration,
}

impl Change {
    /// The plugin that this is about alone.
    pub fn plugin(&self) -> Option<&str> {
        match self {
            Self::Push(push) => Some(&push.plugin),
            Self::Rollback { plugin, .. } | Self::Rollout { plugin, .. } | Self::Step { plugin, .. } => Some(plugin),
            Self::Sources | Self::Config { .. } => None,
        }
    }
}

/// A change that took effect on every worker.
#[derive(Clone, Debug)]
pub enum Done {
    Plugin {
        plugin: String,
        version: u32,
        digest: String,
        state: &'static str,
        prepare_ms: u64,
        /// Whether it survives a restart.
        durable: bool,
        note: Option<&'static str>,
    },
    Config {
        snapshot: u64,
        changed: Vec<String>,
    },
}

impl Done {
    pub fn to_json(&self) -> Value {
        match self {
            Self::Plugin { plugin, version, digest, state, prepare_ms, durable, note } => json!({
                "plugin": plugin, "version": version, "digest": digest, "state": state, "prepareMs": prepare_ms,
                "durable": durable, "note": note,
            }),
            Self::Config { snapshot, changed } => json!({"snapshot": snapshot, "changed": changed}),
        }
    }
}

/// Why a change did not take effect; what ran before goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("no plugin is named {0}")]
    UnknownPlugin(String),
    #[error("no version of {0} served before this one")]
    NoPrevious(String),
    #[error("no version of {0} is being rolled out")]
    NoRollout(String),
    #[error("an update of {0} is being prepared")]
    Busy(String),
    #[error("too many changes wait already")]
    Full,
    #[error("a later configuration came while this one waited for its modules")]
    Superseded,
    #[error("the proxy is going away")]
    Ending,
    /// What was offered is not good enough: in one word group, and in detail.
    #[error("{error}: {reason}")]
    Invalid { error: &'static str, reason: String },
}

/// How a change ended.
pub type Answer = Result<Done, Refused>;

/// A change with its place in the queue, and who waits for the answer.
pub struct Order {
    pub change: Change,
    pub answer: oneshot::Sender<Answer>,
    pub place: Place,
}

impl Order {
    /// Says how it ended.
    pub fn answer(self, outcome: Answer) {
        let Self { answer, place, .. } = self;
        // Whoever hears the answer may ask for the next change at once.
        drop(place);
        let _ = answer.send(outcome);
    }
}

/// What the control thread receives.
pub enum Signal {
    Order(Box<Order>),
    /// Files or remote sources may have changed.
    Look,
}

/// The queue's entry, for all who ask for changes.
#[derive(Clone)]
pub struct Desk {
    queue: SyncSender<Signal>,
    looking: Arc<AtomicBool>,
    places: Arc<Semaphore>,
    busy: Arc<Mutex<HashSet<String>>>,
}

/// The queue's end, for the control thread.
pub struct Inbox {
    pub queue: Receiver<Signal>,
    looking: Arc<AtomicBool>,
}

/// Holds a place among the changes, and keeps a plugin to oneself, until dropped.
pub struct Place {
    plugin: Option<String>,
    busy: Arc<Mutex<HashSet<String>>>,
    _permit: OwnedSemaphorePermit,
}

/// An empty queue.
pub fn queue() -> (Desk, Inbox) {
    let (sender, receiver) = sync_channel(QUEUE);
    let looking = Arc::new(AtomicBool::new(false));
    let places = Arc::new(Semaphore::new(CHANGES));
    let desk = Desk { queue: sender, looking: looking.clone(), places, busy: Arc::default() };
    (desk, Inbox { queue: receiver, looking })
}

impl Desk {
    /// Takes a place before anything is received for the change.
    pub fn reserve(&self, plugin: Option<&str>) -> Result<Place, Refused> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plugin) = plugin.filter(|plugin| busy.contains(*plugin)) {
            return Err(Refused::Busy(plugin.to_owned()));
        }
        let permit = self.places.clone().try_acquire_owned().map_err(|_| Refused::Full)?;
        busy.extend(plugin.map(str::to_owned));
        Ok(Place { plugin: plugin.map(str::to_owned), busy: self.busy.clone(), _permit: permit })
    }

    /// Queues a change and waits until it has taken effect everywhere, or is refused. It goes on when nobody waits.
    pub async fn submit(&self, change: Change, place: Place) -> Answer {
        let (answer, outcome) = oneshot::channel();
        let order = Box::new(Order { change, answer, place });
        self.queue.try_send(Signal::Order(order)).map_err(|_| Refused::Full)?;
        outcome.await.unwrap_or(Err(Refused::Ending))
    }

    /// Has control look at files and remote sources soon. Never waits; one waiting call says as much as many.
    pub fn look(&self) {
        if !self.looking.swap(true, Ordering::AcqRel) && self.queue.try_send(Signal::Look).is_err() {
            self.looking.store(false, Ordering::Release);
        }
    }
}

impl Inbox {
    /// The call to look was heard: the next one counts again.
    pub fn looked(&self) {
        self.looking.store(false, Ordering::Release);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(plugin) = &self.plugin {
            self.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(plugin);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_update_of_a_plugin_at_a_time_and_few_of_all() {
        let (desk, _inbox) = queue();
        let first = desk.reserve(Some("a")).unwrap();
        assert_eq!(desk.reserve(Some("a")).err(), Some(Refused::Busy("a".into())));
        let others: Vec<_> = (1..CHANGES).map(|_| desk.reserve(None).unwrap()).collect();
        assert_eq!(desk.reserve(Some("b")).err(), Some(Refused::Full));
        drop(first);
        assert!(desk.reserve(Some("a")).is_ok());
        drop(others);
    }

    #[test]
    fn many_calls_to_look_are_one() {
        let (desk, inbox) = queue();
        for _ in 0..100 {
            desk.look();
        }
        assert_eq!(inbox.queue.try_iter().count(), 1);
        inbox.looked();
        desk.look();
        assert_eq!(inbox.queue.try_iter().count(), 1);
    }
}
