//! Guests written as a few hook bodies. In a body `#5` is a constant, `'text'` its address and length; `$say` reports
//! a number, `$out` the string a hostcall returned at (16, 20), `$word` the number at 24.

use std::sync::{Arc, OnceLock};

use sidegate_wasm_host::abi::LogLevel;
use sidegate_wasm_host::hooks::{BodyAction, HeadersAction};
use sidegate_wasm_host::testing::{FakeHost, FakeStream};
use sidegate_wasm_host::{ContextId, Engine, Fault, Headers, LoadError, Module, Policy, Vm, VmSpec};

/// Out pointers that bodies use.
const PRELUDE: &str = r#"
  (memory (export "memory") 3)
  (global $heap (mut i32) (i32.const 131072))
  (func $say (param i32)
    (i32.store (i32.const 8) (local.get 0))
    (drop (call $proxy_log (i32.const 1) (i32.const 8) (i32.const 4))))
  (func $out (drop (call $proxy_log (i32.const 2) (i32.load (i32.const 16)) (i32.load (i32.const 20)))))
  (func $word (call $say (i32.load (i32.const 24))))
"#;

const MALLOC: &str = r#"
  (func (export "malloc") (param $len i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $heap))
    (global.set $heap (i32.add (local.get $at) (local.get $len)))
    (local.get $at))
"#;

/// Name, parameters (`i` 32 bits, `I` 64), result.
const ENV: &[(&str, &str)] = &[
    ("proxy_log", "iii"),
    ("proxy_get_log_level", "i"),
    ("proxy_get_current_time_nanoseconds", "i"),
    ("proxy_set_tick_period_milliseconds", "i"),
    ("proxy_get_configuration", "ii"),
    ("proxy_get_buffer_bytes", "iiiii"),
    ("proxy_get_buffer_status", "iii"),
    ("proxy_set_buffer_bytes", "iiiii"),
    ("proxy_get_header_map_pairs", "iii"),
    ("proxy_set_header_map_pairs", "iii"),
    ("proxy_get_header_map_value", "iiiii"),
    ("proxy_add_header_map_value", "iiiii"),
    ("proxy_replace_header_map_value", "iiiii"),
    ("proxy_remove_header_map_value", "iii"),
    ("proxy_get_header_map_size", "ii"),
    ("proxy_get_property", "iiii"),
    ("proxy_set_property", "iiii"),
    ("proxy_send_local_response", "iiiiiiii"),
    ("proxy_continue_request", ""),
    ("proxy_continue_response", ""),
    ("proxy_clear_route_cache", ""),
    ("proxy_continue_stream", "i"),
    ("proxy_close_stream", "i"),
    ("proxy_get_status", "iii"),
    ("proxy_set_effective_context", "i"),
    ("proxy_done", ""),
    ("proxy_http_call", "iiiiiiiiii"),
    ("proxy_grpc_call", "iiiiiiiiiiii"),
    ("proxy_grpc_stream", "iiiiiiiii"),
    ("proxy_grpc_send", "iiii"),
    ("proxy_grpc_cancel", "i"),
    ("proxy_grpc_close", "i"),
    ("proxy_get_shared_data", "iiiii"),
    ("proxy_set_shared_data", "iiiii"),
    ("proxy_register_shared_queue", "iii"),
    ("proxy_resolve_shared_queue", "iiiii"),
    ("proxy_enqueue_shared_queue", "iii"),
    ("proxy_dequeue_shared_queue", "iii"),
    ("proxy_define_metric", "iiii"),
    ("proxy_increment_metric", "iI"),
    ("proxy_record_metric", "iI"),
    ("proxy_get_metric", "ii"),
    ("proxy_call_foreign_function", "iiiiii"),
    ("pthread_equal", "ii"),
    ("envoy_resolve_dns", "iii"),
];

