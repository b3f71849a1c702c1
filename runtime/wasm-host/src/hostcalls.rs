//! The link table: which functions a guest may import, by ABI version. Each call is "unpack, check, forward".

mod calls;
mod maps;
mod services;
mod stream;
pub(crate) mod wasi;

use wasmtime::{Caller, Linker};

use crate::abi::{AbiVersion, Status};
use crate::host::Host;
use crate::state::{Gate, State};

/// Every hostcall that capabilities can restrict; the number is its bit in `State::denied`. WASI calls that neither
/// show nor change anything are not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Call {
    Log,
    LogLevel,
    CurrentTime,
    SetTick,
    Configuration,
    BufferBytes,
    BufferStatus,
    SetBuffer,
    MapPairs,
    SetMapPairs,
    MapValue,
    AddMapValue,
    ReplaceMapValue,
    RemoveMapValue,
    MapSize,
    Property,
    SetProperty,
    LocalResponse,
    ContinueRequest,
    ContinueResponse,
    ClearRouteCache,
    ContinueStream,
    CloseStream,
    CalloutStatus,
    SetEffectiveContext,
    Done,
    HttpCallout,
    GrpcCallout,
    GrpcStream,
    GrpcSend,
    GrpcCancel,
    GrpcClose,
    SharedData,
    SetSharedData,
    RegisterQueue,
    ResolveQueue,
    Enqueue,
    Dequeue,
    DefineMetric,
    IncrementMetric,
    RecordMetric,
    Metric,
    ForeignFunction,
    FdWrite,
    ClockTime,
    Random,
    EnvironSizes,
    Environ,
}

