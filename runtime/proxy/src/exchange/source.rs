//! Where a body comes from, and whether its length is known and short.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use hyper::body::Incoming;

use super::BodyError;

/// A body of a known length up to this is taken whole after filters saw it, and its new length told. A longer one
/// streams without.
pub(super) const GATHER: usize = 64 << 10;

/// Whether a head announces a body that is worth gathering.
pub(super) fn is_short(headers: &HeaderMap) -> bool {
    let length = headers.get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    length.is_some_and(|length| length <= GATHER)
}

/// Where a body comes from.
pub enum Source {
    Incoming(Incoming),
    Full(Bytes),
    Empty,
}

impl Source {
    pub fn is_end(&self) -> bool {
        match self {
            Self::Incoming(incoming) => incoming.is_end_stream(),
            Self::Full(bytes) => bytes.is_empty(),
            Self::Empty => true,
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Incoming(incoming) => Pin::new(incoming).poll_frame(cx).map_err(BodyError::Peer),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Empty => Poll::Ready(None),
        }
    }
}
