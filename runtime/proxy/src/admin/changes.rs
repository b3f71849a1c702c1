//! What operators change: who may, what they may ask, and what they are told. Every change leaves a line in the log under
//! the target `audit`.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use clap::ValueEnum;
use http::header::{self, HeaderValue};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde_json::json;
use sidegate_config::RolloutStep;
use sidegate_wasm_host::limits::MODULE_BYTES;
use subtle::ConstantTimeEq;

use super::server::{Admin, Answer, json_with, text};
use super::{Command, upload};
use crate::control::change::{Change, Done, Push, Refused, Shares};
use crate::control::rollout::Action;
use crate::control::signature::Signed;

/// Bytes of a pushed configuration: what the configuration itself allows.
const CONFIG_BYTES: usize = 16 << 20;
/// Levels of `/logging`, in Envoy's words, and what they are called here.
const LEVELS: [(&str, &str); 8] = [
    ("trace", "trace"),
    ("debug", "debug"),
    ("info", "info"),
    ("warning", "warn"),
    ("warn", "warn"),
    ("error", "error"),
    ("critical", "error"),
    ("off", "off"),
];

/// Something that can be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    HealthcheckFail,
    HealthcheckOk,
    DrainListeners,
    Quit,
    ReopenLogs,
    Logging,
    Config,
    Module(String),
    Rollback(String),
    Rollout(String),
}

impl Target {
    /// What a path stands for.
    pub(super) fn of(path: &str) -> Option<Self> {
        if let Some((name, what)) = path.strip_prefix("/plugins/").and_then(|rest| rest.rsplit_once('/')) {
            let name = percent_decode_str(name).decode_utf8().ok()?.into_owned();
            return match what {
                "module" => Some(Self::Module(name)),
                "rollback" => Some(Self::Rollback(name)),
                "rollout" => Some(Self::Rollout(name)),
                _ => None,
            };
        }
        match path {
            "/healthcheck/fail" => Some(Self::HealthcheckFail),
            "/healthcheck/ok" => Some(Self::HealthcheckOk),
            "/drain_listeners" => Some(Self::DrainListeners),
            "/quitquitquit" => Some(Self::Quit),
            "/reopen_logs" => Some(Self::ReopenLogs),
            "/logging" => Some(Self::Logging),
            "/config" => Some(Self::Config),
            _ => None,
        }
    }

    fn method(&self) -> Method {
        match self {
            Self::Config | Self::Module(_) => Method::PUT,
            _ => Method::POST,
        }
    }
}

/// Carries out a change for `who`, the client's address.
pub(super) async fn answer(admin: &Admin, target: Target, request: Request<Incoming>, who: &str) -> Answer {
    let path = request.uri().path().to_owned();
    if *request.method() != target.method() {
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, &format!("{} changes this\n", target.method()));
        let allow = if target.method() == Method::PUT { "PUT" } else { "POST" };
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
        return answer;
    }
    if let Some(why) = refuses(admin, &request) {
        tracing::warn!(target: "audit", who, what = path, result = 401, "refused: {}", why.trim());
        return text(StatusCode::UNAUTHORIZED, why);
    }
    let (answer, detail) = carry_out(admin, target, request).await;
    let result = answer.status().as_u16();
    tracing::info!(target: "audit", who, what = path, result, "{detail}");
    answer
}

/// Why the client may change nothing, if so. The token is read again for each; comparing takes the same time whatever was
/// sent.
fn refuses(admin: &Admin, request: &Request<Incoming>) -> Option<&'static str> {
    let Some(file) = admin.status.token_file() else { return Some("changes need admin.tokenFile\n") };
    let Ok(expected) = std::fs::read_to_string(file) else { return Some("the token file cannot be read\n") };
    let expected = expected.trim();
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let same: bool = given.as_bytes().ct_eq(expected.as_bytes()).into();
    (expected.is_empty() || !same).then_some("wrong or missing token\n")
}

