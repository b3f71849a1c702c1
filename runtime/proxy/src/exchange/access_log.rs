//! Access logs: Envoy's format strings, compiled once, rendered by the worker, written by a thread of their own.

mod format;

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;

use serde::Deserialize;

use self::format::Format;
use crate::exchange::view::View;

/// Lines that wait for the writer of one file; more are dropped and counted.
const QUEUE_LINES: usize = 4096;
/// Bytes of one line.
const LINE_BYTES: usize = 16 << 10;
/// Logs that may be open at the same time.
const MAX_LOGS: usize = 64;

/// All access logs of the process. Handles are indices and live as long as the process.
#[derive(Default)]
pub struct AccessLogs {
    logs: RwLock<Vec<Arc<Log>>>,
    writers: Mutex<HashMap<PathBuf, SyncSender<Vec<u8>>>>,
    dropped: Arc<AtomicU64>,
}

struct Log {
    definition: Vec<u8>,
    format: Format,
    writer: SyncSender<Vec<u8>>,
}

/// What a filter asks for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Definition {
    /// A file, or `/dev/stdout`, `/dev/stderr`.
    #[serde(default = "stdout")]
    path: PathBuf,
    /// Absent: Envoy's default format.
    format: Option<String>,
    /// A JSON line with these fields instead.
    json: Option<serde_json::Map<String, serde_json::Value>>,
}

fn stdout() -> PathBuf {
    "/dev/stdout".into()
}

impl AccessLogs {
    /// Opens a log, or finds the one of the same definition. Returns its handle.
    pub fn open(&self, definition: &[u8]) -> Result<u32, String> {
        let mut logs = self.logs.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = logs.iter().position(|log| log.definition == definition) {
            return Ok(known as u32);
        }
        if logs.len() >= MAX_LOGS {
            return Err(format!("more than {MAX_LOGS} access logs"));
        }
        let parsed: Definition = serde_json::from_slice(definition).map_err(|error| error.to_string())?;
        let format = match &parsed.json {
            Some(fields) => Format::json(fields)?,
            None => Format::parse(parsed.format.as_deref().unwrap_or(format::DEFAULT))?,
        };
        let writer = self.writer(&parsed.path)?;
        logs.push(Arc::new(Log { definition: definition.to_vec(), format, writer }));
        Ok(logs.len() as u32 - 1)
    }

    /// Renders a line of this exchange. `false`: there is no such log.
    pub fn write(&self, handle: u32, view: &View) -> bool {
        let log = {
            let logs = self.logs.read().unwrap_or_else(PoisonError::into_inner);
            match logs.get(handle as usize) {
                Some(log) => log.clone(),
                None => return false,
            }
        };
        let mut line = Vec::with_capacity(256);
        log.format.render(view, &mut line);
        line.truncate(LINE_BYTES);
        if !line.ends_with(b"\n") {
            line.push(b'\n');
        }
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = log.writer.try_send(line) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    /// Lines that were dropped because their file was too slow.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn writer(&self, path: &Path) -> Result<SyncSender<Vec<u8>>, String> {
        let mut writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = writers.get(path) {
            return Ok(known.clone());
        }
        let file: Box<dyn Write + Send> = match path.to_str() {
            Some("/dev/stdout") => Box::new(std::io::stdout()),
            Some("/dev/stderr") => Box::new(std::io::stderr()),
            _ => Box::new(
                OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(path)
                    .map_err(|error| format!("{}: {error}", path.display()))?,
            ),
        };
        let (sender, lines) = sync_channel(QUEUE_LINES);
        let dropped = self.dropped.clone();
        thread::Builder::new()
            .name("access-log".into())
            .spawn(move || write_lines(&lines, file, &dropped))
            .map_err(|error| error.to_string())?;
        writers.insert(path.to_owned(), sender.clone());
        Ok(sender)
    }
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
