//! Compiled code on disk, by digest of the module and settings of the engine. It is native code: nothing is loaded
//! that does not carry a MAC under a key that only this state directory holds.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hmac::{Hmac, Mac};
use sha2::Sha256;

type Authenticator = Hmac<Sha256>;

const KEY_BYTES: usize = 32;
const MAC_BYTES: usize = 32;

/// The artifact cache of a state directory.
pub struct Cache {
    folder: PathBuf,
    key: Vec<u8>,
}

impl Cache {
    /// Opens the cache under `state_dir`; makes folder (0700) and key (0600) if they are missing.
    pub fn open(state_dir: &Path) -> io::Result<Self> {
        let folder = state_dir.join("compiled");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        fs::set_permissions(state_dir, Permissions::from_mode(0o700))?;
        let key_file = state_dir.join("compiled.key");
        let key = match fs::read(&key_file) {
            Ok(key) if key.len() == KEY_BYTES => key,
            _ => {
                let mut key = vec![0; KEY_BYTES];
                File::open("/dev/urandom")?.read_exact(&mut key)?;
                write_whole(&key_file, &[&key])?;
                key
            }
        };
        Ok(Self { folder, key })
    }

    /// The code for this name, if it is there and unchanged. A file that was tampered with is removed.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        let path = self.folder.join(name);
        let mut bytes = fs::read(&path).ok()?;
        let code = bytes.split_off_checked(MAC_BYTES)?;
        if self.mac(name, &code).verify_slice(&bytes).is_err() {
            tracing::warn!("{}: not written by us, or changed since: removed", path.display());
            let _ = fs::remove_file(&path);
            return None;
        }
        Some(code)
    }

    /// Keeps code under this name. A full disk costs the next start a compilation, nothing else.
    pub fn write(&self, name: &str, code: &[u8]) {
        let mac = self.mac(name, code).finalize().into_bytes();
        let path = self.folder.join(name);
        if let Err(error) = write_whole(&path, &[&mac, code]) {
            tracing::warn!("{}: {error}: compiled code is not kept", path.display());
        }
    }

    fn mac(&self, name: &str, code: &[u8]) -> Authenticator {
        // Every length of key is accepted; an empty one would still only authenticate with itself.
        let mut mac = Authenticator::new_from_slice(&self.key).unwrap_or_else(|_| Authenticator::new(&[0; 64].into()));
        mac.update(name.as_bytes());
        mac.update(&[0]);
        mac.update(code);
        mac
    }
}

/// Writes a file so that a reader sees all of it or nothing, also after a crash.
fn write_whole(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let temporary = path.with_extension(format!("tmp{}", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        parts.iter().try_for_each(|part| file.write_all(part))?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// `Vec::split_off` that leaves a short vector alone.
trait SplitOff: Sized {
    fn split_off_checked(&mut self, at: usize) -> Option<Self>;
}

impl SplitOff for Vec<u8> {
    fn split_off_checked(&mut self, at: usize) -> Option<Self> {
        (self.len() >= at).then(|| self.split_off(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let state = tempfile::tempdir().unwrap();
        let cache = Cache::open(state.path()).unwrap();
        cache.write("a", b"code");
        assert_eq!(cache.read("a").as_deref(), Some(&b"code"[..]));
        assert_eq!(Cache::open(state.path()).unwrap().read("a").as_deref(), Some(&b"code"[..]), "the key is kept");
        let file = state.path().join("compiled/a");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        fs::copy(&file, state.path().join("compiled/b")).unwrap();
        assert_eq!(cache.read("b"), None, "under another name it is not valid");
        let mut bytes = fs::read(&file).unwrap();
        bytes[33] ^= 1;
        fs::write(&file, bytes).unwrap();
        assert_eq!(cache.read("a"), None);
        assert!(!file.exists(), "what was tampered with is removed");
        fs::write(&file, b"short").unwrap();
        assert_eq!(cache.read("a"), None);
    }
}
