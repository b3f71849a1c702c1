//! What an origin does with a request.

use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::message::Headers;

/// Takes an upgraded connection over.
pub(super) type Takeover = Box<dyn FnOnce(TcpStream) + Send>;

/// One answer. Made by [`Answer::ok`] and its like, shaped by the `with_` methods.
pub struct Answer {
    pub(super) kind: Kind,
    pub(super) gate: Option<Gate>,
    pub(super) delay: Duration,
    /// Between two pieces of the answer.
    pub(super) pace: Duration,
}

pub(super) enum Kind {
    Response {
        status: u16,
        headers: Headers,
        body: Vec<u8>,
        trailers: Headers,
        framing: Framing,
        closes: bool,
    },
    /// Bytes as they are.
    Raw {
        bytes: Vec<u8>,
        closes: bool,
    },
    Upgrade {
        protocol: String,
        takeover: Takeover,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length,
    Chunked,
    /// No framing at all: the body ends with the connection.
    UntilClose,
}

impl Answer {
    /// 200 with this body and its `content-length`.
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::status(200).with_body(body)
    }

    /// This status, without headers or body.
    pub fn status(status: u16) -> Self {
        Self::of(Kind::Response {
            status,
            headers: Headers::default(),
            body: Vec::new(),
            trailers: Headers::default(),
            framing: Framing::Length,
            closes: false,
        })
    }

    /// These bytes and nothing else; then the connection closes.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self::of(Kind::Raw { bytes: bytes.into(), closes: true })
    }

    /// After raw bytes the connection stays open for the next request.
    #[must_use]
    pub fn staying_open(mut self) -> Self {
        if let Kind::Raw { closes, .. } = &mut self.kind {
            *closes = false;
        }
        self
    }

    /// The connection closes without an answer.
    pub fn nothing() -> Self {
        Self::raw("")
    }

    /// 101 to this protocol; from then on the connection belongs to the closure.
    pub fn upgrade(protocol: &str, takeover: impl FnOnce(TcpStream) + Send + 'static) -> Self {
        Self::of(Kind::Upgrade { protocol: protocol.to_owned(), takeover: Box::new(takeover) })
    }

    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        if let Kind::Response { headers, .. } = &mut self.kind {
            headers.push(name, value);
        }
        self
    }

    #[must_use]
    pub fn with_body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        if let Kind::Response { body, .. } = &mut self.kind {
            *body = bytes.into();
        }
        self
    }

    /// Adds a trailer, which makes the body chunked.
    #[must_use]
    pub fn with_trailer(mut self, name: &str, value: &str) -> Self {
        if let Kind::Response { trailers, .. } = &mut self.kind {
            trailers.push(name, value);
        }
        self.chunked()
    }

    /// Sends the body in chunks of 4 KiB.
    #[must_use]
    pub fn chunked(mut self) -> Self {
        if let Kind::Response { framing, .. } = &mut self.kind {
            *framing = Framing::Chunked;
        }
        self
    }

    /// Sends the body without framing, ended by the close of the connection.
    #[must_use]
    pub fn until_close(mut self) -> Self {
        if let Kind::Response { framing, closes, .. } = &mut self.kind {
            (*framing, *closes) = (Framing::UntilClose, true);
        }
        self
    }

    /// Says `connection: close`, and closes after the answer.
    #[must_use]
    pub fn closing(mut self) -> Self {
        if let Kind::Response { headers, closes, .. } = &mut self.kind {
            headers.push("connection", "close");
            *closes = true;
        }
        self
    }

    /// Answers this much later.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Answers once the gate is open.
    #[must_use]
    pub fn when(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }

    /// Sends the answer in pieces of 4 KiB, with this much time between them.
    #[must_use]
    pub fn paced(mut self, pace: Duration) -> Self {
        self.pace = pace;
        self
    }

    fn of(kind: Kind) -> Self {
        Self { kind, gate: None, delay: Duration::ZERO, pace: Duration::ZERO }
    }
}

/// Holds answers back until a test opens it; clones are one gate.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn closed() -> Self {
        Self::default()
    }

    /// Lets every waiting and every later answer go, for good.
    pub fn open(&self) {
        let (is_open, changed) = &*self.0;
        *is_open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }

    pub(super) fn pass(&self) {
        let (is_open, changed) = &*self.0;
        let guard = is_open.lock().unwrap_or_else(PoisonError::into_inner);
        drop(changed.wait_while(guard, |is_open| !*is_open));
    }
}
