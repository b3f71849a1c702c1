//! From what a future did to the answer of a hook: let go, hold, or reply.

use crate::body::{BodyState, Chunk};
use crate::error::{Error, Result};
use crate::host::{self, Buffer, Hook};
use crate::link::{Phase, set_current};
use crate::message::{Kind, Local, Response};
use crate::pairs;

pub(crate) const CONTINUE: u32 = 0;
/// Hold; in a body hook, the next call shows all that is held.
pub(crate) const PAUSE: u32 = 1;
/// In a body hook: hold, and the next call shows the next piece only. The host stops reading when it holds much. To be
/// said only to a host that shows callbacks what it holds; Envoy does not.
pub(crate) const HOLD: u32 = 2;

/// From where a future is polled, which decides how it is let go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    RequestHook,
    RequestBody,
    ResponseHook,
    ResponseBody,
    /// A callback of the root: going on has to be asked for.
    Callback,
}

/// Does what the finished future decided.
pub(crate) fn settle(before: Phase, via: Via, result: Result<Response>) -> u32 {
    let reply = match result {
        Ok(Response { kind: Kind::Local(local) }) => local,
        Ok(_) => {
            return match (via, before) {
                (Via::Callback, Phase::Request) => attempt(host::continue_request()),
                (Via::Callback, _) => attempt(host::continue_response()),
                _ => CONTINUE,
            };
        }
        Err(problem) => {
            crate::error!("{problem}");
            failure(&problem)
        }
    };
    let headers = if reply.headers.is_empty() {
        Vec::new()
    } else {
        pairs::encode(reply.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())))
    };
    let sent = host::local_response(u32::from(reply.status), reply.details, &reply.body, &headers, reply.grpc_status);
    if let Err(problem) = sent {
        crate::error!("the reply was not sent: {problem}");
    }
    PAUSE
}

fn failure(problem: &Error) -> Box<Local> {
    Box::new(Local {
        status: problem.status(),
        headers: Vec::new(),
        body: Vec::new(),
        details: "filter_error",
        grpc_status: -1,
    })
}

pub(crate) fn attempt(result: Result<()>) -> u32 {
    if let Err(problem) = result {
        crate::error!("the exchange does not go on: {problem}");
    }
    CONTINUE
}

/// Gives a piece to the mapper, if there is one.
pub(crate) fn mapped(id: u32, state: &BodyState, buffer: Buffer, length: usize, is_last: bool) -> Option<u32> {
    let mut mapper = state.mapper.take()?;
    let hook = Hook::running();
    let bytes = match host::buffer(&hook, buffer, 0, length) {
        Ok(bytes) => bytes,
        Err(problem) => {
            crate::error!("a piece of the body cannot be read: {problem}");
            state.mapper.set(Some(mapper));
            return Some(CONTINUE);
        }
    };
    let mut chunk = Chunk { bytes, is_last, is_changed: false };
    let outer = set_current(id);
    let outcome = mapper(&mut chunk);
    set_current(outer);
    state.mapper.set(Some(mapper));
    let outcome = outcome
        .and_then(|()| if chunk.is_changed { host::set_buffer(buffer, 0, length, &chunk.bytes) } else { Ok(()) });
    if let Err(problem) = outcome {
        crate::error!("{problem}");
        return Some(settle(Phase::Done, Via::RequestHook, Err(problem)));
    }
    Some(CONTINUE)
}
