//! Clusters: where requests go.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    checks::{all_printable, positive, printable},
    cursor::Cursor,
    model::Address,
    read::{section, words},
};

section! {
    /// A named set of endpoints.
    pub struct Cluster {
        /// The name by which routes and metrics know it.
        pub name: String where printable,
        /// Further names that a route's `destination.host` or a callout may use.
        pub hosts: Vec<String> where all_printable = Vec::new(),
        /// How endpoints are found. Default: STATIC.
        pub resolution: Resolution = Resolution::Static,
        /// The addresses that requests may be sent to.
        pub endpoints: Vec<Endpoint> = Vec::new(),
        /// Parts of the endpoints that a route can choose by name.
        pub subsets: Vec<Subset> = Vec::new(),
        /// What endpoints speak. Default: HTTP, which means HTTP/1.1.
        pub protocol: ClusterProtocol = ClusterProtocol::Http,
        /// How endpoints are chosen and used: the words of Istio's DestinationRule.
        pub traffic_policy: TrafficPolicy = TrafficPolicy::default(),
    }
    then inherit
}

/// A subset's policy overrides the cluster's section by section, as in Istio.
fn inherit(mut cluster: Cluster, at: &Cursor<'_>) -> Option<Cluster> {
    let written: Vec<_> = at.key("subsets").map(|list| list.items().collect()).unwrap_or_default();
    for (subset, at) in cluster.subsets.iter_mut().zip(written) {
        let has = |section: &str| {
            at.key("trafficPolicy").and_then(|policy| policy.key(section)).is_some_and(|section| !section.is_null())
        };
        if !has("loadBalancer") {
            subset.traffic_policy.load_balancer.clone_from(&cluster.traffic_policy.load_balancer);
        }
        if !has("connectionPool") {
            subset.traffic_policy.connection_pool.clone_from(&cluster.traffic_policy.connection_pool);
        }
    }
    Some(cluster)
}

words! {
    /// How endpoints are found.
    pub enum Resolution {
        /// They are listed.
        Static = "STATIC",
        /// Their names are asked for in DNS.
        Dns = "DNS",
        /// They stand in a file of their own.
        File = "FILE",
    }
}

words! {
    /// What the endpoints of a cluster speak.
    pub enum ClusterProtocol {
        /// HTTP/1.1.
        Http = "HTTP",
        /// HTTP/2, which gRPC needs.
        Http2 = "HTTP2" | "GRPC",
        /// What ALPN chooses over TLS, else the version of the client.
        Auto = "AUTO",
    }
}

section! {
    /// One address of a cluster.
    pub struct Endpoint {
        /// `IP:port`, `[v6]:port` or `unix:PATH`.
        pub address: Address,
        /// What subsets choose it by.
        pub labels: BTreeMap<String, String> = BTreeMap::new(),
        /// Its share of the requests, in relation to the others. Default: 1.
        pub weight: u32 where positive = 1,
        /// Where it runs, as `region/zone/subzone`. Default: empty.
        pub locality: String = String::new(),
    }
}

section! {
    /// A part of the endpoints of a cluster.
    pub struct Subset {
        /// The name that a route's `destination.subset` says.
        pub name: String where printable,
        /// Labels that an endpoint must have.
        pub labels: BTreeMap<String, String> = BTreeMap::new(),
        /// What differs from the policy of the cluster. Sections that are not given are the cluster's.
        pub traffic_policy: TrafficPolicy = TrafficPolicy::default(),
    }
}

section! {
    /// How the endpoints of a cluster are chosen and used.
    pub struct TrafficPolicy: Default {
        /// How an endpoint is chosen.
        pub load_balancer: Option<LoadBalancer> = None,
        /// How many connections and requests there may be.
        pub connection_pool: ConnectionPool = ConnectionPool::default(),
    }
}

section! {
    /// How an endpoint is chosen.
    pub struct LoadBalancer: Default {
        /// Default: LEAST_REQUEST.
        pub simple: SimpleLb = SimpleLb::LeastRequest,
    }
}

words! {
    /// A way to choose without looking at the request.
    pub enum SimpleLb {
        /// One after the other.
        RoundRobin = "ROUND_ROBIN",
        /// Of two drawn at random the one with fewer requests under way.
        LeastRequest = "LEAST_REQUEST" | "LEAST_CONN" | "UNSPECIFIED",
        /// Drawn at random.
        Random = "RANDOM",
    }
}

section! {
    /// How many connections and requests a cluster may have, over all workers.
    pub struct ConnectionPool: Default {
        /// Of connections.
        pub tcp: TcpSettings = TcpSettings::default(),
        /// Of requests.
        pub http: HttpSettings = HttpSettings::default(),
    }
}

section! {
    /// Bounds of connections.
    pub struct TcpSettings: Default {
        /// Connections at a time. Default: 1024.
        pub max_connections: u32 where positive = 1024,
        /// How long connecting may take. Default: 10s.
        pub connect_timeout: Duration where positive = Duration::from_secs(10),
        /// When an unused connection is closed; 0s: never. Default: 60s.
        pub idle_timeout: Duration = Duration::from_secs(60),
    }
}

section! {
    /// Bounds of requests. Despite their names they hold for HTTP/1.1 and HTTP/2, as in Istio.
    pub struct HttpSettings: Default {
        /// Requests that wait for a connection. Default: 1024.
        pub http1_max_pending_requests: u32 where positive = 1024,
        /// Requests under way. Default: 1024.
        pub http2_max_requests: u32 where positive = 1024,
        /// Retries under way. Default: 3.
        pub max_retries: u32 = 3,
        /// Requests of one connection; 1: no keep-alive. Default: 0, which means any number.
        pub max_requests_per_connection: u32 = 0,
        /// Requests at a time on one HTTP/2 connection. Default: 100.
        pub max_concurrent_streams: u32 where positive = 100,
        /// When an unused connection is closed. Default: `idleTimeout` of `tcp`.
        pub idle_timeout: Option<Duration> = None,
    }
}
