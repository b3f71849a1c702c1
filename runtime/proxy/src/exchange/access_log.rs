//! Access logs: what a filter defined, compiled once per worker, rendered from the view of an exchange.

mod format;

use std::path::{Path, PathBuf};

use serde::Deserialize;

use self::format::Format;
use super::view::View;
use crate::telemetry::log_files::{LineSender, LogFiles};

/// Where access logs may go.
const STREAMS: [&str; 2] = ["/dev/stdout", "/dev/stderr"];

/// One access log as a worker uses it.
pub struct AccessLog {
    format: Format,
    lines: LineSender,
}

/// What a filter asks for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Definition {
    /// `/dev/stdout` or `/dev/stderr`.
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

impl AccessLog {
    /// Compiles a definition, JSON `{path, format, json}`, and opens its file.
    pub fn open(definition: &[u8], files: &LogFiles) -> Result<Self, String> {
        let parsed: Definition = serde_json::from_slice(definition).map_err(|error| error.to_string())?;
        // A definition comes from a guest, and a guest must not write to files of its choice.
        if !STREAMS.iter().any(|stream| Path::new(stream) == parsed.path) {
            return Err(format!("{}: access logs go to /dev/stdout or /dev/stderr", parsed.path.display()));
        }
        let format = match &parsed.json {
            Some(fields) => Format::json(fields)?,
            None => Format::parse(parsed.format.as_deref().unwrap_or(format::DEFAULT))?,
        };
        Ok(Self { format, lines: files.writer(&parsed.path)? })
    }

    /// Writes the line of an exchange.
    pub fn write(&self, view: &View) {
        let mut line = Vec::with_capacity(256);
        self.format.render(view, &mut line);
        self.lines.send(line);
    }
}