/// The answer, and what the log says about it.
async fn carry_out(admin: &Admin, target: Target, request: Request<Incoming>) -> (Answer, String) {
    let query = query_of(&request);
    let status = &admin.status;
    match target {
        Target::HealthcheckFail => status.failed.store(true, Ordering::Relaxed),
        Target::HealthcheckOk => status.failed.store(false, Ordering::Relaxed),
        Target::DrainListeners => {
            command(admin, Command::Drain { graceful: query.contains_key("graceful") });
        }
        Target::Quit => command(admin, Command::Quit),
        Target::ReopenLogs => status.process.log_files.reopen(),
        Target::Logging => return logging(admin, query.get("level").map(String::as_str)),
        Target::Config => return config(admin, request).await,
        Target::Module(plugin) => return push(admin, plugin, &query, request).await,
        Target::Rollback(plugin) => return rollback(admin, plugin).await,
        Target::Rollout(plugin) => return rollout(admin, plugin, query.get("action").map(String::as_str)).await,
    }
    (text(StatusCode::OK, "OK\n"), "done".to_owned())
}

fn command(admin: &Admin, command: Command) {
    // A full queue holds the same already.
    let _ = admin.commands.try_send(command);
}

fn logging(admin: &Admin, level: Option<&str>) -> (Answer, String) {
    let known = level.and_then(|level| LEVELS.iter().find(|(name, _)| level.eq_ignore_ascii_case(name)));
    let Some((name, directive)) = known else {
        let answer = text(StatusCode::BAD_REQUEST, "?level=trace, debug, info, warning, error, critical or off\n");
        return (answer, "no such level".to_owned());
    };
    match (admin.log_level)(directive) {
        Ok(()) => {
            command(admin, Command::LogLevel);
            (text(StatusCode::OK, &format!("level: {name}\n")), format!("level {name}"))
        }
        Err(error) => (text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")), error),
    }
}

async fn push(
    admin: &Admin,
    plugin: String,
    query: &HashMap<String, String>,
    request: Request<Incoming>,
) -> (Answer, String) {
    let rollout = match shares(query) {
        Ok(rollout) => rollout,
        Err(refused) => return refusal(&refused),
    };
    if let Err(refused) = ready(admin) {
        return refusal(&refused);
    }
    let place = match admin.desk.reserve(Some(&plugin)) {
        Ok(place) => place,
        Err(refused) => return refusal(&refused),
    };
    let field = |name: &str| {
        request.headers().get(name).and_then(|value| value.to_str().ok()).map(|value| value.trim().to_owned())
    };
    let signed = field("x-sidegate-statement").zip(field("x-sidegate-signature"));
    let signed = signed.map(|(statement, signature)| Signed { statement, signature });
    let digest = field("x-sidegate-sha256");
    let allow_rollback = query.contains_key("allowRollback");
    let module = match upload::read(request, MODULE_BYTES).await {
        Ok(module) => module.into(),
        Err((status, reason)) => return not_received(status, reason),
    };
    let push = Push { plugin, module, digest, signed, allow_rollback, rollout, met: None };
    settle(admin.desk.submit(Change::Push(push), place).await)
}

/// `?rollout=5,50&hold=60s`.
fn shares(query: &HashMap<String, String>) -> Result<Option<Shares>, Refused> {
    let invalid = |reason: &str| Refused::Invalid { error: "rollout", reason: reason.to_owned() };
    let hold = query.get("hold").map(|hold| sidegate_config::parse_duration(hold));
    match (query.get("rollout"), hold) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(invalid("hold without rollout")),
        (Some(_), Some(None)) => Err(invalid("hold is a duration such as 60s")),
        (Some(weights), hold) => {
            Ok(Some(Shares { weights: weights.clone(), hold: hold.flatten().unwrap_or(RolloutStep::HOLD) }))
        }
    }
}

