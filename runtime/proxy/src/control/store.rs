//! What survives a restart: the good versions of each plugin, which of them was pushed, and the last configuration that
//! took effect. One process at a time writes here; a second one with the same `stateDir` keeps nothing.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sidegate_config::Source;

use super::sealed::{Sealed, is_half_written, make_folder, write_whole};
use super::signature::Accepted;
use crate::listen;

/// Good versions of a plugin that are kept, with their modules.
pub const GOOD_VERSIONS: usize = 8;
const MODULES: &str = "modules";
const INDEX: &str = "plugins.json";
const CONFIGURATION: &str = "configuration.json";
const LOCK: &str = "lock";

/// All plugins.
pub type Index = BTreeMap<String, Kept>;

/// What is remembered of one plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The number of the newest version, good or not.
    pub newest: u32,
    /// Versions that served, the present one last. At most [`GOOD_VERSIONS`].
    pub good: Vec<Good>,
    /// Set while the present one was pushed, or rolled back to: it stays until its source changes.
    pub pushed: Option<Pushed>,
    /// The highest signed version that was accepted.
    pub accepted: Option<Accepted>,
}

/// A version that served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Good {
    pub version: u32,
    pub digest: String,
    pub source: String,
    /// The key that vouched for it.
    pub key: Option<String>,
}

/// A module that stands in place of what the source has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// The digest that the source had then; `None`: it had nothing.
    pub over: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Texts(Vec<(PathBuf, String)>);

/// The part of `stateDir` that belongs to one process.
pub struct Store {
    sealed: Sealed,
    /// Held, so that no second process writes.
    _lock: File,
}

