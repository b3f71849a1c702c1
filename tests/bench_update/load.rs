//! Keep-alive clients that note which version answered them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sidegate_tests::{Client, traffic};

const CLIENTS: usize = 4;

/// What clients saw.
#[derive(Default)]
pub(crate) struct Seen {
    /// Answers with this name on them.
    pub(crate) new: AtomicU64,
    /// Answers of any other version.
    pub(crate) old: AtomicU64,
    /// 503: the filter trapped.
    pub(crate) faults: AtomicU64,
    pub(crate) errors: AtomicU64,
}

impl Seen {
    pub(crate) fn all(&self) -> u64 {
        [&self.new, &self.old, &self.faults, &self.errors].iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

/// Sends requests while the work is done; `new` is the name of the version that is rolled out.
pub(crate) fn during<R>(address: SocketAddr, new: &str, work: impl FnOnce(&Seen) -> R) -> (R, Seen) {
    let seen = Seen::default();
    let client = |stop: &AtomicBool| {
        while !stop.load(Ordering::Relaxed) {
            if ask(address, new, stop, &seen).is_err() {
                seen.errors.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let done = traffic::beside(CLIENTS, client, || work(&seen));
    (done, seen)
}

fn ask(address: SocketAddr, new: &str, stop: &AtomicBool, seen: &Seen) -> std::io::Result<()> {
    let mut client = Client::connect(address)?;
    while !stop.load(Ordering::Relaxed) {
        let answer = client.get("/")?;
        let count = match (answer.status, answer.header("x-gen")) {
            (200, Some(name)) if name == new => &seen.new,
            (200, Some(_)) => &seen.old,
            (503, _) => &seen.faults,
            _ => &seen.errors,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
