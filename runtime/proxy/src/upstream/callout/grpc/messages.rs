//! The messages of an answer, taken out of the body as they complete.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::Body;
use sidegate_wasm_host::GrpcStatus;

use super::{INTERNAL, RESOURCE_EXHAUSTED, lost, status};
use crate::exchange::head::Trailers;

/// Bytes of one message that is received; gRPC's own default, and what a guest with the default memory can take.
const MAX_MESSAGE: usize = 4 << 20;
/// What stands before each message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// A body that brings messages.
pub(super) struct Received<B> {
    body: B,
    /// At most one message that is not complete, and what came with its last frame.
    buffer: BytesMut,
    trailers: Option<HeaderMap>,
}

impl<B: Body<Data = Bytes> + Unpin> Received<B> {
    pub(super) fn new(body: B) -> Self {
        Self { body, buffer: BytesMut::new(), trailers: None }
    }

    /// The next message; `None` when the body has ended. The body is read no further than a message needs.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, GrpcStatus> {
        loop {
            if let Some(message) = self.complete()? {
                return Ok(Some(message));
            }
            let Some(frame) = self.body.frame().await else {
                let is_whole = self.buffer.is_empty();
                return if is_whole { Ok(None) } else { Err(status(INTERNAL, "the last message is cut")) };
            };
            match frame.map_err(|_| lost())?.into_data() {
                Ok(data) => self.buffer.extend_from_slice(&data),
                Err(frame) => {
                    self.trailers = frame.into_trailers().ok().map(|fields| Trailers::received(fields).fields)
                }
            }
        }
    }

    /// The trailers, once the body has ended.
    pub(super) fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    fn complete(&mut self) -> Result<Option<Vec<u8>>, GrpcStatus> {
        let Some([compressed, length @ ..]) = self.buffer.first_chunk::<PREFIX>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if *compressed != 0 {
            return Err(status(INTERNAL, "a compressed message, which was not asked for"));
        }
        if length > MAX_MESSAGE {
            return Err(status(RESOURCE_EXHAUSTED, format!("a message of {length} bytes, more than {MAX_MESSAGE}")));
        }
        if self.buffer.len() < PREFIX + length {
            return Ok(None);
        }
        self.buffer.advance(PREFIX);
        Ok(Some(self.buffer.split_to(length).to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http_body::Frame;

    use super::*;

    struct Frames(VecDeque<Bytes>);

    impl Body for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(|data| Ok(Frame::data(data))))
        }
    }

    /// The lengths of the messages that these frames bring, and the status they end with.
    async fn read(frames: &[&[u8]]) -> (Vec<usize>, u32) {
        let mut received = Received::new(Frames(frames.iter().map(|frame| Bytes::copy_from_slice(frame)).collect()));
        let mut lengths = Vec::new();
        loop {
            match received.next().await {
                Ok(Some(message)) => lengths.push(message.len()),
                Ok(None) => return (lengths, 0),
                Err(status) => return (lengths, status.code),
            }
        }
    }

    #[tokio::test]
    async fn messages_and_frames_need_not_have_the_same_bounds() {
        assert_eq!(read(&[]).await, (vec![], 0));
        assert_eq!(read(&[b"\0\0\0\0\x02ab\0\0\0\0\0\0\0\0\0\x01c"]).await, (vec![2, 0, 1], 0));
        assert_eq!(read(&[b"\0\0", b"\0\0\x03", b"a", b"bc\0", b"\0\0\0\0"]).await, (vec![3, 0], 0));
        let whole = [&b"\0\0\x40\0\0"[..], &vec![7; MAX_MESSAGE]];
        assert_eq!(read(&whole).await, (vec![MAX_MESSAGE], 0));
    }

    #[tokio::test]
    async fn what_is_cut_compressed_or_too_large_ends_the_call() {
        assert_eq!(read(&[b"\0\0\0\0\0\0\0\0\0\x02a"]).await, (vec![0], INTERNAL));
        assert_eq!(read(&[b"\0\0"]).await, (vec![], INTERNAL));
        assert_eq!(read(&[b"\x01\0\0\0\x01a"]).await, (vec![], INTERNAL));
        assert_eq!(read(&[b"\0\0\x40\0\x01"]).await, (vec![], RESOURCE_EXHAUSTED));
    }
}
