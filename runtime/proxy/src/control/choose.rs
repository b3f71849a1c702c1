//! Which module each plugin runs: what its source has, unless something was pushed in its place, or the source has
//! nothing and an earlier module serves on.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use sidegate_config::{Plugin, PluginUrl};

use super::builtins;
use super::change::{Met, Push, Refused};
use super::modules::Modules;
use super::signature::{Accepted, Key, check_order};
use super::sources::{Content, Sources, source_of};
use super::store::{Good, Index, Pushed, Store};
use crate::snapshot::PluginModule;

/// What one plugin runs, and why.
#[derive(Clone)]
pub struct Choice {
    pub module: Arc<PluginModule>,
    /// Where the module came from, for people.
    pub source: String,
    url: PluginUrl,
    /// The digest that the source had when it was last seen.
    seen: Option<String>,
    /// It stands in place of what the source has.
    pushed: bool,
    /// The key that vouched for it.
    key: Option<String>,
    pub accepted: Option<Accepted>,
    /// Why the source has nothing at the moment.
    pub missing: Option<String>,
    /// Its bytes, until they are kept on disk.
    pub bytes: Option<Bytes>,
}

/// Choices by plugin.
pub type Choices = HashMap<String, Choice>;

impl Choice {
    /// Whether both run the same module.
    pub fn is_module_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.module, &other.module)
    }

    /// What is remembered of it over a restart.
    pub fn good(&self) -> Good {
        Good {
            version: self.module.version,
            digest: self.module.digest.clone(),
            source: self.source.clone(),
            key: self.key.clone(),
        }
    }

    /// This choice, in place of a newer one that did not do: until the source has something else than that one saw.
    pub fn in_place_of(&self, newer: &Self) -> Self {
        Self { pushed: true, seen: newer.seen.clone(), missing: newer.missing.clone(), ..self.clone() }
    }

    pub fn pushed(&self) -> Option<Pushed> {
        self.pushed.then(|| Pushed { over: self.seen.clone() })
    }
}

/// Everything that a choice depends on.
pub struct Chooser<'a> {
    pub modules: &'a mut Modules,
    pub sources: &'a Sources,
    pub store: Option<&'a Store>,
    pub index: &'a Index,
    /// What runs now; empty at the start.
    pub before: &'a Choices,
}

