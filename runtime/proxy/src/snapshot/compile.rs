//! Configuration and modules to a snapshot, or all problems at once. Pure: what did not change is taken over from the
//! snapshot before, so that it keeps its VMs, counters and connections.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use sidegate_config as config;
use sidegate_config::{Location, PluginUrl, Problem, Problems, Severity};
use sidegate_wasm_host::VmSpec;
use sidegate_wasm_host::limits::Limits as VmLimits;

use super::cluster::{Balancing, Endpoint, Limits, Load, Protocol, Subset, fresh_id};
use super::provider::Provider;
use super::{ChainEntry, Cluster, Clusters, FailStrategy, Listener, Node, PluginModule, PluginUse, Snapshot};

/// The code of each plugin of the configuration, by name.
pub type Modules = HashMap<String, Arc<PluginModule>>;

/// The plugins that a configuration uses: those it defines, and standard filters that its chains name.
pub fn plugins_of(config: &config::Config, builtins: &[&str]) -> Result<Vec<config::Plugin>, Problems> {
    let mut plugins = config.plugins.clone();
    let mut problems = Vec::new();
    for (at, listener) in config.listeners.iter().enumerate() {
        for (index, entry) in listener.filters.iter().enumerate() {
            if plugins.iter().any(|plugin| plugin.name == entry.plugin) {
                continue;
            }
            if builtins.contains(&entry.plugin.as_str()) {
                plugins.push(config::Plugin::builtin(&entry.plugin, entry.location.clone()));
                continue;
            }
            let known = plugins.iter().map(|plugin| plugin.name.as_str()).chain(builtins.iter().copied());
            let fix = match known.min_by_key(|name| distance(name, &entry.plugin)) {
                Some(name) if distance(name, &entry.plugin) <= 2 => Some(format!("did you mean \"{name}\"?")),
                _ if builtins.is_empty() => Some("this binary holds no standard filters; run cargo xtask build".into()),
                _ => Some("define it under plugins".into()),
            };
            let what = format!("no plugin and no standard filter is named \"{}\"", entry.plugin);
            problems.push(problem(&entry.location, format!("listeners[{at}].filters[{index}].plugin"), what, fix));
        }
    }
    if problems.is_empty() { Ok(plugins) } else { Err(Problems(problems)) }
}

/// Compiles a snapshot. `plugins` is what [`plugins_of`] gave; every one of them has its entry in `modules`.
pub fn compile(
    config: &config::Config,
    plugins: &[config::Plugin],
    modules: &Modules,
    before: Option<&Snapshot>,
) -> Result<Snapshot, Problems> {
    let mut clusters = clusters(config, before.map(|before| &*before.clusters));
    let mut problems = Vec::new();
    providers(config, &mut clusters, &mut problems);
    let clusters = Arc::new(clusters);
    let mut uses = Uses { before, clusters: &clusters, list: Vec::new() };
    let mut listeners = Vec::new();
    for (at, listener) in config.listeners.iter().enumerate() {
        let mut chain = Vec::new();
        for (index, entry) in listener.filters.iter().enumerate() {
            let plugin = plugins.iter().find(|plugin| plugin.name == entry.plugin);
            let module = modules.get(&entry.plugin);
            let (Some(plugin), Some(module)) = (plugin, module) else { continue };
            let matchers: Result<Vec<_>, _> = entry.matches.iter().map(|request| request.compile()).collect();
            let matchers = match matchers {
                Ok(matchers) => (!matchers.is_empty()).then_some(matchers),
                Err(refused) => {
                    let path = format!("listeners[{at}].filters[{index}].match");
                    problems.push(problem(&entry.location, path, refused.text, None));
                    continue;
                }
            };
            let bytes = entry.config.bytes().map(|bytes| bytes.to_vec());
            let plugin = uses.index(plugin, bytes, module, &entry.name);
            chain.push(ChainEntry { name: entry.name.clone(), plugin, before: None, matchers });
        }
        listeners.push(Arc::new(Listener {
            name: listener.name.clone(),
            address: listener.address.clone(),
            direction: listener.direction,
            trusted_proxies: listener.num_trusted_proxies as usize,
            websocket: listener.upgrades.iter().any(|upgrade| upgrade == "websocket"),
            normalization: listener.path_normalization,
            timeouts: listener.request_timeouts.clone(),
            max_request_headers: listener.max_request_headers.0 as usize,
            chain,
            cluster: listener.cluster.as_ref().and_then(|name| clusters.find(name).cloned()),
        }));
    }
    if !problems.is_empty() {
        return Err(Problems(problems));
    }
    let plugins = uses.list.into_iter().map(Arc::new).collect();
    Ok(Snapshot {
        trace_key: None,
        number: before.map_or(1, |before| before.number + 1),
        node: node(&config.node, before),
        listeners,
        clusters,
        rollouts: Vec::new(),
        plugins,
    })
}

