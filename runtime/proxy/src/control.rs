//! From what people write to what workers run: configuration, modules, snapshots, and their publication.
//!
//! [`change`] what may be asked · [`actor`] who does it · [`update`] one update · [`choose`] which module a plugin runs ·
//! [`sources`] and [`fetch`] where modules come from · [`modules`] how they are loaded · [`publish`] how workers get them ·
//! [`store`] what survives a restart · [`history`] what there was.

pub mod actor;
pub mod builtins;
pub mod cache;
pub mod change;
pub mod choose;
pub mod compiler;
pub mod difference;
pub mod fetch;
pub mod files;
pub mod history;
pub mod judge;
pub mod modules;
pub mod publish;
pub mod rollout;
pub mod sealed;
pub mod signature;
pub mod sources;
pub mod store;
pub mod update;

/// Lets a worker go first that waits for this CPU. Between the steps of a preparation: else it may wait for the rest of a
/// time slice, which is longer than most exchanges take. Not in a loop without bound: where nobody sleeps, the scheduler
/// of Linux takes milliseconds to come back.
fn give_way() {
    std::thread::yield_now();
}
