//! Which configuration an update is about: what the files say, or what was pushed in their place. One that names a URL
//! for the first time waits until that has answered; meanwhile others may come, and the latest wins.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use sidegate_config::{Config, Plugin, PluginUrl, Problems, Source};

use super::{Failure, Outcome, Updater};
use crate::control::change::{Change, Refused};
use crate::control::sources::{Asked, signature_file};
use crate::snapshot::TraceKey;

/// What stands in the place of a file name where a document was pushed.
const PUSHED_DOCUMENT: &str = "pushed.yaml";

/// A configuration with its texts.
#[derive(Clone)]
pub(super) struct Document {
    pub config: Config,
    pub warnings: Problems,
    pub texts: Vec<Source>,
    pub shape: serde_json::Value,
    /// The number of the offer that it came with.
    pub number: u64,
}

impl Document {
    pub(super) fn parse(texts: &[Source], number: u64) -> Result<Self, Problems> {
        let sidegate_config::Loaded { config, warnings, shape, .. } = sidegate_config::parse(texts)?;
        Ok(Self { config, warnings, texts: texts.to_vec(), shape, number })
    }

    /// What it is as an offer: its number, and what it wants from URLs.
    pub(super) fn offer(&self) -> (u64, HashSet<Asked>) {
        (self.number, self.config.plugins.iter().filter_map(Asked::of).collect())
    }

    pub(super) fn is_pushed(&self) -> bool {
        self.texts.iter().any(|text| text.path.ends_with(PUSHED_DOCUMENT))
    }
}

/// Configurations as they were offered. They are counted, so that one that had to wait never takes the place of a later
/// one.
#[derive(Default)]
pub(super) struct Offers {
    count: u64,
    /// The latest one that serves, or waits for modules.
    taken: u64,
    /// What the files said when they were read last, and the number of that offer.
    read: Option<(Vec<Source>, u64)>,
    /// What they said when that was adopted, could not be understood, or something was pushed in its place.
    settled: Option<Vec<Source>>,
    /// URLs of what the files say, while that waits or is refused: it may take effect when they answer.
    of_files: HashSet<Asked>,
    /// URLs of a pushed configuration that waits.
    of_pushed: HashSet<Asked>,
}

impl Offers {
    /// These texts are served first.
    pub(super) fn begin(&mut self, texts: &[Source]) {
        self.settled = Some(texts.to_vec());
    }

    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// The number of what the files say now.
    fn of_texts(&mut self, texts: &[Source]) -> u64 {
        match &self.read {
            Some((read, number)) if read == texts => *number,
            _ => {
                let number = self.next();
                self.read = Some((texts.to_vec(), number));
                number
            }
        }
    }

    /// Another configuration has been adopted: what the files said before it does not count any more.
    fn settle(&mut self, document: &Document) {
        if !document.is_pushed() {
            self.settled = Some(document.texts.clone());
        } else if let Some((read, _)) = &self.read {
            self.settled = Some(read.clone());
        }
    }
}

impl Change {
    /// Whether it may bring another configuration.
    fn is_configuration(&self) -> bool {
        matches!(self, Self::Sources | Self::Config { .. })
    }
}

impl Updater {
    /// The number of the latest configuration that serves, or waits for modules.
    pub fn latest_offer(&self) -> u64 {
        self.offers.taken
    }

    /// No pushed configuration waits any more.
    pub fn forget_pushed(&mut self) {
        if !self.offers.of_pushed.is_empty() {
            self.offers.of_pushed.clear();
            self.follow_urls(&HashSet::new());
        }
    }

    pub(super) fn document_after(&mut self, change: &Change) -> Result<Document, Failure> {
        match (change, &self.document) {
            (Change::Config { text }, _) => {
                let folder = if self.path.is_dir() { Some(&*self.path) } else { self.path.parent() };
                let path = folder.unwrap_or_else(|| Path::new("")).join(PUSHED_DOCUMENT);
                let number = self.offers.next();
                Ok(Document::parse(&[Source { path, text: text.clone() }], number)?)
            }
            (Change::Sources, _) => {
                let texts = sidegate_config::read(&self.path)?;
                let number = self.offers.of_texts(&texts);
                match &self.document {
                    // What was pushed in their place, or could be read last, stays until they change.
                    Some(document) if self.offers.settled.as_ref() == Some(&texts) => Ok(document.clone()),
                    _ => {
                        let parsed = Document::parse(&texts, number);
                        if parsed.is_err() {
                            self.offers.settled = Some(texts);
                        }
                        Ok(parsed?)
                    }
                }
            }
            (_, Some(document)) => Ok(document.clone()),
            (_, None) => Err(Refused::Ending.into()),
        }
    }

