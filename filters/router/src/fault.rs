//! Faults that a route injects: delays and aborts.

use std::time::Duration;

use sidegate_sdk::grpc::code;
use sidegate_sdk::{Random, Response, Setup, Share};

use crate::config::{Fault, FaultAbort, FaultDelay};
use crate::duration;
use crate::share;

#[derive(Debug)]
pub(crate) struct Faults {
    delay: Option<(Duration, Share)>,
    abort: Option<(Abort, Share)>,
}

/// A failure for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Abort {
    status: u16,
    grpc: Option<u8>,
}

/// What one request gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Drawn {
    pub(crate) delay: Option<Duration>,
    pub(crate) abort: Option<Abort>,
}

impl Faults {
    /// Checks and compiles; problems are told to `setup` below `pointer`.
    pub(crate) fn compile(written: &Fault, pointer: &str, setup: &mut Setup) -> Self {
        if written.delay.is_none() && written.abort.is_none() {
            setup.error(pointer, "a fault needs a delay or an abort");
        }
        let delay = written.delay.as_ref().and_then(|delay| compile_delay(delay, &format!("{pointer}/delay"), setup));
        let abort = written.abort.as_ref().and_then(|abort| compile_abort(abort, &format!("{pointer}/abort"), setup));
        Self { delay, abort }
    }

    /// Draws for a request.
    pub(crate) fn draw(&self, chance: &Random) -> Drawn {
        let hit = |share: Share| share.takes(chance);
        Drawn {
            delay: self.delay.and_then(|(time, share)| hit(share).then_some(time)),
            abort: self.abort.and_then(|(abort, share)| hit(share).then_some(abort)),
        }
    }
}

impl Abort {
    pub(crate) fn reply(self) -> Response {
        let reply = Response::new(self.status).body("fault filter abort").details("fault_filter_abort");
        match self.grpc {
            Some(status) => reply.grpc_status(status),
            None => reply,
        }
    }
}

fn compile_delay(written: &FaultDelay, pointer: &str, setup: &mut Setup) -> Option<(Duration, Share)> {
    if written.exponential_delay.is_some() {
        setup.error(format!("{pointer}/exponentialDelay"), "not supported; write fixedDelay");
        return None;
    }
    let (percentage, percent) = (("percentage", written.percentage), ("percent", written.percent));
    let share = share::read(percentage, percent, Share::NONE, pointer, setup);
    let time = match written.fixed_delay.as_deref().map(duration::read_timeout) {
        Some(Ok(Some(time))) => time,
        Some(Err(problem)) => {
            setup.error(format!("{pointer}/fixedDelay"), problem);
            return None;
        }
        Some(Ok(None)) => {
            setup.error(format!("{pointer}/fixedDelay"), "a delay is at least 1ms");
            return None;
        }
        None => {
            setup.error(pointer, "a delay needs fixedDelay");
            return None;
        }
    };
    if share == Share::NONE {
        setup.warning(pointer, "never injected: percentage is 0 or absent");
    }
    Some((time, share))
}

fn compile_abort(written: &FaultAbort, pointer: &str, setup: &mut Setup) -> Option<(Abort, Share)> {
    if written.http2_error.is_some() {
        setup.error(format!("{pointer}/http2Error"), "not supported; write httpStatus or grpcStatus");
        return None;
    }
    let share = share::read(("percentage", written.percentage), ("", None), Share::NONE, pointer, setup);
    let abort = match (written.http_status, written.grpc_status.as_deref()) {
        (Some(status @ 200..=599), None) => Abort { status, grpc: None },
        (Some(_), None) => {
            setup.error(format!("{pointer}/httpStatus"), "a status is between 200 and 599");
            return None;
        }
        (None, Some(name)) => {
            let number = code::of(name);
            let Some((number, status)) = number.and_then(|number| Some((number, code::http_status(number)?))) else {
                setup.error(format!("{pointer}/grpcStatus"), format!("`{name}` is no gRPC status; write UNAVAILABLE"));
                return None;
            };
            Abort { status, grpc: Some(number) }
        }
        _ => {
            setup.error(pointer, "an abort needs either httpStatus or grpcStatus");
            return None;
        }
    };
    if share == Share::NONE {
        setup.warning(pointer, "never injected: percentage is 0 or absent");
    }
    Some((abort, share))
}
