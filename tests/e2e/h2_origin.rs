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

/// Path and header fields of the requests that came.
pub(crate) type Seen = Arc<Mutex<Vec<(String, HeaderMap)>>>;

/// Starts the service. By path: `/echo` sends each piece back as it comes, `/refuse` answers with trailers only,
/// `/reset` resets, `/half` resets in the middle of the answer, `/large` sends 4 MiB.
pub(crate) fn start() -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let seen = Seen::default();
    let shared = seen.clone();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(stream, shared.clone()));
            }
        });
    });
    (address, seen)
}

async fn connection(stream: TcpStream, seen: Seen) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(exchange) = connection.accept().await {
        let (request, respond) = exchange?;
        seen.lock().unwrap().push((request.uri().path().to_owned(), request.headers().clone()));
        tokio::spawn(async move {
            // An error is a client that has gone.
            let _ = serve(request, respond).await;
        });
    }
    Ok(())
}

async fn serve(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    let (head, mut body) = request.into_parts();
    let mut answer = Response::new(());
    answer.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    match head.uri.path() {
        "/refuse" => {
            answer.headers_mut().insert("grpc-status", HeaderValue::from_static("7"));
            answer.headers_mut().insert("grpc-message", HeaderValue::from_static("not you"));
            respond.send_response(answer, true)?;
        }
        "/reset" => respond.send_reset(h2::Reason::INTERNAL_ERROR),
        "/half" => {
            let mut out = respond.send_response(answer, false)?;
            out.send_data(Bytes::from_static(b"half"), false)?;
            tokio::task::yield_now().await;
            out.send_reset(h2::Reason::INTERNAL_ERROR);
        }
        "/large" => {
            let mut out = respond.send_response(answer, false)?;
            out.send_data(vec![b'x'; 4 << 20].into(), false)?;
            out.send_trailers(status("0"))?;
        }
        _ => {
            let mut out = respond.send_response(answer, false)?;
            while let Some(data) = body.data().await {
                let data = data?;
                body.flow_control().release_capacity(data.len())?;
                out.send_data(data, false)?;
            }
            let mut trailers = status("0");
            if let Some(sent) = body.trailers().await? {
                trailers.extend(sent);
            }
            out.send_trailers(trailers)?;
        }
    }
    Ok(())
}

fn status(code: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static(code))])
}
