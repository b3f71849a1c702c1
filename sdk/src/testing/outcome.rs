//! What became of an exchange, and what goes in and out of callouts.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::log::Level;

/// A message as it left the filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// Headers in order, pseudo headers included.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Message {
    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All values of a header.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        let of_name = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        of_name.map(|(_, value)| value.as_str()).collect()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A reply that the filter made itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Headers and body.
    pub message: Message,
    /// Response code details.
    pub details: String,
    /// gRPC status; -1 lets the host derive it.
    pub grpc_status: i32,
}

/// A log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Its level.
    pub level: Level,
    /// Its text.
    pub text: String,
}

/// A callout that the filter sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The cluster it went to.
    pub cluster: String,
    /// Headers and body.
    pub message: Message,
    /// How long it waits.
    pub timeout: Duration,
}

/// A gRPC callout that the filter sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcSent {
    /// The cluster it went to.
    pub cluster: String,
    /// `package.Service`.
    pub service: String,
    /// The method's name.
    pub method: String,
    /// Metadata in order.
    pub metadata: Vec<(String, String)>,
    /// The message.
    pub message: Vec<u8>,
    /// How long it waits.
    pub timeout: Duration,
}

/// A scripted answer to a callout.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) is_reset: bool,
}

impl Answer {
    /// An empty answer with this status.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// A connection that was reset instead of an answer.
    #[must_use]
    pub fn reset() -> Self {
        Self { is_reset: true, ..Self::default() }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }

    pub(crate) fn pairs(&self) -> Vec<(String, String)> {
        let status = (":status".to_owned(), self.status.to_string());
        std::iter::once(status).chain(self.headers.iter().cloned()).collect()
    }
}

/// What became of an exchange.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    pub(crate) request: Option<Message>,
    pub(crate) reply: Option<Reply>,
    pub(crate) response: Message,
    pub(crate) properties: BTreeMap<String, Vec<u8>>,
    pub(crate) logs: Vec<LogLine>,
    pub(crate) callouts: Vec<Sent>,
    pub(crate) grpc_callouts: Vec<GrpcSent>,
    pub(crate) access_logs: Vec<u32>,
    pub(crate) waited: Duration,
    pub(crate) is_hung: bool,
}

impl Outcome {
    /// The status the client got; 0 if it hangs.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.header(":status").and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// The first value of a response header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.header(name)
    }

    /// The response as the client got it.
    #[must_use]
    pub fn response(&self) -> &Message {
        &self.response
    }

    /// The request as it was sent on; `None` if it was not.
    #[must_use]
    pub fn request(&self) -> Option<&Message> {
        self.request.as_ref()
    }

    /// The reply that the filter made, if it made one.
    #[must_use]
    pub fn local_reply(&self) -> Option<&Reply> {
        self.reply.as_ref()
    }

    /// A property that the filter set, as text.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<String> {
        self.properties.get(name).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// How many properties the filter set.
    #[must_use]
    pub fn properties(&self) -> usize {
        self.properties.len()
    }

    /// The lines logged in this exchange.
    #[must_use]
    pub fn logs(&self) -> &[LogLine] {
        &self.logs
    }

    /// The callouts sent in this exchange.
    #[must_use]
    pub fn callouts(&self) -> &[Sent] {
        &self.callouts
    }

    /// The gRPC callouts sent in this exchange.
    #[must_use]
    pub fn grpc_callouts(&self) -> &[GrpcSent] {
        &self.grpc_callouts
    }

    /// Handles of the access logs that got a line.
    #[must_use]
    pub fn access_logs(&self) -> &[u32] {
        &self.access_logs
    }

    /// How long the filter held the exchange by sleeping.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Whether the filter waits for something that never comes.
    #[must_use]
    pub fn is_hung(&self) -> bool {
        self.is_hung
    }
}
