//! Where modules come from: the binary, files, URLs. Gives bytes with their digest, or why there are none. What came from
//! a URL is kept and asked for again in the background.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use sha2::{Digest, Sha256};
use sidegate_config::{Plugin, PluginUrl};
use sidegate_wasm_host::limits;
use sidegate_wasm_host::module::Outline;

use super::builtins::{self, unknown_builtin};
use super::change::Desk;
use super::fetch::{self, Fetched};
use super::signature::{SIGNATURE_BYTES, Signed};
use super::store::hex;

/// How often a URL is asked whether it has something new.
const REFRESH: Duration = Duration::from_secs(60);
/// The pause after a fetch that failed; doubled at each further one, up to `REFRESH`.
const RETRY: Duration = Duration::from_secs(1);
/// How long a module file must have been left alone.
const QUIET: Duration = Duration::from_millis(150);
/// How long one that is no module may be still being written.
const WRITING: Duration = Duration::from_secs(1);

/// The bytes of a module.
#[derive(Clone)]
pub struct Content {
    /// Where they came from, for people.
    pub source: String,
    /// Lower-case hex sha256.
    pub digest: String,
    pub bytes: Cow<'static, [u8]>,
    /// Set for a filter inside the binary.
    pub builtin: Option<&'static str>,
    pub signed: Option<Signed>,
}

impl Content {
    pub fn new(source: String, bytes: Cow<'static, [u8]>, signed: Option<Signed>) -> Self {
        Self { source, digest: hex(&Sha256::digest(&bytes)), bytes, builtin: None, signed }
    }
}

/// All sources.
pub struct Sources {
    remotes: Remotes,
    /// A URL has something else than before.
    news: Arc<AtomicBool>,
    refresher: Option<SyncSender<()>>,
}

type Remotes = Arc<Mutex<HashMap<String, Remote>>>;

/// What is known of a URL.
struct Remote {
    content: Option<Content>,
    etag: Option<String>,
    error: Option<String>,
    /// The signature beside it is wanted too.
    signed: bool,
    failures: u32,
    due: Instant,
}

impl Sources {
    /// `desk` is told when a URL has something new; without one nothing is asked for again.
    pub fn new(desk: Option<Desk>) -> Self {
        let (remotes, news) = (Remotes::default(), Arc::<AtomicBool>::default());
        let refresher = desk.and_then(|desk| {
            let (changed, wake) = sync_channel(1);
            let (remotes, news) = (remotes.clone(), news.clone());
            let refresh = move || refresh(&remotes, &wake, &news, &desk);
            std::thread::Builder::new().name("fetch".into()).spawn(refresh).ok().map(|_| changed)
        });
        Self { remotes, news, refresher }
    }

    /// Whether a URL has had something new since this was last asked.
    pub fn take_news(&self) -> bool {
        self.news.swap(false, Ordering::AcqRel)
    }

    /// What the source of a plugin has now. A URL that was never asked is asked now; that may take [`fetch::TIME`].
    pub fn read(&self, plugin: &Plugin) -> Result<Content, String> {
        match &plugin.url {
            PluginUrl::Builtin(name) => {
                let builtin = builtins::find(name).ok_or_else(|| unknown_builtin(name))?;
                Ok(Content {
                    source: source_of(&plugin.url),
                    digest: builtin.digest.to_owned(),
                    bytes: Cow::Borrowed(builtin.wasm),
                    builtin: Some(builtin.name),
                    signed: None,
                })
            }
            PluginUrl::File(path) => {
                let bytes =
                    read(path, limits::MODULE_BYTES as u64).map_err(|error| format!("{}: {error}", path.display()))?;
                let signed = plugin.signature.is_some().then(|| read_signature(path)).flatten();
                Ok(Content::new(source_of(&plugin.url), Cow::Owned(bytes), signed))
            }
            PluginUrl::Http(url) => self.remote(url, plugin.signature.is_some()),
        }
    }

    fn remote(&self, url: &str, signed: bool) -> Result<Content, String> {
        let known = lock(&self.remotes).get(url).is_some_and(|remote| remote.signed || !signed);
        if !known {
            let mut remote =
                Remote { content: None, etag: None, error: None, signed, failures: 0, due: Instant::now() };
            remote.ask(url);
            lock(&self.remotes).insert(url.to_owned(), remote);
            self.wake();
        }
        let remotes = lock(&self.remotes);
        let remote = remotes.get(url).ok_or("not known")?;
        match (&remote.error, &remote.content) {
            (None, Some(content)) => Ok(content.clone()),
            (error, _) => Err(error.clone().unwrap_or_default()),
        }
    }

