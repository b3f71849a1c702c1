//! Modules: bytes checked, compiled, loaded; the same digest only once.

mod compiling;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use sidegate_wasm_host::module::Outline;
use sidegate_wasm_host::{Engine, Module, Policy, Trusted};

use super::builtins::{self, Builtin, Compiled, unknown_builtin};
use super::cache::Cache;
use super::change::Desk;
use super::compiler;
use super::sources::Content;
use crate::snapshot::PluginModule;
use crate::snapshot::plugin::Guest;
use compiling::Compiling;

/// Versions of a plugin whose code is kept at hand, and as many that have none; older ones are made again.
const VERSIONS_KEPT: usize = 8;

/// All modules that were loaded, and the engines that run them.
pub struct Modules {
    builtin: Engine<Guest>,
    foreign: Engine<Guest>,
    /// Code of standard filters that is loaded: all plugins of a filter share it.
    embedded: HashMap<&'static str, Module<Guest>>,
    cache: Option<Cache>,
    known: HashMap<String, Known>,
    /// `None`: whoever needs code waits for it.
    compiling: Option<Compiling>,
    /// The update that is being made waits for all code, because there is nothing else to do yet.
    patient: bool,
}

#[derive(Default)]
struct Known {
    newest: u32,
    modules: Vec<Arc<PluginModule>>,
}

impl Modules {
    /// `slots` is the number of VMs that each engine must be able to hold.
    pub fn new(slots: u32, cache: Option<Cache>) -> Result<Self, String> {
        let engine = |policy| Engine::new(policy, slots).map_err(|error| format!("{error:#}"));
        let (builtin, foreign) = (engine(Policy::Builtin)?, engine(Policy::Foreign)?);
        Ok(Self {
            builtin,
            foreign,
            embedded: HashMap::new(),
            cache,
            known: HashMap::new(),
            compiling: None,
            patient: true,
        })
    }

    /// Has modules compiled beside control from now on; `desk` is told when one is done.
    pub fn compile_beside(&mut self, desk: Desk) -> std::io::Result<()> {
        self.compiling = Some(Compiling::start(&desk)?);
        Ok(())
    }

    /// An update begins to ask for modules. A patient one waits for their code.
    pub fn begin(&mut self, patient: bool) {
        self.patient = patient;
        self.compiling.iter_mut().for_each(Compiling::begin);
    }

    /// Whether the update has asked for a module whose code is still being made.
    pub fn are_awaited(&self) -> bool {
        self.compiling.as_ref().is_some_and(Compiling::waits)
    }

    /// The update has all its modules. The time that was spent on their code beside control.
    pub fn end(&mut self) -> Duration {
        self.compiling.as_mut().map(Compiling::end).unwrap_or_default()
    }

    /// Whether code has been made since this was last asked.
    pub fn take_news(&mut self) -> bool {
        self.compiling.as_mut().is_some_and(Compiling::take)
    }

    /// Goes on counting where an earlier process stopped: the newest number, and those of known digests.
    pub fn resume(&mut self, plugin: &str, newest: u32, versions: impl Iterator<Item = (u32, String)>) {
        let known = self.known.entry(plugin.to_owned()).or_default();
        known.newest = newest;
        let numbered = |(version, digest)| {
            Arc::new(PluginModule::new(digest, version, String::new(), Err("not loaded yet".to_owned())))
        };
        known.modules = versions.map(numbered).collect();
    }

    /// The number of the newest version of a plugin, good or not.
    pub fn newest(&self, plugin: &str) -> u32 {
        self.known.get(plugin).map_or(0, |known| known.newest)
    }

    /// The module of this digest, if its code is at hand.
    pub fn find(&self, plugin: &str, digest: &str) -> Option<Arc<PluginModule>> {
        let modules = &self.known.get(plugin)?.modules;
        modules.iter().find(|known| known.digest == digest && known.code.is_ok()).cloned()
    }

    /// The module of a plugin from these bytes. A failure is a module too: one without code. So is one whose code is
    /// still being made; it has no number and is not remembered.
    pub fn load(&mut self, plugin: &str, content: &Content) -> Arc<PluginModule> {
        self.find(plugin, &content.digest).unwrap_or_else(|| {
            let code = match content.builtin {
                Some(name) => self.load_builtin(name).transpose(),
                None => self.load_foreign(&content.bytes, &content.digest).transpose(),
            };
            match code {
                Some(code) => self.keep(plugin, &content.digest, &content.source, code),
                None => {
                    let reason = Err("is being compiled".to_owned());
                    Arc::new(PluginModule::new(content.digest.clone(), 0, content.source.clone(), reason))
                }
            }
        })
    }

