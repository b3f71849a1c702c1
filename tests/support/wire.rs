//! HTTP/1.1 off the wire: heads, the three ways to frame a body, trailers. Strict enough to notice broken framing.

use std::io::{self, ErrorKind, Read};

use crate::message::{Headers, Request, Response};

/// Bytes of a head; beyond, the peer is taken for broken.
const HEAD_BYTES: usize = 1024 * 1024;

/// Reads messages one after the other from a connection.
pub(crate) struct Wire<R> {
    inner: R,
    /// Bytes received and not consumed yet.
    ahead: Vec<u8>,
    /// Bytes consumed since the last [`Wire::take_raw`].
    raw: Vec<u8>,
}

/// The start line and the fields of a message.
pub(crate) struct Head {
    start: String,
    pub(crate) headers: Headers,
}

impl<R: Read> Wire<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, ahead: Vec::new(), raw: Vec::new() }
    }

    pub(crate) fn inner(&mut self) -> &mut R {
        &mut self.inner
    }

    /// The connection, and what has been read from it beyond the last message.
    pub(crate) fn into_parts(self) -> (R, Vec<u8>) {
        (self.inner, self.ahead)
    }

    /// A message's head; `None` when the peer closed instead of starting one.
    pub(crate) fn head(&mut self) -> io::Result<Option<Head>> {
        let end = loop {
            if let Some(at) = self.ahead.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if self.ahead.len() > HEAD_BYTES {
                return Err(broken("a head without end"));
            }
            if !self.fill()? {
                return if self.ahead.is_empty() { Ok(None) } else { Err(cut("inside a head")) };
            }
        };
        let text = String::from_utf8_lossy(&self.consume(end)).into_owned();
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        Ok(Some(Head { start, headers: fields(lines)? }))
    }

    /// The rest of the request whose head was read.
    pub(crate) fn request(&mut self, head: Head) -> io::Result<Request> {
        let mut words = head.start.splitn(3, ' ');
        let (Some(method), Some(target), Some(_version)) = (words.next(), words.next(), words.next()) else {
            return Err(broken("a request line of fewer than three words"));
        };
        let mut request = Request::new(method, target);
        request.headers = head.headers;
        if request.headers.lists("transfer-encoding", "chunked") {
            (request.body, request.trailers) = self.chunked()?;
        } else if let Some(length) = content_length(&request.headers)? {
            request.body = self.exactly(length)?;
        }
        request.raw = self.take_raw();
        Ok(request)
    }

    /// A response, after any number of interim ones. `to_head` says that it answers a HEAD request.
    pub(crate) fn response(&mut self, to_head: bool) -> io::Result<Response> {
        let mut response = Response::default();
        loop {
            let head = self.head()?.ok_or_else(|| cut("instead of answering"))?;
            let status = head.start.split(' ').nth(1).and_then(|word| word.parse().ok());
            response.status = status.ok_or_else(|| broken("a status line without status"))?;
            response.headers = head.headers;
            if !(100..200).contains(&response.status) || response.status == 101 {
                break;
            }
            response.interim.push(response.status);
        }
        let is_bodyless = to_head || matches!(response.status, 101 | 204 | 304);
        if is_bodyless {
        } else if response.headers.lists("transfer-encoding", "chunked") {
            (response.body, response.trailers) = self.chunked()?;
        } else if let Some(length) = content_length(&response.headers)? {
            response.body = self.exactly(length)?;
        } else {
            response.body = self.until_close()?;
        }
        response.raw = self.take_raw();
        Ok(response)
    }

    /// The status of a response that has a head only.
    pub(crate) fn interim(&mut self) -> io::Result<u16> {
        let head = self.head()?.ok_or_else(|| cut("instead of answering"))?;
        let status = head.start.split(' ').nth(1).and_then(|word| word.parse().ok());
        status.ok_or_else(|| broken("a status line without status"))
    }

    /// Everything until the peer closes.
    pub(crate) fn until_close(&mut self) -> io::Result<Vec<u8>> {
        while self.fill()? {}
        Ok(self.consume(self.ahead.len()))
    }

    fn chunked(&mut self) -> io::Result<(Vec<u8>, Headers)> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| broken("a chunk size that is no number"))?;
            if size == 0 {
                break;
            }
            body.extend(self.exactly(size)?);
            if !self.line()?.is_empty() {
                return Err(broken("a chunk longer than its size"));
            }
        }
        let mut trailers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok((body, fields(trailers.iter().map(String::as_str))?));
            }
            trailers.push(line);
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.ahead.windows(2).position(|window| window == b"\r\n") {
                let line = self.consume(at + 2);
                return Ok(String::from_utf8_lossy(&line).trim_end_matches("\r\n").to_owned());
            }
            if !self.fill()? {
                return Err(cut("inside a chunked body"));
            }
        }
    }

    fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.ahead.len() < length {
            if !self.fill()? {
                return Err(cut("inside a body"));
            }
        }
        Ok(self.consume(length))
    }

    fn consume(&mut self, length: usize) -> Vec<u8> {
        let bytes: Vec<u8> = self.ahead.drain(..length).collect();
        self.raw.extend_from_slice(&bytes);
        bytes
    }

    fn take_raw(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.raw)
    }

    /// Reads once; false when the peer has closed.
    fn fill(&mut self) -> io::Result<bool> {
        let mut chunk = vec![0; 16 * 1024];
        loop {
            match self.inner.read(&mut chunk) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(read) => {
                    self.ahead.extend(chunk.iter().take(read));
                    return Ok(read > 0);
                }
            }
        }
    }
}

fn fields<'a>(lines: impl Iterator<Item = &'a str>) -> io::Result<Headers> {
    let mut headers = Headers::default();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| broken("a header field without colon"))?;
        headers.push(name, value.trim_matches([' ', '\t']));
    }
    Ok(headers)
}

fn content_length(headers: &Headers) -> io::Result<Option<usize>> {
    let mut values = headers.all("content-length");
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.parse().map(Some).map_err(|_| broken("a content-length that is no number")),
        (Some(_), Some(_)) => Err(broken("two content-length fields")),
    }
}

fn broken(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("the peer sent {what}"))
}

fn cut(place: &str) -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, format!("the peer closed {place}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn responses(bytes: &str) -> Wire<&[u8]> {
        Wire::new(bytes.as_bytes())
    }

    #[test]
    fn two_chunked_responses_on_one_connection_are_told_apart() {
        let first = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\nT: 1\r\n\r\n";
        let second = "HTTP/1.1 204 No Content\r\n\r\n";
        let both = format!("{first}{second}");
        let mut wire = responses(&both);
        let response = wire.response(false).unwrap();
        assert_eq!((response.text().as_ref(), response.trailers.first("t")), ("abcd", Some("1")));
        assert_eq!(response.raw, first.as_bytes());
        assert_eq!(wire.response(false).unwrap().raw, second.as_bytes());
    }

    #[test]
    fn interim_responses_are_noted_and_passed_over() {
        let mut wire = responses("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let response = wire.response(false).unwrap();
        assert_eq!((response.status, response.interim, response.body), (200, vec![100], b"ok".to_vec()));
    }

    #[test]
    fn a_body_cut_short_is_an_error_and_not_a_short_body() {
        let error = responses("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok").response(false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        let error = responses("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n").response(false);
        assert_eq!(error.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn conflicting_framing_is_an_error() {
        let twice = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nok";
        assert_eq!(responses(twice).response(false).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
