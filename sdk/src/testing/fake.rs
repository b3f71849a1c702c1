//! The fake host's side of the ABI, with the codes that real hosts return.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::config::{Problem, Severity};
use crate::host::Hook;
use crate::log::Level;
use crate::pairs;
use crate::testing::ROOT;
use crate::testing::world::{State, World};
use crate::testing::{GrpcSent, LogLine, Message, Reply, Sent};

const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const BAD_ARGUMENT: u32 = 2;
const PARSE_FAILURE: u32 = 4;
const CAS_MISMATCH: u32 = 8;

thread_local! {
    static CURRENT: RefCell<Rc<World>> = RefCell::default();
}

/// Makes a world the one that hostcalls reach.
pub(crate) fn enter(world: &Rc<World>) {
    CURRENT.with(|current| *current.borrow_mut() = Rc::clone(world));
}

fn with<R>(act: impl FnOnce(&mut State) -> R) -> R {
    let world = CURRENT.with(|current| Rc::clone(&current.borrow()));
    world.with(act)
}

// === the hostcalls, as in abi.rs ===

pub(crate) fn log(level: u32, text: &str) {
    let level = match level {
        0 => Level::Trace,
        1 => Level::Debug,
        2 => Level::Info,
        3 => Level::Warn,
        4 => Level::Error,
        _ => Level::Critical,
    };
    with(|state| state.logs.push(LogLine { level, text: text.to_owned() }));
}

pub(crate) fn proxy_get_log_level(level: &mut u32) -> u32 {
    *level = Level::Info as u32;
    OK
}

pub(crate) fn proxy_get_current_time_nanoseconds(time: &mut u64) -> u32 {
    *time = with(|state| state.now);
    OK
}

pub(crate) fn proxy_set_tick_period_milliseconds(period: u32) -> u32 {
    with(|state| {
        let period = u64::from(period) * 1_000_000;
        state.tick = (period > 0).then_some((period, state.now + period));
    });
    OK
}

pub(crate) fn proxy_set_effective_context(id: u32) -> u32 {
    if id == ROOT || with(|state| state.live.is_open && state.live.id == id) { OK } else { BAD_ARGUMENT }
}

pub(crate) fn proxy_continue_stream(kind: u32) -> u32 {
    with(|state| match kind {
        0 => state.live.request_continued = true,
        _ => state.live.response_continued = true,
    });
    OK
}

pub(crate) fn proxy_increment_metric(id: u32, offset: i64) -> u32 {
    with(|state| match state.series.get(id as usize).cloned() {
        Some((0, _)) if offset <= 0 => BAD_ARGUMENT,
        Some((0 | 1, name)) => {
            let value = state.values.entry(name).or_default();
            *value = value.wrapping_add_signed(offset);
            OK
        }
        Some(_) => BAD_ARGUMENT,
        None => NOT_FOUND,
    })
}

pub(crate) fn proxy_record_metric(id: u32, value: u64) -> u32 {
    with(|state| match state.series.get(id as usize).cloned() {
        Some((1, name)) => {
            state.values.insert(name, value);
            OK
        }
        Some((_, name)) => {
            *state.values.entry(name).or_default() += 1;
            OK
        }
        None => NOT_FOUND,
    })
}

pub(crate) fn proxy_get_metric(id: u32, value: &mut u64) -> u32 {
    with(|state| match state.series.get(id as usize).and_then(|(_, name)| state.values.get(name)) {
        Some(found) => {
            *value = *found;
            OK
        }
        None => NOT_FOUND,
    })
}

pub(crate) fn define_metric(kind: u32, name: &str, id: &mut u32) -> u32 {
    with(|state| {
        *id = u32::try_from(state.series.len()).unwrap_or(u32::MAX);
        state.series.push((kind, name.to_owned()));
        state.values.entry(name.to_owned()).or_default();
    });
    OK
}

pub(crate) fn property(_: &Hook, path: &str) -> (u32, Vec<u8>) {
    with(|state| state.property(path)).map_or((NOT_FOUND, Vec::new()), |value| (OK, value))
}

pub(crate) fn set_property(path: &str, value: &[u8]) -> u32 {
    with(|state| {
        if !state.live.is_open {
            return NOT_FOUND;
        }
        state.live.set.insert(path.to_owned(), value.to_vec());
        OK
    })
}

pub(crate) fn header(_: &Hook, map: u32, name: &str) -> (u32, Vec<u8>) {
    with(|state| match state.map(map) {
        None => (BAD_ARGUMENT, Vec::new()),
        Some(headers) => match headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)) {
            Some((_, value)) => (OK, value.as_bytes().to_vec()),
            None => (NOT_FOUND, Vec::new()),
        },
    })
}

