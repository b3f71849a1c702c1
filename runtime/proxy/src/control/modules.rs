//! Modules: bytes from where the configuration says, checked, compiled, loaded; the same digest only once.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use sidegate_config::{Plugin, PluginUrl};
use sidegate_wasm_host::module::{Outline, Trusted};
use sidegate_wasm_host::{Engine, Module, Policy, limits};

use super::builtins::{self, Builtin};
use super::cache::Cache;
use super::compiler;
use crate::snapshot::PluginModule;
use crate::snapshot::plugin::Breaker;
use crate::snapshot::plugin::Guest;

/// Versions of a plugin whose code is kept at hand; older ones are compiled again, or read from the cache.
const VERSIONS_KEPT: usize = 8;

/// All modules that were loaded, and the engines that run them.
pub struct Modules {
    builtin: Engine<Guest>,
    foreign: Engine<Guest>,
    cache: Option<Cache>,
    known: HashMap<String, Vec<Arc<PluginModule>>>,
}

impl Modules {
    /// `slots` is the number of VMs that each engine must be able to hold.
    pub fn new(slots: u32, cache: Option<Cache>) -> Result<Self, String> {
        let engine = |policy| Engine::new(policy, slots).map_err(|error| format!("{error:#}"));
        Ok(Self { builtin: engine(Policy::Builtin)?, foreign: engine(Policy::Foreign)?, cache, known: HashMap::new() })
    }

    /// The module of a plugin as its source has it now. A failure is a module too: one without code.
    pub fn load(&mut self, plugin: &Plugin) -> Arc<PluginModule> {
        let Fetched { source, digest, bytes } = fetch(&plugin.url);
        let pinned = plugin.sha256.as_ref().filter(|expected| !digest.is_empty() && **expected != digest);
        let bytes = match pinned {
            Some(expected) => Err(format!("sha256 is {digest}, the configuration says {expected}")),
            None => bytes,
        };
        let known = self.known.entry(plugin.name.clone()).or_default();
        if let Some(same) = known.iter().find(|known| bytes.is_ok() && known.digest == digest && known.code.is_ok()) {
            return same.clone();
        }
        let version = known.last().map_or(1, |last| last.version + 1);
        let code = bytes.and_then(|bytes| match &plugin.url {
            PluginUrl::Builtin(name) => self.load_builtin(name),
            PluginUrl::File(_) | PluginUrl::Http(_) => self.load_foreign(&bytes, &digest),
        });
        let module = Arc::new(PluginModule { digest, version, source, code, breaker: Breaker::default() });
        let known = self.known.entry(plugin.name.clone()).or_default();
        if known.len() >= VERSIONS_KEPT {
            known.remove(0);
        }
        known.push(module.clone());
        module
    }

    fn load_builtin(&self, name: &str) -> Result<Module<Guest>, String> {
        let Builtin { wasm, artifact, .. } = builtins::find(name).ok_or_else(|| unknown_builtin(name))?;
        // The build saw to it that this is code of this module; code for another engine is made anew.
        if let Some((_, code)) = artifact.split_at_checked(32)
            && let Ok(module) = Module::load(&self.builtin, wasm, Trusted::vouch(code))
        {
            return Ok(module);
        }
        let name = format!("builtin-{name}-{:016x}", self.builtin.compatibility());
        let artifact = self.compiled(&name, Policy::Builtin, wasm)?;
        let code = artifact.get(32..).unwrap_or_default();
        Module::load(&self.builtin, wasm, Trusted::vouch(code)).map_err(|error| error.to_string())
    }

    fn load_foreign(&self, wasm: &[u8], digest: &str) -> Result<Module<Guest>, String> {
        Outline::read(wasm).map_err(|error| error.to_string())?;
        let name = format!("{digest}-{:016x}", self.foreign.compatibility());
        let artifact = self.compiled(&name, Policy::Foreign, wasm)?;
        Module::load(&self.foreign, wasm, Trusted::vouch(&artifact)).map_err(|error| error.to_string())
    }

    /// Code from the cache, else from the compiler.
    fn compiled(&self, name: &str, policy: Policy, wasm: &[u8]) -> Result<Vec<u8>, String> {
        if let Some(code) = self.cache.as_ref().and_then(|cache| cache.read(name)) {
            return Ok(code);
        }
        let code = compiler::compile(policy, wasm)?;
        if let Some(cache) = &self.cache {
            cache.write(name, &code);
        }
        Ok(code)
    }
}

fn unknown_builtin(name: &str) -> String {
    let known = builtins::names();
    if known.is_empty() {
        format!("builtin:{name}: this binary holds no standard filters; run cargo xtask build")
    } else {
        format!("builtin:{name} does not exist; there are {}", known.join(", "))
    }
}

/// The bytes of a module, their digest, and where they came from.
struct Fetched {
    source: String,
    /// Empty when there are no bytes.
    digest: String,
    bytes: Result<Cow<'static, [u8]>, String>,
}

fn fetch(url: &PluginUrl) -> Fetched {
    match url {
        PluginUrl::Builtin(name) => {
            let builtin = builtins::find(name);
            Fetched {
                source: format!("builtin:{name}"),
                digest: builtin.map(|builtin| builtin.digest.to_owned()).unwrap_or_default(),
                bytes: builtin.map(|builtin| Cow::Borrowed(builtin.wasm)).ok_or_else(|| unknown_builtin(name)),
            }
        }
        PluginUrl::File(path) => {
            let bytes = read(path).map_err(|error| format!("{}: {error}", path.display()));
            Fetched {
                source: format!("file:{}", path.display()),
                digest: bytes.as_ref().map(|bytes| hex(&Sha256::digest(bytes))).unwrap_or_default(),
                bytes: bytes.map(Cow::Owned),
            }
        }
        PluginUrl::Http(url) => {
            Fetched { source: url.clone(), digest: String::new(), bytes: Err("not supported yet".to_owned()) }
        }
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than allowed shows that there is more.
    File::open(path)?.take(limits::MODULE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