async fn rollout(admin: &Admin, plugin: String, action: Option<&str>) -> (Answer, String) {
    let Some(action) = action.and_then(|action| Action::from_str(action, false).ok()) else {
        let reason = "?action= is one of pause, resume, abort".to_owned();
        return refusal(&Refused::Invalid { error: "rollout", reason });
    };
    let place = match ready(admin).and_then(|()| admin.desk.reserve(Some(&plugin))) {
        Ok(place) => place,
        Err(refused) => return refusal(&refused),
    };
    settle(admin.desk.submit(Change::Rollout { plugin, action }, place).await)
}

async fn rollback(admin: &Admin, plugin: String) -> (Answer, String) {
    let place = match ready(admin).and_then(|()| admin.desk.reserve(Some(&plugin))) {
        Ok(place) => place,
        Err(refused) => return refusal(&refused),
    };
    settle(admin.desk.submit(Change::Rollback { plugin, met: None }, place).await)
}

async fn config(admin: &Admin, request: Request<Incoming>) -> (Answer, String) {
    let place = match ready(admin).and_then(|()| admin.desk.reserve(None)) {
        Ok(place) => place,
        Err(refused) => return refusal(&refused),
    };
    let bytes = match upload::read(request, CONFIG_BYTES).await {
        Ok(bytes) => bytes,
        Err((status, reason)) => return not_received(status, reason),
    };
    let Ok(text) = String::from_utf8(bytes) else {
        return refusal(&Refused::Invalid { error: "refused", reason: "the body is not UTF-8".to_owned() });
    };
    settle(admin.desk.submit(Change::Config { text }, place).await)
}

fn ready(admin: &Admin) -> Result<(), Refused> {
    if admin.status.draining.load(Ordering::Relaxed) { Err(Refused::Ending) } else { Ok(()) }
}

fn settle(answer: Result<Done, Refused>) -> (Answer, String) {
    match answer {
        Ok(done) => {
            let json = done.to_json();
            let detail = match &done {
                Done::Plugin { version, digest, .. } => format!("version {version}, digest {digest}"),
                Done::Config { snapshot, changed } => format!("snapshot {snapshot}, changed {}", changed.join(", ")),
            };
            (json_with(StatusCode::OK, &json), detail)
        }
        Err(refused) => refusal(&refused),
    }
}

fn refusal(refused: &Refused) -> (Answer, String) {
    let detail = refused.to_string();
    let (status, error, reason) = match refused {
        Refused::UnknownPlugin(_) => (StatusCode::NOT_FOUND, "unknown plugin", detail.clone()),
        Refused::NoPrevious(_) => (StatusCode::CONFLICT, "no previous version", detail.clone()),
        Refused::NoRollout(_) => (StatusCode::CONFLICT, "no rollout", detail.clone()),
        Refused::Busy(_) => (StatusCode::CONFLICT, "update in progress", detail.clone()),
        Refused::Superseded => (StatusCode::CONFLICT, "superseded", detail.clone()),
        Refused::Full => (StatusCode::SERVICE_UNAVAILABLE, "busy", detail.clone()),
        Refused::Ending => (StatusCode::SERVICE_UNAVAILABLE, "draining", detail.clone()),
        Refused::Invalid { error, reason } => (StatusCode::UNPROCESSABLE_ENTITY, *error, reason.clone()),
    };
    let mut answer = json_with(status, &json!({"error": error, "reason": reason}));
    if *refused == Refused::Full {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    (answer, detail)
}

fn not_received(status: StatusCode, reason: String) -> (Answer, String) {
    let mut answer = json_with(status, &json!({"error": "body", "reason": reason}));
    // What was not read would be taken for the next request.
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    (answer, reason)
}

fn query_of(request: &Request<Incoming>) -> HashMap<String, String> {
    let pairs = request.uri().query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(key), decoded(value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_what_they_change() {
        assert_eq!(Target::of("/plugins/a%2Fb/module"), Some(Target::Module("a/b".into())));
        assert_eq!(Target::of("/plugins/a/rollback"), Some(Target::Rollback("a".into())));
        assert_eq!(Target::of("/plugins"), None);
        assert_eq!(Target::of("/plugins/a"), None);
        assert_eq!(Target::of("/config").map(|target| target.method()), Some(Method::PUT));
    }
}