pub(crate) fn header_pairs(_: &Hook, map: u32) -> (u32, Vec<u8>) {
    with(|state| match state.map(map) {
        None => (OK, Vec::new()),
        Some(headers) => (OK, pairs::encode(headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())))),
    })
}

fn change(map: u32, act: impl FnOnce(&mut Vec<(String, String)>)) -> u32 {
    with(|state| match state.map(map) {
        None => BAD_ARGUMENT,
        Some(headers) => {
            act(headers);
            OK
        }
    })
}

pub(crate) fn add_header(map: u32, name: &str, value: &[u8]) -> u32 {
    change(map, |headers| headers.push((name.to_ascii_lowercase(), String::from_utf8_lossy(value).into_owned())))
}

pub(crate) fn replace_header(map: u32, name: &str, value: &[u8]) -> u32 {
    let value = String::from_utf8_lossy(value).into_owned();
    change(map, |headers| {
        let first = headers.iter().position(|(key, _)| key.eq_ignore_ascii_case(name));
        match first.and_then(|index| headers.get_mut(index)) {
            Some(entry) => entry.1 = value,
            None => headers.push((name.to_ascii_lowercase(), value)),
        }
        let mut index = 0;
        headers.retain(|(key, _)| {
            index += 1;
            !key.eq_ignore_ascii_case(name) || Some(index - 1) == first || first.is_none()
        });
    })
}

pub(crate) fn remove_header(map: u32, name: &str) -> u32 {
    change(map, |headers| headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name)))
}

pub(crate) fn buffer(_: &Hook, kind: u32, start: usize, max: usize) -> (u32, Vec<u8>) {
    let fired = with(|state| state.fired.to_le_bytes());
    with(|state| {
        let bytes: &[u8] = match kind {
            0 | 1 => {
                let (body, window) = state.live.body(kind == 0);
                body.get(window.start..).unwrap_or_default()
            }
            4 => &state.callout_answer.1,
            5 => &state.grpc_answer,
            7 => &state.config,
            8 => &fired,
            _ => return (BAD_ARGUMENT, Vec::new()),
        };
        (OK, bytes.iter().skip(start).take(max).copied().collect())
    })
}

pub(crate) fn set_buffer(kind: u32, start: usize, len: usize, bytes: &[u8]) -> u32 {
    with(|state| {
        if kind > 1 || start != 0 {
            return BAD_ARGUMENT;
        }
        let (body, window) = state.live.body(kind == 0);
        let start = window.start.min(body.len());
        body.splice(start..start.saturating_add(len).min(body.len()), bytes.iter().copied());
        OK
    })
}

pub(crate) fn local_response(status: u32, details: &str, body: &[u8], headers: &[u8], grpc_status: i32) -> u32 {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = pairs::decode(headers).map(|(name, value)| (text(name), text(value))).collect();
    let reply = Reply {
        status: u16::try_from(status).unwrap_or(0),
        message: Message { headers, body: body.to_vec() },
        details: details.to_owned(),
        grpc_status,
    };
    with(|state| state.live.reply.get_or_insert(reply).status);
    OK
}

pub(crate) fn http_call(upstream: &str, headers: &[u8], body: &[u8], timeout_ms: u32, id: &mut u32) -> u32 {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers: Vec<_> = pairs::decode(headers).map(|(name, value)| (text(name), text(value))).collect();
    with(|state| {
        if !state.answers.contains_key(upstream) {
            return BAD_ARGUMENT;
        }
        state.ids += 1;
        *id = state.ids;
        let message = Message { headers, body: body.to_vec() };
        let timeout = Duration::from_millis(u64::from(timeout_ms));
        let sent = Sent { cluster: upstream.to_owned(), message, timeout };
        state.sent.push(sent.clone());
        state.pending.push((*id, sent));
        OK
    })
}

pub(crate) fn grpc_call(
    upstream: &str,
    [service, method]: [&str; 2],
    metadata: &[u8],
    message: &[u8],
    timeout_ms: u32,
    id: &mut u32,
) -> u32 {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let sent = GrpcSent {
        cluster: upstream.to_owned(),
        service: service.to_owned(),
        method: method.to_owned(),
        metadata: pairs::decode(metadata).map(|(name, value)| (text(name), text(value))).collect(),
        message: message.to_vec(),
        timeout: Duration::from_millis(u64::from(timeout_ms)),
    };
    with(|state| {
        if !state.grpc_answers.contains_key(upstream) {
            return PARSE_FAILURE;
        }
        state.ids += 1;
        *id = state.ids;
        state.grpc_sent.push(sent.clone());
        state.grpc_pending.push((*id, sent));
        OK
    })
}

