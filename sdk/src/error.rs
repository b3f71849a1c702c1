//! What can go wrong inside a filter, and what the client then gets.

use std::fmt;

/// The result of everything that can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure. Returned from [`Filter::handle`](crate::Filter::handle) it is logged and answered with
/// [`Error::status`].
///
/// ```
/// use sidegate_sdk::Error;
/// assert_eq!(Error::new("no such tenant").to_string(), "no such tenant");
/// assert_eq!(Error::BodyTooLarge { limit: 8 }.status(), 413);
/// ```
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host refused a call.
    #[error("the host refused {call}: {status}")]
    Host {
        /// Name of the hostcall without `proxy_`.
        call: &'static str,
        /// The code it returned.
        status: Status,
    },
    /// A buffered body went over the limit given in [`Filter::body`](crate::Filter::body).
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// A body was asked for that the filter did not declare.
    #[error("this filter takes no such body; declare it in `fn body`")]
    BodyNotDeclared,
    /// A callout had no answer.
    #[error("the callout to {cluster} failed: {reason}")]
    Callout {
        /// The cluster it went to.
        cluster: String,
        /// Why, as far as the host says.
        reason: &'static str,
    },
    /// A gRPC callout failed.
    #[error(transparent)]
    Grpc(#[from] crate::grpc::GrpcError),
    /// A handle was used after its exchange had moved on.
    #[error("the exchange has moved on: this message can no longer be read or changed")]
    Gone,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// A failure told in words, lower case and without a final dot.
    pub fn new(text: impl fmt::Display) -> Self {
        Self::Other(text.to_string())
    }

    /// The HTTP status that a client gets for this failure: 413, 502 for callouts, else 500.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::BodyTooLarge { .. } => 413,
            Self::Callout { .. } | Self::Grpc(_) => 502,
            _ => 500,
        }
    }
}

impl From<crate::protobuf::Malformed> for Error {
    fn from(problem: crate::protobuf::Malformed) -> Self {
        Self::Other(problem.to_string())
    }
}

impl From<serde_json::Error> for Error {
    fn from(problem: serde_json::Error) -> Self {
        Self::Other(problem.to_string())
    }
}

/// A status code of a hostcall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status(pub u32);

impl Status {
    /// Another writer was faster.
    pub const CAS_MISMATCH: Self = Self(8);
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            1 => "not found",
            2 => "bad argument",
            3 => "serialization failure",
            4 => "parse failure",
            5 => "bad expression",
            6 => "invalid memory access",
            7 => "empty",
            8 => "another writer was faster",
            9 => "result mismatch",
            10 => "internal failure, a capability that was not granted, or a limit",
            11 => "broken connection",
            12 => "not implemented",
            other => return write!(f, "status {other}"),
        };
        f.write_str(name)
    }
}
