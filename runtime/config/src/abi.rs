//! Names of hooks and hostcalls that an operator may allow.

use crate::{cursor::Cursor, nearest::suggestion, tree::scalar::quoted};

/// Exports of a module that the proxy calls, without their `proxy_on_`.
const HOOKS: &[&str] = &[
    "context_create",
    "vm_start",
    "configure",
    "tick",
    "queue_ready",
    "new_connection",
    "downstream_data",
    "upstream_data",
    "downstream_connection_close",
    "upstream_connection_close",
    "request_headers",
    "request_body",
    "request_trailers",
    "request_metadata",
    "response_headers",
    "response_body",
    "response_trailers",
    "response_metadata",
    "http_call_response",
    "grpc_receive_initial_metadata",
    "grpc_receive_trailing_metadata",
    "grpc_receive",
    "grpc_close",
    "foreign_function",
    "done",
    "log",
    "delete",
];

const CAPABILITIES: &[&str] = &[
    "steer",
    "proxy_log",
    "proxy_get_log_level",
    "proxy_get_current_time_nanoseconds",
    "proxy_set_tick_period_milliseconds",
    "proxy_get_configuration",
    "proxy_get_buffer_bytes",
    "proxy_get_buffer_status",
    "proxy_set_buffer_bytes",
    "proxy_get_header_map_pairs",
    "proxy_set_header_map_pairs",
    "proxy_get_header_map_value",
    "proxy_add_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_remove_header_map_value",
    "proxy_get_header_map_size",
    "proxy_get_property",
    "proxy_set_property",
    "proxy_send_local_response",
    "proxy_continue_request",
    "proxy_continue_response",
    "proxy_clear_route_cache",
    "proxy_continue_stream",
    "proxy_close_stream",
    "proxy_get_status",
    "proxy_set_effective_context",
    "proxy_done",
    "proxy_http_call",
    "proxy_grpc_call",
    "proxy_grpc_stream",
    "proxy_grpc_send",
    "proxy_grpc_cancel",
    "proxy_grpc_close",
    "proxy_get_shared_data",
    "proxy_set_shared_data",
    "proxy_register_shared_queue",
    "proxy_resolve_shared_queue",
    "proxy_enqueue_shared_queue",
    "proxy_dequeue_shared_queue",
    "proxy_define_metric",
    "proxy_increment_metric",
    "proxy_record_metric",
    "proxy_get_metric",
    "proxy_call_foreign_function",
    "args_get",
    "args_sizes_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_close",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_read",
    "fd_seek",
    "fd_write",
    "path_open",
    "poll_oneoff",
    "proc_exit",
    "random_get",
    "sched_yield",
];

/// The full name of a hook, which may be given as `on_tick` or `proxy_on_tick`.
pub(crate) fn hook(text: &str) -> Option<String> {
    let short = text.strip_prefix("proxy_").unwrap_or(text).strip_prefix("on_")?;
    HOOKS.contains(&short).then(|| format!("proxy_on_{short}"))
}

/// Reports the names in the list of hooks that are none.
pub(crate) fn check_hooks(list: &Cursor<'_>) {
    check(list, "hook", |text| hook(text).is_some());
}

/// Reports the names in the list of capabilities that are none.
pub(crate) fn check_capabilities(list: &Cursor<'_>) {
    check(list, "capability", |text| CAPABILITIES.contains(&text));
}

fn check(list: &Cursor<'_>, what: &str, is_known: impl Fn(&str) -> bool) {
    for item in list.items() {
        if let Some(text) = item.text()
            && !is_known(text)
        {
            item.error(format!("unknown {what} {}", quoted(text)), meant(text));
        }
    }
}

fn meant(text: &str) -> Option<String> {
    let hooks: Vec<String> = HOOKS.iter().map(|hook| format!("proxy_on_{hook}")).collect();
    let full = if text.starts_with("on_") { format!("proxy_{text}") } else { text.to_owned() };
    suggestion(&full, hooks.iter().map(String::as_str).chain(CAPABILITIES.iter().copied()))
}