pub(crate) fn status_text(_: &Hook) -> (u32, Vec<u8>) {
    (OK, with(|state| state.grpc_status.clone().into_bytes()))
}

pub(crate) fn shared_data(_: &Hook, key: &str, cas: &mut u32) -> (u32, Vec<u8>) {
    with(|state| match state.shared.get(key) {
        Some((value, version)) => {
            *cas = *version;
            (OK, value.clone())
        }
        None => (NOT_FOUND, Vec::new()),
    })
}

pub(crate) fn set_shared_data(key: &str, value: &[u8], cas: u32) -> u32 {
    with(|state| {
        state.ids += 1;
        let version = state.ids;
        match state.shared.get(key) {
            Some((_, current)) if cas != 0 && cas != *current => CAS_MISMATCH,
            _ => {
                state.shared.insert(key.to_owned(), (value.to_vec(), version));
                OK
            }
        }
    })
}

pub(crate) fn foreign(_: &Hook, name: &str, argument: &[u8]) -> (u32, Vec<u8>) {
    if let Some(function) = with(|state| state.functions.get(name).cloned()) {
        return function(argument).map_or((BAD_ARGUMENT, Vec::new()), |answer| (OK, answer));
    }
    with(|state| match name {
        "clear_route_cache" => (OK, Vec::new()),
        // Kept for the test in every host, since it is what `configure` returns.
        "sidegate_config_problem" => {
            if let Some(problem) = read_problem(argument) {
                state.problems.push(problem);
            }
            (if state.is_foreign { NOT_FOUND } else { OK }, Vec::new())
        }
        _ if state.is_foreign => (NOT_FOUND, Vec::new()),
        "sidegate_timer" => {
            let milliseconds = argument.first_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes));
            state.ids += 1;
            state.timers.push((state.ids, state.now + u64::from(milliseconds) * 1_000_000));
            (OK, state.ids.to_le_bytes().to_vec())
        }
        "sidegate_token_bucket" => match take_tokens(state, argument) {
            Some(answer) => (OK, answer),
            None => (BAD_ARGUMENT, Vec::new()),
        },
        "sidegate_access_log" => match argument.first_chunk::<4>().filter(|_| argument.len() == 4) {
            Some(handle) => {
                state.live.access_logs.push(u32::from_le_bytes(*handle));
                (OK, Vec::new())
            }
            None => {
                state.access_logs += 1;
                (OK, state.access_logs.to_le_bytes().to_vec())
            }
        },
        "sidegate_span" => {
            state.spans = Some(String::from_utf8_lossy(argument).into_owned());
            (OK, Vec::new())
        }
        "sidegate_peer_metadata" | "sidegate_bodies" => (OK, Vec::new()),
        _ => (NOT_FOUND, Vec::new()),
    })
}

fn take_tokens(state: &mut State, argument: &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = argument.split_first_chunk::<4>()?;
    let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let mut numbers = rest.chunks_exact(8).map(|eight| eight.try_into().map_or(0, u64::from_le_bytes));
    let (most, per_fill, interval) = (numbers.next()?, numbers.next()?, numbers.next()?.checked_mul(1_000_000)?);
    let tokens = numbers.next()?;
    if most == 0 || per_fill == 0 || interval == 0 {
        return None;
    }
    let (held, filled) = state.buckets.entry(key.to_vec()).or_insert((most, state.now));
    let fills = state.now.saturating_sub(*filled) / interval;
    *held = held.saturating_add(fills.saturating_mul(per_fill)).min(most);
    *filled = if *held == most { state.now } else { *filled + fills * interval };
    let allowed = tokens <= *held;
    *held -= if allowed { tokens } else { 0 };
    let wait = if *held < most { (*filled + interval).saturating_sub(state.now).div_ceil(1_000_000) } else { 0 };
    let mut answer = vec![u8::from(allowed)];
    answer.extend_from_slice(&held.to_le_bytes());
    answer.extend_from_slice(&wait.to_le_bytes());
    Some(answer)
}

fn read_problem(argument: &[u8]) -> Option<Problem> {
    let (severity, rest) = argument.split_first()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (pointer, text) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    Some(Problem {
        severity: if *severity == 0 { Severity::Error } else { Severity::Warning },
        pointer: String::from_utf8_lossy(pointer).into_owned(),
        text: String::from_utf8_lossy(text).into_owned(),
    })
}
