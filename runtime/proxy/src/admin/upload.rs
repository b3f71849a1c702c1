//! Bodies of changes: bounded in bytes, in time, and in how long a client may send nothing.

use std::time::Duration;

use bytes::Bytes;
use http::header;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;

/// The longest that a whole body may take.
const WHOLE: Duration = Duration::from_secs(30);
/// The longest pause between two pieces of it.
const PIECE: Duration = Duration::from_secs(5);

/// Reads a body of at most `max` bytes.
///
/// # Errors
/// The status of the answer, and its text.
pub(super) async fn read(request: Request<Incoming>, max: usize) -> Result<Vec<u8>, (StatusCode, String)> {
    let too_large = || (StatusCode::PAYLOAD_TOO_LARGE, format!("more than {max} bytes"));
    let late = |_| (StatusCode::REQUEST_TIMEOUT, "the body does not arrive".to_owned());
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > max) {
        return Err(too_large());
    }
    let mut body = request.into_body();
    let whole = async {
        let mut bytes = Vec::with_capacity(announced.unwrap_or_default());
        while let Some(frame) = tokio::time::timeout(PIECE, body.frame()).await.map_err(late)? {
            let frame = frame.map_err(|error| (StatusCode::BAD_REQUEST, format!("the body broke off: {error}")))?;
            let piece: Bytes = frame.into_data().unwrap_or_default();
            if bytes.len() + piece.len() > max {
                return Err(too_large());
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    };
    tokio::time::timeout(WHOLE, whole).await.map_err(late)?
}
