//! Opens a connection to an endpoint and starts its protocol.

use std::sync::Arc;

use bytes::Bytes;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpStream, UnixStream};

use super::io::{Io, Socket};
use crate::exchange::bodies::RequestBody;
use crate::exchange::reply::Failure;
use crate::snapshot::cluster::{Limits, Permit};
use crate::snapshot::{Address, Endpoint};

/// Bytes of a response's head.
const RESPONSE_HEADERS: usize = 64 << 10;
/// Fields of a response's head.
const RESPONSE_FIELDS: usize = 200;
/// HTTP/2 flow control, per stream and per connection, in bytes.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// A connection that can be used, and our end of it as `IP:port`; a Unix socket has none.
pub struct Connected<S> {
    pub sender: S,
    pub local: Option<Arc<str>>,
}

async fn dial(endpoint: &Endpoint, limits: &Limits) -> Result<(Socket, Option<Arc<str>>), Failure> {
    let dialing = async {
        match &endpoint.address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                let local = stream.local_addr().ok().map(|address| address.to_string().into());
                Ok((Socket::Tcp(stream), local))
            }
            Address::Unix(path) => UnixStream::connect(path).await.map(|stream| (Socket::Unix(stream), None)),
        }
    };
    match tokio::time::timeout(limits.connect_timeout, dialing).await {
        Ok(Ok(dialed)) => Ok(dialed),
        Ok(Err(error)) => {
            tracing::debug!(endpoint = endpoint.text, "connection failed: {error}");
            Err(Failure::ConnectFailure)
        }
        Err(_) => Err(Failure::ConnectTimeout),
    }
}

/// An HTTP/1.1 connection; its driver runs until the connection ends and holds `permit` as long.
pub async fn http1(
    endpoint: &Endpoint,
    limits: &Limits,
    permit: Permit,
) -> Result<Connected<http1::SendRequest<RequestBody>>, Failure> {
    let (socket, local) = dial(endpoint, limits).await?;
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(RESPONSE_HEADERS)
        .max_headers(RESPONSE_FIELDS)
        .handshake(TokioIo::new(Io::new(socket, Bytes::new())))
        .await
        .map_err(|_| Failure::ConnectFailure)?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!("upstream connection ended: {error}");
        }
        drop(permit);
    });
    Ok(Connected { sender, local })
}

/// An HTTP/2 connection with prior knowledge.
pub async fn http2(
    endpoint: &Endpoint,
    limits: &Limits,
    permit: Permit,
) -> Result<Connected<http2::SendRequest<RequestBody>>, Failure> {
    let (socket, local) = dial(endpoint, limits).await?;
    let (sender, connection) = http2::Builder::new(LocalExecutor)
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(RESPONSE_HEADERS as u32)
        .handshake(TokioIo::new(Io::new(socket, Bytes::new()).gathering()))
        .await
        .map_err(|_| Failure::ConnectFailure)?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!("upstream connection ended: {error}");
        }
        drop(permit);
    });
    Ok(Connected { sender, local })
}

/// Runs hyper's tasks on this worker.
#[derive(Clone, Copy, Debug)]
pub struct LocalExecutor;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}
