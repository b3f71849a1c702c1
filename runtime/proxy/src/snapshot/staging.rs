//! Two versions of a plugin in one snapshot: what was compiled is the new one, the old one is taken from the snapshot
//! in which it served alone.

use std::collections::HashMap;
use std::sync::Arc;

use super::rollout::Rollout;
use super::{ChainEntry, PluginUse, Snapshot};

/// What a plugin was in each chain entry, by listener, entry name, and place among the entries of that name.
#[derive(Clone, Default)]
pub struct Stable(HashMap<(String, String, usize), Arc<PluginUse>>);

impl Stable {
    /// What the entries of this plugin use when nothing is being rolled out.
    pub fn of(snapshot: &Snapshot, plugin: &str) -> Self {
        let mut uses = HashMap::new();
        for listener in &snapshot.listeners {
            for (at, entry) in listener.chain.iter().enumerate() {
                let used = entry.before.as_ref().map_or(entry.plugin, |before| before.plugin);
                if let Some(used) = snapshot.plugins.get(used).filter(|used| used.name == plugin) {
                    uses.insert((listener.name.clone(), entry.name.clone(), place(&listener.chain, at)), used.clone());
                }
            }
        }
        Self(uses)
    }

    fn get(&self, listener: &str, entry: &str, place: usize) -> Option<&Arc<PluginUse>> {
        self.0.get(&(listener.to_owned(), entry.to_owned(), place))
    }

    /// Whether any entry of the plugin has become something else. A new entry has nothing to differ from.
    pub fn differs(&self, compiled: &Snapshot, plugin: &str) -> bool {
        compiled.listeners.iter().any(|listener| {
            listener.chain.iter().enumerate().any(|(at, entry)| {
                let new = compiled.plugins.get(entry.plugin).filter(|new| new.name == plugin);
                let old = self.get(&listener.name, &entry.name, place(&listener.chain, at));
                new.zip(old).is_some_and(|(new, old)| new.fingerprint != old.fingerprint)
            })
        })
    }
}

/// Names of entries need not differ: the how manieth of its name an entry is.
fn place(chain: &[ChainEntry], at: usize) -> usize {
    let name = chain.get(at).map(|entry| &entry.name);
    chain.iter().take(at).filter(|entry| Some(&entry.name) == name).count()
}

/// The old version of a chain entry, while the new one is being rolled out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Before {
    /// Index into `Snapshot::plugins`.
    pub plugin: usize,
    /// Index into `Snapshot::rollouts`.
    pub rollout: usize,
}

/// The fingerprints of everything that a plugin is in this snapshot: the same ones are the same version with the same
/// configurations.
pub fn fingerprint(snapshot: &Snapshot, plugin: &str) -> Vec<u64> {
    let mut prints: Vec<u64> =
        snapshot.plugins.iter().filter(|used| used.name == plugin).map(|used| used.fingerprint).collect();
    prints.sort_unstable();
    prints
}

/// Puts the old version beside the new one in every entry where they differ.
pub fn stage(snapshot: &mut Snapshot, rollout: Rollout, stable: &Stable) {
    let at = snapshot.rollouts.len();
    replace(snapshot, &rollout.plugin, stable, |entry, old| {
        entry.before = Some(Before { plugin: old, rollout: at });
    });
    snapshot.rollouts.push(rollout);
}

/// Leaves a plugin as it was: entries go back to the old version wherever there is one.
pub fn pin(snapshot: &mut Snapshot, plugin: &str, stable: &Stable) {
    replace(snapshot, plugin, stable, |entry, old| entry.plugin = old);
    let entries = snapshot.listeners.iter().flat_map(|listener| &listener.chain);
    let used: Vec<usize> =
        entries.flat_map(|entry| [Some(entry.plugin), entry.before.map(|before| before.plugin)]).flatten().collect();
    // What no entry uses any more must not be prepared; indices of the others stay as they are.
    let mut kept = Vec::new();
    let mut moved = HashMap::new();
    for (at, plugin) in snapshot.plugins.drain(..).enumerate() {
        if used.contains(&at) {
            moved.insert(at, kept.len());
            kept.push(plugin);
        }
    }
    snapshot.plugins = kept;
    for listener in &mut snapshot.listeners {
        for entry in Arc::get_mut(listener).into_iter().flat_map(|listener| &mut listener.chain) {
            entry.plugin = moved.get(&entry.plugin).copied().unwrap_or(entry.plugin);
            if let Some(before) = &mut entry.before {
                before.plugin = moved.get(&before.plugin).copied().unwrap_or(before.plugin);
            }
        }
    }
}

fn replace(snapshot: &mut Snapshot, plugin: &str, stable: &Stable, change: impl Fn(&mut ChainEntry, usize)) {
    let Snapshot { listeners, plugins, .. } = snapshot;
    for listener in listeners {
        // A snapshot that was just compiled has no other owner.
        let Some(listener) = Arc::get_mut(listener) else { continue };
        let places: Vec<usize> = (0..listener.chain.len()).map(|at| place(&listener.chain, at)).collect();
        for (entry, place) in listener.chain.iter_mut().zip(places) {
            let Some(new) = plugins.get(entry.plugin).filter(|used| used.name == plugin) else { continue };
            let Some(old) = stable.get(&listener.name, &entry.name, place) else { continue };
            if old.fingerprint == new.fingerprint {
                continue;
            }
            let known = plugins.iter().position(|used| used.fingerprint == old.fingerprint);
            let at = known.unwrap_or_else(|| {
                plugins.push(old.clone());
                plugins.len() - 1
            });
            change(entry, at);
        }
    }
}
