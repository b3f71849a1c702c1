//! What passes the boundary between guest and host, as plain values: what reports of faults, a trace of a request's
//! filters, and the cost of hooks are made from.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::abi::Status;
use crate::fault::Fault;
use crate::hooks::Hook;
use crate::host::Host;
use crate::hostcalls::Call;
use crate::limits;

/// Something that passed the boundary.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A guest called and was answered. Told only while the host watches.
    Hostcall(Hostcall<'a>),
    /// A hook is over. Told while the host watches, for a sample of all others, and whenever it ended its VM.
    Hook(HookRun<'a>),
}

/// A hostcall with its answer.
#[derive(Clone, Copy, Debug)]
pub struct Hostcall<'a> {
    /// The hook that the guest is in.
    pub hook: Hook,
    /// The import, `proxy_get_property`.
    pub name: &'static str,
    /// As the guest passed them.
    pub arguments: &'a [i64],
    /// What the call is about: the header's name, the property's path, the text of a log line, the cluster. Empty for
    /// calls that are about nothing with a name.
    pub subject: &'a [u8],
    /// The status that the guest got.
    pub status: u32,
}

/// A hook from entry to return.
#[derive(Clone, Copy, Debug)]
pub struct HookRun<'a> {
    pub hook: Hook,
    /// What it returned, as the ABI counts; `None`: it returns nothing, or faulted.
    pub returned: Option<u32>,
    /// CPU time of the thread.
    pub cpu: Duration,
    /// How many hooks of this VM this one stands for; 0: it was told for another reason than as a sample.
    pub weight: u32,
    pub fault: Option<&'a Fault>,
}

/// The last hostcalls of a hook, kept for the report of a fault: SDKs panic on statuses they do not expect.
#[derive(Clone, Debug)]
pub(crate) struct Recent {
    calls: [(Call, u8); limits::RECENT_CALLS],
    count: usize,
}

impl Recent {
    pub(crate) fn new() -> Self {
        Self { calls: [(Call::Log, 0); limits::RECENT_CALLS], count: 0 }
    }

    #[inline]
    pub(crate) fn clear(&mut self) {
        self.count = 0;
    }

    #[inline]
    pub(crate) fn push(&mut self, call: Call, status: u32) {
        if let Some(place) = self.calls.get_mut(self.count % limits::RECENT_CALLS) {
            *place = (call, status as u8);
        }
        self.count += 1;
    }

    fn in_order(&self) -> VecDeque<(Call, u8)> {
        let mut calls = VecDeque::from(self.calls);
        calls.rotate_left(self.count % limits::RECENT_CALLS);
        calls.drain(..limits::RECENT_CALLS.saturating_sub(self.count));
        calls
    }
}

impl fmt::Display for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (call, status)) in self.in_order().into_iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            write!(f, "{separator}{} {}", call.name(), Status::name_of(status.into()))?;
        }
        Ok(())
    }
}

/// Chooses the hooks whose CPU time is measured: one in `limits::SAMPLE_EVERY` on average, at random distances, so
/// that no rhythm of hooks hides behind the rhythm of samples.
///
/// Reading the thread's CPU clock takes as long as ten empty hooks. A hook is therefore measured by the wall clock as
/// long as it is over so soon that the thread cannot have been descheduled in between; one that lasts is measured by
/// the thread's clock from its next sample on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sampler {
    left: u32,
    random: u32,
    /// Hooks that last, as bits.
    lasting: u32,
}

/// The beginning of a measured hook.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Begun {
    /// By the wall clock.
    Wall(Duration),
    /// By the thread's CPU clock.
    Cpu(Duration),
}

impl Sampler {
    pub(crate) fn new(seed: u64) -> Self {
        let mut sampler = Self { left: 0, random: (seed as u32) | 1, lasting: 0 };
        sampler.left = sampler.distance();
        sampler
    }

    /// The weight of the next hook; 0: it is not measured.
    #[inline]
    pub(crate) fn weigh(&mut self) -> u32 {
        self.left -= 1;
        if self.left > 0 {
            return 0;
        }
        self.left = self.distance();
        limits::SAMPLE_EVERY
    }

    /// Starts to measure.
    pub(crate) fn begin(&self, hook: Hook, host: &impl Host, exact: bool) -> Begun {
        if exact || self.lasting & (1 << hook as u32) != 0 {
            Begun::Cpu(host.thread_cpu())
        } else {
            Begun::Wall(host.monotonic_clock())
        }
    }

    /// What a hook took; `None`: the clock it was begun with cannot tell.
    pub(crate) fn end(&mut self, hook: Hook, host: &impl Host, begun: Begun) -> Option<Duration> {
        let (took, exact) = match begun {
            Begun::Wall(begun) => (host.monotonic_clock().saturating_sub(begun), false),
            Begun::Cpu(begun) => (host.thread_cpu().saturating_sub(begun), true),
        };
        let lasts = took >= limits::LASTING;
        self.lasting = self.lasting & !(1 << hook as u32) | (u32::from(lasts) << hook as u32);
        (exact || !lasts).then_some(took)
    }

    /// From 1 to twice the mean less one.
    fn distance(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random % (2 * limits::SAMPLE_EVERY - 1) + 1
    }
}

/// What guest functions return, as far as an event shows it.
pub(crate) trait Returned {
    fn returned(&self) -> Option<u32> {
        None
    }
}

impl Returned for u32 {
    fn returned(&self) -> Option<u32> {
        Some(*self)
    }
}

impl Returned for () {}
impl Returned for (u32, u32) {}
impl Returned for wasmtime::Instance {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_calls_are_kept_in_order() {
        let mut recent = Recent::new();
        recent.push(Call::Property, 1);
        recent.push(Call::MapValue, 0);
        assert_eq!(recent.to_string(), "proxy_get_property not_found, proxy_get_header_map_value ok");
        for _ in 0..limits::RECENT_CALLS {
            recent.push(Call::Log, 2);
        }
        assert_eq!(recent.in_order(), [(Call::Log, 2); limits::RECENT_CALLS]);
    }

    #[test]
    fn samples_stand_for_all_hooks_whatever_their_rhythm() {
        let mut sampler = Sampler::new(7);
        let (mut sum, mut even) = (0, 0);
        for hook in 0..1_000_000 {
            let weight = sampler.weigh();
            sum += weight;
            even += if hook % 2 == 0 { weight } else { 0 };
        }
        assert!((950_000..1_050_000).contains(&sum), "{sum}");
        assert!((475_000..525_000).contains(&even), "{even}");
    }
}
