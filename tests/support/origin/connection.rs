//! One connection of an origin: requests in, answers out, in turn.

use std::io::{self, Write};
use std::net::TcpStream;
use std::thread;

use super::Shared;
use super::answer::{Answer, Framing, Kind};
use crate::message::{Headers, Request};
use crate::wire::Wire;

/// Bytes of a chunk of a chunked answer, and of a piece of a paced one.
const CHUNK_BYTES: usize = 4096;

/// Serves until the peer closes, an answer closes, or something breaks.
pub(super) fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut out = stream;
    let mut wire = Wire::new(stream);
    while let Some(head) = wire.head()? {
        if head.headers.lists("expect", "100-continue") {
            out.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let request = wire.request(head)?;
        shared.remember(&request);
        let Answer { kind, gate, delay, pace } = (shared.answer)(&request);
        if let Some(gate) = gate {
            gate.pass();
        }
        if !delay.is_zero() {
            thread::sleep(delay);
        }
        match kind {
            Kind::Raw { bytes, closes } => {
                out.write_all(&bytes)?;
                if closes {
                    return Ok(());
                }
            }
            Kind::Upgrade { protocol, takeover } => {
                let head =
                    format!("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\r\n");
                out.write_all(head.as_bytes())?;
                takeover(stream.try_clone()?);
                return Ok(());
            }
            Kind::Response { status, headers, body, trailers, framing, closes } => {
                let bytes = response(&request, status, headers, &body, &trailers, framing);
                let piece = if pace.is_zero() { bytes.len() } else { CHUNK_BYTES };
                for (index, piece) in bytes.chunks(piece).enumerate() {
                    if index > 0 {
                        thread::sleep(pace);
                    }
                    out.write_all(piece)?;
                }
                if closes || request.headers.lists("connection", "close") {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn response(
    request: &Request,
    status: u16,
    mut headers: Headers,
    body: &[u8],
    trailers: &Headers,
    framing: Framing,
) -> Vec<u8> {
    let is_bodyless = status == 204 || status == 304;
    let names_length = headers.first("content-length").is_some();
    match framing {
        Framing::Chunked => headers.push("transfer-encoding", "chunked"),
        Framing::Length if !is_bodyless && !names_length => headers.push("content-length", &body.len().to_string()),
        Framing::Length | Framing::UntilClose => {}
    }
    let mut bytes = format!("HTTP/1.1 {status} Origin\r\n{}\r\n", lines(&headers)).into_bytes();
    if request.method == "HEAD" || is_bodyless {
        return bytes;
    }
    if framing != Framing::Chunked {
        bytes.extend_from_slice(body);
        return bytes;
    }
    for chunk in body.chunks(CHUNK_BYTES) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend(format!("0\r\n{}\r\n", lines(trailers)).into_bytes());
    bytes
}

fn lines(headers: &Headers) -> String {
    headers.0.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
}