/// Who this proxy is; the same as before, if nothing of it has changed.
fn node(config: &config::Node, before: Option<&Snapshot>) -> Arc<Node> {
    let config::Node { id, cluster, locality, metadata } = config.clone();
    let node = Node { id, cluster, locality, metadata };
    let known = before.map(|before| &before.node).filter(|known| ***known == node);
    known.cloned().unwrap_or_else(|| Arc::new(node))
}

fn problem(location: &Location, path: String, message: impl Into<String>, fix: Option<String>) -> Problem {
    Problem { severity: Severity::Error, location: location.clone(), path, message: message.into(), fix }
}

/// Pairs of plugin and configuration; entries that agree in both share one.
struct Uses<'a> {
    before: Option<&'a Snapshot>,
    clusters: &'a Clusters,
    list: Vec<PluginUse>,
}

impl Uses<'_> {
    fn index(
        &mut self,
        plugin: &config::Plugin,
        bytes: Option<Vec<u8>>,
        module: &Arc<PluginModule>,
        entry: &str,
    ) -> usize {
        let mut hasher = DefaultHasher::new();
        // The debug form holds every setting; configuration bytes hide theirs, so they are hashed themselves.
        (&plugin.name, format!("{:?}", (&plugin.vm_config.vm_id, &plugin.vm_config.env, &plugin.limits)))
            .hash(&mut hasher);
        plugin.vm_config.configuration.hash(&mut hasher);
        (&plugin.root_id, &plugin.hooks, &plugin.capabilities, plugin.allow_on_headers_stop_iteration)
            .hash(&mut hasher);
        format!("{:?}", plugin.fail_strategy).hash(&mut hasher);
        bytes.hash(&mut hasher);
        // What its configuration refers to is a part of it.
        let configuration = bytes.as_deref();
        for provider in self.clusters.providers.iter().filter(|provider| provider.is_named_in(configuration)) {
            provider.told(configuration).to_string().hash(&mut hasher);
        }
        let settings = hasher.finish();
        let fingerprint = super::plugin::fingerprint(settings, module);
        if let Some(at) = self.list.iter().position(|known| known.fingerprint == fingerprint) {
            if let Some(known) = self.list.get_mut(at) {
                known.entries.push(entry.to_owned());
            }
            return at;
        }
        let before =
            self.before.and_then(|before| before.plugins.iter().find(|known| known.fingerprint == fingerprint));
        let spec = match before {
            Some(known) => known.spec.clone(),
            None => Arc::new(spec(plugin, bytes, module)),
        };
        self.list.push(PluginUse {
            name: plugin.name.clone(),
            spec,
            fail_strategy: plugin.fail_strategy.unwrap_or(default_strategy(plugin)),
            pause: plugin.limits.pause,
            body: plugin.limits.body.0 as usize,
            entries: vec![entry.to_owned()],
            settings,
            fingerprint,
            module: before.map_or_else(|| module.clone(), |known| known.module.clone()),
        });
        self.list.len() - 1
    }
}

/// Telemetry must never cost a request.
fn default_strategy(plugin: &config::Plugin) -> FailStrategy {
    match &plugin.url {
        PluginUrl::Builtin(name) if name == "telemetry" => FailStrategy::Open,
        _ => FailStrategy::Close,
    }
}

