//! What guests ask for that happens after their hook: ticks, timers, callouts, queue notices.

use std::time::Duration;

use sidegate_wasm_host::{Callout, GrpcCallout, GrpcStep};

use crate::exchange::span::CalloutSpan;

/// Something a guest asked for that happens after its hook.
#[derive(Debug)]
pub enum Intent {
    /// `on_tick` of this VM every period; `None` stops it.
    Tick { tag: u64, period: Option<Duration> },
    Callout {
        tag: u64,
        id: u32,
        call: Callout,
        /// What is told of it when it is over.
        span: Option<Box<CalloutSpan>>,
        /// No exchange asked.
        of_root: bool,
    },
    /// A gRPC call or stream.
    Grpc {
        tag: u64,
        id: u32,
        call: Box<GrpcCallout>,
        /// As of a callout; a stream has none.
        span: Option<Box<CalloutSpan>>,
        of_root: bool,
    },
    /// What a guest does with one that it began.
    GrpcStep { tag: u64, id: u32, step: GrpcStep },
    /// A queue has an item for the VM of this identity.
    QueueReady { owner: u64, queue: u32 },
    /// `sidegate_timer`: one call back after the delay.
    Timer { tag: u64, id: u32, delay: Duration },
}

impl Intent {
    /// The plugin use whose VM asked; `None` when it does not matter.
    pub fn tag(&self) -> Option<u64> {
        match self {
            Self::Tick { tag, .. }
            | Self::Callout { tag, .. }
            | Self::Grpc { tag, .. }
            | Self::GrpcStep { tag, .. }
            | Self::Timer { tag, .. } => Some(*tag),
            Self::QueueReady { .. } => None,
        }
    }
}