impl Chooser<'_> {
    /// Looks at the source of a plugin.
    pub fn of_source(&mut self, plugin: &Plugin) -> Choice {
        let before = self.before.get(&plugin.name).filter(|before| before.url == plugin.url);
        let key = match key_of(plugin) {
            Ok(key) => key,
            Err(reason) => return self.refused(plugin, "", reason),
        };
        match self.sources.read(plugin) {
            Ok(content) => {
                if let Some(before) =
                    before.filter(|before| before.pushed && before.seen == Some(content.digest.clone()))
                    && check(plugin, key.as_ref(), before).is_ok()
                {
                    return Choice { missing: None, ..before.clone() };
                }
                let kept = self.index.get(&plugin.name).and_then(|kept| kept.pushed.as_ref());
                if self.before.is_empty()
                    && kept.is_some_and(|kept| kept.over.as_deref() == Some(&content.digest))
                    && let Some(choice) = self.of_store(plugin, key.as_ref())
                {
                    return choice;
                }
                let seen = Some(content.digest.clone());
                match self.admit(plugin, key.as_ref(), content, seen.clone(), false) {
                    Ok(choice) => choice,
                    Err((reason, digest)) => Choice { seen, ..self.refused(plugin, &digest, reason) },
                }
            }
            Err(error) => {
                let kept = before.filter(|before| before.module.code.is_ok());
                if let Some(kept) = kept.filter(|kept| check(plugin, key.as_ref(), kept).is_ok()) {
                    return Choice { missing: Some(error), ..kept.clone() };
                }
                if self.before.is_empty()
                    && let Some(choice) = self.of_store(plugin, key.as_ref())
                {
                    return Choice { missing: Some(error), ..choice };
                }
                self.refused(plugin, "", error)
            }
        }
    }

    /// Takes a pushed module. It may be one without code: [`unloadable`] says why.
    pub fn of_push(&mut self, plugin: &Plugin, push: &Push) -> Result<Choice, Refused> {
        let invalid = |error, reason| Refused::Invalid { error, reason };
        let key = key_of(plugin).map_err(|reason| invalid("no key", reason))?;
        let mut content = Content::new("push".to_owned(), push.module.clone(), push.signed.clone());
        if let Some(said) = push.digest.as_ref().filter(|said| !said.eq_ignore_ascii_case(&content.digest)) {
            let reason = format!("sha256 of the body is {}, x-sidegate-sha256 says {said}", content.digest);
            return Err(invalid("wrong digest", reason));
        }
        if let PluginUrl::Builtin(name) = &plugin.url
            && let Some(builtin) = builtins::find(name).filter(|builtin| builtin.digest == content.digest)
        {
            content.builtin = Some(builtin.name);
        }
        let seen = self.seen(plugin, push.met.as_ref());
        let choice = self.admit(plugin, key.as_ref(), content, seen, push.allow_rollback);
        let choice = choice.map_err(|(reason, _)| invalid("not accepted", reason))?;
        Ok(Choice { pushed: true, ..choice })
    }

    /// Goes back to the version before the one that runs.
    pub fn of_history(&mut self, plugin: &Plugin, met: Option<&Met>) -> Result<Choice, Refused> {
        let no_previous = || Refused::NoPrevious(plugin.name.clone());
        let aim = met.and_then(|met| met.previous.as_deref());
        let previous = match aim {
            Some(digest) => self.good(plugin).find(|good| good.digest == digest),
            None => self.previous(plugin),
        };
        let previous = previous.ok_or_else(no_previous)?.clone();
        let invalid = |reason| Refused::Invalid { error: "not accepted", reason };
        let key = key_of(plugin).map_err(invalid)?;
        let choice = self.of_good(plugin, &previous).ok_or_else(no_previous)?;
        check(plugin, key.as_ref(), &choice).map_err(invalid)?;
        let seen = self.seen(plugin, met);
        Ok(Choice { source: "rollback".to_owned(), pushed: true, seen, ..choice })
    }

    /// What a change of this plugin meets at this moment.
    pub fn met(&self, plugin: &Plugin) -> Met {
        let previous = self.previous(plugin).map(|good| good.digest.clone());
        Met { source: self.seen(plugin, None), previous }
    }

    /// The digest that the source had when the change came: what was there then is older than what takes its place.
    fn seen(&self, plugin: &Plugin, met: Option<&Met>) -> Option<String> {
        if let Some(met) = met {
            return met.source.clone();
        }
        let before = || self.before.get(&plugin.name).and_then(|before| before.seen.clone());
        self.sources.digest(plugin).or_else(before)
    }

    /// Versions that served, the newest first.
    fn good(&self, plugin: &Plugin) -> impl Iterator<Item = &Good> {
        self.index.get(&plugin.name).into_iter().flat_map(|kept| kept.good.iter().rev())
    }

    /// The version before the one that runs.
    fn previous(&self, plugin: &Plugin) -> Option<&Good> {
        let live = self.before.get(&plugin.name);
        self.good(plugin).find(|good| live.is_none_or(|live| live.module.digest != good.digest))
    }

    /// The last good version of an earlier process.
    fn of_store(&mut self, plugin: &Plugin, key: Option<&Key>) -> Option<Choice> {
        let kept = self.index.get(&plugin.name)?;
        let (good, pushed) = (kept.good.last()?.clone(), kept.pushed.clone());
        let choice = self.of_good(plugin, &good).filter(|choice| check(plugin, key, choice).is_ok())?;
        let seen = pushed.as_ref().and_then(|pushed| pushed.over.clone());
        Some(Choice { pushed: pushed.is_some(), seen, ..choice })
    }

    fn of_good(&mut self, plugin: &Plugin, good: &Good) -> Option<Choice> {
        let module = self.modules.find(&plugin.name, &good.digest).or_else(|| {
            let builtin = match &plugin.url {
                PluginUrl::Builtin(name) => builtins::find(name).filter(|builtin| builtin.digest == good.digest),
                PluginUrl::File(_) | PluginUrl::Http(_) => None,
            };
            let bytes = match builtin {
                Some(builtin) => Bytes::from_static(builtin.wasm),
                None => Bytes::from(self.store?.module(&good.digest)?),
            };
            let content = Content {
                source: good.source.clone(),
                digest: good.digest.clone(),
                bytes,
                builtin: builtin.map(|builtin| builtin.name),
                signed: None,
            };
            Some(self.modules.load(&plugin.name, &content)).filter(|module| module.code.is_ok())
        })?;
        Some(Choice {
            module,
            source: good.source.clone(),
            url: plugin.url.clone(),
            seen: None,
            pushed: false,
            key: good.key.clone(),
            accepted: None,
            missing: None,
            bytes: None,
        })
    }

    /// Checks what the operator asks for, then loads. The error comes with the digest.
    fn admit(
        &mut self,
        plugin: &Plugin,
        key: Option<&Key>,
        content: Content,
        seen: Option<String>,
        allow_rollback: bool,
    ) -> Result<Choice, (String, String)> {
        let refused = |reason| (reason, content.digest.clone());
        check_pin(plugin, &content.digest).map_err(refused)?;
        // What is inside the binary is vouched for by whoever built the binary.
        let accepted = match key.filter(|_| content.builtin.is_none()) {
            Some(key) => Some(key.verify(content.signed.as_ref(), &plugin.name, &content.digest).map_err(refused)?),
            None => None,
        };
        if let Some(offered) = accepted.as_ref().filter(|_| !allow_rollback) {
            let highest = self.index.get(&plugin.name).and_then(|kept| kept.accepted.as_ref());
            check_order(offered, highest).map_err(refused)?;
        }
        let key = accepted.as_ref().and(key).map(Key::id);
        let module = self.modules.load(&plugin.name, &content);
        let bytes = content.builtin.is_none().then_some(content.bytes);
        let url = plugin.url.clone();
        let source = content.source;
        Ok(Choice { module, source, url, seen, pushed: false, key, accepted, missing: None, bytes })
    }

    fn refused(&mut self, plugin: &Plugin, digest: &str, reason: String) -> Choice {
        let source = source_of(&plugin.url);
        Choice {
            module: self.modules.refuse(&plugin.name, digest, &source, reason),
            source,
            url: plugin.url.clone(),
            seen: None,
            pushed: false,
            key: None,
            accepted: None,
            missing: None,
            bytes: None,
        }
    }
}

