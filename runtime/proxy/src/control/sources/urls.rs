//! Modules from URLs. One task follows each URL that is named, on a thread of its own: it asks, tells control when there
//! is something new, and asks again. Control reads what came last; it waits for nobody but once, at the start.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sidegate_config::{Plugin, PluginUrl};
use sidegate_wasm_host::limits;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::AbortHandle;

use super::Content;
use crate::control::change::Desk;
use crate::control::fetch::{self, Fetched};
use crate::control::signature::{SIGNATURE_BYTES, Signed};

/// How often a URL is asked whether it has something new.
const REFRESH: Duration = Duration::from_secs(60);
/// The pause after a fetch that failed; doubled at each further one, up to `REFRESH`.
const RETRY: Duration = Duration::from_secs(1);
/// URLs that are asked at the same time; each may bring a module of 32 MiB.
const AT_ONCE: usize = 8;
/// From naming a URL to knowing what it has, or why not: a module, its signature, and those asked before.
const WHOLE: Duration = Duration::from_secs(30);
/// By how much the thread may be late with that.
const LATE: Duration = Duration::from_secs(2);

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Asked {
    pub url: String,
    /// The signature beside it is wanted too.
    pub signed: bool,
}

impl Asked {
    /// What a plugin asks for, if its module comes from a URL.
    pub fn of(plugin: &Plugin) -> Option<Self> {
        match &plugin.url {
            PluginUrl::Http(url) => Some(Self { url: url.clone(), signed: plugin.signature.is_some() }),
            PluginUrl::Builtin(_) | PluginUrl::File(_) => None,
        }
    }
}

/// All URLs that are named.
pub(super) struct Urls {
    known: HashMap<Asked, Known>,
    /// Tells answers to a URL that was named, left out and named again from each other.
    next: u64,
    sender: Sender<Arrival>,
    arrivals: Receiver<Arrival>,
    desk: Option<Desk>,
    thread: Option<Thread>,
    places: Arc<Semaphore>,
}

struct Known {
    number: u64,
    /// What came last; `None`: nothing yet.
    latest: Option<Result<Content, String>>,
    task: Option<AbortHandle>,
}

/// News of one URL.
struct Arrival {
    asked: Asked,
    number: u64,
    content: Result<Content, String>,
}

impl Urls {
    /// `desk` is told when there is something new.
    pub(super) fn new(desk: Option<Desk>) -> Self {
        let (sender, arrivals) = channel();
        let places = Arc::new(Semaphore::new(AT_ONCE));
        Self { known: HashMap::new(), next: 0, sender, arrivals, desk, thread: None, places }
    }

    /// Follows these URLs from now on and no others: what still comes of others is dropped.
    pub(super) fn follow(&mut self, wanted: &HashSet<Asked>) {
        self.known.retain(|asked, _| wanted.contains(asked));
        for asked in wanted {
            if !self.known.contains_key(asked) {
                let known = self.begin(asked);
                self.known.insert(asked.clone(), known);
            }
        }
    }

    fn begin(&mut self, asked: &Asked) -> Known {
        self.next += 1;
        let number = self.next;
        let handle = match &self.thread {
            Some(thread) => Ok(thread.handle.clone()),
            None => Thread::start().map(|thread| self.thread.insert(thread).handle.clone()),
        };
        let handle = match handle {
            Ok(handle) => handle,
            Err(error) => {
                let latest = Some(Err(format!("{}: cannot ask: {error}", asked.url)));
                return Known { number, latest, task: None };
            }
        };
        let (asked, places) = (asked.clone(), self.places.clone());
        let (sender, desk) = (self.sender.clone(), self.desk.clone());
        let task = handle.spawn(async move {
            let mut source = Source::default();
            loop {
                if let Some(content) = source.ask(&asked, &places).await {
                    let told = sender.send(Arrival { asked: asked.clone(), number, content });
                    desk.as_ref().filter(|_| told.is_ok()).inspect(|desk| desk.look());
                }
                tokio::time::sleep(spread(source.pause())).await;
            }
        });
        Known { number, latest: None, task: Some(task.abort_handle()) }
    }

    /// Takes what has come; whether any of it is news.
    pub(super) fn take(&mut self) -> bool {
        let mut news = false;
        while let Ok(arrival) = self.arrivals.try_recv() {
            news |= self.keep(arrival);
        }
        news
    }

    fn keep(&mut self, arrival: Arrival) -> bool {
        let Arrival { asked, number, content } = arrival;
        match self.known.get_mut(&asked).filter(|known| known.number == number) {
            Some(known) => {
                known.latest = Some(content);
                true
            }
            // Nobody names it any more.
            None => false,
        }
    }

