//! An HTTP/2 client with prior knowledge, driven from plain test code: requests of one call share the connection.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::client::PATIENCE;
use crate::message::{Headers, Request, Response};

/// One cleartext HTTP/2 connection. It makes progress only inside its methods.
pub struct Http2Client {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
    connection: tokio::task::JoinHandle<Result<(), h2::Error>>,
    authority: String,
}

impl Http2Client {
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (sender, connection) = runtime.block_on(within_patience(async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) = h2::client::handshake(stream).await.map_err(io::Error::other)?;
            Ok((sender, tokio::spawn(connection)))
        }))?;
        Ok(Self { runtime, sender, connection, authority: address.to_string() })
    }

    /// Sends one request and waits for its answer.
    pub fn send(&mut self, request: &Request) -> io::Result<Response> {
        let mut answers = self.send_all(std::slice::from_ref(request))?;
        answers.pop().ok_or_else(|| io::Error::other("no answer"))?
    }

    /// Sends requests at the same time, one stream each, and waits for every answer; in the order of the requests.
    /// An answer that is an error is a stream that was reset; the outer error is one of the whole connection.
    pub fn send_all(&mut self, requests: &[Request]) -> io::Result<Vec<io::Result<Response>>> {
        let (runtime, sender, authority) = (&self.runtime, &mut self.sender, self.authority.as_str());
        runtime.block_on(within_patience(async {
            let mut exchanges = Vec::new();
            for request in requests {
                exchanges.push(tokio::spawn(start(sender, request, authority).await?));
            }
            let mut answers = Vec::new();
            for exchange in exchanges {
                answers.push(exchange.await?);
            }
            Ok(answers)
        }))
    }

    /// Waits until the peer has closed the connection, after a GOAWAY or without. An error says that it broke.
    pub fn closed(mut self) -> io::Result<()> {
        drop(self.sender);
        let connection = &mut self.connection;
        self.runtime.block_on(within_patience(async { connection.await?.map_err(io::Error::other) }))
    }
}

/// Opens the stream; the future that it returns sends the body and reads the answer.
async fn start(
    sender: &mut SendRequest<Bytes>,
    request: &Request,
    authority: &str,
) -> io::Result<impl Future<Output = io::Result<Response>> + use<>> {
    std::future::poll_fn(|context| sender.poll_ready(context)).await.map_err(io::Error::other)?;
    let authority = request.header("host").unwrap_or(authority);
    let mut head = http::Request::builder()
        .method(request.method.as_str())
        .uri(format!("http://{authority}{}", request.target))
        .version(http::Version::HTTP_2);
    for (name, value) in request.headers.0.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("host")) {
        head = head.header(name, value);
    }
    let head = head.body(()).map_err(io::Error::other)?;
    let body = Bytes::from(request.body.clone());
    let trailers = request.trailers.clone();
    let is_bodyless = body.is_empty() && trailers.0.is_empty();
    let (answer, mut stream) = sender.send_request(head, is_bodyless).map_err(io::Error::other)?;
    Ok(async move {
        if !is_bodyless {
            // Refused when the peer has answered early; the answer says what came of it.
            let _ = stream.send_data(body, trailers.0.is_empty());
            if !trailers.0.is_empty() {
                let _ = stream.send_trailers(to_map(&trailers)?);
            }
        }
        receive(answer).await
    })
}

async fn receive(answer: ResponseFuture) -> io::Result<Response> {
    let (head, mut body) = answer.await.map_err(io::Error::other)?.into_parts();
    let mut response =
        Response { status: head.status.as_u16(), headers: from_map(&head.headers), ..Response::default() };
    while let Some(data) = body.data().await {
        let data = data.map_err(io::Error::other)?;
        response.body.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len()).map_err(io::Error::other)?;
    }
    if let Some(trailers) = body.trailers().await.map_err(io::Error::other)? {
        response.trailers = from_map(&trailers);
    }
    Ok(response)
}

async fn within_patience<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    // Twice what one read may take: several exchanges share one wait.
    let limit: Duration = PATIENCE * 2;
    timeout(limit, work).await.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")))
}

fn from_map(map: &http::HeaderMap) -> Headers {
    let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    Headers(map.iter().map(field).collect())
}

fn to_map(headers: &Headers) -> io::Result<http::HeaderMap> {
    let mut map = http::HeaderMap::new();
    for (name, value) in &headers.0 {
        let name: http::HeaderName = name.parse().map_err(io::Error::other)?;
        map.append(name, value.parse().map_err(io::Error::other)?);
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Answers each stream with its path, its body and a trailer, on one connection.
    async fn echo(stream: TcpStream) -> Result<(), h2::Error> {
        let mut connection = h2::server::handshake(stream).await?;
        while let Some(exchange) = connection.accept().await {
            let (request, mut respond) = exchange?;
            tokio::spawn(async move {
                let (head, mut body) = request.into_parts();
                let mut text = head.uri.path().to_owned();
                while let Some(Ok(data)) = body.data().await {
                    text += &String::from_utf8_lossy(&data);
                }
                let mut out = respond.send_response(http::Response::new(()), false).unwrap();
                out.send_data(text.into(), false).unwrap();
                out.send_trailers(http::HeaderMap::from_iter([(http::header::AGE, "1".parse().unwrap())])).unwrap();
            });
        }
        Ok(())
    }

    #[test]
    fn requests_share_one_connection_and_keep_their_order() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let stream = listener.accept().unwrap().0;
            stream.set_nonblocking(true).unwrap();
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { echo(TcpStream::from_std(stream).unwrap()).await })
        });
        let mut client = Http2Client::connect(address).unwrap();
        let requests = [Request::get("/a"), Request::post("/b", "body"), Request::get("/c")];
        let answers = client.send_all(&requests).unwrap();
        let texts: Vec<String> = answers.iter().map(|answer| answer.as_ref().unwrap().text().into_owned()).collect();
        assert_eq!(texts, ["/a", "/bbody", "/c"]);
        assert_eq!(answers[0].as_ref().unwrap().trailers.first("age"), Some("1"));
        drop(client);
        server.join().unwrap().unwrap();
    }
}
