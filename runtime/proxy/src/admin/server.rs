//! The HTTP side of the administration interface, on the control thread.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

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

use super::{Command, Status, views};
use crate::telemetry::prometheus;

/// Connections at a time; more wait.
const CONNECTIONS: usize = 64;
/// From connect, or the previous answer, to the end of a request's head.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEADERS_BYTES: usize = 64 << 10;
/// The longest a connection may live: scrapes and probes are short.
const CONNECTION_TIME: Duration = Duration::from_secs(300);

type Answer = Response<Full<Bytes>>;

/// Listens; the receiver yields what operators ask for.
pub fn start(
    address: &Address,
    probe: Option<&Address>,
    status: &Arc<Status>,
    token_file: Option<PathBuf>,
) -> Result<mpsc::Receiver<Command>, String> {
    let (commands, receiver) = mpsc::channel(16);
    let admin = Arc::new(Admin { status: status.clone(), token_file, commands, probe_only: false });
    serve(listen(address)?, admin.clone());
    if let Some(probe) = probe {
        let probe_only =
            Admin { status: status.clone(), token_file: None, commands: admin.commands.clone(), probe_only: true };
        serve(listen(probe)?, Arc::new(probe_only));
    }
    Ok(receiver)
}

enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

fn listen(address: &Address) -> Result<Listening, String> {
    let failed = |error: std::io::Error| format!("cannot listen on {address} (admin): {error}");
    match address {
        Address::Tcp(tcp) => {
            let socket = std::net::TcpListener::bind(tcp).map_err(failed)?;
            socket.set_nonblocking(true).map_err(failed)?;
            TcpListener::from_std(socket).map(Listening::Tcp).map_err(failed)
        }
        Address::Unix(path) => {
            if std::os::unix::net::UnixStream::connect(path).is_err() {
                let _ = std::fs::remove_file(path);
            }
            let listener = UnixListener::bind(path).map_err(failed)?;
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
            match &listening {
                Listening::Tcp(listener) => match listener.accept().await {
                    Ok((stream, _)) => tokio::spawn(async move {
                        connection(TokioIo::new(stream), admin).await;
                        drop(place);
                    }),
                    Err(_) => continue,
                },
                Listening::Unix(listener) => match listener.accept().await {
                    Ok((stream, _)) => tokio::spawn(async move {
                        connection(TokioIo::new(stream), admin).await;
                        drop(place);
                    }),
                    Err(_) => continue,
                },
            };
        }
    });
}

async fn connection<I: hyper::rt::Read + hyper::rt::Write + Unpin>(io: I, admin: Arc<Admin>) {
    let service = service_fn(move |request| {
        let admin = admin.clone();
        async move { Ok::<_, Infallible>(admin.answer(&request)) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIMEOUT)
        .max_buf_size(HEADERS_BYTES)
        .serve_connection(io, service);
    let _ = tokio::time::timeout(CONNECTION_TIME, serving).await;
}

struct Admin {
    status: Arc<Status>,
    token_file: Option<PathBuf>,
    commands: mpsc::Sender<Command>,
    probe_only: bool,
}

impl Admin {
    fn answer(&self, request: &Request<Incoming>) -> Answer {
        let path = request.uri().path();
        let query = request.uri().query().unwrap_or_default();
        if self.probe_only && !matches!(path, "/ready" | "/stats/prometheus") {
            return text(StatusCode::NOT_FOUND, "not found\n");
        }
        let change = matches!(path, "/drain_listeners" | "/healthcheck/fail" | "/healthcheck/ok" | "/quitquitquit");
        match (request.method(), change) {
            (&Method::GET | &Method::HEAD, false) => self.read(path, query),
            (&Method::POST, true) => match self.authorize(request) {
                None => self.change(path),
                Some(why) => text(StatusCode::UNAUTHORIZED, why),
            },
            (_, true) => text(StatusCode::METHOD_NOT_ALLOWED, "POST changes this\n"),
            _ => text(StatusCode::NOT_FOUND, "not found\n"),
        }
    }

    fn read(&self, path: &str, query: &str) -> Answer {
        let status = &self.status;
        let wants_json = query.split('&').any(|pair| pair == "format=json");
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
        self.status.refresh();
        let mut answer = text(StatusCode::OK, &prometheus::render(&self.status.process.metrics));
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
        answer
    }

    fn change(&self, path: &str) -> Answer {
        tracing::info!(target: "audit", path, "admin change");
        match path {
            "/healthcheck/fail" => self.status.failed.store(true, Ordering::Relaxed),
            "/healthcheck/ok" => self.status.failed.store(false, Ordering::Relaxed),
            "/drain_listeners" => drop(self.commands.try_send(Command::Drain)),
            "/quitquitquit" => drop(self.commands.try_send(Command::Quit)),
            _ => {}
        }
        text(StatusCode::OK, "OK\n")
    }

    /// Why a change is refused, if it is. The token is read again for each; comparing takes the same time whatever was sent.
    fn authorize(&self, request: &Request<Incoming>) -> Option<&'static str> {
        let Some(file) = &self.token_file else { return Some("changes need admin.tokenFile\n") };
        let Ok(expected) = std::fs::read_to_string(file) else { return Some("the token file cannot be read\n") };
        let expected = expected.trim();
        let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        let same = given.len() == expected.len()
            && given.bytes().zip(expected.bytes()).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0;
        (expected.is_empty() || !same).then_some("wrong or missing token\n")
    }
}

fn text(status: StatusCode, body: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

fn json(value: &serde_json::Value) -> Answer {
    let mut answer = text(StatusCode::OK, &format!("{value:#}\n"));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