fn spec(plugin: &config::Plugin, configuration: Option<Vec<u8>>, module: &PluginModule) -> VmSpec {
    let vm = &plugin.vm_config;
    let environment = vm.env.iter().filter_map(|variable| {
        let value = match variable.value_from {
            config::ValueFrom::Inline => variable.value.clone(),
            config::ValueFrom::Host => std::env::var(&variable.name).ok(),
        };
        Some((variable.name.clone(), value?))
    });
    VmSpec {
        plugin: plugin.name.clone(),
        version: module.version.to_string(),
        root_id: plugin.root_id.clone(),
        vm_id: vm.vm_id.clone().unwrap_or_else(|| plugin.name.clone()),
        vm_configuration: vm.configuration.as_ref().map(|bytes| bytes.0.to_vec()).unwrap_or_default(),
        configuration,
        environment: environment.collect(),
        limits: VmLimits {
            cpu_per_call: plugin.limits.cpu_per_call,
            configure: plugin.limits.configure,
            memory: plugin.limits.memory.0 as usize,
            callouts: plugin.limits.callouts,
            body: plugin.limits.body.0 as usize,
        },
        shared_data: plugin.limits.shared_data.0 as usize,
        log_rate: plugin.limits.log_rate.0,
        series: plugin.limits.series as usize,
        capabilities: plugin.capabilities.clone(),
        hooks: plugin.hooks.clone(),
        allow_on_headers_stop_iteration: plugin.allow_on_headers_stop_iteration,
        tag: fresh_id() as u64,
    }
}

fn clusters(config: &config::Config, before: Option<&Clusters>) -> Clusters {
    let mut all = Clusters::default();
    let mut listing = Vec::new();
    for cluster in &config.clusters {
        let mut hasher = DefaultHasher::new();
        format!("{cluster:?}").hash(&mut hasher);
        let fingerprint = hasher.finish();
        let known = before
            .and_then(|before| before.by_name.get(&cluster.name))
            .filter(|known| known.fingerprint == fingerprint);
        let built = known.cloned().unwrap_or_else(|| Arc::new(build(cluster, fingerprint, before)));
        for host in &cluster.hosts {
            all.by_host.insert(host.clone(), built.clone());
        }
        all.by_name.insert(cluster.name.clone(), built);
        let subsets: Vec<_> = cluster.subsets.iter().map(|subset| &subset.name).collect();
        listing.push(serde_json::json!({"name": cluster.name, "hosts": cluster.hosts, "subsets": subsets}));
    }
    all.listing = serde_json::Value::Array(listing).to_string();
    all
}

/// Providers stand on clusters.
fn providers(config: &config::Config, clusters: &mut Clusters, problems: &mut Vec<Problem>) {
    for (at, written) in config.extension_providers.iter().enumerate() {
        match Provider::compile(written, &config.node, |name| clusters.find(name).cloned()) {
            Ok(provider) => clusters.providers.push(provider),
            Err(what) => {
                let path = format!("extensionProviders[{at}]");
                problems.push(problem(&written.location, path, what, Some("define it under clusters".to_owned())));
            }
        }
    }
}

