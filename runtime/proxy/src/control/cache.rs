//! Compiled code on disk, by digest of the module and settings of the engine. It is native code: nothing is loaded
//! that was not sealed by this state directory. What was not used for longest goes first.

use std::fs::{self, File, FileTimes};
use std::io;
use std::path::Path;
use std::time::SystemTime;

use super::sealed::{Sealed, is_half_written, make_folder};

/// Files kept: eight versions of sixty-four plugins.
const FILES: usize = 512;
/// Bytes kept: half a GiB, several times what that many usual filters compile to.
const BYTES: u64 = 512 << 20;
const FOLDER: &str = "compiled";

/// The artifact cache of a state directory.
pub struct Cache {
    sealed: Sealed,
    files: usize,
    bytes: u64,
}

impl Cache {
    pub fn open(sealed: Sealed) -> io::Result<Self> {
        make_folder(&sealed.folder().join(FOLDER))?;
        let cache = Self { sealed, files: FILES, bytes: BYTES };
        cache.prune();
        Ok(cache)
    }

    /// The code for this name, if it is there and unchanged.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        let file = format!("{FOLDER}/{name}");
        let code = self.sealed.read(&file)?;
        // The time of its last use says what may go; a file system that forgets it only makes the choice worse.
        let now = FileTimes::new().set_modified(SystemTime::now());
        let _ = File::options()
            .append(true)
            .open(self.sealed.folder().join(&file))
            .and_then(|opened| opened.set_times(now));
        Some(code)
    }

    /// Keeps code under this name. A full disk costs the next start a compilation, nothing else.
    pub fn write(&self, name: &str, code: &[u8]) {
        if let Err(error) = self.sealed.write(&format!("{FOLDER}/{name}"), code) {
            tracing::warn!("{FOLDER}/{name}: {error}: compiled code is not kept");
        }
        self.prune();
    }

    fn prune(&self) {
        let Ok(folder) = fs::read_dir(self.sealed.folder().join(FOLDER)) else { return };
        let mut files: Vec<_> = folder
            .flatten()
            .filter_map(|entry| {
                let facts = entry.metadata().ok().filter(fs::Metadata::is_file)?;
                Some((facts.modified().ok()?, facts.len(), entry.path()))
            })
            .collect();
        files.sort();
        let (mut count, mut bytes) = (files.len(), files.iter().map(|(_, length, _)| length).sum::<u64>());
        for (modified, length, path) in files {
            let over = count > self.files || bytes > self.bytes;
            if over || (is_half_written(&path) && is_old(modified)) {
                let _ = fs::remove_file(Path::new(&path));
                count -= 1;
                bytes -= length;
            }
        }
    }
}

/// A write takes no minute: what is older was left by a process that is gone.
fn is_old(modified: SystemTime) -> bool {
    modified.elapsed().is_ok_and(|age| age.as_secs() > 60)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let state = tempfile::tempdir().unwrap();
        let mut cache = Cache::open(Sealed::open(state.path()).unwrap()).unwrap();
        cache.files = 2;
        let file = |name: &str| state.path().join("compiled").join(name);
        let age = |name: &str, seconds| {
            let times = FileTimes::new().set_modified(SystemTime::now() - Duration::from_secs(seconds));
            File::options().append(true).open(file(name)).unwrap().set_times(times).unwrap();
        };
        cache.write("a", b"code a");
        cache.write("b", b"code b");
        age("a", 100);
        age("b", 50);
        assert_eq!(cache.read("a").as_deref(), Some(&b"code a"[..]));
        cache.write("c", b"code c");
        assert!(file("a").exists() && file("c").exists() && !file("b").exists());
        (cache.files, cache.bytes) = (9, 50);
        cache.write("d", b"code d");
        assert!(file("d").exists() && !file("a").exists(), "bytes count too");
    }
}
