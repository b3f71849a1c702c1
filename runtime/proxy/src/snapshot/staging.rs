//! Two versions of a plugin in one snapshot: what was compiled is the new one, the old one is taken from the snapshot
//! in which it served alone.

use std::collections::HashMap;
use std::sync::Arc;

use super::plugin::fingerprint as fingerprint_with;
use super::rollout::Rollout;
use super::{Listener, PluginUse, Snapshot};

/// A chain entry: its listener, its name, and its place among the entries of that name.
type Spot = (String, String, usize);

/// What a plugin was in each chain entry.
#[derive(Clone, Default)]
pub struct Stable(HashMap<Spot, Arc<PluginUse>>);

impl Stable {
    /// What the entries of this plugin use when nothing is being rolled out.
    pub fn of(snapshot: &Snapshot, plugin: &str) -> Self {
        let mut uses = HashMap::new();
        for listener in &snapshot.listeners {
            for (at, entry) in listener.chain.iter().enumerate() {
                let used = entry.before.as_ref().map_or(entry.plugin, |before| before.plugin);
                if let Some(used) = snapshot.plugins.get(used).filter(|used| used.name == plugin) {
                    uses.extend(spot(listener, at).map(|spot| (spot, used.clone())));
                }
            }
        }
        Self(uses)
    }

    /// Whether any entry of the plugin has become something else. A new entry has nothing to differ from.
    pub fn differs(&self, compiled: &Snapshot, plugin: &str) -> bool {
        compiled.listeners.iter().any(|listener| {
            listener.chain.iter().enumerate().any(|(at, entry)| {
                let new = compiled.plugins.get(entry.plugin).filter(|new| new.name == plugin);
                let old = spot(listener, at).and_then(|spot| self.0.get(&spot));
                new.zip(old).is_some_and(|(new, old)| new.fingerprint != old.fingerprint)
            })
        })
    }
}

/// Names of entries need not differ: the how manieth of its name an entry is counts too.
fn spot(listener: &Listener, at: usize) -> Option<Spot> {
    let name = &listener.chain.get(at)?.name;
    let place = listener.chain.iter().take(at).filter(|entry| entry.name == *name).count();
    Some((listener.name.clone(), name.clone(), place))
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
    let number = snapshot.rollouts.len();
    let Snapshot { listeners, plugins, .. } = snapshot;
    for listener in listeners {
        // A snapshot that was just compiled has no other owner.
        let Some(listener) = Arc::get_mut(listener) else { continue };
        for at in 0..listener.chain.len() {
            let old = spot(listener, at).and_then(|spot| stable.0.get(&spot));
            let Some((entry, old)) = listener.chain.get_mut(at).zip(old) else { continue };
            let new = plugins.get(entry.plugin).filter(|used| used.name == rollout.plugin);
            if new.is_none_or(|new| new.fingerprint == old.fingerprint) {
                continue;
            }
            let known = plugins.iter().position(|used| used.fingerprint == old.fingerprint);
            let plugin = known.unwrap_or_else(|| {
                plugins.push(old.clone());
                plugins.len() - 1
            });
            entry.before = Some(Before { plugin, rollout: number });
        }
    }
    snapshot.rollouts.push(rollout);
}

/// Configurations that did not do: chain entries that go on with what they had before, whatever version of the plugin
/// comes, until their configuration is another one.
#[derive(Clone, Default)]
pub struct Pins(HashMap<Spot, Pin>);

#[derive(Clone)]
struct Pin {
    /// The settings that stay away.
    away: u64,
    kept: Arc<PluginUse>,
}

impl Pins {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries go back from what they are now to what they were, as far as their configuration changed.
    pub fn add(&mut self, now: &Stable, before: &Stable) {
        for (spot, new) in &now.0 {
            if let Some(kept) = before.0.get(spot).filter(|kept| kept.settings != new.settings) {
                self.0.insert(spot.clone(), Pin { away: new.settings, kept: kept.clone() });
            }
        }
    }

    /// Keeps them away from a snapshot that was just compiled, and forgets those that it does not ask for any more.
    /// `current` serves: what it has already is taken from there.
    pub fn apply(&mut self, snapshot: &mut Snapshot, plugin: &str, current: Option<&Snapshot>) {
        if self.is_empty() {
            return;
        }
        let mut asked_for = HashMap::new();
        let Snapshot { listeners, plugins, .. } = snapshot;
        for listener in listeners {
            // A snapshot that was just compiled has no other owner.
            let Some(listener) = Arc::get_mut(listener) else { continue };
            for at in 0..listener.chain.len() {
                let Some(spot) = spot(listener, at) else { continue };
                let Some(entry) = listener.chain.get_mut(at) else { continue };
                let Some(new) = plugins.get(entry.plugin).filter(|used| used.name == plugin) else { continue };
                let Some(pin) = self.0.get(&spot).filter(|pin| pin.away == new.settings) else { continue };
                let module = new.module.clone();
                let wanted = fingerprint_with(pin.kept.settings, &module);
                let known = plugins.iter().position(|used| used.fingerprint == wanted);
                entry.plugin = known.unwrap_or_else(|| {
                    let serving = current
                        .and_then(|current| current.plugins.iter().find(|used| used.fingerprint == wanted).cloned());
                    plugins.push(serving.unwrap_or_else(|| Arc::new(pin.kept.with_module(&module))));
                    plugins.len() - 1
                });
                asked_for.insert(spot, pin.clone());
            }
        }
        self.0 = asked_for;
        drop_unused(snapshot);
    }
}

/// What no entry uses any more must not be prepared; indices of the others stay right.
fn drop_unused(snapshot: &mut Snapshot) {
    let entries = snapshot.listeners.iter().flat_map(|listener| &listener.chain);
    let used: Vec<usize> =
        entries.flat_map(|entry| [Some(entry.plugin), entry.before.map(|before| before.plugin)]).flatten().collect();
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
