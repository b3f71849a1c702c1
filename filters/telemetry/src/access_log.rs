//! Access logs are rendered by the host, which alone sees attempts and bytes; here it is told which, how and when.

use sidegate_sdk::serde_json::{Value, json};
use sidegate_sdk::{Setup, foreign, info, warn};

use crate::config::AccessLogging;
use crate::direction::{BySide, Direction};
use crate::expression::Expression;
use crate::providers::Providers;

const FUNCTION: &str = "sidegate_access_log";
const KIND: &str = "envoyFileAccessLog";
/// Istio's name for the log that is there without being defined.
const DEFAULT: &str = "envoy";

/// The logs of both sides.
pub(crate) struct AccessLogs {
    logs: Vec<AccessLog>,
}

/// A log that the host has opened.
struct AccessLog {
    handle: [u8; 4],
    provider: String,
    is_on: BySide<bool>,
    filter: Option<Expression>,
}

impl AccessLogs {
    /// Opens all logs that are on. A host that has none is told of in the log and otherwise served.
    pub(crate) fn open(entries: &[AccessLogging], providers: &Providers, setup: &mut Setup) -> Self {
        let mut logs: Vec<AccessLog> = Vec::new();
        for (number, entry) in entries.iter().enumerate() {
            let mut names: Vec<_> = entry.providers.iter().map(|provider| provider.name.as_str()).collect();
            if entry.disabled {
                switch_off(&mut logs, entry, &names);
                continue;
            }
            if names.is_empty() {
                names.push(DEFAULT);
            }
            let filter = match entry.filter.as_ref().map(|filter| Expression::condition(&filter.expression)) {
                Some(Err(problem)) => {
                    setup.error(format!("/accessLogging/{number}/filter/expression"), problem);
                    continue;
                }
                Some(Ok(expression)) => Some(expression),
                None => None,
            };
            let mut filter = Some(filter);
            for (at, name) in names.into_iter().enumerate() {
                let definition = match providers.kind(name) {
                    Some(KIND) => definition(entry, Some(name)),
                    None if name == DEFAULT => definition(entry, None),
                    found => {
                        let text = match found {
                            Some(kind) => format!("{name} is a provider of {kind}, not an access log"),
                            None => format!("no extension provider is named {name}"),
                        };
                        setup.error(format!("/accessLogging/{number}/providers/{at}/name"), text);
                        continue;
                    }
                };
                let Some(handle) = open(&definition, number, setup) else { continue };
                let filter = match filter.take() {
                    Some(filter) => filter,
                    // Another log of the same entry: a token of its own.
                    None => entry.filter.as_ref().and_then(|filter| Expression::condition(&filter.expression).ok()),
                };
                let is_on = |side: Direction| side.is_in(entry.matches.mode);
                let is_on = BySide { inbound: is_on(Direction::Inbound), outbound: is_on(Direction::Outbound) };
                logs.push(AccessLog { handle, provider: name.to_owned(), is_on, filter });
            }
        }
        Self { logs }
    }

    /// Writes the lines of the exchange that is over.
    pub(crate) fn write(&self, direction: Direction) {
        for log in &self.logs {
            if *log.is_on.of(direction)
                && log.filter.as_ref().is_none_or(Expression::holds)
                && let Err(problem) = foreign(FUNCTION, &log.handle)
            {
                warn!("no access log line: {problem}");
            }
        }
    }
}

fn switch_off(logs: &mut [AccessLog], entry: &AccessLogging, names: &[&str]) {
    for log in logs.iter_mut().filter(|log| names.is_empty() || names.contains(&log.provider.as_str())) {
        for side in Direction::BOTH.into_iter().filter(|side| side.is_in(entry.matches.mode)) {
            *log.is_on.of_mut(side) = false;
        }
    }
}

fn definition(entry: &AccessLogging, provider: Option<&str>) -> Value {
    let mut wanted = match provider {
        Some(name) => json!({"provider": name}),
        None => json!({"path": "/dev/stdout"}),
    };
    if let (Some(format), Some(wanted)) = (&entry.format, wanted.as_object_mut()) {
        wanted.insert("format".to_owned(), format.as_str().into());
    }
    wanted
}

fn open(definition: &Value, number: usize, setup: &mut Setup) -> Option<[u8; 4]> {
    match foreign(FUNCTION, definition.to_string().as_bytes()) {
        Ok(Some(answer)) => {
            let handle = answer.first_chunk::<4>().copied();
            if handle.is_none() {
                setup.error(format!("/accessLogging/{number}"), "the host opened no access log");
            }
            handle
        }
        Ok(None) => {
            info!("this host writes no access logs for filters; metrics only");
            None
        }
        Err(problem) => {
            let text = format!("no access log, the log says why: {problem}");
            setup.error(format!("/accessLogging/{number}/format"), text);
            None
        }
    }
}
