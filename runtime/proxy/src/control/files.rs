//! Sees when files change: the kernel tells at once, a slow look makes sure. Folders are watched, not files, because
//! editors and ConfigMaps put new files (or links) in the place of old ones.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// How often files are looked at although nobody said that they changed.
const POLL: Duration = Duration::from_secs(2);
/// How long files must stay as they are before they are believed: a writer may be half way.
const SETTLE: Duration = Duration::from_millis(50);
/// How long ago a file must have changed for its facts to stand for its bytes: some file systems count in seconds.
const SETTLED: Duration = Duration::from_secs(2);

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Facts {
    device: u64,
    inode: u64,
    length: u64,
    /// Seconds and nanoseconds.
    written: (i64, i64),
    changed: (i64, i64),
}

impl Facts {
    /// What a file is like; none when it cannot be looked at.
    pub fn of(path: &Path) -> Option<Self> {
        let facts = std::fs::metadata(path).ok()?;
        Some(Self {
            device: facts.dev(),
            inode: facts.ino(),
            length: facts.len(),
            written: (facts.mtime(), facts.mtime_nsec()),
            changed: (facts.ctime(), facts.ctime_nsec()),
        })
    }

    /// The same of a file that was left alone for a while: of two changes at the same time the clock of the file system
    /// may show one.
    pub fn settled(path: &Path, now: SystemTime) -> Option<Self> {
        let facts = Self::of(path)?;
        let (seconds, nanoseconds) = facts.changed;
        let changed = Duration::new(seconds.try_into().ok()?, nanoseconds.try_into().ok()?);
        let age = now.duration_since(SystemTime::UNIX_EPOCH + changed).ok()?;
        (age > SETTLED).then_some(facts)
    }
}

/// Watches a set of files.
pub struct Files {
    watcher: Option<RecommendedWatcher>,
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    stamp: u64,
    /// A stamp that differs, and since when it has stayed the same.
    pending: Option<(u64, Instant)>,
}

impl Files {
    /// `wake` is called whenever the kernel says that something may have changed; it must not wait.
    pub fn new(wake: impl Fn() + Send + 'static) -> Self {
        let seen = move |event: notify::Result<Event>| {
            if event.as_ref().map_or(true, is_change) {
                wake();
            }
        };
        let watcher = notify::recommended_watcher(seen).map_err(|error| {
            tracing::warn!("cannot watch files: {error}; changes are seen within {POLL:?}");
        });
        Self { watcher: watcher.ok(), files: Vec::new(), folders: Vec::new(), stamp: 0, pending: None }
    }

    /// Watches these files first, which were read after `begun`: a change since then counts as one.
    pub fn begin(&mut self, files: &[PathBuf], begun: SystemTime) {
        // File times lag behind the clock by a timer tick.
        let begun = begun.checked_sub(SETTLE).unwrap_or(begun);
        let since = begun.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let changed = |file: &PathBuf| {
            let facts = std::fs::metadata(file).ok()?;
            Some(i64::try_from(since.as_nanos()).ok()? <= facts.ctime() * 1_000_000_000 + facts.ctime_nsec())
        };
        let dirty = files.iter().any(|file| changed(file) == Some(true));
        self.stamp = if dirty { 0 } else { stamp(files) };
        self.name(files);
    }

    /// Watches these files from now on. What was seen of them stands from before they were read, so that no change on
    /// the way is missed; others than before are looked at once more.
    pub fn follow(&mut self, files: &[PathBuf]) {
        if self.files != files {
            self.stamp = 0;
        }
        self.name(files);
    }

    fn name(&mut self, files: &[PathBuf]) {
        self.files = files.to_vec();
        let mut folders: Vec<PathBuf> = files.iter().flat_map(|file| folders_of(file)).collect();
        folders.sort();
        folders.dedup();
        let Some(watcher) = &mut self.watcher else { return };
        // A folder that does not exist any more is not watched any more.
        for gone in self.folders.iter().filter(|folder| !folders.contains(folder) && folder.exists()) {
            let _ = watcher.unwatch(gone);
        }
        // One that cannot be watched now, because it is gone for a moment, is tried again each time.
        folders.retain(|folder| {
            self.folders.contains(folder) || watcher.watch(folder, RecursiveMode::NonRecursive).is_ok()
        });
        self.folders = folders;
    }

