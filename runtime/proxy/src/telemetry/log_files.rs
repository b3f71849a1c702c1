//! Files that lines are logged to: each has a thread that writes, and a queue that drops rather than blocks.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Lines that wait for the writer of one file; more are dropped and counted.
const QUEUE_LINES: usize = 4096;
/// Bytes of one line.
const LINE_BYTES: usize = 16 << 10;
/// Logs that may be defined.
const MAX_LOGS: usize = 64;

/// All log files of the process, and what was defined for them.
#[derive(Default)]
pub struct LogFiles {
    definitions: Mutex<Vec<Vec<u8>>>,
    writers: Mutex<HashMap<PathBuf, LineSender>>,
    dropped: Arc<AtomicU64>,
    /// How often the files were to be opened anew.
    opened: Arc<AtomicU64>,
}

/// Where lines of one file go in.
#[derive(Clone)]
pub struct LineSender {
    queue: SyncSender<Vec<u8>>,
    dropped: Arc<AtomicU64>,
}

impl LineSender {
    /// Queues a line; never waits.
    pub fn send(&self, mut line: Vec<u8>) {
        line.truncate(LINE_BYTES);
        if !line.ends_with(b"\n") {
            line.push(b'\n');
        }
        if self.queue.try_send(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl LogFiles {
    /// Keeps a definition and returns its handle; the same definition has one handle.
    pub fn define(&self, definition: &[u8]) -> Result<u32, String> {
        let mut definitions = lock(&self.definitions);
        if let Some(known) = definitions.iter().position(|known| known == definition) {
            return Ok(known as u32);
        }
        if definitions.len() >= MAX_LOGS {
            return Err(format!("more than {MAX_LOGS} access logs"));
        }
        definitions.push(definition.to_vec());
        Ok(definitions.len() as u32 - 1)
    }

    pub fn definition(&self, handle: u32) -> Option<Vec<u8>> {
        lock(&self.definitions).get(handle as usize).cloned()
    }

    /// Has every file opened anew before its next line: the old one was moved away.
    pub fn reopen(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    /// Lines that were dropped because a file was too slow, or refused them.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Opens a file for appending, once; `/dev/stdout` and `/dev/stderr` are the streams of the process.
    pub fn writer(&self, path: &Path) -> Result<LineSender, String> {
        let mut writers = lock(&self.writers);
        if let Some(known) = writers.get(path) {
            return Ok(known.clone());
        }
        let file = open(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let (queue, lines) = sync_channel(QUEUE_LINES);
        let sender = LineSender { queue, dropped: self.dropped.clone() };
        let (dropped, opened) = (self.dropped.clone(), self.opened.clone());
        let written = path.to_owned();
        thread::Builder::new()
            .name("access-log".into())
            .spawn(move || write_lines(&lines, &written, file, &dropped, &opened))
            .map_err(|error| error.to_string())?;
        writers.insert(path.to_owned(), sender.clone());
        Ok(sender)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open(path: &Path) -> std::io::Result<Box<dyn Write + Send>> {
    Ok(match path.to_str() {
        Some("/dev/stdout") => Box::new(std::io::stdout()),
        Some("/dev/stderr") => Box::new(std::io::stderr()),
        _ => Box::new(OpenOptions::new().create(true).append(true).open(path)?),
    })
}

/// Writes what is queued in one go, then waits for more.
fn write_lines(
    lines: &Receiver<Vec<u8>>,
    path: &Path,
    mut file: Box<dyn Write + Send>,
    dropped: &AtomicU64,
    opened: &AtomicU64,
) {
    let mut known = opened.load(Ordering::Relaxed);
    while let Ok(mut batch) = lines.recv() {
        let mut count = 1;
        for line in lines.try_iter().take(QUEUE_LINES) {
            batch.extend_from_slice(&line);
            count += 1;
        }
        let wanted = opened.load(Ordering::Relaxed);
        if wanted != known {
            // The old file takes the lines when there can be no new one.
            match open(path) {
                Ok(anew) => file = anew,
                Err(error) => tracing::error!("{}: {error}", path.display()),
            }
            known = wanted;
        }
        if file.write_all(&batch).and_then(|()| file.flush()).is_err() {
            dropped.fetch_add(count, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_arrive_in_order_and_the_same_definition_has_one_handle() {
        let folder = tempfile::tempdir().unwrap();
        let files = LogFiles::default();
        let path = folder.path().join("log");
        let sender = files.writer(&path).unwrap();
        for line in ["a", "b\n"] {
            sender.send(line.into());
        }
        while std::fs::read(&path).unwrap().len() < 4 {
            std::thread::yield_now();
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"a\nb\n");
        assert_eq!((files.define(b"x"), files.define(b"y"), files.define(b"x")), (Ok(0), Ok(1), Ok(0)));
    }

    #[test]
    fn a_file_that_was_moved_gets_no_more_lines_once_told() {
        let folder = tempfile::tempdir().unwrap();
        let files = LogFiles::default();
        let (path, moved) = (folder.path().join("log"), folder.path().join("log.1"));
        let sender = files.writer(&path).unwrap();
        let wait_for = |path: &Path, text: &str| {
            while std::fs::read_to_string(path).unwrap_or_default() != text {
                thread::yield_now();
            }
        };
        sender.send("a\n".into());
        wait_for(&path, "a\n");
        std::fs::rename(&path, &moved).unwrap();
        sender.send("b\n".into());
        wait_for(&moved, "a\nb\n");
        files.reopen();
        sender.send("c\n".into());
        wait_for(&path, "c\n");
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "a\nb\n");
    }
}
