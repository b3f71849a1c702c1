//! Plugins: modules with their limits.

use std::{path::PathBuf, time::Duration};

use schemars::SchemaGenerator;
use serde_json::{Value as Json, json};

use crate::{
    Location, Rate, Size, abi,
    checks::{guest_memory, positive, printable},
    cursor::Cursor,
    model::{ConfigBytes, Rollout},
    read::{Read, primitives::beside, section, words},
};

section! {
    /// A module that filter chains may use.
    pub struct Plugin {
        /// The name by which chains, metrics and pushes know it.
        pub name: String where printable,
        /// Where the module comes from: `builtin:NAME`, `file:PATH`, seen from the folder of this file and watched, or
        /// an `http://` or `https://` URL, asked again every minute.
        pub url: PluginUrl,
        /// SHA-256 of the module, 64 hex digits. Any other module is refused, pushed ones too.
        pub sha256: Option<String> as "sha256" where hex_digest = None,
        /// Who must have signed the module. Default: nobody.
        pub signature: Option<Signature> = None,
        /// Which root context of the module is meant. Default: empty.
        pub root_id: String = String::new(),
        /// The VM it runs in.
        pub vm_config: VmConfig = VmConfig::default(),
        /// Whether a filter that holds the headers still sees the body, as Envoy's option of this name. Default: false.
        pub allow_on_headers_stop_iteration: bool = false,
        /// The only hooks that the module uses, as `proxy_on_request_headers` or `on_request_headers`; others are not
        /// called. Default: empty, which means all that it exports.
        pub hooks: Vec<String> = Vec::new(),
        /// The only hostcalls that the module may use, as `proxy_http_call`, and `steer` for the properties that choose
        /// the upstream. Default: empty, which means all.
        pub capabilities: Vec<String> = Vec::new(),
        /// What a fault of the module does to a request. Default: FAIL_CLOSE; of `builtin:telemetry` FAIL_OPEN.
        pub fail_strategy: Option<FailStrategy> = None,
        /// What the module may use up.
        pub limits: PluginLimits = PluginLimits::default(),
        /// How a new version takes over. Default: at once.
        pub rollout: Option<Rollout> = None,
    }
    at location
    then finish
}

impl Plugin {
    /// The standard filter of this name, as if it had been defined with nothing else.
    pub fn builtin(name: &str, location: Location) -> Self {
        Self {
            name: name.to_owned(),
            url: PluginUrl::Builtin(name.to_owned()),
            sha256: None,
            signature: None,
            root_id: String::new(),
            vm_config: VmConfig::default(),
            allow_on_headers_stop_iteration: false,
            hooks: Vec::new(),
            capabilities: Vec::new(),
            fail_strategy: None,
            limits: PluginLimits { pause: default_pause(name), ..PluginLimits::default() },
            rollout: None,
            location,
        }
    }
}

/// The fault filter's work is to make requests wait, and the router pauses for nothing but the delay of a route.
fn default_pause(builtin: &str) -> Duration {
    if matches!(builtin, "fault" | "router") { Duration::from_secs(600) } else { PluginLimits::default().pause }
}

fn finish(mut plugin: Plugin, at: &Cursor<'_>) -> Option<Plugin> {
    if let PluginUrl::Builtin(builtin) = &plugin.url
        && at.key("limits").and_then(|limits| limits.key("pause")).is_none_or(|pause| pause.is_null())
    {
        plugin.limits.pause = default_pause(builtin);
    }
    plugin.sha256 = plugin.sha256.map(|digest| digest.to_ascii_lowercase());
    plugin.hooks = plugin.hooks.iter().filter_map(|hook| abi::hook(hook)).collect();
    Some(plugin)
}

fn hex_digest(digest: &Option<String>) -> Result<(), String> {
    match digest {
        Some(digest) if digest.len() != 64 || !digest.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Err(format!("a SHA-256 digest has 64 hex digits; this has {} characters", digest.chars().count()))
        }
        _ => Ok(()),
    }
}

/// Where a module comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PluginUrl {
    /// A filter inside the binary, by its name.
    Builtin(String),
    /// A file; a relative path has been joined to the folder of the configuration file.
    File(PathBuf),
    /// An `http://` or `https://` URL.
    Http(String),
}

