//! Towards the clients: sockets, the accept loop, and what becomes of each connection.

pub mod connection;
pub mod forwarded;
pub mod hygiene;

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::AbortHandle;

use crate::exchange::view::ConnectionFacts;
use crate::listen::Socket;
use crate::snapshot::Address;
use crate::upstream::io::Socket as Stream;
use crate::worker::Worker;

/// How long to wait after an accept failed for lack of resources.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// How long a client that is turned away may take to read why.
const TURN_AWAY: Duration = Duration::from_secs(1);

enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Starts to take connections on a socket of this worker.
pub fn accept(worker: &Rc<Worker>, address: Address, socket: Socket) -> io::Result<AbortHandle> {
    let listening = match socket {
        Socket::Tcp(socket) => Listening::Tcp(TcpListener::from_std(socket)?),
        Socket::Unix(socket) => Listening::Unix(UnixListener::from_std(socket)?),
    };
    let worker = worker.clone();
    let task = tokio::task::spawn_local(async move {
        loop {
            match listening.accept().await {
                Ok((stream, facts)) => {
                    if worker.connections.borrow().len() >= worker.process.allowance.connections() {
                        worker.counters.overloaded.add(worker.index, 1);
                        tokio::task::spawn_local(turn_away(stream));
                        continue;
                    }
                    connection::spawn(&worker, &address, stream, Arc::new(facts));
                }
                Err(error) => {
                    tracing::warn!(%address, "accept failed: {error}");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    });
    Ok(task.abort_handle())
}

/// Says that there is no room, in the one way that every client understands, and closes.
async fn turn_away(mut stream: Stream) {
    const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let writing = async {
        stream.write_all(ANSWER).await?;
        stream.shutdown().await?;
        // Closing with unread bytes would reset the connection before the client has read the answer.
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = tokio::time::timeout(TURN_AWAY, writing).await;
}

impl Listening {
    async fn accept(&self) -> io::Result<(Stream, ConnectionFacts)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, remote) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let local = stream.local_addr()?;
                let facts = ConnectionFacts {
                    id: next_id(),
                    local: local.to_string(),
                    local_port: local.port(),
                    remote: remote.to_string(),
                    remote_port: remote.port(),
                    remote_ip: remote.ip().to_string(),
                    remote_value: HeaderValue::from_str(&remote.ip().to_string()).ok(),
                };
                Ok((Stream::Tcp(stream), facts))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let local = stream.local_addr()?;
                let local = local.as_pathname().map(|path| path.display().to_string()).unwrap_or_default();
                let facts = ConnectionFacts {
                    id: next_id(),
                    local,
                    local_port: 0,
                    remote: String::new(),
                    remote_port: 0,
                    remote_ip: String::new(),
                    remote_value: None,
                };
                Ok((Stream::Unix(stream), facts))
            }
        }
    }
}

fn next_id() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}
