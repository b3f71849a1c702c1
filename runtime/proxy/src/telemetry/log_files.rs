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
        let file: Box<dyn Write + Send> = match path.to_str() {
            Some("/dev/stdout") => Box::new(std::io::stdout()),
            Some("/dev/stderr") => Box::new(std::io::stderr()),
            _ => {
                let opened = OpenOptions::new().create(true).append(true).open(path);
                Box::new(opened.map_err(|error| format!("{}: {error}", path.display()))?)
            }
        };
        let (queue, lines) = sync_channel(QUEUE_LINES);
        let sender = LineSender { queue, dropped: self.dropped.clone() };
        let dropped = self.dropped.clone();
        thread::Builder::new()
            .name("access-log".into())
            .spawn(move || write_lines(&lines, file, &dropped))
            .map_err(|error| error.to_string())?;
        writers.insert(path.to_owned(), sender.clone());
        Ok(sender)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes what is queued in one go, then waits for more.
fn write_lines(lines: &Receiver<Vec<u8>>, mut file: Box<dyn Write + Send>, dropped: &AtomicU64) {
    while let Ok(mut batch) = lines.recv() {
        let mut count = 1;
        for line in lines.try_iter().take(QUEUE_LINES) {
            batch.extend_from_slice(&line);
            count += 1;
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
}
