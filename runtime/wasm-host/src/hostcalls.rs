//! The link table: which functions a guest may import, by ABI version. Each call is "unpack, check, forward".

mod call;
mod calls;
mod grpc;
mod linked;
mod maps;
mod services;
mod stream;
pub(crate) mod wasi;

use wasmtime::{Caller, Linker};

pub(crate) use self::call::Call;
use self::linked::link;
use crate::abi::{AbiVersion, Status};
use crate::host::Host;
use crate::state::{Gate, State};

/// Whether the guest may make this call now. A call out of the guest's allocator is a trap.
#[inline]
pub(crate) fn admit<H: Host>(caller: &Caller<'_, State<H>>, call: Call) -> wasmtime::Result<Status> {
    let state = caller.data();
    if state.gate == Gate::Open && state.denied & call.bit() == 0 {
        return Ok(Status::Ok);
    }
    refuse(state, call)
}

#[cold]
fn refuse<H: Host>(state: &State<H>, call: Call) -> wasmtime::Result<Status> {
    match state.gate {
        Gate::Allocating => Err(wasmtime::Error::msg("hostcall from inside the guest's allocator")),
        Gate::Starting if call.while_starting() && state.denied & call.bit() == 0 => Ok(Status::Ok),
        Gate::Starting | Gate::Open => Ok(Status::InternalFailure),
    }
}

/// Turns an answer into what the guest gets.
pub(crate) fn answer(result: Result<(), Status>) -> wasmtime::Result<u32> {
    Ok(result.err().unwrap_or(Status::Ok) as u32)
}

/// Builds the table for one ABI version on `engine`.
pub(crate) fn table<H: Host>(engine: &wasmtime::Engine, abi: AbiVersion) -> wasmtime::Result<Linker<State<H>>> {
    let mut linker = Linker::new(engine);
    let l = &mut linker;
    let old = abi == AbiVersion::V0_1_0;
    let newest = abi == AbiVersion::V0_2_1;

    link(l, Call::Log, services::log::<H>)?;
    link(l, Call::CurrentTime, services::current_time::<H>)?;
    link(l, Call::SetTick, services::set_tick::<H>)?;
    link(l, Call::BufferBytes, maps::buffer_bytes::<H>)?;
    link(l, Call::BufferStatus, maps::buffer_status::<H>)?;
    link(l, Call::SetBuffer, maps::set_buffer::<H>)?;
    link(l, Call::MapPairs, maps::pairs::<H>)?;
    link(l, Call::SetMapPairs, maps::set_pairs::<H>)?;
    if old {
        link(l, Call::MapValue, maps::value_or_empty::<H>)?;
    } else {
        link(l, Call::MapValue, maps::value::<H>)?;
    }
    link(l, Call::AddMapValue, maps::add::<H>)?;
    link(l, Call::ReplaceMapValue, maps::replace::<H>)?;
    link(l, Call::RemoveMapValue, maps::remove::<H>)?;
    link(l, Call::MapSize, maps::size::<H>)?;
    link(l, Call::Property, stream::property::<H>)?;
    link(l, Call::SetProperty, stream::set_property::<H>)?;
    link(l, Call::LocalResponse, stream::local_response::<H>)?;
    link(l, Call::SetEffectiveContext, stream::set_effective_context::<H>)?;
    link(l, Call::Done, stream::done::<H>)?;
    if old {
        link(l, Call::Configuration, services::configuration::<H>)?;
        link(l, Call::ContinueRequest, stream::continue_request::<H>)?;
        link(l, Call::ContinueResponse, stream::continue_response::<H>)?;
        link(l, Call::ClearRouteCache, stream::clear_route_cache::<H>)?;
    } else {
        link(l, Call::ContinueStream, stream::continue_stream::<H>)?;
        link(l, Call::CloseStream, stream::close_stream::<H>)?;
    }
    if newest {
        link(l, Call::LogLevel, services::log_level::<H>)?;
    }
    link(l, Call::CalloutStatus, calls::status::<H>)?;
    link(l, Call::HttpCallout, calls::http_call::<H>)?;
    link(l, Call::GrpcCallout, grpc::grpc_call::<H>)?;
    link(l, Call::GrpcStream, grpc::grpc_stream::<H>)?;
    link(l, Call::GrpcSend, grpc::grpc_send::<H>)?;
    link(l, Call::GrpcCancel, grpc::grpc_cancel::<H>)?;
    link(l, Call::GrpcClose, grpc::grpc_close::<H>)?;
    link(l, Call::SharedData, services::shared_data::<H>)?;
    link(l, Call::SetSharedData, services::set_shared_data::<H>)?;
    link(l, Call::RegisterQueue, services::register_queue::<H>)?;
    link(l, Call::ResolveQueue, services::resolve_queue::<H>)?;
    link(l, Call::Enqueue, services::enqueue::<H>)?;
    link(l, Call::Dequeue, services::dequeue::<H>)?;
    link(l, Call::DefineMetric, services::define_metric::<H>)?;
    link(l, Call::IncrementMetric, services::increment_metric::<H>)?;
    link(l, Call::RecordMetric, services::record_metric::<H>)?;
    link(l, Call::Metric, services::metric::<H>)?;
    link(l, Call::ForeignFunction, services::foreign_function::<H>)?;
    wasi::link(l)?;
    Ok(linker)
}
