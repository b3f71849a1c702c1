//! Checks of names: given twice, unknown, leading nowhere. They look at the text and not at the model, so
//! that they find their problems also where another part cannot be read.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Display,
    hash::Hash,
};

use crate::{
    abi,
    cursor::Cursor,
    model::{Address, Cluster, Config},
    nearest::suggestion,
    tree::scalar::quoted,
};

/// Reports every name that is given twice or leads nowhere.
pub(crate) fn check(root: &Cursor<'_>) {
    for (section, what) in [
        ("plugins", "plugin"),
        ("listeners", "listener"),
        ("clusters", "cluster"),
        ("extensionProviders", "extension provider"),
    ] {
        let names = each(root, section, "name");
        unique(what, names.iter().filter_map(|at| Some((at, quoted(at.text()?)))));
    }
    let addresses = each(root, "listeners", "address");
    unique("address", addresses.iter().filter_map(|at| Some((at, Address::parse(at.text()?)?))));
    items(root, "plugins").iter().for_each(words_of_plugin);
    clusters_of_listeners(root);
    hosts(root);
    for cluster in items(root, "clusters") {
        let names = each(&cluster, "subsets", "name");
        unique("subset", names.iter().filter_map(|at| Some((at, quoted(at.text()?)))));
        endpoints(&cluster);
    }
}

/// Reports what is allowed but hardly meant, in a configuration without problems.
pub(crate) fn warn(root: &Cursor<'_>, config: &Config) {
    if config.listeners.is_empty() {
        root.warning("no listeners, so nothing will be served", None);
    }
    for (cluster, at) in config.clusters.iter().zip(items(root, "clusters")) {
        empty_subsets(cluster, &at);
    }
}

fn items<'a>(at: &Cursor<'a>, list: &str) -> Vec<Cursor<'a>> {
    at.key(list).map(|list| list.items().collect()).unwrap_or_default()
}

/// The values of `key` in every map of `list`.
fn each<'a>(at: &Cursor<'a>, list: &str, key: &str) -> Vec<Cursor<'a>> {
    items(at, list).iter().filter_map(|item| item.key(key)).collect()
}

fn unique<'c, 'a: 'c, T: Hash + Eq + Display>(what: &str, values: impl Iterator<Item = (&'c Cursor<'a>, T)>) {
    let mut seen = HashMap::new();
    for (at, value) in values {
        match seen.get(&value) {
            None => {
                seen.insert(value, at);
            }
            Some(first) => {
                let first = first.location();
                at.error(format!("{what} {value} is given twice, first in {first}"), None);
            }
        }
    }
}

fn words_of_plugin(plugin: &Cursor<'_>) {
    if let Some(hooks) = plugin.key("hooks") {
        abi::check_hooks(&hooks);
    }
    if let Some(capabilities) = plugin.key("capabilities") {
        abi::check_capabilities(&capabilities);
    }
    if let Some(vm) = plugin.key("vmConfig") {
        let names = each(&vm, "env", "name");
        unique("environment variable", names.iter().filter_map(|at| Some((at, quoted(at.text()?)))));
    }
}

fn clusters_of_listeners(root: &Cursor<'_>) {
    let clusters = each(root, "clusters", "name");
    let known: HashSet<&str> = clusters.iter().filter_map(|at| at.text()).collect();
    for at in each(root, "listeners", "cluster") {
        if let Some(name) = at.text()
            && !known.contains(name)
        {
            let fix = suggestion(name, known.iter().copied());
            at.error(format!("no cluster is named {}", quoted(name)), fix);
        }
    }
}

/// A host leads to one cluster: another cluster may neither claim it nor be named so.
fn hosts(root: &Cursor<'_>) {
    let mut owners: HashMap<String, Cursor<'_>> = HashMap::new();
    for at in each(root, "clusters", "name") {
        if let Some(name) = at.text() {
            owners.entry(name.to_ascii_lowercase()).or_insert(at);
        }
    }
    for cluster in items(root, "clusters") {
        let own_name = cluster.key("name").and_then(|name| name.text()).map(str::to_ascii_lowercase);
        for at in items(&cluster, "hosts") {
            let Some(host) = at.text() else { continue };
            let lower = host.to_ascii_lowercase();
            match owners.get(&lower) {
                Some(_) if own_name.as_ref() == Some(&lower) => {}
                Some(first) => {
                    let first = first.location();
                    at.error(format!("host {} leads to a cluster already, first in {first}", quoted(host)), None);
                }
                None => {
                    owners.insert(lower, at);
                }
            }
        }
    }
}

fn endpoints(cluster: &Cursor<'_>) {
    let endpoints = items(cluster, "endpoints");
    if endpoints.is_empty() {
        let at = cluster.key("endpoints").unwrap_or_else(|| cluster.clone());
        at.warning("no endpoints, so every request to this cluster is answered with 503", None);
    }
    let addresses: Vec<_> = endpoints.iter().filter_map(|endpoint| endpoint.key("address")).collect();
    unique("endpoint", addresses.iter().filter_map(|at| Some((at, Address::parse(at.text()?)?))));
}

fn empty_subsets(cluster: &Cluster, at: &Cursor<'_>) {
    let chosen = |labels: &BTreeMap<String, String>| {
        cluster
            .endpoints
            .iter()
            .any(|endpoint| labels.iter().all(|(key, value)| endpoint.labels.get(key) == Some(value)))
    };
    for (subset, at) in cluster.subsets.iter().zip(items(at, "subsets")) {
        if !cluster.endpoints.is_empty() && !chosen(&subset.labels) {
            at.warning(format!("no endpoint has the labels of subset {}", quoted(&subset.name)), None);
        }
    }
}
