//! Clusters: named sets of endpoints with their limits. The counters in here are per process, shared by all workers
//! and by snapshots that did not change the cluster.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use super::Address;

/// A set of endpoints with one policy.
#[derive(Debug)]
pub struct Cluster {
    pub name: String,
    pub protocol: Protocol,
    pub balancing: Balancing,
    pub endpoints: Vec<Arc<Endpoint>>,
    pub subsets: HashMap<String, Subset>,
    pub limits: Limits,
    pub load: Load,
    /// All endpoints, in the shape of a subset.
    pub all: Subset,
    /// Distinguishes clusters of this process, also over snapshots.
    pub id: usize,
    /// Says whether two of them are made from the same configuration.
    pub fingerprint: u64,
}

/// The endpoints that carry a subset's labels.
#[derive(Debug, Default)]
pub struct Subset {
    /// Indices into `Cluster::endpoints`, each as often as its weight when weights differ.
    pub members: Vec<usize>,
    pub balancing: Option<Balancing>,
    /// The next turn of round robin.
    pub turn: AtomicUsize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
    /// The version that the client speaks.
    Auto,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balancing {
    RoundRobin,
    /// The less loaded of two random choices.
    LeastRequest,
    Random,
}

/// One address, with what all workers know of it.
#[derive(Debug)]
pub struct Endpoint {
    pub address: Address,
    /// The address as properties and logs show it.
    pub text: String,
    pub labels: BTreeMap<String, String>,
    pub weight: u32,
    pub locality: String,
    /// Requests under way.
    pub active: AtomicU32,
    /// Distinguishes endpoints of this process: the key of connection pools.
    pub id: usize,
}

/// What a cluster allows; over it, requests are refused at once with flag UO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub max_connections: u32,
    pub max_pending: u32,
    pub max_requests: u32,
    pub max_retries: u32,
    /// Requests on one connection; 0: no limit.
    pub max_requests_per_connection: u32,
    /// Streams on one HTTP/2 connection.
    pub max_streams: u32,
    pub connect_timeout: Duration,
    /// After which an unused connection is closed; zero: never.
    pub idle_timeout: Duration,
}

impl Limits {
    /// For tests of what does not depend on limits.
    #[cfg(test)]
    pub const UNLIMITED: Self = Self {
        max_connections: u32::MAX,
        max_pending: u32::MAX,
        max_requests: u32::MAX,
        max_retries: u32::MAX,
        max_requests_per_connection: 0,
        max_streams: 100,
        connect_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(60),
    };
}

/// What is in use of the limits right now.
#[derive(Debug, Default)]
pub struct Load {
    pub connections: AtomicU32,
    pub pending: AtomicU32,
    pub requests: AtomicU32,
    pub retries: AtomicU32,
}

/// One unit of a limit; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    cluster: Arc<Cluster>,
    counter: fn(&Load) -> &AtomicU32,
}

impl Permit {
    /// Takes a unit if fewer than `limit` are taken.
    pub fn take(cluster: &Arc<Cluster>, counter: fn(&Load) -> &AtomicU32, limit: u32) -> Option<Self> {
        if counter(&cluster.load).fetch_add(1, Ordering::Relaxed) >= limit {
            counter(&cluster.load).fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Self { cluster: cluster.clone(), counter })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        (self.counter)(&self.cluster.load).fetch_sub(1, Ordering::Relaxed);
    }
}

/// Ids for clusters and endpoints, unique in the process.
pub fn fresh_id() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