    /// The URLs among these of which nothing is known yet.
    pub(super) fn awaited<'a>(&self, wanted: &'a HashSet<Asked>) -> Vec<&'a Asked> {
        let is_awaited = |asked: &&Asked| self.known.get(asked).is_none_or(|known| known.latest.is_none());
        wanted.iter().filter(is_awaited).collect()
    }

    /// Waits until something is known of all these URLs.
    pub(super) fn wait(&mut self, wanted: &HashSet<Asked>) {
        let until = Instant::now() + WHOLE + LATE;
        while !self.awaited(wanted).is_empty() {
            let Ok(arrival) = self.arrivals.recv_timeout(until.saturating_duration_since(Instant::now())) else {
                return;
            };
            self.keep(arrival);
        }
    }

    /// What a URL has, as it was told last.
    pub(super) fn latest(&self, asked: &Asked) -> Result<Content, String> {
        let latest = self.known.get(asked).and_then(|known| known.latest.clone());
        latest.unwrap_or_else(|| Err(format!("{}: no answer yet", asked.url)))
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// The thread that all tasks share. Ends when dropped.
struct Thread {
    handle: Handle,
    _end: oneshot::Sender<()>,
}

impl Thread {
    fn start() -> std::io::Result<Self> {
        // Looking up names blocks threads of their own.
        let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(AT_ONCE).build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        std::thread::Builder::new().name("fetch".into()).spawn(move || {
            let _ = runtime.block_on(ended);
            // A name that is still being looked up must not hold anybody.
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, _end: end })
    }
}

/// One URL as its task knows it.
#[derive(Default)]
struct Source {
    content: Option<Content>,
    etag: Option<String>,
    error: Option<String>,
    failures: u32,
}

impl Source {
    /// Asks once; `None`: nothing has changed.
    async fn ask(&mut self, asked: &Asked, places: &Semaphore) -> Option<Result<Content, String>> {
        let asking = async {
            let _place = places.acquire().await;
            self.fetch(asked).await
        };
        let answer = tokio::time::timeout(WHOLE, asking).await;
        match answer.unwrap_or_else(|_| Err(format!("{}: no whole answer within {WHOLE:?}", asked.url))) {
            Ok(new) => {
                self.failures = 0;
                let was_missing = self.error.take().is_some();
                let same = self.content.as_ref().is_some_and(|known| {
                    new.as_ref().is_none_or(|new| new.digest == known.digest && new.signed == known.signed)
                });
                if new.is_some() {
                    self.content = new;
                }
                (was_missing || !same).then(|| self.content.clone().map(Ok)).flatten()
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                let before = self.error.replace(error.clone());
                (before.as_ref() != Some(&error)).then_some(Err(error))
            }
        }
    }

    /// `None`: what is there already.
    async fn fetch(&mut self, asked: &Asked) -> Result<Option<Content>, String> {
        let Asked { url, signed } = asked;
        let etag = self.etag.as_deref().filter(|_| self.content.is_some());
        let (bytes, new_etag) = match fetch::get(url, etag, limits::MODULE_BYTES).await? {
            Fetched::New { bytes, etag } => (bytes, Some(etag)),
            Fetched::Unchanged if !signed => return Ok(None),
            Fetched::Unchanged => (self.bytes(), None),
        };
        let signed = if *signed { signature(url).await? } else { None };
        // Only now: a module without its signature must be asked for again.
        if let Some(etag) = new_etag {
            self.etag = etag;
        }
        Ok(Some(Content::new(url.clone(), bytes, signed)))
    }

    fn bytes(&self) -> Bytes {
        self.content.as_ref().map(|content| content.bytes.clone()).unwrap_or_default()
    }

    fn pause(&self) -> Duration {
        match self.failures {
            0 => REFRESH,
            failures => RETRY.saturating_mul(1 << (failures - 1).min(10)).min(REFRESH),
        }
    }
}

async fn signature(url: &str) -> Result<Option<Signed>, String> {
    Ok(match fetch::get(&format!("{url}.sig"), None, SIGNATURE_BYTES as usize).await? {
        Fetched::New { bytes, .. } => Signed::parse(&String::from_utf8_lossy(&bytes)),
        Fetched::Unchanged => None,
    })
}

/// A tenth more or less, so that many proxies do not ask at once.
fn spread(pause: Duration) -> Duration {
    let share = RandomState::new().hash_one(0u8) % 200;
    pause.mul_f64(0.9 + share as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(url: &str) -> HashSet<Asked> {
        HashSet::from([Asked { url: url.to_owned(), signed: false }])
    }

    /// Nobody listens there.
    const NOBODY: &str = "http://127.0.0.1:1/x.wasm";

    #[test]
    fn a_url_is_awaited_until_its_first_answer() {
        let mut urls = Urls::new(None);
        let wanted = asked(NOBODY);
        urls.follow(&wanted);
        assert_eq!(urls.awaited(&wanted).len(), 1);
        urls.wait(&wanted);
        assert!(urls.awaited(&wanted).is_empty());
        let error = urls.latest(wanted.iter().next().unwrap()).err().unwrap();
        assert!(error.contains("cannot connect"), "{error}");
    }

    #[test]
    fn what_comes_late_for_a_url_that_nobody_names_any_more_is_dropped() {
        let mut urls = Urls::new(None);
        let wanted = asked(NOBODY);
        urls.follow(&wanted);
        let late = |number| Arrival {
            asked: wanted.iter().next().unwrap().clone(),
            number,
            content: Ok(Content::new("late".to_owned(), Bytes::new(), None)),
        };
        urls.follow(&HashSet::new());
        assert!(!urls.keep(late(1)));
        urls.follow(&wanted);
        assert!(!urls.keep(late(1)), "the answer to an earlier question");
        assert!(urls.keep(late(2)));
    }
}
