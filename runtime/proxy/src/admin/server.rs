//! The HTTP side of the administration interface, on the control thread.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sidegate_config::Address;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, mpsc};

use super::changes::{self, Target};
use super::{Command, Status, views};
use crate::control::change::Desk;
use crate::listen;
use crate::telemetry::prometheus;
use crate::upstream::io::{Activity, Io, Socket};

/// Connections at a time; more wait.
const CONNECTIONS: usize = 64;
/// From connect, or the previous answer, to the end of a request's head.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEADERS_BYTES: usize = 64 << 10;
/// The longest a connection may live: scrapes and probes are short.
const CONNECTION_TIME: Duration = Duration::from_secs(300);

/// How long a client may take nothing of its answer.
const STALL: Duration = Duration::from_secs(10);
/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long to wait after an accept failed for lack of resources.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

pub(super) type Answer = Response<Full<Bytes>>;

/// Sets the level of the log, named as in `RUST_LOG`.
pub type SetLogLevel = Arc<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// Listens; the receiver yields what operators ask for.
pub fn start(
    address: &Address,
    probe: Option<&Address>,
    status: &Arc<Status>,
    desk: Desk,
    log_level: SetLogLevel,
) -> Result<mpsc::Receiver<Command>, String> {
    let (commands, receiver) = mpsc::channel(16);
    let admin = Admin { status: status.clone(), desk, log_level, commands, probe_only: false };
    if let Some(probe) = probe {
        serve(open(probe)?, Arc::new(Admin { probe_only: true, ..admin.clone() }));
    }
    serve(open(address)?, Arc::new(admin));
    Ok(receiver)
}

enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

fn open(address: &Address) -> Result<Listening, String> {
    let failed = |error: std::io::Error| format!("cannot listen on {address} (admin): {error}");
    match address {
        Address::Tcp(tcp) => {
            let socket = listen::at_start(|| std::net::TcpListener::bind(tcp)).map_err(failed)?;
            socket.set_nonblocking(true).map_err(failed)?;
            TcpListener::from_std(socket).map(Listening::Tcp).map_err(failed)
        }
        Address::Unix(path) => {
            if std::os::unix::net::UnixStream::connect(path).is_err() {
                let _ = std::fs::remove_file(path);
            }
            let listener = listen::at_start(|| UnixListener::bind(path)).map_err(failed)?;
            let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(path, owner_only).map_err(failed)?;
            Ok(Listening::Unix(listener))
        }
    }
}

fn serve(listening: Listening, admin: Arc<Admin>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    tokio::spawn(async move {
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let admin = admin.clone();
            let accepted = match &listening {
                Listening::Tcp(listener) => {
                    listener.accept().await.map(|(stream, from)| (Socket::Tcp(stream), from.to_string()))
                }
                Listening::Unix(listener) => {
                    listener.accept().await.map(|(stream, _)| (Socket::Unix(stream), "unix".to_owned()))
                }
            };
            match accepted {
                Ok((socket, who)) => {
                    let io = Io::new(socket, Bytes::new());
                    let activity = io.activity.clone();
                    tokio::spawn(async move {
                        connection(TokioIo::new(io), activity, admin, who).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!("accept failed (admin): {error}");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    });
}

async fn connection<I: hyper::rt::Read + hyper::rt::Write + Unpin>(
    io: I,
    activity: Arc<Activity>,
    admin: Arc<Admin>,
    who: String,
) {
    let who: Arc<str> = who.into();
    let service = service_fn(move |request| {
        let (admin, who) = (admin.clone(), who.clone());
        async move { Ok::<_, Infallible>(admin.answer(request, &who).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIMEOUT)
        .max_buf_size(HEADERS_BYTES)
        .serve_connection(io, service);
    tokio::select! {
        _ = serving => {}
        () = stalled(&activity) => {}
        () = tokio::time::sleep(CONNECTION_TIME) => {}
    }
}

/// Waits until a client does not take its answer. It would keep its place from others.
async fn stalled(activity: &Activity) {
    while activity.write_blocked_for(Instant::now()) < STALL {
        tokio::time::sleep(LOOK).await;
    }
}

/// What answers.
#[derive(Clone)]
pub(super) struct Admin {
    pub status: Arc<Status>,
    pub desk: Desk,
    pub log_level: SetLogLevel,
    pub commands: mpsc::Sender<Command>,
    probe_only: bool,
}

impl Admin {
    async fn answer(&self, request: Request<Incoming>, who: &str) -> Answer {
        let path = request.uri().path();
        if self.probe_only && !matches!(path, "/ready" | "/stats/prometheus") {
            return text(StatusCode::NOT_FOUND, "not found\n");
        }
        match (Target::of(path), request.method()) {
            (Some(target), _) => changes::answer(self, target, request, who).await,
            (None, &Method::GET | &Method::HEAD) => self.read(path, request.uri().query().unwrap_or_default()),
            _ => text(StatusCode::NOT_FOUND, "not found\n"),
        }
    }

    fn read(&self, path: &str, query: &str) -> Answer {
        let status = &self.status;
        let wants_json = query.split('&').any(|pair| pair == "format=json");
        if matches!(path, "/stats" | "/stats/prometheus" | "/metrics") {
            status.refresh();
        }
        match path {
            "/ready" => {
                let (ready, word) = status.readiness();
                let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                text(code, &format!("{word}\n"))
            }
            "/stats" if query.split('&').any(|pair| pair == "format=prometheus") => self.prometheus(),
            "/stats" if wants_json => json(&prometheus::json(&status.process.metrics)),
            "/stats" => text(StatusCode::OK, &prometheus::plain(&status.process.metrics)),
            "/stats/prometheus" | "/metrics" => self.prometheus(),
            "/config_dump" => json(&views::config_dump(status)),
            "/clusters" if wants_json => json(&views::clusters_json(status)),
            "/clusters" => text(StatusCode::OK, &views::clusters(status)),
            "/listeners" if wants_json => json(&views::listeners_json(status)),
            "/listeners" => text(StatusCode::OK, &views::listeners(status)),
            "/server_info" => json(&views::server_info(status)),
            "/certs" => json(&serde_json::json!({"certificates": []})),
            "/plugins" => json(&views::plugins(status)),
            "/" | "/help" => text(StatusCode::OK, views::HELP),
            _ => text(StatusCode::NOT_FOUND, "not found; see /help\n"),
        }
    }

    fn prometheus(&self) -> Answer {
        let mut answer = text(StatusCode::OK, &prometheus::render(&self.status.process.metrics));
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
        answer
    }
}

pub(super) fn text(status: StatusCode, body: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

fn json(value: &serde_json::Value) -> Answer {
    json_with(StatusCode::OK, value)
}

pub(super) fn json_with(status: StatusCode, value: &serde_json::Value) -> Answer {
    let mut answer = text(status, &format!("{value:#}\n"));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

#[cfg(test)]
mod fuzz;
