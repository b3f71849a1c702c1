//! gRPC calls to other clusters: one message out, one message back, awaited in the middle of an exchange.
//!
//! Messages are bytes; encode and decode them with the protobuf crate of your choice, or by hand with
//! [`protobuf`](crate::protobuf).
//!
//! ```
//! use std::time::Duration;
//! use sidegate_sdk::{Filter, Next, Request, Response, Result, config, filter, grpc, testing};
//!
//! #[config]
//! struct Check {}
//!
//! #[filter(grpc)]
//! impl Filter for Check {
//!     async fn handle(&self, req: Request, next: Next) -> Result<Response> {
//!         let metadata = [("x-tenant", "shop")];
//!         let limit = Duration::from_millis(200);
//!         match grpc::call("auth", "shop.Auth", "Check", &metadata, req.path(), limit).await {
//!             Ok(answer) if answer.message() == b"yes" => next.run(req).await,
//!             Ok(_) => Ok(Response::new(403)),
//!             Err(error) if error.status == grpc::UNAUTHENTICATED => Ok(Response::new(401)),
//!             Err(error) => Err(error.into()),
//!         }
//!     }
//! }
//!
//! let filter = testing::Filter::<Check>::configure("{}").unwrap();
//! filter.answer_grpc("auth", |sent| match sent.message.as_slice() {
//!     b"/secret" => Err(grpc::GrpcError { status: grpc::UNAUTHENTICATED, message: "who?".into() }),
//!     _ => Ok(b"yes".to_vec()),
//! });
//! assert_eq!(filter.get("/").run().status(), 200);
//! assert_eq!(filter.get("/secret").run().status(), 401);
//! ```

pub mod code;

use std::cell::Cell;
use std::future::poll_fn;
use std::time::Duration;

use crate::host::{self, Buffer, Hook};
use crate::pairs;
use crate::waiting::Waiters;

/// Status: the time was up before an answer came.
pub const DEADLINE_EXCEEDED: u32 = 4;
/// Status: the caller is known, and may not.
pub const PERMISSION_DENIED: u32 = 7;
/// Status: the call could not be made, or its answer not be read.
pub const INTERNAL: u32 = 13;
/// Status: the service could not be reached, or broke off.
pub const UNAVAILABLE: u32 = 14;
/// Status: the service did not accept who called.
pub const UNAUTHENTICATED: u32 = 16;

/// The answer to a call that succeeded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrpcResponse {
    message: Vec<u8>,
}

impl GrpcResponse {
    /// The message, without gRPC's framing.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// The message, to be kept.
    #[must_use]
    pub fn into_message(self) -> Vec<u8> {
        self.message
    }
}

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the gRPC call failed with status {status}: {message}")]
pub struct GrpcError {
    /// gRPC's status code, never 0.
    pub status: u32,
    /// What the service, or the host in its place, says.
    pub message: String,
}

/// Calls `service/method` in a cluster, such as `shop.Auth/Check`. `timeout` counts in whole milliseconds and at
/// least one. Dropping the future gives the answer up; the host still finishes the call.
///
/// # Errors
/// What the service answered with, or 14 when it cannot be reached, 4 when the time is up; 13 when the host refuses (an
/// unknown cluster, too many callouts) or `#[filter]` was told that the filter makes none.
pub async fn call(
    cluster: &str,
    service: &str,
    method: &str,
    metadata: &[(&str, &str)],
    message: impl AsRef<[u8]>,
    timeout: Duration,
) -> Result<GrpcResponse, GrpcError> {
    if !DECLARED.with(Cell::get) {
        return Err(refused(&"this filter does not declare its gRPC callouts; write #[filter(grpc)]"));
    }
    let metadata = pairs::encode(metadata.iter().map(|(name, value)| (*name, value.as_bytes())));
    let timeout = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX >> 1).max(1);
    let token =
        host::grpc_call(cluster, service, method, &metadata, message.as_ref(), timeout).map_err(|why| refused(&why))?;
    let slot = WAITING.with(|waiting| waiting.wait(token));
    poll_fn(|context| slot.poll(context)).await
}

fn refused(why: &dyn std::fmt::Display) -> GrpcError {
    GrpcError { status: INTERNAL, message: why.to_string() }
}

thread_local! {
    /// Whether answers can arrive: the module exports their hooks.
    static DECLARED: Cell<bool> = const { Cell::new(false) };
    static WAITING: Waiters<Result<GrpcResponse, GrpcError>> = const { Waiters::new() };
}

/// Says whether the filter exports the hooks for answers.
pub(crate) fn declare(is_declared: bool) {
    DECLARED.with(|declared| declared.set(is_declared));
}

/// Takes a message in, inside `proxy_on_grpc_receive`. Returns who waits for it; nobody, if it was given up.
pub(crate) fn received(token: u32, length: usize) -> Option<u32> {
    let (owner, slot) = WAITING.with(|waiting| waiting.take(token))?;
    let hook = Hook::running();
    let bytes = if length > 0 { host::buffer(&hook, Buffer::GrpcMessage, 0, length) } else { Ok(Default::default()) };
    slot.fill(match bytes {
        Ok(bytes) => Ok(GrpcResponse { message: bytes.into_owned() }),
        Err(problem) => Err(refused(&problem)),
    });
    Some(owner)
}

/// Takes a failure in, inside `proxy_on_grpc_close`.
pub(crate) fn closed(token: u32, status: u32) -> Option<u32> {
    let (owner, slot) = WAITING.with(|waiting| waiting.take(token))?;
    let hook = Hook::running();
    let message = host::status_text(&hook).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default();
    slot.fill(Err(GrpcError { status, message }));
    Some(owner)
}
