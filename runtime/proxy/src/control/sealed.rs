//! Files that only this proxy can have written: each carries a MAC under a key that its state directory alone holds.
//! A reader sees a whole file or none, also after a crash.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hmac::{Hmac, Mac};
use sha2::Sha256;

type Authenticator = Hmac<Sha256>;

const KEY_BYTES: usize = 32;
const MAC_BYTES: usize = 32;
/// What a file that is being written is called in between; left behind by a crash, it means nothing.
const HALF_WRITTEN: &str = "tmp";

/// The folder `stateDir` and its key.
#[derive(Clone)]
pub struct Sealed {
    folder: PathBuf,
    key: Vec<u8>,
}

impl Sealed {
    /// Opens a folder; makes it (0700) and its key (0600) if they are missing.
    pub fn open(folder: &Path) -> io::Result<Self> {
        make_folder(folder)?;
        make_private(folder, |folder| fs::set_permissions(folder, Permissions::from_mode(0o700)))?;
        let key_file = folder.join("compiled.key");
        let key = match fs::read(&key_file) {
            Ok(key) if key.len() == KEY_BYTES => key,
            _ => {
                let mut key = vec![0; KEY_BYTES];
                File::open("/dev/urandom")?.read_exact(&mut key)?;
                write_whole(&key_file, &[&key])?;
                key
            }
        };
        Ok(Self { folder: folder.to_owned(), key })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The content of a file, if it is there and unchanged. One that was tampered with is removed.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        let path = self.folder.join(name);
        let mut mac = fs::read(&path).ok()?;
        let content = if mac.len() < MAC_BYTES { Vec::new() } else { mac.split_off(MAC_BYTES) };
        if self.mac(name, &content).verify_slice(&mac).is_err() {
            tracing::warn!("{}: not written by us, or changed since: removed", path.display());
            let _ = fs::remove_file(&path);
            return None;
        }
        Some(content)
    }

    /// Writes a file. Its name is part of what the MAC says.
    pub fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let mac = self.mac(name, content).finalize().into_bytes();
        write_whole(&self.folder.join(name), &[&mac, content])
    }

    fn mac(&self, name: &str, content: &[u8]) -> Authenticator {
        // Every length of key is accepted; an empty one would still only authenticate with itself.
        let mut mac = Authenticator::new_from_slice(&self.key).unwrap_or_else(|_| Authenticator::new(&[0; 64].into()));
        mac.update(name.as_bytes());
        mac.update(&[0]);
        mac.update(content);
        mac
    }
}

/// Shuts others out of a folder that was there before. Where that is not ours to do (a volume that belongs to somebody
/// else, a file system without modes) it must be so already.
fn make_private(folder: &Path, shut: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    shut(folder).or_else(|error| {
        let is_private = fs::metadata(folder)?.permissions().mode() & 0o077 == 0;
        if is_private && error.kind() == io::ErrorKind::PermissionDenied { Ok(()) } else { Err(error) }
    })
}

/// Makes a folder that only we can look into, with those above it.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Writes a file so that a reader sees all of it or nothing, also after a crash.
pub fn write_whole(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let temporary = path.with_extension(format!("{HALF_WRITTEN}{}", std::process::id()));
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

/// Whether a file is what a crash left of a write.
pub fn is_half_written(path: &Path) -> bool {
    path.extension().and_then(|end| end.to_str()).is_some_and(|end| {
        end.strip_prefix(HALF_WRITTEN).is_some_and(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let state = Sealed::open(folder.path()).unwrap();
        state.write("a", b"content").unwrap();
        assert_eq!(state.read("a").as_deref(), Some(&b"content"[..]));
        assert_eq!(Sealed::open(folder.path()).unwrap().read("a").as_deref(), Some(&b"content"[..]), "the key is kept");
        let file = folder.path().join("a");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        fs::copy(&file, folder.path().join("b")).unwrap();
        assert_eq!(state.read("b"), None, "under another name it is not valid");
        let mut bytes = fs::read(&file).unwrap();
        bytes[33] ^= 1;
        fs::write(&file, bytes).unwrap();
        assert_eq!(state.read("a"), None);
        assert!(!file.exists(), "what was tampered with is removed");
        fs::write(&file, b"short").unwrap();
        assert_eq!(state.read("a"), None);
    }

    #[test]
    fn a_folder_that_is_not_ours_to_change_must_be_private_already() {
        let folder = tempfile::tempdir().unwrap();
        let denied = |_: &Path| Err(io::ErrorKind::PermissionDenied.into());
        for (mode, accepted) in [(0o700, true), (0o750, false), (0o777, false)] {
            fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
            assert_eq!(make_private(folder.path(), denied).is_ok(), accepted, "{mode:o}");
        }
        let broken = |_: &Path| Err(io::ErrorKind::ReadOnlyFilesystem.into());
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        assert!(make_private(folder.path(), broken).is_err(), "nothing could be kept there");
    }

    #[test]
    fn leftovers_are_known() {
        assert!(is_half_written(Path::new("x.tmp123")));
        assert!(!is_half_written(Path::new("x.tmp")) && !is_half_written(Path::new("x.wasm")));
    }
}
