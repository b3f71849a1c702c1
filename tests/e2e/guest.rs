//! Hostile modules in a few lines of text. In a hook's body `#5` is a constant and `<text>` the address and length of
//! a string; `$path` is the length of the request's path. A body that falls through continues.

const IMPORTS: &str = r#"
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_value" (func $get_header (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_add_header_map_value" (func $add_header (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_replace_header_map_value" (func $set_header (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_remove_header_map_value" (func $remove_header (param i32 i32 i32) (result i32)))
  (import "env" "proxy_get_property" (func $get_property (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_property" (func $set_property (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_call_foreign_function" (func $foreign (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_done" (func $finish (result i32)))
  (import "env" "proxy_set_tick_period_milliseconds" (func $set_tick (param i32) (result i32)))
  (import "env" "proxy_get_shared_data" (func $get_shared (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_shared_data" (func $set_shared (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_define_metric" (func $define_metric (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_increment_metric" (func $increment (param i32 i64) (result i32)))
  (import "env" "proxy_get_buffer_bytes" (func $get_buffer (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_status" (func $get_status (param i32 i32 i32) (result i32)))
  (import "env" "proxy_set_effective_context" (func $set_context (param i32) (result i32)))
  (import "env" "proxy_grpc_call" (func $grpc_call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_grpc_stream" (func $grpc_stream (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_grpc_send" (func $grpc_send (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_grpc_cancel" (func $grpc_cancel (param i32) (result i32)))
  (import "env" "proxy_grpc_close" (func $grpc_close (param i32) (result i32)))
  (import "env" "proxy_set_header_map_pairs" (func $set_headers (param i32 i32 i32) (result i32)))
  (import "env" "proxy_set_buffer_bytes" (func $set_buffer (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_continue_stream" (func $resume (param i32) (result i32)))
  (import "env" "proxy_close_stream" (func $close (param i32) (result i32)))
  (import "env" "proxy_register_shared_queue" (func $register_queue (param i32 i32 i32) (result i32)))
  (import "env" "proxy_enqueue_shared_queue" (func $enqueue (param i32 i32 i32) (result i32)))
  (import "env" "proxy_dequeue_shared_queue" (func $dequeue (param i32 i32 i32) (result i32)))
  (import "env" "proxy_http_call" (func $http_call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_send_local_response"
    (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
"#;

const COMMON: &str = r#"
  (memory (export "memory") 2)
  (global $free (mut i32) (i32.const 65536))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $free))
    (global.set $free (i32.add (local.get $at) (local.get $size)))
    ;; What a request needs is used once: begin again before the memory ends.
    (if (i32.gt_u (global.get $free) (i32.const 120000)) (then (global.set $free (i32.const 65536))))
    (local.get $at))
  (func $path (result i32)
    (drop (call $get_header (i32.const 0) <:path> (i32.const 16) (i32.const 20)))
    (i32.load (i32.const 20)))
"#;

/// A loop without end.
pub(crate) const FOREVER: &str = "(loop $l (br $l))";

/// A module from the bodies of its hooks, named as their exports without `proxy_on_`.
pub(crate) fn guest(hooks: &[(&str, &str)]) -> Vec<u8> {
    guest_with("", hooks)
}

/// The same, with functions and globals that the bodies use.
pub(crate) fn guest_with(parts: &str, hooks: &[(&str, &str)]) -> Vec<u8> {
    let mut functions = parts.to_owned();
    for (hook, body) in hooks {
        let (params, result) = match *hook {
            "vm_start" | "configure" => (2, "#1"),
            "context_create" => (2, ""),
            "request_headers" | "response_headers" | "request_body" | "response_body" => (3, "#0"),
            "request_trailers" | "response_trailers" => (2, "#0"),
            "queue_ready" => (2, ""),
            "foreign_function" => (3, ""),
            "http_call_response" => (5, ""),
            "grpc_receive" | "grpc_close" => (3, ""),
            "grpc_receive_initial_metadata" | "grpc_receive_trailing_metadata" => (3, ""),
            "log" | "tick" | "delete" => (1, ""),
            "done" => (1, "#1"),
            other => panic!("no hook {other}"),
        };
        let params = "i32 ".repeat(params);
        let returns = if result.is_empty() { "" } else { "(result i32)" };
        functions +=
            &format!("(func (export \"proxy_on_{hook}\") (param {params}) {returns} (local $i i32) {body} {result})\n");
    }
    module(&functions)
}

/// A module with these functions.
pub(crate) fn module(functions: &str) -> Vec<u8> {
    let (text, strings) = expand(&format!("{COMMON}{functions}"));
    wat::parse_str(format!("(module {IMPORTS} {text} {strings})")).unwrap()
}

/// Repeats a body; `$i` counts up from 0.
pub(crate) fn times(count: usize, body: &str) -> String {
    format!(
        "(local.set $i #0) (loop $again {body} (local.set $i (i32.add (local.get $i) #1))
           (br_if $again (i32.lt_u (local.get $i) #{count})))"
    )
}

fn expand(text: &str) -> (String, String) {
    let (mut code, mut strings, mut at) = (String::new(), String::new(), 1024);
    let mut rest = text;
    while let Some(mark) = rest.find(['#', '<']) {
        code += &rest[..mark];
        let behind = &rest[mark + 1..];
        if rest[mark..].starts_with('#') {
            let end = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
            code += &format!("(i32.const {})", &behind[..end]);
            rest = &behind[end..];
        } else {
            let (string, behind) = behind.split_once('>').unwrap();
            // An escape is a backslash and two digits.
            let length = string.len() - 2 * string.matches('\\').count();
            code += &format!("(i32.const {at}) (i32.const {length})");
            strings += &format!("(data (i32.const {at}) \"{string}\")\n");
            at += length;
            rest = behind;
        }
    }
    (code + rest, strings)
}
