//! An upstream that speaks HTTP/2: a small gRPC service on a thread of its own.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::Notify;

/// Path and header fields of the requests that came.
pub(crate) type Seen = Arc<Mutex<Vec<(String, HeaderMap)>>>;

/// Starts the service. By the last part of the path: `echo` sends each piece back as it comes, and the field `x-meta`
/// in head and trailers; `refuse` answers with trailers only, `reset` resets, `half` resets in the middle of the
/// answer, `large` sends 4 MiB, `huge` a frame that announces more, `compressed` one that says so, `plain` is no gRPC,
/// `wait` never answers and notes how the stream ended, `gate` waits for a request for `open`.
pub(crate) fn start() -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let seen = Seen::default();
    let service = Service { seen: seen.clone(), gate: Arc::default() };
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(service.clone().connection(stream));
            }
        });
    });
    (address, seen)
}

#[derive(Clone)]
struct Service {
    seen: Seen,
    gate: Arc<Notify>,
}

impl Service {
    async fn connection(self, stream: TcpStream) -> Result<(), h2::Error> {
        let mut connection = h2::server::handshake(stream).await?;
        while let Some(exchange) = connection.accept().await {
            let (request, respond) = exchange?;
            self.note(request.uri().path(), request.headers());
            let service = self.clone();
            tokio::spawn(async move {
                // An error is a client that has gone.
                let _ = service.serve(request, respond).await;
            });
        }
        Ok(())
    }

    fn note(&self, path: &str, headers: &HeaderMap) {
        self.seen.lock().unwrap().push((path.to_owned(), headers.clone()));
    }

    async fn serve(self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
        let (head, mut body) = request.into_parts();
        let mut answer = Response::new(());
        let meta = HeaderMap::from_iter(head.headers.get("x-meta").map(|value| (META, value.clone())));
        answer.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        answer.headers_mut().extend(meta.clone());
        let path = head.uri.path();
        match path.rsplit('/').next().unwrap() {
            "refuse" => {
                answer.headers_mut().insert("grpc-status", HeaderValue::from_static("7"));
                answer.headers_mut().insert("grpc-message", HeaderValue::from_static("not you"));
                respond.send_response(answer, true)?;
            }
            "reset" => respond.send_reset(h2::Reason::INTERNAL_ERROR),
            "half" => {
                let mut out = respond.send_response(answer, false)?;
                out.send_data(Bytes::from_static(b"half"), false)?;
                tokio::task::yield_now().await;
                out.send_reset(h2::Reason::INTERNAL_ERROR);
            }
            "large" => {
                let mut out = respond.send_response(answer, false)?;
                out.send_data(vec![b'x'; 4 << 20].into(), false)?;
                out.send_trailers(status("0"))?;
            }
            "huge" | "compressed" => {
                let mut out = respond.send_response(answer, false)?;
                let frame: &[u8] = if path.ends_with("huge") { b"\0\0\x40\0\x01" } else { b"\x01\0\0\0\x01x" };
                out.send_data(Bytes::from_static(frame), false)?;
                self.wait(path, |cx| out.poll_reset(cx)).await;
            }
            "plain" => {
                *answer.status_mut() = http::StatusCode::FORBIDDEN;
                answer.headers_mut().insert("content-type", HeaderValue::from_static("text/html"));
                respond.send_response(answer, false)?.send_data(Bytes::from_static(b"<html>"), true)?;
            }
            "wait" => self.wait(path, |cx| respond.poll_reset(cx)).await,
            last => {
                match last {
                    "gate" => self.gate.notified().await,
                    "open" => self.gate.notify_one(),
                    _ => {}
                }
                let mut out = respond.send_response(answer, false)?;
                while let Some(data) = body.data().await {
                    let data = data?;
                    body.flow_control().release_capacity(data.len())?;
                    out.send_data(data, false)?;
                }
                let mut trailers = status("0");
                trailers.extend(meta);
                if let Some(sent) = body.trailers().await? {
                    trailers.extend(sent);
                }
                out.send_trailers(trailers)?;
            }
        }
        Ok(())
    }

    /// Waits until the client has given the stream up, and notes how.
    async fn wait(
        &self,
        path: &str,
        mut poll: impl FnMut(&mut std::task::Context<'_>) -> std::task::Poll<Result<h2::Reason, h2::Error>>,
    ) {
        match std::future::poll_fn(|cx| poll(cx)).await {
            Ok(reason) => self.note(&format!("{path} {reason:?}"), &HeaderMap::new()),
            Err(error) => self.note(&format!("{path} {error}"), &HeaderMap::new()),
        }
    }
}

const META: http::HeaderName = http::HeaderName::from_static("x-meta");

fn status(code: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static(code))])
}
