//! What gRPC callouts bring: hooks of the root, in the order of the wire. What comes for a call that was cancelled or
//! has ended goes nowhere.

use crate::calls::Kind;
use crate::context::ROOT;
use crate::fault::Fault;
use crate::grpc::GrpcStatus;
use crate::hooks::Hook;
use crate::host::Host;
use crate::state::Delivery;
use crate::vm::Vm;

/// Metadata in order.
pub type Metadata = Vec<(Vec<u8>, Vec<u8>)>;

/// One thing that a call brought.
struct Brought {
    hook: Hook,
    /// The hook's third argument.
    argument: u32,
    delivery: Delivery,
    /// What `proxy_get_status` says from now on.
    status: Option<GrpcStatus>,
    is_last: bool,
}

impl<H: Host> Vm<H> {
    /// The head of a stream's answer.
    pub fn grpc_initial_metadata(&mut self, host: &mut H, id: u32, metadata: Metadata) -> Result<(), Fault> {
        let argument = metadata.len() as u32;
        let delivery = Delivery::GrpcInitial(metadata);
        self.grpc(
            host,
            id,
            Brought { hook: Hook::GrpcInitialMetadata, argument, delivery, status: None, is_last: false },
        )
    }

    /// A message; for a unary call it is the answer, and its end.
    pub fn grpc_receive(&mut self, host: &mut H, id: u32, message: Vec<u8>) -> Result<(), Fault> {
        let argument = message.len() as u32;
        let delivery = Delivery::GrpcMessage(message);
        let is_last = Kind::of(id) == Some(Kind::GrpcCall);
        let status = Some(GrpcStatus::default());
        self.grpc(host, id, Brought { hook: Hook::GrpcReceive, argument, delivery, status, is_last })
    }

    /// The trailers of a stream.
    pub fn grpc_trailing_metadata(&mut self, host: &mut H, id: u32, metadata: Metadata) -> Result<(), Fault> {
        let argument = metadata.len() as u32;
        let delivery = Delivery::GrpcTrailing(metadata);
        self.grpc(
            host,
            id,
            Brought { hook: Hook::GrpcTrailingMetadata, argument, delivery, status: None, is_last: false },
        )
    }

    /// The end of a stream, or the failure of a call.
    pub fn grpc_close(&mut self, host: &mut H, id: u32, status: GrpcStatus) -> Result<(), Fault> {
        let (argument, delivery) = (status.code, Delivery::Nothing);
        let status = Some(status);
        self.grpc(host, id, Brought { hook: Hook::GrpcClose, argument, delivery, status, is_last: true })
    }

    fn grpc(&mut self, host: &mut H, id: u32, brought: Brought) -> Result<(), Fault> {
        let Self { core, exports, .. } = self;
        let Brought { hook, argument, delivery, status, is_last } = brought;
        let state = core.store.data_mut();
        let waits = if is_last { state.calls.end(id, &mut state.contexts) } else { state.calls.waits(id) };
        if !waits {
            return Ok(());
        }
        if let Some(status) = status {
            state.last_status = (status.code, status.message);
        }
        let function = match hook {
            Hook::GrpcInitialMetadata => &exports.grpc_initial_metadata,
            Hook::GrpcReceive => &exports.grpc_receive,
            Hook::GrpcTrailingMetadata => &exports.grpc_trailing_metadata,
            _ => &exports.grpc_close,
        };
        let mut result = Ok(());
        if let Some(function) = function {
            state.delivery = delivery;
            result = core.enter(host, hook, ROOT, |store| function.call(store, (ROOT.0, id, argument)));
        }
        let state = core.store.data_mut();
        state.delivery = Delivery::Nothing;
        if is_last {
            // Until here the guest could name it: closing a call in its last hook is no error.
            state.calls.forget(id);
        }
        result
    }
}
