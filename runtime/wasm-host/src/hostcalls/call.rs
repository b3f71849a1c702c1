//! The hostcalls by name: what capabilities can allow, and what observers are told.

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
    /// Every call with its import name.
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

    /// The import's name.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL.get(self as usize).map_or("", |(_, name)| name)
    }

    /// Which argument points to the text that says what the call is about; its length is the next one.
    pub(super) fn subject(self) -> Option<usize> {
        match self {
            Self::Property
            | Self::SetProperty
            | Self::HttpCallout
            | Self::GrpcCallout
            | Self::GrpcStream
            | Self::SharedData
            | Self::SetSharedData
            | Self::RegisterQueue
            | Self::ForeignFunction => Some(0),
            Self::Log
            | Self::MapValue
            | Self::AddMapValue
            | Self::ReplaceMapValue
            | Self::RemoveMapValue
            | Self::LocalResponse
            | Self::DefineMetric => Some(1),
            Self::ResolveQueue => Some(2),
            _ => None,
        }
    }

    pub(super) fn while_starting(self) -> bool {
        matches!(self, Self::Log | Self::LogLevel | Self::CurrentTime)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_its_own_place_in_the_table() {
        for (at, (call, name)) in Call::ALL.into_iter().enumerate() {
            assert_eq!((call as usize, call.name()), (at, name));
        }
    }
}