impl Call {
    const ALL: [(Self, &'static str); 48] = [
        (Self::Log, "proxy_log"),
        (Self::LogLevel, "proxy_get_log_level"),
        (Self::CurrentTime, "proxy_get_current_time_nanoseconds"),
        (Self::SetTick, "proxy_set_tick_period_milliseconds"),
        (Self::Configuration, "proxy_get_configuration"),
        (Self::BufferBytes, "proxy_get_buffer_bytes"),
        (Self::BufferStatus, "proxy_get_buffer_status"),
        (Self::SetBuffer, "proxy_set_buffer_bytes"),
        (Self::MapPairs, "proxy_get_header_map_pairs"),
        (Self::SetMapPairs, "proxy_set_header_map_pairs"),
        (Self::MapValue, "proxy_get_header_map_value"),
        (Self::AddMapValue, "proxy_add_header_map_value"),
        (Self::ReplaceMapValue, "proxy_replace_header_map_value"),
        (Self::RemoveMapValue, "proxy_remove_header_map_value"),
        (Self::MapSize, "proxy_get_header_map_size"),
        (Self::Property, "proxy_get_property"),
        (Self::SetProperty, "proxy_set_property"),
        (Self::LocalResponse, "proxy_send_local_response"),
        (Self::ContinueRequest, "proxy_continue_request"),
        (Self::ContinueResponse, "proxy_continue_response"),
        (Self::ClearRouteCache, "proxy_clear_route_cache"),
        (Self::ContinueStream, "proxy_continue_stream"),
        (Self::CloseStream, "proxy_close_stream"),
        (Self::CalloutStatus, "proxy_get_status"),
        (Self::SetEffectiveContext, "proxy_set_effective_context"),
        (Self::Done, "proxy_done"),
        (Self::HttpCallout, "proxy_http_call"),
        (Self::GrpcCallout, "proxy_grpc_call"),
        (Self::GrpcStream, "proxy_grpc_stream"),
        (Self::GrpcSend, "proxy_grpc_send"),
        (Self::GrpcCancel, "proxy_grpc_cancel"),
        (Self::GrpcClose, "proxy_grpc_close"),
        (Self::SharedData, "proxy_get_shared_data"),
        (Self::SetSharedData, "proxy_set_shared_data"),
        (Self::RegisterQueue, "proxy_register_shared_queue"),
        (Self::ResolveQueue, "proxy_resolve_shared_queue"),
        (Self::Enqueue, "proxy_enqueue_shared_queue"),
        (Self::Dequeue, "proxy_dequeue_shared_queue"),
        (Self::DefineMetric, "proxy_define_metric"),
        (Self::IncrementMetric, "proxy_increment_metric"),
        (Self::RecordMetric, "proxy_record_metric"),
        (Self::Metric, "proxy_get_metric"),
        (Self::ForeignFunction, "proxy_call_foreign_function"),
        (Self::FdWrite, "fd_write"),
        (Self::ClockTime, "clock_time_get"),
        (Self::Random, "random_get"),
        (Self::EnvironSizes, "environ_sizes_get"),
        (Self::Environ, "environ_get"),
    ];

    pub(crate) fn bit(self) -> u64 {
        1 << (self as u8)
    }

    /// The calls that a list of capabilities leaves out; an empty list leaves out none.
    pub(crate) fn denied(capabilities: &[String]) -> u64 {
        if capabilities.is_empty() {
            return 0;
        }
        let allowed = |name: &str| capabilities.iter().any(|capability| capability == name);
        Self::ALL.iter().filter(|(_, name)| !allowed(name)).map(|(call, _)| call.bit()).sum()
    }

    fn while_starting(self) -> bool {
        matches!(self, Self::Log | Self::LogLevel | Self::CurrentTime)
    }
}

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

/// Starts a hostcall: returns early when it is not admitted, else gives guest memory and host state.
macro_rules! open {
    ($caller:ident, $call:ident) => {{
        match crate::hostcalls::admit(&$caller, crate::hostcalls::Call::$call)? {
            crate::abi::Status::Ok => crate::memory::split(&mut $caller),
            refused => return Ok(refused as u32),
        }
    }};
}
pub(crate) use open;

/// Builds the table for one ABI version on `engine`.
pub(crate) fn link<H: Host>(engine: &wasmtime::Engine, abi: AbiVersion) -> wasmtime::Result<Linker<State<H>>> {
    let mut linker = Linker::new(engine);
    let l = &mut linker;
    let old = abi == AbiVersion::V0_1_0;
    let newest = abi == AbiVersion::V0_2_1;

    l.func_wrap("env", "proxy_log", services::log::<H>)?;
    l.func_wrap("env", "proxy_get_current_time_nanoseconds", services::current_time::<H>)?;
    l.func_wrap("env", "proxy_set_tick_period_milliseconds", services::set_tick::<H>)?;
    l.func_wrap("env", "proxy_get_buffer_bytes", maps::buffer_bytes::<H>)?;
    l.func_wrap("env", "proxy_get_buffer_status", maps::buffer_status::<H>)?;
    l.func_wrap("env", "proxy_set_buffer_bytes", maps::set_buffer::<H>)?;
    l.func_wrap("env", "proxy_get_header_map_pairs", maps::pairs::<H>)?;
    l.func_wrap("env", "proxy_set_header_map_pairs", maps::set_pairs::<H>)?;
    if old {
        l.func_wrap("env", "proxy_get_header_map_value", maps::value_or_empty::<H>)?;
    } else {
        l.func_wrap("env", "proxy_get_header_map_value", maps::value::<H>)?;
    }
    l.func_wrap("env", "proxy_add_header_map_value", maps::add::<H>)?;
    l.func_wrap("env", "proxy_replace_header_map_value", maps::replace::<H>)?;
    l.func_wrap("env", "proxy_remove_header_map_value", maps::remove::<H>)?;
    l.func_wrap("env", "proxy_get_header_map_size", maps::size::<H>)?;
    l.func_wrap("env", "proxy_get_property", stream::property::<H>)?;
    l.func_wrap("env", "proxy_set_property", stream::set_property::<H>)?;
    l.func_wrap("env", "proxy_send_local_response", stream::local_response::<H>)?;
    l.func_wrap("env", "proxy_set_effective_context", stream::set_effective_context::<H>)?;
    l.func_wrap("env", "proxy_done", stream::done::<H>)?;
    if old {
        l.func_wrap("env", "proxy_get_configuration", services::configuration::<H>)?;
        l.func_wrap("env", "proxy_continue_request", stream::continue_request::<H>)?;
        l.func_wrap("env", "proxy_continue_response", stream::continue_response::<H>)?;
        l.func_wrap("env", "proxy_clear_route_cache", stream::clear_route_cache::<H>)?;
    } else {
        l.func_wrap("env", "proxy_continue_stream", stream::continue_stream::<H>)?;
        l.func_wrap("env", "proxy_close_stream", stream::close_stream::<H>)?;
    }
    if newest {
        l.func_wrap("env", "proxy_get_log_level", services::log_level::<H>)?;
    }
    l.func_wrap("env", "proxy_get_status", calls::status::<H>)?;
    l.func_wrap("env", "proxy_http_call", calls::http_call::<H>)?;
    l.func_wrap("env", "proxy_grpc_call", calls::grpc_call::<H>)?;
    l.func_wrap("env", "proxy_grpc_stream", calls::grpc_stream::<H>)?;
    l.func_wrap("env", "proxy_grpc_send", calls::grpc_send::<H>)?;
    l.func_wrap("env", "proxy_grpc_cancel", calls::grpc_cancel::<H>)?;
    l.func_wrap("env", "proxy_grpc_close", calls::grpc_close::<H>)?;
    l.func_wrap("env", "proxy_get_shared_data", services::shared_data::<H>)?;
    l.func_wrap("env", "proxy_set_shared_data", services::set_shared_data::<H>)?;
    l.func_wrap("env", "proxy_register_shared_queue", services::register_queue::<H>)?;
    l.func_wrap("env", "proxy_resolve_shared_queue", services::resolve_queue::<H>)?;
    l.func_wrap("env", "proxy_enqueue_shared_queue", services::enqueue::<H>)?;
    l.func_wrap("env", "proxy_dequeue_shared_queue", services::dequeue::<H>)?;
    l.func_wrap("env", "proxy_define_metric", services::define_metric::<H>)?;
    l.func_wrap("env", "proxy_increment_metric", services::increment_metric::<H>)?;
    l.func_wrap("env", "proxy_record_metric", services::record_metric::<H>)?;
    l.func_wrap("env", "proxy_get_metric", services::metric::<H>)?;
    l.func_wrap("env", "proxy_call_foreign_function", services::foreign_function::<H>)?;
    wasi::link(l)?;
    Ok(linker)
}
