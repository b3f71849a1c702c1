//! Log, time, timer, metrics, shared data, queues, foreign functions.

use std::time::Duration;

use wasmtime::Caller;

use super::answer;
use crate::abi::{LogLevel, MetricKind, Status};
use crate::bodies::{self, Bodies};
use crate::hooks::Hook;
use crate::host::{ForeignCall, Host};
use crate::limits;
use crate::memory::{self, give, give_where_asked, slice, split, write_u32, write_u64};
use crate::state::{Delivery, State};

pub(super) fn log<H: Host>(caller: &mut Caller<'_, State<H>>, level: u32, ptr: u32, len: u32) -> wasmtime::Result<u32> {
    let (memory, state) = split(caller);
    answer(LogLevel::from_abi(level).ok_or(Status::BadArgument).and_then(|level| {
        let text = slice(memory, ptr, len)?;
        write_log(state, level, text);
        Ok(())
    }))
}

pub(super) fn write_log<H: Host>(state: &mut State<H>, level: LogLevel, text: &[u8]) {
    let stream = state.contexts.acting_stream().map(|context| context.stream);
    let State { host, spec, .. } = state;
    host.log(spec, stream, level, text);
}

pub(super) fn log_level<H: Host>(caller: &mut Caller<'_, State<H>>, out: u32) -> wasmtime::Result<u32> {
    let (memory, state) = split(caller);
    answer(write_u32(memory, out, state.host.log_level() as u32))
}

pub(super) fn current_time<H: Host>(caller: &mut Caller<'_, State<H>>, out: u32) -> wasmtime::Result<u32> {
    let (memory, state) = split(caller);
    answer(write_u64(memory, out, nanos(state.host.wall_clock())))
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

//= proxy-wasm 0.2.1 #proxy_set_tick_period_milliseconds: acts on the root, also from a stream; 0 stops.
pub(super) fn set_tick<H: Host>(caller: &mut Caller<'_, State<H>>, milliseconds: u32) -> wasmtime::Result<u32> {
    let state = caller.data_mut();
    let period = (milliseconds > 0).then(|| Duration::from_millis(milliseconds.into()).max(limits::TIMER_MIN));
    let State { host, spec, .. } = state;
    host.tick(spec, period);
    answer(Ok(()))
}

/// ABI 0.1.0: the plugin configuration inside `on_configure`, the VM's elsewhere.
pub(super) fn configuration<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    out: u32,
    out_len: u32,
) -> wasmtime::Result<u32> {
    let status = give(caller, out, out_len, |_, state, value| {
        value.extend_from_slice(match state.delivery {
            Delivery::PluginConfiguration => state.spec.configuration.as_deref().unwrap_or_default(),
            _ => &state.spec.vm_configuration,
        });
        Ok(())
    })?;
    Ok(status as u32)
}

//= proxy-wasm 0.2.1 #proxy_get_shared_data
pub(super) fn shared_data<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    key: u32,
    key_len: u32,
    out: u32,
    out_len: u32,
    out_cas: u32,
) -> wasmtime::Result<u32> {
    let mut cas = 0;
    let status = give(caller, out, out_len, |memory, state, value| {
        let key = slice(memory, key, key_len)?;
        cas = state.host.shared().read(&state.spec.vm_id, key, value)?;
        Ok(())
    })?;
    if status != Status::Ok {
        return answer(Err(status));
    }
    let (memory, _) = split(caller);
    answer(write_u32(memory, out_cas, cas))
}

pub(super) fn set_shared_data<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    key: u32,
    key_len: u32,
    value: u32,
    value_len: u32,
    cas: u32,
) -> wasmtime::Result<u32> {
    let (memory, state) = split(caller);
    answer(slice(memory, key, key_len).and_then(|key| {
        let value = slice(memory, value, value_len)?;
        let spec = &state.spec;
        match state.host.shared().write(&spec.vm_id, key, value, cas, spec.shared_data) {
            Status::Ok => Ok(()),
            status => Err(status),
        }
    }))
}

pub(super) fn register_queue<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    name: u32,
    name_len: u32,
    out_id: u32,
) -> wasmtime::Result<u32> {
    let (memory, state) = split(caller);
    answer((|| {
        let name = slice(memory, name, name_len)?;
        let id = state.host.shared().register_queue(&state.spec.vm_id, name)?;
        if state.hook.prepares() {
            // A VM that is refused, or waits as a spare, must not take anything from the one that serves.
            state.queues.push(id);
        } else {
            state.host.shared().own_queue(id, state.host.vm_identity(&state.spec));
        }
        write_u32(memory, out_id, id)
    })())
}

//= proxy-wasm 0.2.1 #proxy_resolve_shared_queue: an empty vm id means the caller's own.
pub(super) fn resolve_queue<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    vm: u32,
    vm_len: u32,
    name: u32,
    name_len: u32,
    out_id: u32,
) -> wasmtime::Result<u32> {
    let (memory, state) = split(caller);
    answer((|| {
        let vm = memory::name(memory, vm, vm_len, Status::NotFound)?;
        let vm = if vm.is_empty() { state.spec.vm_id.as_str() } else { vm.as_ref() };
        let id = state.host.shared().resolve_queue(vm, slice(memory, name, name_len)?)?;
        write_u32(memory, out_id, id)
    })())
}

pub(super) fn enqueue<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    id: u32,
    value: u32,
    len: u32,
) -> wasmtime::Result<u32> {
    let (memory, state) = split(caller);
    answer(slice(memory, value, len).and_then(|value| {
        if let Some(owner) = state.host.shared().enqueue(id, value)? {
            state.host.queue_ready(owner, id);
        }
        Ok(())
    }))
}

