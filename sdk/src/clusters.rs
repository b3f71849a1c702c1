//! The clusters of the proxy, for configurations that name one.

use std::collections::HashMap;

use serde::Deserialize;

use crate::properties;

/// The clusters that a configuration may name, as the property `sidegate.clusters` tells them.
///
/// ```
/// use sidegate_sdk::{Clusters, Filter, Next, Request, Response, Result, Setup, config, filter, testing};
///
/// #[config]
/// struct Asks { service: String }
///
/// #[filter]
/// impl Filter for Asks {
///     fn configure(config: Asks, setup: &mut Setup) -> Result<Self> {
///         if Clusters::of_host().is_some_and(|clusters| clusters.find(&config.service).is_none()) {
///             setup.warning("/service", format!("there is no cluster `{}`", config.service));
///         }
///         Ok(config)
///     }
///
///     async fn handle(&self, req: Request, next: Next) -> Result<Response> {
///         Ok(next.forward(req))
///     }
/// }
///
/// let known = r#"[{"name": "limits", "hosts": ["limits.example"]}]"#;
/// let host = || testing::Host::new().property("sidegate.clusters", known);
/// let asks = |service: &str| host().configure::<Asks>(&format!(r#"{{"service": "{service}"}}"#)).unwrap();
/// assert!(asks("limits.example").warnings().is_empty());
/// assert_eq!(asks("limit").warnings().len(), 1);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Clusters {
    list: Vec<Cluster>,
    by_name: HashMap<String, usize>,
}

/// One of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Further names, with or without a port.
    pub hosts: Vec<String>,
    /// Names of its subsets.
    pub subsets: Vec<String>,
}

impl Clusters {
    /// Asks the host, in `configure`; `None` if it does not say.
    #[must_use]
    pub fn of_host() -> Option<Self> {
        let json = properties::bytes("sidegate.clusters")?;
        serde_json::from_slice::<Vec<Cluster>>(&json).ok().map(Into::into)
    }

    /// The cluster with this name, or with this host.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Cluster> {
        self.list.get(*self.by_name.get(name)?)
    }

    /// The cluster through which the host of a URI is reached: the one that has `host:port`, else the one that has the
    /// host. Case does not count.
    ///
    /// ```
    /// use sidegate_sdk::{Cluster, Clusters};
    /// let of = |name: &str, host: &str| Cluster { name: name.into(), hosts: vec![host.into()], subsets: vec![] };
    /// let clusters = Clusters::from(vec![of("web", "shop.example"), of("admin", "shop.example:9000")]);
    /// let name = |port| clusters.reach("Shop.example", Some(port)).map(|cluster| cluster.name.as_str());
    /// assert_eq!((name(443), name(9000)), (Some("web"), Some("admin")));
    /// ```
    #[must_use]
    pub fn reach(&self, host: &str, port: Option<u16>) -> Option<&Cluster> {
        let has = |cluster: &&Cluster, name: &str| {
            cluster.hosts.iter().chain([&cluster.name]).any(|own| own.eq_ignore_ascii_case(name))
        };
        let with = |name: &str| self.list.iter().find(|cluster| has(cluster, name));
        port.and_then(|port| with(&format!("{host}:{port}"))).or_else(|| with(host))
    }
}

impl From<Vec<Cluster>> for Clusters {
    fn from(list: Vec<Cluster>) -> Self {
        let mut by_name = HashMap::new();
        for (at, cluster) in list.iter().enumerate() {
            for name in cluster.hosts.iter().chain([&cluster.name]) {
                by_name.entry(name.clone()).or_insert(at);
            }
        }
        Self { list, by_name }
    }
}