impl Read for PluginUrl {
    fn read(at: &Cursor<'_>) -> Option<Self> {
        let text = String::read(at)?;
        if let Some(name) = text.strip_prefix("builtin:").filter(|name| !name.is_empty()) {
            return Some(Self::Builtin(name.to_owned()));
        }
        if let Some(path) = text.strip_prefix("file:").filter(|path| !path.is_empty()) {
            // file:///opt/x.wasm and file:x.wasm are both in use.
            let path = path.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(path);
            return Some(Self::File(beside(&at.location().file, path)));
        }
        if text.starts_with("http://") || text.starts_with("https://") {
            return Some(Self::Http(text));
        }
        let fix = (text.ends_with(".wasm") && !text.contains(':')).then(|| format!("write file:{text}"));
        at.expected("builtin:NAME, file:PATH or a URL", fix)
    }

    fn schema(_: &mut SchemaGenerator) -> Json {
        json!({"type": "string", "pattern": "^(builtin|file|http|https):.+"})
    }
}

section! {
    /// Who must have signed a module. What is inside the binary needs no signature.
    pub struct Signature {
        /// A PEM file with an Ed25519 public key, read again when it changes.
        pub public_key: PathBuf,
    }
}

section! {
    /// The VM that a plugin runs in.
    pub struct VmConfig: Default {
        /// Plugins and versions with the same id share data and queues. Default: the plugin's name.
        pub vm_id: Option<String> = None,
        /// What `on_vm_start` is given: of a string its text, of anything else JSON. Default: nothing.
        pub configuration: Option<ConfigBytes> = None,
        /// Environment variables of the module.
        pub env: Vec<EnvVar> = Vec::new(),
    }
}

section! {
    /// An environment variable of a module.
    pub struct EnvVar {
        /// Its name.
        pub name: String where env_name,
        /// Its value, when `valueFrom` is INLINE.
        pub value: Option<String> = None,
        /// Where the value comes from. Default: INLINE.
        pub value_from: ValueFrom = ValueFrom::Inline,
    }
    then value_as_said
}

words! {
    /// Where the value of an environment variable comes from.
    pub enum ValueFrom {
        /// It stands in the configuration.
        Inline = "INLINE",
        /// It is the variable of the same name of the proxy.
        Host = "HOST",
    }
}

fn env_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err("the name of an environment variable must not be empty or contain =".to_owned());
    }
    Ok(())
}

fn value_as_said(variable: EnvVar, at: &Cursor<'_>) -> Option<EnvVar> {
    match (variable.value_from, &variable.value) {
        (ValueFrom::Inline, None) => {
            at.error("missing key \"value\"", Some("add a value, or valueFrom: HOST".to_owned()));
            None
        }
        (ValueFrom::Host, Some(_)) => {
            at.error("a value beside valueFrom: HOST", Some("keep one of them".to_owned()));
            None
        }
        _ => Some(variable),
    }
}

words! {
    /// What a fault of a module does to a request.
    pub enum FailStrategy {
        /// The request is answered with 503.
        Close = "FAIL_CLOSE",
        /// The plugin is skipped for the rest of the request.
        Open = "FAIL_OPEN",
        /// As FAIL_CLOSE, but a fault in the request headers is tried once more on a fresh VM.
        Reload = "FAIL_RELOAD",
    }
}

section! {
    /// What a module may use up.
    pub struct PluginLimits: Default {
        /// CPU time of one call of a hook. Default: 10ms.
        pub cpu_per_call: Duration where positive = Duration::from_millis(10),
        /// Time to start and configure a VM. Default: 1s.
        pub configure: Duration where positive = Duration::from_secs(1),
        /// Linear memory of one VM. Default: 32Mi.
        pub memory: Size where guest_memory = Size(32 << 20),
        /// How long it may hold a request. Default: 5s; of `builtin:fault` and `builtin:router` 10m.
        pub pause: Duration where positive = Duration::from_secs(5),
        /// Body bytes that it may hold of one request or response. Default: 1Mi.
        pub body: Size where positive = Size(1 << 20),
        /// Callouts of one request under way at a time. Default: 8.
        pub callouts: u32 = 8,
        /// Shared data of its VM id. Default: 1Mi.
        pub shared_data: Size = Size(1 << 20),
        /// Metric series. Default: 1000.
        pub series: u32 = 1000,
        /// Log lines. Default: 100/s.
        pub log_rate: Rate = Rate(100),
    }
}