    /// A version that cannot run, with the reason. `digest` is empty when there are no bytes at all.
    pub fn refuse(&mut self, plugin: &str, digest: &str, source: &str, reason: String) -> Arc<PluginModule> {
        self.keep(plugin, digest, source, Err(reason))
    }

    fn keep(
        &mut self,
        plugin: &str,
        digest: &str,
        source: &str,
        code: Result<Module<Guest>, String>,
    ) -> Arc<PluginModule> {
        let known = self.known.entry(plugin.to_owned()).or_default();
        // A digest has one number, however often it is tried.
        let same = known.modules.iter().position(|module| module.digest == digest);
        let version = match same.and_then(|at| known.modules.get(at)) {
            Some(module) => module.version,
            None => {
                known.newest += 1;
                known.newest
            }
        };
        let module = Arc::new(PluginModule::new(digest.to_owned(), version, source.to_owned(), code));
        match same {
            // What was refused now (a pin, a signature) may have run before, and may again.
            Some(at) if module.code.is_ok() || known.modules.get(at).is_some_and(|known| known.code.is_err()) => {
                known.modules.remove(at);
                known.modules.push(module.clone());
            }
            Some(_) => {}
            None => known.modules.push(module.clone()),
        }
        let is_serving = |module: &Arc<PluginModule>| module.serving.load(Ordering::Acquire) > 0;
        for with_code in [true, false] {
            let of_this_kind = |module: &Arc<PluginModule>| module.code.is_ok() == with_code;
            if known.modules.iter().filter(|module| of_this_kind(module)).count() > VERSIONS_KEPT
                && let Some(oldest) =
                    known.modules.iter().position(|module| of_this_kind(module) && !is_serving(module))
            {
                known.modules.remove(oldest);
            }
        }
        module
    }

    /// `None`: later. So with all that follow.
    fn load_builtin(&mut self, name: &'static str) -> Result<Option<Module<Guest>>, String> {
        if let Some(module) = self.embedded.get(name) {
            return Ok(Some(module.clone()));
        }
        let module = self.read_builtin(name)?;
        if let Some(module) = &module {
            self.embedded.insert(name, module.clone());
        }
        Ok(module)
    }

    fn read_builtin(&mut self, name: &str) -> Result<Option<Module<Guest>>, String> {
        let Builtin { wasm, compiled, .. } = builtins::find(name).ok_or_else(|| unknown_builtin(name))?;
        // The build saw to it that this is code of this module; code for another engine is made anew.
        if let Some(Compiled { outline, code }) = compiled
            && let Ok(outline) = serde_json::from_str(outline)
            && let Ok(module) = Module::load_outlined(&self.builtin, outline, Trusted::vouch_embedded(code))
        {
            return Ok(Some(module));
        }
        let name = format!("builtin-{name}-{:016x}", self.builtin.compatibility());
        let Some(code) = self.compiled(&name, Policy::Builtin, &Bytes::from_static(wasm))? else { return Ok(None) };
        Module::load(&self.builtin, wasm, Trusted::vouch(&code)).map(Some).map_err(|error| error.to_string())
    }

    fn load_foreign(&mut self, wasm: &Bytes, digest: &str) -> Result<Option<Module<Guest>>, String> {
        Outline::read(wasm).map_err(|error| error.to_string())?;
        let name = format!("{digest}-{:016x}", self.foreign.compatibility());
        let Some(artifact) = self.compiled(&name, Policy::Foreign, wasm)? else { return Ok(None) };
        Module::load(&self.foreign, wasm, Trusted::vouch(&artifact)).map(Some).map_err(|error| error.to_string())
    }

    /// Code from the cache, else from the compiler.
    fn compiled(&mut self, name: &str, policy: Policy, wasm: &Bytes) -> Result<Option<Vec<u8>>, String> {
        if let Some(code) = self.cache.as_ref().and_then(|cache| cache.read(name)) {
            return Ok(Some(code));
        }
        let compiled = match self.compiling.as_mut().filter(|_| !self.patient) {
            Some(compiling) => compiling.code(name, policy, wasm),
            None => Some(compiler::compile(policy, wasm)),
        };
        let Some(code) = compiled.transpose()? else { return Ok(None) };
        if let Some(cache) = &self.cache {
            cache.write(name, &code);
        }
        Ok(Some(code))
    }
}