impl Store {
    /// Takes possession.
    ///
    /// # Errors
    /// The folder cannot be written, or another process has it.
    pub fn open(sealed: Sealed) -> io::Result<Self> {
        make_folder(&sealed.folder().join(MODULES))?;
        let lock = File::options().create(true).append(true).open(sealed.folder().join(LOCK))?;
        listen::at_start(|| lock.try_lock().map_err(io::Error::from)).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::Error::other("another process keeps its state here"),
            _ => error,
        })?;
        for folder in [sealed.folder().to_owned(), sealed.folder().join(MODULES)] {
            for entry in fs::read_dir(folder)?.flatten().filter(|entry| is_half_written(&entry.path())) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(Self { sealed, _lock: lock })
    }

    pub fn index(&self) -> Index {
        let text = self.sealed.read(INDEX);
        text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// Keeps the index, and after it only the modules that it names.
    pub fn keep_index(&self, index: &Index) -> io::Result<()> {
        self.sealed.write(INDEX, &serde_json::to_vec(index).map_err(io::Error::other)?)?;
        let used: HashSet<&str> = index.values().flat_map(|kept| &kept.good).map(|good| good.digest.as_str()).collect();
        for entry in fs::read_dir(self.sealed.folder().join(MODULES))?.flatten() {
            let path = entry.path();
            if !path.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| used.contains(stem)) {
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    }

    /// The bytes of a module, if they are what its digest says.
    pub fn module(&self, digest: &str) -> Option<Vec<u8>> {
        let bytes = fs::read(self.path(digest)).ok()?;
        let whole = hex(&Sha256::digest(&bytes)) == digest;
        if !whole {
            tracing::warn!("{digest}: the kept module was changed: it is not used");
        }
        whole.then_some(bytes)
    }

    pub fn keep_module(&self, digest: &str, bytes: &[u8]) -> io::Result<()> {
        if self.module(digest).is_some() { Ok(()) } else { write_whole(&self.path(digest), &[bytes]) }
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.sealed.folder().join(MODULES).join(format!("{digest}.wasm"))
    }

    pub fn keep_configuration(&self, sources: &[Source]) -> io::Result<()> {
        let texts = Texts(sources.iter().map(|source| (source.path.clone(), source.text.clone())).collect());
        self.sealed.write(CONFIGURATION, &serde_json::to_vec(&texts).map_err(io::Error::other)?)
    }
}

impl Kept {
    /// A version serves from now on.
    pub fn serve(&mut self, good: Good) {
        self.good.retain(|known| known.digest != good.digest);
        self.good.push(good);
        if self.good.len() > GOOD_VERSIONS {
            self.good.remove(0);
        }
    }

    /// The one that a rollback goes back to.
    pub fn previous(&self) -> Option<&Good> {
        self.good.len().checked_sub(2).and_then(|at| self.good.get(at))
    }
}

/// The texts of the last configuration that took effect.
pub fn last_configuration(sealed: &Sealed) -> Option<Vec<Source>> {
    let Texts(texts) = serde_json::from_slice(&sealed.read(CONFIGURATION)?).ok()?;
    Some(texts.into_iter().map(|(path, text)| Source { path, text }).collect())
}

/// Where the state is, found in a configuration that cannot be read as a whole: a line `stateDir: PATH` of its own.
pub fn folder_named_in(config: &Path) -> Option<PathBuf> {
    let files = if config.is_dir() {
        fs::read_dir(config).ok()?.flatten().map(|entry| entry.path()).collect()
    } else {
        vec![config.to_owned()]
    };
    files.iter().find_map(|file| {
        let text = String::from_utf8_lossy(&fs::read(file).ok()?).into_owned();
        let value = text.lines().find_map(|line| line.strip_prefix("stateDir:"))?;
        let value = value.split(" #").next().unwrap_or_default().trim().trim_matches(['"', '\'']);
        (!value.is_empty()).then(|| file.parent().unwrap_or_else(|| Path::new("")).join(value))
    })
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(version: u32, digest: &str) -> Good {
        Good { version, digest: digest.to_owned(), source: "push".to_owned(), key: None }
    }

    #[test]
    fn rollbacks_walk_back_and_coming_back_is_a_step_forward() {
        let mut kept = Kept::default();
        for (version, digest) in [(1, "a"), (2, "b"), (3, "c"), (1, "a")] {
            kept.serve(good(version, digest));
        }
        let mut walked = Vec::new();
        while let Some(previous) = kept.previous() {
            walked.push(previous.digest.clone());
            kept.good.pop();
        }
        assert_eq!(walked, ["c", "b"]);
        for version in 0..20 {
            kept.serve(good(version, &version.to_string()));
        }
        assert_eq!(kept.good.len(), GOOD_VERSIONS);
    }

    #[test]
    fn modules_go_with_the_index_and_a_second_process_gets_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let sealed = Sealed::open(folder.path()).unwrap();
        let store = Store::open(sealed.clone()).unwrap();
        assert!(Store::open(sealed.clone()).is_err());
        let digest = hex(&Sha256::digest(b"wasm"));
        store.keep_module(&digest, b"wasm").unwrap();
        store.keep_module("unused", b"x").unwrap();
        let kept = Kept { good: vec![good(1, &digest)], newest: 1, ..Kept::default() };
        let index = Index::from([("p".to_owned(), kept)]);
        store.keep_index(&index).unwrap();
        assert_eq!((store.index(), store.module("unused")), (index, None));
        assert_eq!(store.module(&digest).as_deref(), Some(&b"wasm"[..]));
        fs::write(store.path(&digest), b"other").unwrap();
        assert_eq!(store.module(&digest), None, "bytes that changed are not used");
        drop(store);
        fs::write(folder.path().join("modules/x.tmp77"), b"half").unwrap();
        let store = Store::open(sealed.clone()).unwrap();
        assert!(!folder.path().join("modules/x.tmp77").exists());
        let texts = vec![Source { path: "a.yaml".into(), text: "listeners: []".into() }];
        store.keep_configuration(&texts).unwrap();
        assert_eq!(last_configuration(&sealed), Some(texts));
    }

    #[test]
    fn the_folder_is_found_in_a_broken_text() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sidegate.yaml");
        fs::write(&file, "listeners: [\nstateDir: \"state\" # here\n").unwrap();
        assert_eq!(folder_named_in(&file), Some(folder.path().join("state")));
        assert_eq!(folder_named_in(folder.path()), Some(folder.path().join("state")));
        fs::write(&file, "listeners: [\n").unwrap();
        assert_eq!(folder_named_in(&file), None);
    }
}