/// Why a module has no code, if it has none.
pub fn unloadable(choice: &Choice) -> Option<Refused> {
    let reason = choice.module.code.as_ref().err()?.clone();
    let is_wasm = choice.bytes.as_ref().is_none_or(|bytes| bytes.starts_with(b"\0asm"));
    Some(Refused::Invalid { error: if is_wasm { "does not load" } else { "not WebAssembly" }, reason })
}

/// Whether a module that was accepted before is still what the configuration asks for.
fn check(plugin: &Plugin, key: Option<&Key>, choice: &Choice) -> Result<(), String> {
    check_pin(plugin, &choice.module.digest)?;
    let builtin = builtins::digests().any(|digest| digest == choice.module.digest);
    match key {
        Some(key) if !builtin && choice.key.as_ref() != Some(&key.id()) => {
            Err("was not signed under signature.publicKey".to_owned())
        }
        _ => Ok(()),
    }
}

fn check_pin(plugin: &Plugin, digest: &str) -> Result<(), String> {
    match &plugin.sha256 {
        Some(pin) if pin != digest => Err(format!("sha256 is {digest}, the configuration says {pin}")),
        _ => Ok(()),
    }
}

fn key_of(plugin: &Plugin) -> Result<Option<Key>, String> {
    plugin.signature.as_ref().map(|signature| Key::read(&signature.public_key)).transpose()
}