const WASI: &[(&str, &str)] = &[
    ("fd_write", "iiii"),
    ("fd_read", "iiii"),
    ("fd_seek", "iIii"),
    ("fd_close", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_prestat_get", "ii"),
    ("clock_time_get", "iIi"),
    ("random_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("environ_get", "ii"),
    ("args_sizes_get", "ii"),
    ("poll_oneoff", "iiii"),
    ("sched_yield", ""),
    ("path_open", "iiiiiIIii"),
    ("fd_advise", "iIIi"),
    ("fd_allocate", "iII"),
    ("fd_datasync", "i"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_fdstat_set_rights", "iII"),
    ("fd_filestat_get", "ii"),
    ("fd_filestat_set_size", "iI"),
    ("fd_filestat_set_times", "iIIi"),
    ("fd_pread", "iiiIi"),
    ("fd_prestat_dir_name", "iii"),
    ("fd_pwrite", "iiiIi"),
    ("fd_readdir", "iiiIi"),
    ("fd_renumber", "ii"),
    ("fd_sync", "i"),
    ("fd_tell", "ii"),
    ("clock_res_get", "ii"),
    ("path_create_directory", "iii"),
    ("path_filestat_get", "iiiii"),
    ("path_filestat_set_times", "iiiiIIi"),
    ("path_link", "iiiiiii"),
    ("path_readlink", "iiiiii"),
    ("path_remove_directory", "iii"),
    ("path_rename", "iiiiii"),
    ("path_symlink", "iiiii"),
    ("path_unlink_file", "iii"),
    ("sock_accept", "iii"),
    ("sock_recv", "iiiiii"),
    ("sock_send", "iiiii"),
    ("sock_shutdown", "ii"),
];

pub(crate) struct Guest {
    abi: &'static str,
    wasi: &'static str,
    allocator: String,
    functions: String,
    top: String,
}

impl Default for Guest {
    fn default() -> Self {
        Self {
            abi: "0_2_1",
            wasi: "wasi_snapshot_preview1",
            allocator: MALLOC.into(),
            functions: String::new(),
            top: String::new(),
        }
    }
}

impl Guest {
    /// A guest with one hook, named as its export without `proxy_on_`.
    pub(crate) fn new(hook: &str, body: &str) -> Self {
        Self::default().hook(hook, body)
    }

    /// A further hook. Its parameters are `$ctx`, `$a`, `$b`, `$c`, `$d`; a body that falls through continues.
    pub(crate) fn hook(mut self, hook: &str, body: &str) -> Self {
        let (params, result) = match hook {
            "context_create" | "queue_ready" => (2, None),
            "vm_start" | "configure" => (2, Some(1)),
            "request_headers" | "response_headers" if self.abi == "0_1_0" => (2, Some(0)),
            "request_headers" | "response_headers" | "request_body" | "response_body" => (3, Some(0)),
            "request_trailers" | "response_trailers" => (2, Some(0)),
            "http_call_response" => (5, None),
            "foreign_function" | "grpc_receive" | "grpc_close" => (3, None),
            "grpc_receive_initial_metadata" | "grpc_receive_trailing_metadata" => (3, None),
            "tick" | "log" | "delete" => (1, None),
            "done" => (1, Some(1)),
            other => panic!("no hook {other}"),
        };
        let params: String =
            ["$ctx", "$a", "$b", "$c", "$d"][..params].iter().map(|name| format!("(param {name} i32) ")).collect();
        let (result, end) = match result {
            Some(value) => ("(result i32)", format!("(i32.const {value})")),
            None => ("", String::new()),
        };
        self.functions += &format!("(func (export \"proxy_on_{hook}\") {params}{result}\n{body}\n{end})\n");
        self
    }

    /// An exported function without parameters.
    pub(crate) fn export(mut self, name: &str, body: &str) -> Self {
        self.functions += &format!("(func (export \"{name}\") {body})\n");
        self
    }

    /// Anything else at the top level.
    pub(crate) fn top(mut self, text: &str) -> Self {
        self.top += text;
        self
    }

    pub(crate) fn abi(mut self, version: &'static str) -> Self {
        self.abi = version;
        self
    }

    pub(crate) fn wasi(mut self, module: &'static str) -> Self {
        self.wasi = module;
        self
    }

    pub(crate) fn allocator(mut self, text: &str) -> Self {
        self.allocator = text.into();
        self
    }

    pub(crate) fn wasm(&self) -> Vec<u8> {
        let text = format!("{PRELUDE}{}{}{}", self.allocator, self.functions, self.top);
        let mut imports = String::new();
        for (module, table) in [("env", ENV), (self.wasi, WASI)] {
            for (name, params) in table.iter().filter(|(name, _)| calls(&text, name)) {
                let params: String =
                    params.chars().map(|param| if param == 'I' { "(param i64)" } else { "(param i32)" }).collect();
                imports += &format!("(import \"{module}\" \"{name}\" (func ${name} {params} (result i32)))\n");
            }
        }
        if calls(&text, "proc_exit") {
            imports += &format!("(import \"{}\" \"proc_exit\" (func $proc_exit (param i32)))", self.wasi);
        }
        let (text, data) = expand(&text);
        let marker = format!("(func (export \"proxy_abi_version_{}\"))", self.abi);
        wat::parse_str(format!("(module {imports} {marker} {text} {data})")).unwrap()
    }

    pub(crate) fn load(&self) -> Result<Module<FakeHost>, LoadError> {
        Module::compile(engine(), &self.wasm())
    }

    pub(crate) fn prepare(&self, spec: VmSpec, host: FakeHost) -> Result<Vm<FakeHost>, Fault> {
        Vm::prepare(&self.load().unwrap(), Arc::new(spec), host)
    }

    pub(crate) fn start_with(&self, spec: VmSpec, host: FakeHost) -> Running {
        let mut vm = self.prepare(spec, FakeHost::new()).unwrap();
        vm.own_queues();
        Running { vm, host }
    }

    pub(crate) fn start(&self) -> Running {
        self.start_with(spec(), FakeHost::new())
    }

    /// Starts the guest and shows it the request head of `stream`.
    pub(crate) fn start_request(&self, stream: FakeStream) -> (Running, ContextId) {
        let mut run = self.start();
        let id = run.open(stream);
        run.request_headers(id);
        (run, id)
    }
}

/// What a guest with this body in `on_request_headers` reports.
pub(crate) fn in_request(body: &str) -> Vec<String> {
    Guest::new("request_headers", body).start_request(FakeStream::get("/")).0.said()
}

/// What a guest with this body in `on_tick` reports.
pub(crate) fn in_tick(body: &str) -> Vec<String> {
    let mut run = Guest::new("tick", body).start();
    run.vm.tick(&mut run.host).unwrap();
    run.said()
}

pub(crate) fn spec() -> VmSpec {
    VmSpec { plugin: "test".into(), vm_id: "vm".into(), shared_data: 1 << 20, ..VmSpec::default() }
}

pub(crate) fn engine() -> &'static Engine<FakeHost> {
    static ENGINE: OnceLock<Engine<FakeHost>> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new(Policy::Foreign, 64).unwrap())
}

/// A started guest with its worker.
pub(crate) struct Running {
    pub(crate) vm: Vm<FakeHost>,
    pub(crate) host: FakeHost,
}

impl Running {
    pub(crate) fn open(&mut self, stream: FakeStream) -> ContextId {
        let key = self.host.streams.len() as u32 + 100;
        self.host.streams.insert(key, stream);
        self.vm.open_stream(&mut self.host, key).unwrap()
    }

    /// The stream that was opened first.
    pub(crate) fn stream(&mut self) -> &mut FakeStream {
        self.host.streams.get_mut(&100).unwrap()
    }

    pub(crate) fn request_headers(&mut self, id: ContextId) -> HeadersAction {
        let count = self.stream().request_headers.as_ref().map_or(0, |headers| headers.count() as u32);
        self.vm.request_headers(&mut self.host, id, count, true).unwrap()
    }

    pub(crate) fn response_headers(&mut self, id: ContextId) -> HeadersAction {
        let count = self.stream().response_headers.as_ref().map_or(0, |headers| headers.count() as u32);
        self.vm.response_headers(&mut self.host, id, count, false).unwrap()
    }

    pub(crate) fn request_body(&mut self, id: ContextId, end: bool) -> BodyAction {
        let len = self.stream().request_body.as_ref().map_or(0, Vec::len) as u32;
        self.vm.request_body(&mut self.host, id, len, end).unwrap()
    }

    pub(crate) fn log(&mut self, id: ContextId) {
        self.vm.log(&mut self.host, id).unwrap();
    }

    pub(crate) fn close(&mut self, id: ContextId) {
        self.vm.close_stream(&mut self.host, id).unwrap();
    }

    pub(crate) fn tick(&mut self) {
        self.vm.tick(&mut self.host).unwrap();
    }

    /// What the guest reported since the last call, while it was prepared and after.
    pub(crate) fn said(&mut self) -> Vec<String> {
        let mut lines = std::mem::take(&mut self.vm.own_host().logs);
        lines.append(&mut self.host.logs);
        lines
            .into_iter()
            .map(|line| match (line.level, <[u8; 4]>::try_from(&line.text[..])) {
                (LogLevel::Debug, Ok(number)) => i32::from_le_bytes(number).to_string(),
                _ => String::from_utf8_lossy(&line.text).into_owned(),
            })
            .collect()
    }
}

fn calls(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let behind = text[at + name.len()..].chars().next();
        text[..at].ends_with('$') && !behind.is_some_and(|next| next.is_ascii_alphanumeric() || next == '_')
    })
}

/// Replaces `#n` and `'text'`, and collects the data segments.
fn expand(text: &str) -> (String, String) {
    let (mut code, mut data, mut next) = (String::new(), String::new(), 1024);
    let mut rest = text;
    while let Some(at) = rest.find(['#', '\'']) {
        code += &rest[..at];
        let (mark, behind) = rest[at..].split_at(1);
        if mark == "#" {
            let end = behind.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(behind.len());
            code += &format!("(i32.const {})", &behind[..end]);
            rest = &behind[end..];
        } else {
            let end = behind.find('\'').unwrap();
            let string = &behind[..end];
            let len = string.len() - 2 * string.matches('\\').count();
            code += &format!("(i32.const {next}) (i32.const {len})");
            data += &format!("(data (i32.const {next}) \"{string}\")\n");
            next += len;
            rest = &behind[end + 1..];
        }
    }
    (code + rest, data)
}
