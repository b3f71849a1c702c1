//! Access logs: what a filter defined, compiled once per worker, rendered from the view of an exchange.

mod format;

use std::path::{Path, PathBuf};

use serde::Deserialize;

use self::format::Format;
use super::view::View;
use crate::snapshot::Clusters;
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
    /// The name of an `envoyFileAccessLog` provider: its path, and its format unless another is given.
    provider: Option<String>,
}

fn stdout() -> PathBuf {
    "/dev/stdout".into()
}

impl AccessLog {
    /// Compiles a definition, JSON `{path, format, json, provider}`, and opens its file.
    pub fn open(definition: &[u8], files: &LogFiles, clusters: &Clusters) -> Result<Self, String> {
        let parsed: Definition = serde_json::from_slice(definition).map_err(|error| error.to_string())?;
        if let Some(name) = &parsed.provider {
            let log = clusters.file_log(name);
            let log = log.ok_or_else(|| format!("no envoyFileAccessLog provider is named {name}"))?;
            let (text, labels) = match (&parsed.format, &parsed.json) {
                (None, None) => (log.log_format.text.as_deref(), log.log_format.labels.as_ref()),
                given => (given.0.as_deref(), given.1.as_ref()),
            };
            let format = Format::of(text, labels, log.omit_empty_values)?;
            return Ok(Self { format, lines: files.writer(&log.path)? });
        }
        // A definition comes from a guest, and a guest must not write to files of its choice.
        if !STREAMS.iter().any(|stream| Path::new(stream) == parsed.path) {
            return Err(format!("{}: access logs go to /dev/stdout or /dev/stderr", parsed.path.display()));
        }
        let format = Format::of(parsed.format.as_deref(), parsed.json.as_ref(), false)?;
        Ok(Self { format, lines: files.writer(&parsed.path)? })
    }

    /// Writes the line of an exchange.
    pub fn write(&self, view: &View) {
        let mut line = Vec::with_capacity(256);
        self.format.render(view, &mut line);
        self.lines.send(line);
    }
}
