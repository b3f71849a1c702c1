//! Commands that speak to a running proxy through its administration interface.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use http::header::{self, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::net::{TcpStream, UnixStream};

use crate::control::rollout::Action;

/// How long an answer may take: a large module compiles for seconds on a busy machine.
const TIME: Duration = Duration::from_secs(120);
/// Bytes of an answer that are read.
const ANSWER_BYTES: usize = 64 << 20;
/// Bytes of the file with a signature.
const SIGNATURE_BYTES: usize = 16 << 10;

/// Which proxy, and the right to change it.
#[derive(Args, Clone, Debug)]
pub(super) struct Proxy {
    /// Its administration interface: http://HOST:PORT or unix:PATH.
    #[arg(long, env = "SIDEGATE_ADMIN", default_value = "http://127.0.0.1:15000")]
    admin: String,
    /// A file with the token that changes need.
    #[arg(long, env = "SIDEGATE_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

#[derive(Args, Clone, Debug)]
pub(super) struct Push {
    /// The module. A signature beside it, FILE.wasm.sig, goes along.
    file: PathBuf,
    /// The plugin that it is for.
    #[arg(long)]
    plugin: String,
    /// Let the new version have growing shares of the traffic, in percent: 5,50. The next share comes when one was held
    /// and has served the plugin's rollout.minRequests (default 200).
    #[arg(long)]
    rollout: Option<String>,
    /// How long each share is held; default 60s.
    #[arg(long, requires = "rollout")]
    hold: Option<String>,
    /// Accept a signed version that is not above the highest so far.
    #[arg(long)]
    allow_rollback: bool,
    #[command(flatten)]
    proxy: Proxy,
}

/// Pushes a module and prints the answer. An error when it is refused.
pub(super) fn push(push: &Push) -> Result<(), String> {
    let module = std::fs::read(&push.file).map_err(|error| format!("{}: {error}", push.file.display()))?;
    let mut query = Vec::new();
    if let Some(steps) = &push.rollout {
        query.push(format!("rollout={}", encode(steps)));
    }
    if let Some(hold) = &push.hold {
        query.push(format!("hold={}", encode(hold)));
    }
    if push.allow_rollback {
        query.push("allowRollback".to_owned());
    }
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    let mut request = request(Method::PUT, &format!("/plugins/{}/module{query}", encode(&push.plugin)), module)?;
    let mut signature = push.file.clone().into_os_string();
    signature.push(".sig");
    if let Ok(text) = std::fs::read_to_string(signature) {
        let mut lines = text.get(..SIGNATURE_BYTES.min(text.len())).unwrap_or_default().lines();
        for name in ["x-sidegate-statement", "x-sidegate-signature"] {
            let value = HeaderValue::from_str(lines.next().unwrap_or_default().trim());
            request.headers_mut().insert(name, value.map_err(|_| "the signature file has other bytes than base64")?);
        }
    }
    change(&push.proxy, request)
}

/// Goes back to the version before.
pub(super) fn rollback(plugin: &str, proxy: &Proxy) -> Result<(), String> {
    change(proxy, request(Method::POST, &format!("/plugins/{}/rollback", encode(plugin)), Vec::new())?)
}

/// Pauses, resumes or ends a rollout.
pub(super) fn rollout(plugin: &str, action: Action, proxy: &Proxy) -> Result<(), String> {
    let action = action.to_possible_value();
    let action = action.as_ref().map_or("", |action| action.get_name());
    let path = format!("/plugins/{}/rollout?action={action}", encode(plugin));
    change(proxy, request(Method::POST, &path, Vec::new())?)
}

/// Prints a table of plugins.
pub(super) fn plugins(proxy: &Proxy) -> Result<(), String> {
    let (status, text) = ask(proxy, request(Method::GET, "/plugins", Vec::new())?)?;
    if status != StatusCode::OK {
        return Err(format!("{status}: {}", text.trim()));
    }
    let answer: Value = serde_json::from_str(&text).map_err(|error| format!("not what a proxy says: {error}"))?;
    write_out(&table(&answer))
}

fn table(answer: &Value) -> String {
    let mut rows = vec![["PLUGIN", "VERSION", "DIGEST", "STATE", "SINCE", "LAST ERROR"].map(str::to_owned)];
    for plugin in answer.get("plugins").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| match plugin.get(key) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => "-".to_owned(),
            Some(other) => other.to_string(),
        };
        let digest = text("digest").chars().take(12).collect();
        let error = text("lastError").lines().next().unwrap_or_default().to_owned();
        let state = [text("state"), progress(plugin)].concat();
        rows.push([text("name"), text("version"), digest, state, text("since"), error]);
    }
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for row in &rows {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        out += cells.join("  ").trim_end();
        out.push('\n');
    }
    out
}

