//! Every function that a guest may import.

/// A version of the ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abi {
    V0_1_0,
    V0_2_0,
    V0_2_1,
}

/// One import: its parameters, `i` of 32 bits and `I` of 64.
#[derive(Debug)]
pub struct Call {
    pub module: &'static str,
    pub name: &'static str,
    pub params: &'static str,
}

const fn env(name: &'static str, params: &'static str) -> Call {
    Call { module: "env", name, params }
}

const fn wasi(name: &'static str, params: &'static str) -> Call {
    Call { module: "wasi_snapshot_preview1", name, params }
}

/// All calls of all versions.
pub const CALLS: [Call; 60] = [
    env("proxy_log", "iii"),
    env("proxy_get_log_level", "i"),
    env("proxy_get_current_time_nanoseconds", "i"),
    env("proxy_set_tick_period_milliseconds", "i"),
    env("proxy_get_configuration", "ii"),
    env("proxy_get_buffer_bytes", "iiiii"),
    env("proxy_get_buffer_status", "iii"),
    env("proxy_set_buffer_bytes", "iiiii"),
    env("proxy_get_header_map_pairs", "iii"),
    env("proxy_set_header_map_pairs", "iii"),
    env("proxy_get_header_map_value", "iiiii"),
    env("proxy_add_header_map_value", "iiiii"),
    env("proxy_replace_header_map_value", "iiiii"),
    env("proxy_remove_header_map_value", "iii"),
    env("proxy_get_header_map_size", "ii"),
    env("proxy_get_property", "iiii"),
    env("proxy_set_property", "iiii"),
    env("proxy_send_local_response", "iiiiiiii"),
    env("proxy_continue_request", ""),
    env("proxy_continue_response", ""),
    env("proxy_clear_route_cache", ""),
    env("proxy_continue_stream", "i"),
    env("proxy_close_stream", "i"),
    env("proxy_get_status", "iii"),
    env("proxy_set_effective_context", "i"),
    env("proxy_done", ""),
    env("proxy_http_call", "iiiiiiiiii"),
    env("proxy_grpc_call", "iiiiiiiiiiii"),
    env("proxy_grpc_stream", "iiiiiiiii"),
    env("proxy_grpc_send", "iiii"),
    env("proxy_grpc_cancel", "i"),
    env("proxy_grpc_close", "i"),
    env("proxy_get_shared_data", "iiiii"),
    env("proxy_set_shared_data", "iiiii"),
    env("proxy_register_shared_queue", "iii"),
    env("proxy_resolve_shared_queue", "iiiii"),
    env("proxy_enqueue_shared_queue", "iii"),
    env("proxy_dequeue_shared_queue", "iii"),
    env("proxy_define_metric", "iiii"),
    env("proxy_increment_metric", "iI"),
    env("proxy_record_metric", "iI"),
    env("proxy_get_metric", "ii"),
    env("proxy_call_foreign_function", "iiiiii"),
    env("pthread_equal", "ii"),
    wasi("fd_write", "iiii"),
    wasi("fd_read", "iiii"),
    wasi("fd_seek", "iIii"),
    wasi("fd_close", "i"),
    wasi("fd_fdstat_get", "ii"),
    wasi("fd_prestat_get", "ii"),
    wasi("fd_prestat_dir_name", "iii"),
    wasi("clock_time_get", "iIi"),
    wasi("random_get", "ii"),
    wasi("environ_sizes_get", "ii"),
    wasi("environ_get", "ii"),
    wasi("args_sizes_get", "ii"),
    wasi("args_get", "ii"),
    wasi("poll_oneoff", "iiii"),
    wasi("sched_yield", ""),
    wasi("path_open", "iiiiiIIii"),
];

/// The call of this name with its number.
pub fn call(name: &str) -> Option<(u32, &'static Call)> {
    let at = CALLS.iter().position(|call| call.name == name)?;
    Some((at as u32, CALLS.get(at)?))
}

impl Abi {
    /// The export that says so.
    pub fn marker(self) -> &'static str {
        match self {
            Self::V0_1_0 => "proxy_abi_version_0_1_0",
            Self::V0_2_0 => "proxy_abi_version_0_2_0",
            Self::V0_2_1 => "proxy_abi_version_0_2_1",
        }
    }

    /// Whether modules of this version may import the call.
    pub fn has(self, call: &Call) -> bool {
        match call.name {
            "proxy_get_configuration"
            | "proxy_continue_request"
            | "proxy_continue_response"
            | "proxy_clear_route_cache" => self == Self::V0_1_0,
            "proxy_continue_stream" | "proxy_close_stream" => self != Self::V0_1_0,
            "proxy_get_log_level" => self == Self::V0_2_1,
            _ => true,
        }
    }
}
