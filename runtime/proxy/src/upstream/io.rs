//! Byte streams under hyper: TCP or Unix, with bytes that were read ahead, and writes gathered until the task has
//! nothing more to say.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// Bytes that are gathered before they are written in any case.
const GATHER: usize = 64 << 10;

/// Either kind of socket.
pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A socket as hyper gets it.
pub struct Io {
    socket: Socket,
    /// Read before the protocol was known.
    ahead: Bytes,
    /// `Some` when writes are gathered.
    gathered: Option<Gathered>,
    /// Bytes read so far, for whoever watches for silence.
    pub activity: Arc<Activity>,
}

#[derive(Default)]
struct Gathered {
    bytes: Vec<u8>,
    written: usize,
    /// The flush was put off once: others on this thread have had their turn.
    deferred: bool,
}

/// What can be seen of a connection from outside of it.
#[derive(Debug)]
pub struct Activity {
    started: Instant,
    read: AtomicU64,
    /// Milliseconds since `started`, plus one, at which a write found no room; 0: writes flow.
    blocked: AtomicU64,
}

impl Default for Activity {
    fn default() -> Self {
        Self { started: Instant::now(), read: AtomicU64::new(0), blocked: AtomicU64::new(0) }
    }
}

impl Activity {
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// How long the peer has not taken what is written for it.
    pub fn write_blocked_for(&self, now: Instant) -> Duration {
        match self.blocked.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => now.duration_since(self.started).saturating_sub(Duration::from_millis(since - 1)),
        }
    }

    fn count_read(&self, bytes: usize) {
        // One task owns the connection: load and store need not be one step.
        self.read.store(self.read.load(Ordering::Relaxed) + bytes as u64, Ordering::Relaxed);
    }

    fn note_write<T>(&self, polled: Poll<T>) -> Poll<T> {
        let blocked = self.blocked.load(Ordering::Relaxed);
        match &polled {
            Poll::Ready(_) if blocked != 0 => self.blocked.store(0, Ordering::Relaxed),
            Poll::Pending if blocked == 0 => {
                let since = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
                self.blocked.store(since + 1, Ordering::Relaxed);
            }
            _ => {}
        }
        polled
    }
}

impl Io {
    pub fn new(socket: Socket, ahead: Bytes) -> Self {
        Self { socket, ahead, gathered: None, activity: Arc::default() }
    }

    /// Bytes that were read too far are read again.
    pub fn put_back(&mut self, ahead: Bytes) {
        self.ahead = ahead;
    }

    /// Gathers small writes: HTTP/2 writes many frames that can leave together.
    pub fn gathering(mut self) -> Self {
        self.gathered = Some(Gathered::default());
        self
    }
}

impl Gathered {
    fn poll_write_out(&mut self, socket: &mut Socket, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.bytes.get(self.written..).filter(|rest| !rest.is_empty()) {
            let count = ready!(Pin::new(&mut *socket).poll_write(cx, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        self.bytes.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let count = self.ahead.len().min(out.remaining());
            out.put_slice(self.ahead.get(..count).unwrap_or_default());
            self.ahead.advance(count);
            return Poll::Ready(Ok(()));
        }
        let before = out.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, out))?;
        let count = out.filled().len() - before;
        self.activity.count_read(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        match &mut this.gathered {
            None => this.activity.note_write(Pin::new(&mut this.socket).poll_write(cx, data)),
            Some(gathered) => {
                if gathered.bytes.len() >= GATHER {
                    ready!(this.activity.note_write(gathered.poll_write_out(&mut this.socket, cx)))?;
                }
                gathered.bytes.extend_from_slice(data);
                Poll::Ready(Ok(data.len()))
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        match &mut this.gathered {
            None => this.activity.note_write(Pin::new(&mut this.socket).poll_write_vectored(cx, data)),
            Some(gathered) => {
                if gathered.bytes.len() >= GATHER {
                    ready!(this.activity.note_write(gathered.poll_write_out(&mut this.socket, cx)))?;
                }
                let before = gathered.bytes.len();
                data.iter().for_each(|slice| gathered.bytes.extend_from_slice(slice));
                Poll::Ready(Ok(gathered.bytes.len() - before))
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(gathered) = &mut this.gathered {
            if gathered.bytes.is_empty() {
                gathered.deferred = false;
            } else if !gathered.deferred && gathered.bytes.len() < GATHER {
                // Put off by one turn of the run queue: frames of other streams join this write.
                gathered.deferred = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            } else {
                ready!(this.activity.note_write(gathered.poll_write_out(&mut this.socket, cx)))?;
                gathered.deferred = false;
            }
        }
        Pin::new(&mut this.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(gathered) = &mut this.gathered {
            ready!(this.activity.note_write(gathered.poll_write_out(&mut this.socket, cx)))?;
        }
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(socket) => Pin::new(socket).poll_read(cx, out),
            Self::Unix(socket) => Pin::new(socket).poll_read(cx, out),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, data),
            Self::Unix(socket) => Pin::new(socket).poll_write(cx, data),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, data),
            Self::Unix(socket) => Pin::new(socket).poll_write_vectored(cx, data),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(socket) => Pin::new(socket).poll_flush(cx),
            Self::Unix(socket) => Pin::new(socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}