/// How far a rollout is: ` 5% (1/2)`.
fn progress(plugin: &Value) -> String {
    let Some(rollout) = plugin.get("rollout").filter(|rollout| rollout.is_object()) else { return String::new() };
    let number = |key: &str| rollout.get(key).and_then(Value::as_f64).unwrap_or_default();
    let paused = if rollout.get("paused") == Some(&Value::Bool(true)) { " paused" } else { "" };
    format!(" {}% ({}/{}){paused}", number("weight"), number("step"), number("steps"))
}

/// Asks for a change and prints the answer.
fn change(proxy: &Proxy, request: Request<Full<Bytes>>) -> Result<(), String> {
    let (status, text) = ask(proxy, request)?;
    if status.is_success() {
        return write_out(&text);
    }
    let without_token = status == StatusCode::UNAUTHORIZED && proxy.token_file.is_none();
    let hint = if without_token { " (give one: --token-file, or SIDEGATE_TOKEN_FILE)" } else { "" };
    Err(format!("{status}: {}{hint}", text.trim()))
}

fn write_out(text: &str) -> Result<(), String> {
    io::stdout().lock().write_all(text.as_bytes()).map_err(|error| error.to_string())
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn request(method: Method, path: &str, body: Vec<u8>) -> Result<Request<Full<Bytes>>, String> {
    let mut request = Request::new(Full::new(Bytes::from(body)));
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().map_err(|_| format!("{path} is no path"))?;
    Ok(request)
}

fn ask(proxy: &Proxy, mut request: Request<Full<Bytes>>) -> Result<(StatusCode, String), String> {
    if let Some(file) = &proxy.token_file {
        let token = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let value = HeaderValue::from_str(&format!("Bearer {}", token.trim()));
        request
            .headers_mut()
            .insert(header::AUTHORIZATION, value.map_err(|_| "the token has bytes that no header may have")?);
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let asked = runtime.block_on(async {
        tokio::time::timeout(TIME, exchange(&proxy.admin, request))
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {TIME:?}")))
    });
    asked.map_err(|error| format!("{}: {error}", proxy.admin))
}

async fn exchange(admin: &str, mut request: Request<Full<Bytes>>) -> Result<(StatusCode, String), String> {
    let failed = |error: io::Error| format!("cannot connect: {error}");
    if let Some(path) = admin.strip_prefix("unix:") {
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("localhost"));
        return send(UnixStream::connect(path).await.map_err(failed)?, request).await;
    }
    let authority = admin.strip_prefix("http://").unwrap_or(admin).trim_end_matches('/');
    request.headers_mut().insert(header::HOST, HeaderValue::from_str(authority).map_err(|_| "not a URL")?);
    send(TcpStream::connect(authority).await.map_err(failed)?, request).await
}

async fn send<I>(io: I, request: Request<Full<Bytes>>) -> Result<(StatusCode, String), String>
where
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| format!("no answer: {error}"))?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, ANSWER_BYTES).collect().await.map_err(|error| error.to_string())?;
    Ok((head.status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_is_aligned() {
        let answer = json!({"plugins": [
            {"name": "router", "version": 1, "digest": "0123456789abcdef", "state": "ROLLING_OUT", "since": "now",
             "lastError": null, "rollout": {"weight": 5, "step": 1, "steps": 2, "paused": true}},
            {"name": "a", "version": 12, "digest": "ff", "state": "REJECTED", "since": null, "lastError": "traps\nat x"},
        ]});
        let expected = "PLUGIN  VERSION  DIGEST        STATE                        SINCE  LAST ERROR\n\
                        router  1        0123456789ab  ROLLING_OUT 5% (1/2) paused  now    -\n\
                        a       12       ff            REJECTED                     -      traps\n";
        assert_eq!(table(&answer), expected);
    }
}
