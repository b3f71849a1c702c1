//! Foreign functions: ours, and those of Envoy's that an exchange needs. Unknown names answer "not found", so that a
//! filter can find out where it runs.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sidegate_wasm_host::abi::{LogLevel, Status};
use sidegate_wasm_host::{Host, StreamKey, VmSpec};

use super::env::{ConfigProblem, Env, Intent};
use crate::exchange::access_log::AccessLog;
use crate::snapshot::{Clusters, Node};

/// The id under which `sidegate_timer` calls back.
pub const TIMER_FUNCTION: u32 = 0x5347;
/// The longest delay of a timer.
const TIMER_MAX: Duration = Duration::from_secs(3600);

/// Calls a foreign function.
pub fn call(
    env: &mut Box<Env>,
    spec: &VmSpec,
    stream: Option<StreamKey>,
    name: &str,
    argument: &[u8],
    out: &mut Vec<u8>,
) -> Status {
    match name {
        "sidegate_timer" => timer(env, spec, argument, out),
        "sidegate_access_log" => access_log(env, stream, argument, out),
        "sidegate_config_problem" => config_problem(env, spec, argument),
        "clear_route_cache" => match stream.and_then(|key| env.view(key)) {
            Some(view) => {
                view.asked.route_cleared = true;
                Status::Ok
            }
            None => Status::Ok,
        },
        _ => Status::NotFound,
    }
}

/// Argument: delay in milliseconds as u32. Result: the timer's id as u32, which the call back carries.
fn timer(env: &mut Env, spec: &VmSpec, argument: &[u8], out: &mut Vec<u8>) -> Status {
    let Some(milliseconds) = argument.first_chunk::<4>() else { return Status::BadArgument };
    let delay = Duration::from_millis(u32::from_le_bytes(*milliseconds).into()).min(TIMER_MAX);
    let id = env.shared.timers.fetch_add(1, Ordering::Relaxed);
    env.outbox.push(Intent::Timer { tag: spec.tag, id, delay });
    out.extend_from_slice(&id.to_le_bytes());
    Status::Ok
}

/// With JSON `{path, format, json}`: defines a log and returns its handle. With a handle: writes the line of this
/// exchange.
fn access_log(env: &mut Env, stream: Option<StreamKey>, argument: &[u8], out: &mut Vec<u8>) -> Status {
    if let (Some(key), [a, b, c, d]) = (stream, argument) {
        return write_access_log(env, key, u32::from_le_bytes([*a, *b, *c, *d]));
    }
    let files = &env.shared.log_files;
    match AccessLog::open(argument, files).and_then(|_| files.define(argument)) {
        Ok(handle) => {
            out.extend_from_slice(&handle.to_le_bytes());
            Status::Ok
        }
        Err(problem) => {
            tracing::error!("access log refused: {problem}");
            Status::BadArgument
        }
    }
}

fn write_access_log(env: &mut Env, key: StreamKey, handle: u32) -> Status {
    let at = handle as usize;
    if env.access_logs.get(at).is_none_or(Option::is_none) {
        let files = &env.shared.log_files;
        let opened = files.definition(handle).and_then(|definition| AccessLog::open(&definition, files).ok());
        let Some(opened) = opened else { return Status::NotFound };
        if env.access_logs.len() <= at {
            env.access_logs.resize_with(at + 1, || None);
        }
        if let Some(slot) = env.access_logs.get_mut(at) {
            *slot = Some(opened);
        }
    }
    match (env.access_logs.get(at), env.views.get(key as usize)) {
        (Some(Some(log)), Some(view)) => {
            log.write(view);
            Status::Ok
        }
        _ => Status::NotFound,
    }
}

/// Argument: one byte severity (0 error, 1 warning), u16 pointer length, JSON pointer, text.
fn config_problem(env: &mut Box<Env>, spec: &VmSpec, argument: &[u8]) -> Status {
    let parsed = (|| {
        let (severity, rest) = argument.split_first()?;
        let (len, rest) = rest.split_first_chunk::<2>()?;
        let (pointer, text) = rest.split_at_checked(u16::from_le_bytes(*len).into())?;
        Some(ConfigProblem {
            warning: *severity != 0,
            pointer: String::from_utf8_lossy(pointer).into_owned(),
            text: String::from_utf8_lossy(text).into_owned(),
        })
    })();
    let Some(problem) = parsed else { return Status::BadArgument };
    let level = if problem.warning { LogLevel::Warn } else { LogLevel::Debug };
    let line = format!("configuration {}: {}", problem.pointer, problem.text);
    env.log(spec, None, level, line.as_bytes());
    env.reports.push(problem);
    Status::Ok
}

/// Properties of the proxy itself.
pub fn node_property(node: &Node, clusters: &Clusters, path: &[u8], out: &mut Vec<u8>) -> Status {
    if path == b"sidegate.clusters" {
        out.extend_from_slice(clusters.listing.as_bytes());
        return Status::Ok;
    }
    let path = match path.strip_prefix(b"xds\0") {
        Some(path) => path,
        None => path,
    };
    let Some(rest) = path.strip_prefix(b"node") else { return Status::NotFound };
    let mut segments = rest.split(|byte| *byte == 0).skip(1);
    match segments.next() {
        Some(b"id") => out.extend_from_slice(node.id.as_bytes()),
        Some(b"cluster") => out.extend_from_slice(node.cluster.as_bytes()),
        Some(b"metadata") => {
            let mut value = None;
            let mut map = Some(&node.metadata);
            for segment in segments {
                let key = String::from_utf8_lossy(segment);
                value = map.and_then(|map| map.get(key.as_ref()));
                if value.is_none() {
                    return Status::NotFound;
                }
                map = value.and_then(serde_json::Value::as_object);
            }
            return match value {
                Some(value) => json_property(value, out),
                None => Status::NotFound,
            };
        }
        _ => return Status::NotFound,
    }
    Status::Ok
}

/// Text raw, booleans one byte, numbers eight, a map as pairs of its texts.
fn json_property(value: &serde_json::Value, out: &mut Vec<u8>) -> Status {
    match value {
        serde_json::Value::String(text) => out.extend_from_slice(text.as_bytes()),
        serde_json::Value::Bool(flag) => out.push(u8::from(*flag)),
        serde_json::Value::Number(number) => {
            out.extend_from_slice(&number.as_f64().unwrap_or_default().to_le_bytes());
        }
        serde_json::Value::Object(map) => {
            let pairs: Vec<(&str, String)> = map
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
                .collect();
            sidegate_wasm_host::pairs::encode_list(&pairs, out);
        }
        serde_json::Value::Null => return Status::NotFound,
        serde_json::Value::Array(_) => return Status::SerializationFailure,
    }
    Status::Ok
}
