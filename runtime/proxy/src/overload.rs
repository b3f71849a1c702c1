//! Memory pressure: beyond a share of the memory limit, new requests are turned away until it is over.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::worker::env::Process;

/// How often memory is looked at.
const PERIOD: Duration = Duration::from_millis(250);
/// Where cgroups tell the limit of this process: version 2, then version 1.
const LIMITS: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];

/// Sets `Process::overloaded` while resident memory is above the share of the limit that is configured. Without a limit,
/// never.
pub async fn watch(process: Arc<Process>) {
    let limits =
        LIMITS.iter().filter_map(|path| std::fs::read_to_string(Path::new(path)).ok()?.trim().parse::<u64>().ok());
    // Version 1 writes "no limit" as a huge number.
    let Some(limit) = limits.filter(|limit| *limit < 1 << 60).min() else { return };
    let mut tick = tokio::time::interval(PERIOD);
    loop {
        tick.tick().await;
        let threshold = limit / 100 * u64::from(process.allowance.memory());
        let overloaded = resident().is_some_and(|bytes| bytes > threshold);
        if process.overloaded.swap(overloaded, Ordering::Relaxed) != overloaded {
            if overloaded {
                tracing::warn!(threshold, limit, "memory is short: new requests are turned away");
            } else {
                tracing::info!("memory suffices again");
            }
        }
    }
}

/// Resident memory of this process in bytes.
fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