fn build(cluster: &config::Cluster, fingerprint: u64, before: Option<&Clusters>) -> Cluster {
    let before = before.and_then(|before| before.by_name.get(&cluster.name));
    let endpoints: Vec<_> = cluster
        .endpoints
        .iter()
        .map(|endpoint| {
            // An endpoint that was there keeps its load and its connections.
            let same = |known: &&Arc<Endpoint>| {
                known.address == endpoint.address
                    && known.labels == endpoint.labels
                    && known.weight == endpoint.weight
                    && known.locality == endpoint.locality
            };
            before.and_then(|before| before.endpoints.iter().find(same)).cloned().unwrap_or_else(|| {
                Arc::new(Endpoint {
                    text: endpoint.address.to_string(),
                    address: endpoint.address.clone(),
                    labels: endpoint.labels.clone(),
                    weight: endpoint.weight,
                    locality: endpoint.locality.clone(),
                    active: AtomicU32::new(0),
                    id: fresh_id(),
                })
            })
        })
        .collect();
    let members = |labels: &BTreeMap<String, String>| {
        let has_all = |endpoint: &Endpoint| labels.iter().all(|(key, value)| endpoint.labels.get(key) == Some(value));
        let chosen: Vec<_> = endpoints.iter().enumerate().filter(|(_, endpoint)| has_all(endpoint)).collect();
        weighted(&chosen.iter().map(|(at, endpoint)| (*at, endpoint.weight)).collect::<Vec<_>>())
    };
    let subsets = cluster
        .subsets
        .iter()
        .map(|subset| {
            let balancing = Some(balancing(&subset.traffic_policy));
            (subset.name.clone(), Subset { members: members(&subset.labels), balancing, ..Subset::default() })
        })
        .collect();
    let pool = &cluster.traffic_policy.connection_pool;
    Cluster {
        name: cluster.name.clone(),
        protocol: match cluster.protocol {
            config::ClusterProtocol::Http => Protocol::Http1,
            config::ClusterProtocol::Http2 => Protocol::Http2,
            config::ClusterProtocol::Auto => Protocol::Auto,
        },
        balancing: balancing(&cluster.traffic_policy),
        all: Subset { members: members(&BTreeMap::new()), ..Subset::default() },
        endpoints,
        subsets,
        limits: Limits {
            max_connections: pool.tcp.max_connections,
            max_pending: pool.http.http1_max_pending_requests,
            max_requests: pool.http.http2_max_requests,
            max_retries: pool.http.max_retries,
            max_requests_per_connection: pool.http.max_requests_per_connection,
            max_streams: pool.http.max_concurrent_streams,
            connect_timeout: pool.tcp.connect_timeout,
            idle_timeout: pool.http.idle_timeout.unwrap_or(pool.tcp.idle_timeout),
        },
        load: Load::default(),
        id: fresh_id(),
        fingerprint,
    }
}

fn balancing(policy: &config::TrafficPolicy) -> Balancing {
    match policy.load_balancer.as_ref().map(|balancer| balancer.simple) {
        Some(config::SimpleLb::RoundRobin) => Balancing::RoundRobin,
        Some(config::SimpleLb::Random) => Balancing::Random,
        Some(config::SimpleLb::LeastRequest) | None => Balancing::LeastRequest,
    }
}

/// Places in a turn that endpoints take by weight; at most this many in all.
const MAX_TURN: u32 = 10_000;

/// Each member as often as its weight in lowest terms, spread out so that a heavy one is not served in a burst.
fn weighted(members: &[(usize, u32)]) -> Vec<usize> {
    let divisor = members.iter().fold(0, |divisor, (_, weight)| gcd(divisor, *weight)).max(1);
    let sum: u64 = members.iter().map(|(_, weight)| u64::from(weight / divisor)).sum();
    let scale = u64::from(MAX_TURN).min(sum.max(1));
    let mut places: Vec<(u64, usize)> = Vec::new();
    for (at, weight) in members {
        let count = (u64::from(weight / divisor) * scale / sum.max(1)).max(1);
        // The k-th of n places stands in the middle of the k-th n-th part of the turn.
        places.extend((0..count).map(|k| ((2 * k + 1) * 1_000_000 / (2 * count), *at)));
    }
    places.sort_unstable();
    places.into_iter().map(|(_, at)| at).collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Edit distance, for suggestions.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (to, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let value = (diagonal + usize::from(from != *to)).min(left + 1).min(*cell + 1);
            diagonal = *cell;
            *cell = value;
            left = value;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_become_places() {
        assert_eq!(weighted(&[(0, 1), (1, 1)]), [0, 1]);
        assert_eq!(weighted(&[(0, 10), (1, 10)]), [0, 1]);
        assert_eq!(weighted(&[(0, 3), (1, 1)]), [0, 0, 1, 0]);
        assert_eq!(weighted(&[]), Vec::<usize>::new());
        let heavy = weighted(&[(0, 1_000_000), (1, 1)]);
        assert!(heavy.len() <= MAX_TURN as usize + 1 && heavy.contains(&1));
    }

    #[test]
    fn suggestions() {
        assert_eq!(distance("router", "ruoter"), 2);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