pub(super) fn dequeue<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    id: u32,
    out: u32,
    out_len: u32,
) -> wasmtime::Result<u32> {
    let status = give(caller, out, out_len, |_, state, value| {
        *value = state.host.shared().dequeue(id)?;
        Ok(())
    })?;
    Ok(status as u32)
}

/// A metric id: the low two bits are the kind, the rest counts from one.
fn metric_id(kind: MetricKind, index: usize) -> u32 {
    ((index as u32 + 1) << 2) | kind as u32
}

//= proxy-wasm 0.2.1 #proxy_define_metric: defining a name again gives a new id onto the same series.
pub(super) fn define_metric<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    kind: u32,
    name: u32,
    name_len: u32,
    out_id: u32,
) -> wasmtime::Result<u32> {
    let (memory, state) = split(caller);
    answer((|| {
        let kind = MetricKind::from_abi(kind).ok_or(Status::BadArgument)?;
        let name = slice(memory, name, name_len)?;
        // What is too long for a series is not read to its end.
        let name = name.get(..=limits::SERIES_NAME_BYTES).unwrap_or(name);
        let name = String::from_utf8_lossy(name).into_owned();
        let handle = state.host.metric(&state.spec, kind, &name)?;
        let handles = match kind {
            MetricKind::Counter => &mut state.metrics.counters,
            MetricKind::Gauge => &mut state.metrics.gauges,
            MetricKind::Histogram => &mut state.metrics.histograms,
        };
        if handles.len() >= limits::METRIC_IDS {
            // A guest that defines the same series for ever gets the same id for ever.
            let index = handles.iter().position(|known| *known == handle).ok_or(Status::InternalFailure)?;
            return write_u32(memory, out_id, metric_id(kind, index));
        }
        handles.push(handle);
        let index = handles.len() - 1;
        write_u32(memory, out_id, metric_id(kind, index))
    })())
}

fn metric_of<H: Host>(state: &State<H>, id: u32) -> Option<(MetricKind, u32)> {
    let kind = MetricKind::from_abi(id & 3)?;
    let handles = match kind {
        MetricKind::Counter => &state.metrics.counters,
        MetricKind::Gauge => &state.metrics.gauges,
        MetricKind::Histogram => &state.metrics.histograms,
    };
    let index = (id >> 2).checked_sub(1)? as usize;
    handles.get(index).map(|handle| (kind, *handle))
}

/// What an unknown id is answered where histograms are not allowed.
fn unknown_metric(id: u32) -> Status {
    if matches!(id & 3, 2 | 3) { Status::BadArgument } else { Status::NotFound }
}

pub(super) fn increment_metric<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    id: u32,
    delta: i64,
) -> wasmtime::Result<u32> {
    let state = caller.data_mut();
    answer(match metric_of(state, id) {
        Some((MetricKind::Counter, _)) if delta <= 0 => Err(Status::BadArgument),
        Some((MetricKind::Counter | MetricKind::Gauge, handle)) => {
            state.host.metric_add(handle, delta);
            Ok(())
        }
        Some((MetricKind::Histogram, _)) => Err(Status::BadArgument),
        None => Err(unknown_metric(id)),
    })
}

//= proxy-wasm 0.2.1 #proxy_record_metric: on a counter it adds.
pub(super) fn record_metric<H: Host>(caller: &mut Caller<'_, State<H>>, id: u32, value: u64) -> wasmtime::Result<u32> {
    let state = caller.data_mut();
    answer(match metric_of(state, id) {
        Some((MetricKind::Gauge, handle)) => {
            state.host.metric_set(handle, value);
            Ok(())
        }
        Some((MetricKind::Counter | MetricKind::Histogram, handle)) => {
            state.host.metric_add(handle, value.cast_signed());
            Ok(())
        }
        None => Err(Status::NotFound),
    })
}

pub(super) fn metric<H: Host>(caller: &mut Caller<'_, State<H>>, id: u32, out: u32) -> wasmtime::Result<u32> {
    let (memory, state) = split(caller);
    answer(match metric_of(state, id) {
        Some((MetricKind::Histogram, _)) => Err(Status::BadArgument),
        Some((_, handle)) => write_u64(memory, out, state.host.metric_value(handle)),
        None => Err(unknown_metric(id)),
    })
}

//= proxy-wasm 0.2.1 #proxy_call_foreign_function: the result pointers may be 0.
pub(super) fn foreign_function<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    name: u32,
    name_len: u32,
    argument: u32,
    argument_len: u32,
    out: u32,
    out_len: u32,
) -> wasmtime::Result<u32> {
    let (memory, state) = split(caller);
    let mut result = Vec::new();
    let status = (|| {
        let name = std::str::from_utf8(slice(memory, name, name_len)?).map_err(|_| Status::NotFound)?;
        let argument = slice(memory, argument, argument_len)?;
        if name == bodies::FUNCTION {
            // Hooks are bound for the life of the VM.
            let said = (state.hook == Hook::Configure).then(|| Bodies::read(argument)).flatten();
            state.bodies = said.ok_or(Status::BadArgument)?;
            return Ok(Status::Ok);
        }
        let stream = state.contexts.acting_stream().map(|context| (context.stream, context.open));
        let State { host, spec, kept, .. } = state;
        host.foreign(ForeignCall { spec, stream, kept, name, argument }, &mut result).ok_or(Status::NotFound)
    })();
    // A function that is unknown, or a name or argument that cannot be read, writes nothing; what fails has an empty
    // result.
    let status = match status {
        Ok(Status::Ok) => Ok(()),
        Ok(failed) => Err(failed),
        Err(unasked) => return answer(Err(unasked)),
    };
    let result = if status.is_ok() { result.as_slice() } else { &[] };
    let placed = give_where_asked(caller, out, out_len, result)?;
    answer(if placed == Status::Ok { status } else { Err(placed) })
}
