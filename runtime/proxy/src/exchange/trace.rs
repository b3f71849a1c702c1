//! The way of one request through its filters, for a person who asks for it: which filter ran in which hook for how
//! long, what it changed, what it returned. Names only, never values: a log is no place for secrets.

use http::HeaderName;
use sha2::{Digest, Sha256};
use sidegate_wasm_host::VmSpec;
use sidegate_wasm_host::abi::MapType;
use sidegate_wasm_host::event::{Event, HookRun, Hostcall};
use sidegate_wasm_host::hooks::Hook;

use super::head::RequestHead;
use super::view::View;
use crate::snapshot::TraceKey;

/// The request header that asks for a trace; its value is the admin token. It never goes further than here.
const MARK: HeaderName = HeaderName::from_static("x-sidegate-trace");
/// Steps of one trace; a body in many pieces may have more.
const MAX_STEPS: usize = 256;
/// Effects of one step.
const MAX_EFFECTS: usize = 64;

/// Takes the mark off a request; whether it carried the right token.
pub fn is_marked(head: &mut RequestHead, key: Option<&TraceKey>) -> bool {
    if !head.headers.contains_key(&MARK) {
        return false;
    }
    // Whatever it is worth, a token goes no further: not to filters, not to the upstream.
    let given = head.headers.remove(&MARK);
    let Some(key) = key else { return false };
    let digest = Sha256::digest(given.as_ref().map(|value| value.as_bytes()).unwrap_or_default());
    // Digests may be compared in any time: who can choose one can not choose the token.
    digest.as_slice() == key.0
}

/// What is known of a marked request's way so far.
#[derive(Default)]
pub struct Trace {
    steps: Vec<Step>,
    left_out: usize,
}

struct Step {
    plugin: String,
    version: String,
    hook: Hook,
    effects: Vec<String>,
    /// Set when the hook is over.
    outcome: Option<(u128, String)>,
}

impl Trace {
    pub fn observe(&mut self, spec: &VmSpec, event: &Event<'_>) {
        match event {
            Event::Hostcall(call) => {
                if let Some(effect) = effect(call)
                    && let Some(step) = self.step(spec, call.hook)
                    && step.effects.len() < MAX_EFFECTS
                {
                    step.effects.push(effect);
                }
            }
            Event::Hook(run) => {
                if let Some(step) = self.step(spec, run.hook) {
                    step.outcome = Some((run.cpu.as_micros(), outcome(run)));
                }
            }
        }
    }

    /// The step that is under way in this hook, or a new one.
    fn step(&mut self, spec: &VmSpec, hook: Hook) -> Option<&mut Step> {
        let under_way = |step: &Step| step.outcome.is_none() && step.hook == hook && step.plugin == spec.plugin;
        if !self.steps.last().is_some_and(under_way) {
            if self.steps.len() >= MAX_STEPS {
                self.left_out += 1;
                return None;
            }
            let (plugin, version) = (spec.plugin.clone(), spec.version.clone());
            self.steps.push(Step { plugin, version, hook, effects: Vec::new(), outcome: None });
        }
        self.steps.last_mut()
    }

    /// Logs the way of an exchange that is over.
    pub fn write(&self, view: &View) {
        let id = view.request.headers.get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or("-");
        let count = self.steps.len();
        for (at, Step { plugin, version, hook, effects, outcome }) in self.steps.iter().enumerate() {
            let (microseconds, outcome) = outcome.as_ref().map_or((0, ""), |(time, text)| (*time, text));
            let changed = effects.join(", ");
            tracing::info!(
                target: "filter_trace",
                request_id = id,
                plugin,
                version,
                hook = %hook,
                microseconds,
                changed,
                outcome,
                "{} of {count}",
                at + 1
            );
        }
        let status = view.response.as_ref().and_then(|head| head.status).map_or(0, |status| status.as_u16());
        let cluster = view.facts.cluster.as_ref().map_or("-", |cluster| &cluster.name);
        let milliseconds = view.facts.duration.unwrap_or_default().as_millis();
        let left_out = self.left_out;
        tracing::info!(target: "filter_trace", request_id = id, status, cluster, milliseconds, left_out, "end");
    }
}

fn outcome(run: &HookRun<'_>) -> String {
    match (run.fault, run.returned) {
        (Some(fault), _) => format!("fault: {}", fault.reason),
        (None, None) => String::new(),
        (None, Some(value)) => match (run.hook, value) {
            (Hook::Done, _) => format!("returned {value}"),
            (_, 0) => "continue".to_owned(),
            (_, 1) => "pause".to_owned(),
            (_, other) => format!("returned {other}"),
        },
    }
}

/// What a hostcall did to the world, in words; `None`: it only looked, or was refused.
fn effect(call: &Hostcall<'_>) -> Option<String> {
    if call.status != 0 {
        return None;
    }
    let subject = String::from_utf8_lossy(call.subject).replace('\0', ".");
    let first = || call.arguments.first().and_then(|value| u32::try_from(*value).ok()).unwrap_or_default();
    let part = || match MapType::from_abi(first()) {
        Some(MapType::RequestHeaders) => "request header",
        Some(MapType::RequestTrailers) => "request trailer",
        Some(MapType::ResponseHeaders) => "response header",
        Some(MapType::ResponseTrailers) => "response trailer",
        _ => "field",
    };
    let direction = || if first() == 0 { "request" } else { "response" };
    Some(match call.name {
        "proxy_add_header_map_value" => format!("added {} {subject}", part()),
        "proxy_replace_header_map_value" => format!("set {} {subject}", part()),
        "proxy_remove_header_map_value" => format!("removed {} {subject}", part()),
        "proxy_set_header_map_pairs" => format!("replaced every {}", part()),
        "proxy_set_buffer_bytes" => format!("changed the {} body", direction()),
        "proxy_set_property" => format!("set property {subject}"),
        "proxy_send_local_response" => format!("answered {}", first()),
        "proxy_continue_stream" => format!("let the {} go on", direction()),
        "proxy_continue_request" => "let the request go on".to_owned(),
        "proxy_continue_response" => "let the response go on".to_owned(),
        "proxy_close_stream" => "reset the exchange".to_owned(),
        "proxy_clear_route_cache" => "cleared the route".to_owned(),
        "proxy_http_call" | "proxy_grpc_call" | "proxy_grpc_stream" => format!("called out to {subject}"),
        "proxy_set_shared_data" => format!("stored shared data {subject}"),
        "proxy_enqueue_shared_queue" => format!("put an item into queue {}", first()),
        "proxy_call_foreign_function" => format!("called {subject}"),
        "proxy_log" => format!("logged {} bytes", call.subject.len()),
        _ => return None,
    })
}
