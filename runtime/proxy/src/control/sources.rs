//! Where modules come from: the binary, files, URLs. Gives bytes with their digest, or why there are none.

mod urls;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use sidegate_config::{Plugin, PluginUrl};
use sidegate_wasm_host::limits;
use sidegate_wasm_host::module::Outline;

use super::builtins::{self, unknown_builtin};
use super::change::Desk;
use super::files::Facts;
use super::give_way;
use super::signature::{SIGNATURE_BYTES, Signed};
use super::store::hex;
use urls::Urls;

pub use urls::Asked;

/// How long a module file must have been left alone.
const QUIET: Duration = Duration::from_millis(150);
/// How long one that is no module may be still being written.
const WRITING: Duration = Duration::from_secs(1);
/// Bytes that are hashed at a stretch: some 200 microseconds. On a busy CPU each pause between two costs milliseconds.
const PIECE: usize = 256 << 10;
/// Files whose digest is remembered; beyond, all are read anew.
const REMEMBERED: usize = 1024;

/// The bytes of a module.
#[derive(Clone)]
pub struct Content {
    /// Where they came from, for people.
    pub source: String,
    /// Lower-case hex sha256.
    pub digest: String,
    pub bytes: Bytes,
    /// Set for a filter inside the binary.
    pub builtin: Option<&'static str>,
    pub signed: Option<Signed>,
}

impl Content {
    pub fn new(source: String, bytes: Bytes, signed: Option<Signed>) -> Self {
        let mut hasher = Sha256::new();
        for piece in bytes.chunks(PIECE) {
            hasher.update(piece);
            give_way();
        }
        Self { source, digest: hex(&hasher.finalize()), bytes, builtin: None, signed }
    }
}

/// All sources.
pub struct Sources {
    urls: Urls,
    /// Digests of files as they were when they were read last.
    read: RefCell<HashMap<PathBuf, (Facts, String)>>,
}

impl Sources {
    /// `desk` is told when a URL has something new.
    pub fn new(desk: Option<Desk>) -> Self {
        Self { urls: Urls::new(desk), read: RefCell::default() }
    }

    /// Whether a URL has had something new since this was last asked.
    pub fn take_news(&mut self) -> bool {
        self.urls.take()
    }

    /// Asks these URLs, again and again, and no others.
    pub fn follow(&mut self, wanted: &HashSet<Asked>) {
        self.urls.follow(wanted);
    }

    /// The URLs among these of which nothing is known yet, not even why they give nothing.
    pub fn awaited(&self, wanted: &HashSet<Asked>) -> Vec<String> {
        self.urls.awaited(wanted).into_iter().map(|asked| asked.url.clone()).collect()
    }

    /// Asks these URLs, all at the same time, and waits until each has answered or is too late.
    pub fn wait(&mut self, wanted: &HashSet<Asked>) {
        self.urls.follow(wanted);
        self.urls.wait(wanted);
    }

    /// What the source of a plugin has now; of a URL, what it had when it was asked last.
    pub fn read(&self, plugin: &Plugin) -> Result<Content, String> {
        match &plugin.url {
            PluginUrl::Builtin(name) => {
                let builtin = builtins::find(name).ok_or_else(|| unknown_builtin(name))?;
                Ok(Content {
                    source: source_of(&plugin.url),
                    digest: builtin.digest.to_owned(),
                    bytes: Bytes::from_static(builtin.wasm),
                    builtin: Some(builtin.name),
                    signed: None,
                })
            }
            PluginUrl::File(path) => {
                let facts = Facts::settled(path, SystemTime::now());
                let bytes =
                    read(path, limits::MODULE_BYTES as u64).map_err(|error| format!("{}: {error}", path.display()))?;
                let signed = plugin.signature.is_some().then(|| read_signature(path)).flatten();
                let content = Content::new(source_of(&plugin.url), bytes.into(), signed);
                if let Some(facts) = facts {
                    self.remember(path, facts, &content.digest);
                }
                Ok(content)
            }
            PluginUrl::Http(url) => {
                let asked = Asked::of(plugin).ok_or_else(|| format!("{url}: not known"))?;
                self.urls.latest(&asked)
            }
        }
    }

    /// The digest of what the source of a plugin has now. A file that is as it was when it was read is not read again.
    pub fn digest(&self, plugin: &Plugin) -> Option<String> {
        if let PluginUrl::File(path) = &plugin.url
            && let Some(facts) = Facts::settled(path, SystemTime::now())
            && let Some((known, digest)) = self.read.borrow().get(path)
            && facts == *known
        {
            return Some(digest.clone());
        }
        self.read(plugin).ok().map(|content| content.digest)
    }

    fn remember(&self, path: &Path, facts: Facts, digest: &str) {
        let mut read = self.read.borrow_mut();
        if read.len() >= REMEMBERED {
            read.clear();
        }
        read.insert(path.to_owned(), (facts, digest.to_owned()));
    }
}

/// Whether somebody is writing a module file of these plugins: it was changed a moment ago, or lately and is no module.
/// The beginning of a module may be one too, so that its bytes alone do not tell.
pub fn half_written(plugins: &[Plugin]) -> bool {
    plugins.iter().any(|plugin| {
        let PluginUrl::File(path) = &plugin.url else { return false };
        let changed = std::fs::metadata(path).and_then(|facts| facts.modified());
        match changed.ok().and_then(|changed| SystemTime::now().duration_since(changed).ok()) {
            Some(age) if age < QUIET => true,
            Some(age) if age < WRITING => {
                read(path, limits::MODULE_BYTES as u64).is_ok_and(|bytes| Outline::read(&bytes).is_err())
            }
            _ => false,
        }
    })
}

/// A source in the words of the configuration.
pub fn source_of(url: &PluginUrl) -> String {
    match url {
        PluginUrl::Builtin(name) => format!("builtin:{name}"),
        PluginUrl::File(path) => format!("file:{}", path.display()),
        PluginUrl::Http(url) => url.clone(),
    }
}

/// Where the signature of a module file is: `NAME.wasm.sig`.
pub fn signature_file(module: &Path) -> PathBuf {
    let mut name = module.as_os_str().to_owned();
    name.push(".sig");
    name.into()
}

fn read_signature(module: &Path) -> Option<Signed> {
    let text = read(&signature_file(module), SIGNATURE_BYTES).ok()?;
    Signed::parse(&String::from_utf8_lossy(&text))
}

fn read(path: &Path, max: u64) -> std::io::Result<Vec<u8>> {
    // Opening a pipe would wait for a writer that may never come.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    // One byte more than allowed shows that there is more.
    File::open(path)?.take(max + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