    /// How long to wait before the next look when nobody says that something changed.
    pub fn pause(&self) -> Duration {
        if self.pending.is_some() { SETTLE } else { POLL }
    }

    /// Whether the files have changed and then stayed the same for a moment.
    pub fn have_changed(&mut self, now: Instant) -> bool {
        let seen = stamp(&self.files);
        if seen == self.stamp {
            self.pending = None;
            return false;
        }
        let since = self.pending.filter(|(pending, _)| *pending == seen).map_or(now, |(_, since)| since);
        self.pending = Some((seen, since));
        if now.saturating_duration_since(since) < SETTLE {
            return false;
        }
        self.stamp = seen;
        self.pending = None;
        true
    }

    /// What was seen is not to be believed yet: the next look finds it changed again.
    pub fn look_again(&mut self) {
        self.pending = Some((self.stamp, Instant::now()));
        self.stamp = 0;
    }
}

/// Files that are only opened or read are not changed, and we read them ourselves.
fn is_change(event: &Event) -> bool {
    match event.kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

/// The folder of a file, and the folders that links on the way to it stand in.
fn folders_of(file: &Path) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if file.is_dir() {
        folders.push(file.to_owned());
    }
    let named = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    folders.push(named);
    if let Some(real) = file.canonicalize().ok().and_then(|real| real.parent().map(Path::to_owned)) {
        folders.push(real);
    }
    folders
}

/// Says whether anything about the files has changed: which file a name leads to, its size and its time.
fn stamp(files: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut seen = HashMap::new();
    for file in files {
        if file.is_dir() {
            let mut names: Vec<_> =
                std::fs::read_dir(file).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect();
            names.sort();
            names.hash(&mut hasher);
        }
        seen.insert(file, Facts::of(file));
    }
    let mut seen: Vec<_> = seen.into_iter().collect();
    seen.sort();
    seen.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_way_to_change_a_file_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("..1")).unwrap();
        fs::create_dir(at("..2")).unwrap();
        fs::write(at("..1/config"), "one").unwrap();
        fs::write(at("..2/config"), "two").unwrap();
        std::os::unix::fs::symlink("..1", at("..data")).unwrap();
        std::os::unix::fs::symlink("..data/config", at("config")).unwrap();
        fs::write(at("plain"), "a").unwrap();
        let files = vec![at("config"), at("plain")];
        let (sender, events) = std::sync::mpsc::sync_channel(1);
        let mut watch = Files::new(move || {
            let _ = sender.try_send(());
        });
        watch.begin(&files, SystemTime::now() + POLL);
        let changes: [&dyn Fn(); 4] = [
            &|| fs::write(at("plain"), "ab").unwrap(),
            &|| {
                fs::write(at("new"), "abc").unwrap();
                fs::rename(at("new"), at("plain")).unwrap();
            },
            // what a kubelet does to a ConfigMap
            &|| {
                std::os::unix::fs::symlink("..2", at("..data_tmp")).unwrap();
                fs::rename(at("..data_tmp"), at("..data")).unwrap();
            },
            &|| fs::remove_file(at("plain")).unwrap(),
        ];
        for change in changes {
            change();
            let until = Instant::now() + 20 * POLL;
            while !watch.have_changed(Instant::now()) {
                assert!(Instant::now() < until, "the change is seen");
                let _ = events.recv_timeout(watch.pause());
            }
            watch.follow(&files);
        }
    }

    #[test]
    fn facts_stand_for_bytes_once_a_file_was_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wasm");
        fs::write(&path, "one").unwrap();
        let now = SystemTime::now();
        assert_eq!(Facts::settled(&path, now), None);
        let one = Facts::settled(&path, now + 2 * SETTLED).unwrap();
        fs::write(folder.path().join("b.wasm"), "two").unwrap();
        fs::rename(folder.path().join("b.wasm"), &path).unwrap();
        assert_ne!(Facts::settled(&path, now + 2 * SETTLED), Some(one));
        assert_eq!(Facts::settled(&folder.path().join("c.wasm"), now), None);
    }
}
