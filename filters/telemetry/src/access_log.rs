//! Access logs are rendered by the host, which alone sees attempts and bytes; here it is told which and when.

use sidegate_sdk::serde_json::json;
use sidegate_sdk::{Setup, foreign, info, warn};

use crate::config::AccessLogging;

const FUNCTION: &str = "sidegate_access_log";

/// A log that the host has opened.
pub(crate) struct AccessLog {
    handle: [u8; 4],
}

impl AccessLog {
    /// Opens all logs that are on. A host that has none is told of in the log and otherwise served.
    pub(crate) fn open_all(entries: &[AccessLogging], setup: &mut Setup) -> Vec<Self> {
        let mut logs = Vec::new();
        for (number, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.is_on()) {
            let mut wanted = json!({"path": "/dev/stdout"});
            if let (Some(format), Some(wanted)) = (&entry.format, wanted.as_object_mut()) {
                wanted.insert("format".to_owned(), format.as_str().into());
            }
            match foreign(FUNCTION, wanted.to_string().as_bytes()) {
                Ok(Some(answer)) => match answer.first_chunk::<4>() {
                    Some(handle) => logs.push(Self { handle: *handle }),
                    None => setup.error(format!("/accessLogging/{number}"), "the host opened no access log"),
                },
                Ok(None) => info!("this host writes no access logs for filters; metrics only"),
                Err(problem) => {
                    setup.error(format!("/accessLogging/{number}/format"), format!("no access log: {problem}"));
                }
            }
        }
        logs
    }

    /// Writes the line of the exchange that is over.
    pub(crate) fn write_line(&self) {
        if let Err(problem) = foreign(FUNCTION, &self.handle) {
            warn!("no access log line: {problem}");
        }
    }
}
