//! HTTP/2 frame by frame, as wrong as a test wants them. Header blocks are written without any compression.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Frame types.
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
/// Flags.
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// One connection.
pub(crate) struct Frames {
    stream: TcpStream,
    seen: Vec<Frame>,
}

/// A frame that came.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frames {
    /// Connects, and sends the preface with empty settings.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let mut frames = Self::silent(address);
        frames.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        frames.frame(SETTINGS, 0, 0, &[]).unwrap();
        frames
    }

    /// Connects, and says nothing.
    pub(crate) fn silent(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
        Self { stream, seen: Vec::new() }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a frame; an error says that the peer has gone.
    pub(crate) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        self.write(&encoded(kind, flags, stream, payload))
    }

    /// Sends a whole request head.
    pub(crate) fn headers(&mut self, stream: u32, fields: &[(&str, &str)], end: bool) {
        let flags = END_HEADERS | if end { END_STREAM } else { 0 };
        let _ = self.frame(HEADERS, flags, stream, &block(fields));
    }

    /// The next frame; `None` once the peer has closed. Settings and pings are acknowledged on the way. A peer that
    /// neither speaks nor closes fails the test.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        match self.stream.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("the peer neither speaks nor closes"),
            read => read.ok()?,
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        let frame = Frame { kind: head[3], flags: head[4], stream, payload };
        if frame.flags & 1 == 0 && matches!(frame.kind, SETTINGS | PING) {
            let payload = if frame.kind == PING { frame.payload.clone() } else { Vec::new() };
            let _ = self.frame(frame.kind, 1, 0, &payload);
        }
        self.seen.push(frame.clone());
        Some(frame)
    }

    /// Reads until a frame is as wanted; `None` when the peer closes before.
    pub(crate) fn until(&mut self, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        if let Some(seen) = self.seen.iter().find(|frame| wanted(frame)) {
            return Some(seen.clone());
        }
        loop {
            let frame = self.next()?;
            if wanted(&frame) {
                return Some(frame);
            }
        }
    }

    /// The status of the answer on a stream; `None` when it is reset or the connection ends instead.
    pub(crate) fn status_of(&mut self, stream: u32) -> Option<u16> {
        let frame = self.until(|frame| {
            (frame.stream == stream && matches!(frame.kind, HEADERS | RST_STREAM)) || frame.kind == GOAWAY
        })?;
        if frame.kind != HEADERS {
            return None;
        }
        status_in(&frame.payload)
    }

    /// Whether a stream is answered with a client error, reset, or ended with its connection.
    pub(crate) fn is_refused(&mut self, stream: u32) -> bool {
        self.status_of(stream).is_none_or(|status| (400..500).contains(&status))
    }

    /// Reads to the end; every frame that came. An error is also an end.
    pub(crate) fn drain(mut self) -> Vec<Frame> {
        while self.next().is_some() {}
        self.seen
    }
}

pub(crate) fn encoded(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes()[..], payload].concat()
}

/// The four pseudo-header fields of a request.
pub(crate) fn pseudo<'a>(method: &'a str, path: &'a str, authority: &'a str) -> [(&'a str, &'a str); 4] {
    [(":method", method), (":scheme", "http"), (":path", path), (":authority", authority)]
}

/// A header block of literal fields that no table remembers (RFC 7541, 6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        string(&mut bytes, name.as_bytes());
        string(&mut bytes, value.as_bytes());
    }
    bytes
}

fn string(bytes: &mut Vec<u8>, text: &[u8]) {
    // An integer with a prefix of seven bits (RFC 7541, 5.1).
    let mut length = text.len();
    if length < 127 {
        bytes.push(length as u8);
    } else {
        bytes.push(127);
        length -= 127;
        while length >= 128 {
            bytes.push((length % 128) as u8 | 128);
            length /= 128;
        }
        bytes.push(length as u8);
    }
    bytes.extend_from_slice(text);
}

/// `:status` comes first: from the static table (RFC 7541, appendix A), or as a literal.
fn status_in(block: &[u8]) -> Option<u16> {
    // A size update of the dynamic table may stand before it.
    let start = block.iter().position(|byte| byte & 0xe0 != 0x20)?;
    match block.get(start..)? {
        [0x88, ..] => Some(200),
        [0x89, ..] => Some(204),
        [0x8a, ..] => Some(206),
        [0x8b, ..] => Some(304),
        [0x8c, ..] => Some(400),
        [0x8d, ..] => Some(404),
        [0x8e, ..] => Some(500),
        [0x48 | 0x08, 3, digits @ ..] => std::str::from_utf8(digits.get(..3)?).ok()?.parse().ok(),
        [0x48 | 0x08, 0x82, digits @ ..] => Some(huffman_status(digits.get(..2)?)),
        _ => None,
    }
}

/// Three digits, of which each of the first three has five bits in Huffman's code and the others six.
fn huffman_status(bytes: &[u8]) -> u16 {
    let mut bits = u32::from(u16::from_be_bytes([bytes[0], bytes[1]])) << 16;
    let mut status = 0;
    for _ in 0..3 {
        let short = bits >> 27;
        let digit = if short <= 2 {
            bits <<= 5;
            short
        } else {
            let long = bits >> 26;
            bits <<= 6;
            long - 0x19 + 3
        };
        status = status * 10 + digit as u16;
    }
    status
}