    /// Forgets URLs that no plugin names any more.
    pub fn keep_only(&self, plugins: &[Plugin]) {
        let named =
            |url: &str| plugins.iter().any(|plugin| matches!(&plugin.url, PluginUrl::Http(known) if known == url));
        lock(&self.remotes).retain(|url, _| named(url));
    }

    fn wake(&self) {
        if let Some(refresher) = &self.refresher
            && let Err(TrySendError::Disconnected(())) = refresher.try_send(())
        {
            tracing::error!("nobody asks URLs for news any more");
        }
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

fn lock(remotes: &Remotes) -> MutexGuard<'_, HashMap<String, Remote>> {
    remotes.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Remote ===

impl Remote {
    /// Asks the URL once; whether there is any news.
    fn ask(&mut self, url: &str) -> bool {
        let asked = self.fetch(url);
        let news = match asked {
            Ok(content) => {
                let same = self.content.as_ref().is_some_and(|known| {
                    content.as_ref().is_none_or(|new| new.digest == known.digest && new.signed == known.signed)
                });
                let was_missing = self.error.take().is_some();
                self.failures = 0;
                if content.is_some() {
                    self.content = content;
                }
                was_missing || !same
            }
            Err(error) => {
                let news = self.error.as_ref() != Some(&error);
                self.error = Some(error);
                self.failures = self.failures.saturating_add(1);
                news
            }
        };
        self.due = Instant::now() + spread(self.pause());
        news
    }

    /// `None`: what is there already.
    fn fetch(&mut self, url: &str) -> Result<Option<Content>, String> {
        let etag = self.etag.as_deref().filter(|_| self.content.is_some());
        let known = self.content.as_ref().map(|content| content.bytes.clone());
        let mut new_etag = None;
        let bytes = match fetch::get(url, etag, limits::MODULE_BYTES)? {
            Fetched::New { bytes, etag } => {
                new_etag = Some(etag);
                Cow::Owned(Vec::from(bytes))
            }
            Fetched::Unchanged if !self.signed => return Ok(None),
            Fetched::Unchanged => known.unwrap_or_default(),
        };
        let signed = if self.signed {
            match fetch::get(&format!("{url}.sig"), None, SIGNATURE_BYTES as usize)? {
                Fetched::New { bytes, .. } => Signed::parse(&String::from_utf8_lossy(&bytes)),
                Fetched::Unchanged => None,
            }
        } else {
            None
        };
        // Only now: a module without its signature must be asked for again.
        if let Some(etag) = new_etag {
            self.etag = etag;
        }
        Ok(Some(Content::new(url.to_owned(), bytes, signed)))
    }

    fn pause(&self) -> Duration {
        match self.failures {
            0 => REFRESH,
            failures => RETRY.saturating_mul(1 << (failures - 1).min(10)).min(REFRESH),
        }
    }
}

/// A tenth more or less, so that many proxies do not ask at once.
fn spread(pause: Duration) -> Duration {
    let share = RandomState::new().hash_one(0u8) % 200;
    pause.mul_f64(0.9 + share as f64 / 1000.0)
}

/// Asks each URL again when it is due. Ends with the one who reads.
fn refresh(remotes: &Remotes, wake: &Receiver<()>, changed: &AtomicBool, desk: &Desk) {
    loop {
        let due = lock(remotes).iter().map(|(url, remote)| (remote.due, url.clone())).min();
        let wait = due.as_ref().map_or(REFRESH, |(due, _)| due.saturating_duration_since(Instant::now()));
        match wake.recv_timeout(wait) {
            Ok(()) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let Some((_, url)) = due else { continue };
        // Asking takes seconds: the list is not locked meanwhile.
        let Some(mut remote) = lock(remotes).get(&url).map(Remote::copy) else { continue };
        let news = remote.ask(&url);
        if let Some(known) = lock(remotes).get_mut(&url) {
            *known = remote;
        }
        if news {
            changed.store(true, Ordering::Release);
            desk.look();
        }
    }
}

impl Remote {
    fn copy(&self) -> Self {
        Self {
            content: self.content.clone(),
            etag: self.etag.clone(),
            error: self.error.clone(),
            signed: self.signed,
            failures: self.failures,
            due: self.due,
        }
    }
}
