//! What control and workers say to each other. Control knows workers only by their mailboxes.

use std::sync::Arc;

use sidegate_wasm_host::{Fault, Vm};
use tokio::sync::oneshot;

use crate::listen::Socket;
use crate::snapshot::plugin::Guest;
use crate::snapshot::{Address, Clusters, Node, PluginModule, PluginUse, Snapshot};
use crate::telemetry::plugins::PluginSeries;
use crate::worker::wishes::Wishes;

/// Messages that may wait for one worker.
pub const MAILBOX: usize = 1024;

/// What the control side, and other workers, tell a worker.
pub enum Message {
    /// Make ready for this snapshot. Answered when it is; the switch follows.
    Seat(Box<Seating>),
    /// Serve what was made ready. Answered when new exchanges use it.
    Commit(oneshot::Sender<()>),
    /// A VM that this worker asked for.
    Vm {
        tag: u64,
        vm: Box<Result<Vm<Guest>, Fault>>,
    },
    QueueReady {
        tag: u64,
        queue: u32,
    },
    Drain(Phase),
    /// End the exchanges that are inside VMs of this version.
    Reset(Arc<PluginModule>),
    /// The level of the log has changed: guests ask for it.
    LogLevel,
}

/// A snapshot with everything that it needs on this worker.
pub struct Seating {
    pub snapshot: Arc<Snapshot>,
    /// Aligned with `Snapshot::plugins`.
    pub seats: Vec<Seat>,
    /// Sockets of new listeners.
    pub sockets: Vec<(Address, Socket)>,
    pub ready: oneshot::Sender<()>,
}

/// What a worker needs of one plugin of a snapshot. Made before, so that the worker only puts it in place.
pub struct Seat {
    /// New VMs; none when the worker has them already.
    pub vms: Vec<Vm<Guest>>,
    pub series: PluginSeries,
    /// What it asked for when it was configured.
    pub wishes: Option<Arc<Wishes>>,
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    #[default]
    Serving,
    /// New connections are still taken, but told to close.
    Announced,
    /// Inbound listeners are closed, what is idle goes; the worker stays.
    Closed,
    /// The same, and a worker without connections ends.
    Closing,
    /// The worker ends, whatever it still serves.
    Ending,
}

/// What a worker asks of the thread that prepares VMs.
pub enum Order {
    Make(VmOrder),
    /// Unmapping its memory takes time that no request should wait for.
    Free(Box<Vm<Guest>>),
}

/// A VM to be made.
pub struct VmOrder {
    pub worker: usize,
    pub plugin: Arc<PluginUse>,
    /// What it sees while it is configured: the same as its predecessor.
    pub clusters: Arc<Clusters>,
    pub node: Arc<Node>,
}
