//! Requests and responses as plain values, with the exact bytes that they had on the wire.

use std::borrow::Cow;

/// Header fields in the order of the wire; names keep the case in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

/// A request: one that an origin received, or one that a client is about to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    /// The request target as written: a path with query, an absolute URI or `*`.
    pub target: String,
    pub headers: Headers,
    /// The body without its framing.
    pub body: Vec<u8>,
    pub trailers: Headers,
    /// The bytes as received, framing included; empty for a request not sent yet.
    pub raw: Vec<u8>,
}

/// A response as a client received it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub headers: Headers,
    /// The body without its framing.
    pub body: Vec<u8>,
    pub trailers: Headers,
    /// Status codes of the interim (1xx) responses before this one.
    pub interim: Vec<u16>,
    /// The bytes as received, framing and interim responses included; empty over HTTP/2.
    pub raw: Vec<u8>,
}

// === impl Headers ===

impl Headers {
    /// The first value of this name, whatever its case.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Every value of this name, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Whether a comma-separated list under this name has the word, whatever its case.
    pub fn lists(&self, name: &str, word: &str) -> bool {
        self.all(name).flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(word))
    }

    pub fn push(&mut self, name: &str, value: &str) {
        self.0.push((name.to_owned(), value.to_owned()));
    }
}

// === impl Request ===

impl Request {
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), ..Self::default() }
    }

    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub fn post(target: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", target).with_body(body)
    }

    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(name, value);
        self
    }

    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The first value of this header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.first(name)
    }

    /// The body as text; what is no UTF-8 is replaced.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The HTTP/1.1 form. `host` and `content-length` are added where the request needs them and has none;
    /// everything else goes out as given, right or wrong.
    pub fn to_bytes(&self, host: &str) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if self.header("host").is_none() {
            head += &format!("host: {host}\r\n");
        }
        for (name, value) in &self.headers.0 {
            head += &format!("{name}: {value}\r\n");
        }
        let is_framed = self.header("content-length").is_some() || self.header("transfer-encoding").is_some();
        if !is_framed && !self.body.is_empty() {
            head += &format!("content-length: {}\r\n", self.body.len());
        }
        head += "\r\n";
        [head.as_bytes(), &self.body].concat()
    }
}

// === impl Response ===

impl Response {
    /// The first value of this header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.first(name)
    }

    /// The body as text; what is no UTF-8 is replaced.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}