    /// Whether this configuration must wait for a URL that was not asked before. The first one has waited when this
    /// returns.
    pub(super) fn waits(&mut self, change: &Change, document: &Document, plugins: &[Plugin]) -> bool {
        if !change.is_configuration() {
            return false;
        }
        let own: HashSet<Asked> = plugins.iter().filter_map(Asked::of).collect();
        if self.publisher.current().is_none() {
            self.sources.wait(&own);
            return false;
        }
        if matches!(change, Change::Sources) {
            self.offers.of_files.clone_from(&own);
        }
        self.follow_urls(&own);
        let awaited = self.sources.awaited(&own);
        if awaited.is_empty() {
            return false;
        }
        if self.offers.taken < document.number {
            tracing::info!("a configuration waits for {}", awaited.join(", "));
        }
        true
    }

    /// A change has taken effect, or has been refused, or waits. `before` is the number of what served until now.
    pub(super) fn settle_offer(
        &mut self,
        change: &Change,
        (number, urls): (u64, HashSet<Asked>),
        before: Option<u64>,
        outcome: &Result<Outcome, Failure>,
    ) {
        if !change.is_configuration() {
            return;
        }
        if matches!(outcome, Ok(Outcome::Waits)) {
            self.offers.taken = self.offers.taken.max(number);
            if matches!(change, Change::Config { .. }) {
                self.offers.of_pushed = urls;
            }
            return;
        }
        if let Some(document) = self.document.as_ref().filter(|document| Some(document.number) != before) {
            self.offers.settle(document);
            self.offers.taken = self.offers.taken.max(document.number);
            self.offers.of_files.clear();
        }
        self.follow_urls(&HashSet::new());
    }

    /// Asks the URLs of what serves, of what may yet, and these.
    fn follow_urls(&mut self, more: &HashSet<Asked>) {
        let current = self.document.iter().flat_map(|document| &document.config.plugins).filter_map(Asked::of);
        let Offers { of_files, of_pushed, .. } = &self.offers;
        let wanted = current.chain(of_files.iter().cloned()).chain(of_pushed.iter().cloned());
        let wanted = wanted.chain(more.iter().cloned()).collect();
        self.sources.follow(&wanted);
    }

    /// Names the files whose change makes an update.
    pub(super) fn watch(&mut self, document: &Document) {
        let mut files = vec![self.path.clone()];
        files.extend(document.config.admin.token_file.clone());
        let ours = |text: &&Source| !text.path.ends_with(PUSHED_DOCUMENT);
        files.extend(document.texts.iter().filter(ours).map(|text| text.path.clone()));
        // While a pushed document serves, the files still count.
        files.extend(self.offers.settled.iter().flatten().map(|text| text.path.clone()));
        for plugin in &document.config.plugins {
            files.extend(files_of(plugin));
        }
        files.sort();
        files.dedup();
        self.files = files;
    }

    /// Refuses changes that only a restart can make.
    pub(super) fn check_fixed(&self, config: &Config) -> Result<(), Problems> {
        let changed = [
            ("workers", self.first.workers != config.workers),
            ("admin.address", self.first.admin.address != config.admin.address),
            ("admin.probeAddress", self.first.admin.probe_address != config.admin.probe_address),
            ("stateDir", self.first.state_dir != config.state_dir),
        ];
        let changed = changed.into_iter().filter(|(_, changed)| *changed);
        let problems: Vec<_> =
            changed.flat_map(|(key, _)| self.problem(key, "a change needs a restart".to_owned()).0).collect();
        if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
    }
}

fn files_of(plugin: &Plugin) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = plugin.signature.iter().map(|signature| signature.public_key.clone()).collect();
    if let PluginUrl::File(path) = &plugin.url {
        files.push(path.clone());
        if plugin.signature.is_some() {
            files.push(signature_file(path));
        }
    }
    files
}

/// The admin token as workers know it; an unreadable or empty file is no token.
pub(super) fn trace_key(config: &Config) -> Option<TraceKey> {
    let token = std::fs::read_to_string(config.admin.token_file.as_deref()?).ok()?;
    let token = token.trim();
    (!token.is_empty()).then(|| TraceKey(Sha256::digest(token).into()))
}
