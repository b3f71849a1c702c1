//! Foreign functions: ours and Envoy's. Unknown names answer "not found", so that a filter can find out where it runs.
//! The layouts of ours stand in docs/foreign-functions.md.

mod compression;
pub mod expression;
mod filter_state;
mod signature;
mod token_bucket;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sidegate_wasm_host::abi::{LogLevel, Status};
use sidegate_wasm_host::{ForeignCall, Host, StreamKey, VmSpec};

use self::expression::Attributes;
use super::env::{ConfigProblem, Env};
use super::intent::Intent;
use crate::exchange::access_log::AccessLog;
use crate::exchange::span::Rules;

/// The id under which `sidegate_timer` calls back.
pub const TIMER_FUNCTION: u32 = 0x5347;
/// The longest delay of a timer.
const TIMER_MAX: Duration = Duration::from_secs(3600);

/// Bytes kept of the text of a problem in a configuration.
const PROBLEM_BYTES: usize = 4 << 10;
/// Bytes of the definition of an access log.
const ACCESS_LOG_BYTES: usize = 64 << 10;

/// What the proxy keeps for a VM of its own: it ends with the VM, and is ready when the VM is.
#[derive(Debug, Default)]
pub(super) struct Guest {
    pub(super) declarations: filter_state::Declarations,
    expressions: expression::Expressions,
}

/// Calls a foreign function; `None` when there is none of this name.
pub fn call(env: &mut Box<Env>, call: ForeignCall<'_>, out: &mut Vec<u8>) -> Option<Status> {
    let ForeignCall { spec, stream, kept, name, argument } = call;
    let key = stream.map(|(key, _)| key);
    let Some(guest) = kept.value::<Guest>() else { return Some(Status::InternalFailure) };
    Some(match name {
        "clear_route_cache" => {
            if let Some(view) = key.and_then(|key| env.view(key)) {
                view.asked.route_cleared = true;
            }
            Status::Ok
        }
        "compress" => compression::compress(argument, out),
        "uncompress" => compression::uncompress(argument, out),
        "verify_signature" => signature::verify(argument, out),
        "sign" => signature::sign(argument, out),
        "set_envoy_filter_state" => filter_state::set(key.and_then(|key| env.view(key)), argument),
        "declare_property" => filter_state::declare(guest, argument),
        "expr_create" => guest.expressions.create(argument, out),
        "expr_evaluate" => guest.expressions.evaluate(argument, &Attributes::of(env, spec, stream), out),
        "expr_delete" => guest.expressions.delete(argument),
        "sidegate_token_bucket" => {
            let now = env.shared.started.elapsed();
            token_bucket::call(&env.shared.data, &spec.vm_id, now, argument, out)
        }
        "sidegate_timer" => timer(env, spec, argument, out),
        "sidegate_access_log" => access_log(env, key, argument, out),
        "sidegate_span" => span(env, spec, key, argument),
        "sidegate_peer_metadata" => {
            env.shared.wishes.add(spec.tag, |wishes| wishes.introductions = true);
            Status::Ok
        }
        "sidegate_config_problem" => config_problem(env, spec, argument),
        _ => return None,
    })
}

/// Argument: delay in milliseconds as u32. Result: the timer's id as u32, which the call back carries.
fn timer(env: &mut Env, spec: &VmSpec, argument: &[u8], out: &mut Vec<u8>) -> Status {
    let Some(milliseconds) = argument.first_chunk::<4>() else { return Status::BadArgument };
    let delay = Duration::from_millis(u32::from_le_bytes(*milliseconds).into()).min(TIMER_MAX);
    if let Err(full) = env.has_room() {
        return full;
    }
    let id = env.shared.timers.fetch_add(1, Ordering::Relaxed);
    env.outbox.push(Intent::Timer { tag: spec.tag, id, delay });
    out.extend_from_slice(&id.to_le_bytes());
    Status::Ok
}

/// With JSON `{path, format, json, provider}`: defines a log and returns its handle. With a handle: writes the line of this
/// exchange.
fn access_log(env: &mut Env, stream: Option<StreamKey>, argument: &[u8], out: &mut Vec<u8>) -> Status {
    if let (Some(key), [a, b, c, d]) = (stream, argument) {
        return write_access_log(env, key, u32::from_le_bytes([*a, *b, *c, *d]));
    }
    if argument.len() > ACCESS_LOG_BYTES {
        return Status::BadArgument;
    }
    let files = &env.shared.log_files;
    match AccessLog::open(argument, files, &env.clusters).and_then(|_| files.define(argument)) {
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
        let opened = files.definition(handle).and_then(|definition| {
            AccessLog::open(&definition, files, &env.clusters).inspect_err(|problem| tracing::warn!("{problem}")).ok()
        });
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

/// Outside of an exchange: defines the spans of all exchanges that this plugin takes part in, as JSON of
/// [`Rules::parse`]. Inside one: adds tags to its span, as a JSON map of texts.
fn span(env: &mut Env, spec: &VmSpec, stream: Option<StreamKey>, argument: &[u8]) -> Status {
    if let Some(key) = stream {
        let Ok(tags) = serde_json::from_slice::<BTreeMap<String, String>>(argument) else {
            return Status::BadArgument;
        };
        if let Some(span) = env.view(key).and_then(|view| view.span.as_mut()) {
            tags.iter().for_each(|(name, value)| span.tag(name, value));
        }
        return Status::Ok;
    }
    let rules = Rules::parse(argument).and_then(|rules| {
        let unknown = rules.providers().find(|name| env.clusters.collector(name).is_none());
        match unknown {
            Some(name) => Err(format!("no opentelemetry provider is named {name}")),
            None => Ok(rules),
        }
    });
    match rules {
        Ok(rules) => {
            if rules.providers().next().is_some() {
                env.shared.spans.start(&env.shared.metrics);
            }
            env.shared.wishes.add(spec.tag, |wishes| wishes.spans = Some(rules.into()));
            Status::Ok
        }
        Err(problem) => {
            tracing::error!("spans refused: {problem}");
            Status::BadArgument
        }
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
            text: String::from_utf8_lossy(text.get(..PROBLEM_BYTES).unwrap_or(text)).into_owned(),
        })
    })();
    let Some(problem) = parsed else { return Status::BadArgument };
    let level = if problem.warning { LogLevel::Warn } else { LogLevel::Debug };
    let line = format!("configuration {}: {}", problem.pointer, problem.text);
    env.log(spec, None, level, line.as_bytes());
    env.reports.push(problem);
    Status::Ok
}
