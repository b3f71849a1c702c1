//! A fake exchange: lists of headers, bodies, properties, and what the guest asked for.

use std::collections::HashMap;

use crate::abi::{Direction, MapType, Status};
use crate::context::Open;
use crate::host::{Headers, LocalReply, Stream};

/// One exchange. Trailers come into being when they are first asked for; heads and bodies must be given.
#[derive(Debug, Default)]
pub struct FakeStream {
    pub request_headers: Option<FakeHeaders>,
    pub request_trailers: Option<FakeHeaders>,
    pub response_headers: Option<FakeHeaders>,
    pub response_trailers: Option<FakeHeaders>,
    pub request_body: Option<Vec<u8>>,
    pub response_body: Option<Vec<u8>>,
    /// By path; segments are joined by NUL.
    pub properties: HashMap<Vec<u8>, Vec<u8>>,
    /// Every local reply that was asked for; the first of a hook counts.
    pub replies: Vec<LocalReply>,
    pub resumed: Vec<Direction>,
    pub closed: bool,
    pub overflown: bool,
}

/// Names in lower case with their values, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FakeHeaders(pub Vec<(Vec<u8>, Vec<u8>)>);

impl FakeStream {
    /// A GET of `path` on host `test` whose response is a 200 without headers.
    pub fn get(path: &str) -> Self {
        let request = [(":authority", "test"), (":path", path), (":method", "GET"), (":scheme", "http")];
        Self {
            request_headers: Some(FakeHeaders::from(&request[..])),
            response_headers: Some(FakeHeaders::from(&[(":status", "200")][..])),
            ..Self::default()
        }
    }

    pub fn request_header(mut self, name: &str, value: &str) -> Self {
        self.request_headers.get_or_insert_default().add(name.as_bytes(), value.as_bytes());
        self
    }

    pub fn response_header(mut self, name: &str, value: &str) -> Self {
        self.response_headers.get_or_insert_default().add(name.as_bytes(), value.as_bytes());
        self
    }

    pub fn request_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.request_body = Some(body.into());
        self
    }

    pub fn response_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.response_body = Some(body.into());
        self
    }

    /// A dot in `path` separates segments.
    pub fn property(mut self, path: &str, value: impl Into<Vec<u8>>) -> Self {
        self.properties.insert(super::segments(path), value.into());
        self
    }
}

impl Stream for FakeStream {
    fn headers(&mut self, map: MapType) -> Option<&mut dyn Headers> {
        let headers = match map {
            MapType::RequestHeaders => self.request_headers.as_mut()?,
            MapType::ResponseHeaders => self.response_headers.as_mut()?,
            MapType::RequestTrailers => self.request_trailers.get_or_insert_default(),
            MapType::ResponseTrailers => self.response_trailers.get_or_insert_default(),
            _ => return None,
        };
        Some(headers)
    }

    fn body(&mut self, direction: Direction) -> Option<&mut Vec<u8>> {
        match direction {
            Direction::Request => self.request_body.as_mut(),
            Direction::Response => self.response_body.as_mut(),
        }
    }

    fn property(&mut self, path: &[u8], open: Open, out: &mut Vec<u8>) -> Status {
        if let Some(value) = self.properties.get(path) {
            out.extend_from_slice(value);
            return Status::Ok;
        }
        let name: &[u8] = match path {
            b"request" | b"response" | b"source" | b"destination" | b"connection" | b"upstream" | b"filter_state" => {
                return Status::SerializationFailure;
            }
            b"request\0path" => b":path",
            b"request\0method" => b":method",
            b"request\0host" => b":authority",
            b"request\0scheme" => b":scheme",
            _ => match path.strip_prefix(b"request\0headers\0") {
                Some(name) => name,
                None => return Status::NotFound,
            },
        };
        if !open.has(Open::REQUEST_HEADERS) {
            return Status::NotFound;
        }
        match self.request_headers.as_ref().and_then(|headers| headers.first(name)) {
            Some(value) => {
                out.extend_from_slice(value);
                Status::Ok
            }
            None => Status::NotFound,
        }
    }

    fn set_property(&mut self, path: &[u8], value: &[u8]) -> Status {
        self.properties.insert(path.to_vec(), value.to_vec());
        Status::Ok
    }

    fn local_reply(&mut self, reply: LocalReply) {
        self.replies.push(reply);
    }

    fn resume(&mut self, direction: Direction) {
        self.resumed.push(direction);
    }

    fn close(&mut self) {
        self.closed = true;
    }

    fn overflow(&mut self) {
        self.overflown = true;
    }
}

impl From<&[(&str, &str)]> for FakeHeaders {
    fn from(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect())
    }
}

/// `host` is another name of `:authority`, as in Envoy.
fn canonical(name: &[u8]) -> Vec<u8> {
    let name = name.to_ascii_lowercase();
    if name == b"host" { b":authority".to_vec() } else { name }
}

fn is_named(entry: &[u8], name: &[u8]) -> bool {
    entry.eq_ignore_ascii_case(name) || (entry == b":authority" && name.eq_ignore_ascii_case(b"host"))
}

impl Headers for FakeHeaders {
    fn count(&self) -> usize {
        self.0.len()
    }
    fn byte_size(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
    fn visit(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        for (name, value) in &self.0 {
            each(name, value);
        }
    }
    fn first(&self, name: &[u8]) -> Option<&[u8]> {
        self.0.iter().find(|(entry, _)| is_named(entry, name)).map(|(_, value)| value.as_slice())
    }
    fn add(&mut self, name: &[u8], value: &[u8]) {
        self.0.push((canonical(name), value.to_vec()));
    }
    fn replace(&mut self, name: &[u8], value: &[u8]) {
        let entries = self.0.iter().filter(|(entry, _)| is_named(entry, name)).count();
        match self.0.iter_mut().find(|(entry, _)| is_named(entry, name)) {
            Some((_, only)) if entries == 1 => *only = value.to_vec(),
            _ => {
                self.remove(name);
                self.add(name, value);
            }
        }
    }
    fn remove(&mut self, name: &[u8]) {
        self.0.retain(|(entry, _)| !is_named(entry, name));
    }
    fn replace_all(&mut self, pairs: &[(&[u8], &[u8])]) {
        self.0 = pairs.iter().map(|(name, value)| (canonical(name), value.to_vec())).collect();
    }
}
