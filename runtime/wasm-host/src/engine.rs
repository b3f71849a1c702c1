//! The process-wide wasmtime engine: one per policy, with its link tables and the clock of its CPU limit.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::{Config, InstanceAllocationStrategy, Linker, OptLevel, PoolingAllocationConfig};

use crate::abi::AbiVersion;
use crate::fault::harmless;
use crate::host::Host;
use crate::native::AnyMemory;
use crate::state::State;
use crate::{hostcalls, limits};

/// How far code is trusted. The policy is part of every compiled artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Filters that ship inside the binary: compiled without interruption points, for a baseline CPU.
    Builtin,
    /// Everything else: interrupted when a hook outlives its CPU time, compiled for this CPU.
    Foreign,
}

impl Policy {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Builtin => "builtin",
            Self::Foreign => "foreign",
        }
    }

    fn config(self) -> wasmtime::Result<Config> {
        let mut config = Config::new();
        config
            .cranelift_opt_level(OptLevel::Speed)
            .epoch_interruption(self == Self::Foreign)
            .max_wasm_stack(limits::STACK_BYTES)
            .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(limits::BACKTRACE_FRAMES))
            .wasm_wide_arithmetic(true)
            .wasm_memory64(false)
            .wasm_multi_memory(false)
            .relaxed_simd_deterministic(true)
            .cranelift_nan_canonicalization(true)
            // Only debuggers and profilers ask for it; a trap's trace does without.
            .native_unwind_info(false)
            .concurrency_support(false);
        if self == Self::Builtin {
            // Traps in our own filters are told by function; places in the module would double the artifact.
            config.generate_address_map(false);
            // Artifacts inside the binary must load on every machine of this architecture.
            config.target(&format!("{}-unknown-linux-gnu", std::env::consts::ARCH))?;
        }
        Ok(config)
    }
}

/// Compiles a module to an artifact for engines of this policy. Costs seconds of CPU for megabytes of code: not for
/// the process that serves.
pub fn compile(policy: Policy, wasm: &[u8]) -> Result<Vec<u8>, wasmtime::Error> {
    let artifact = wasmtime::Engine::new(&policy.config()?)?.precompile_module(wasm);
    // What is wrong with a module is told with its own names.
    artifact.map_err(|error| wasmtime::Error::msg(harmless(&format!("{error:#}"))))
}

/// One engine with its link tables. Cheap to clone.
pub struct Engine<H: Host> {
    inner: Arc<Inner<H>>,
}

struct Inner<H: Host> {
    policy: Policy,
    engine: wasmtime::Engine,
    linkers: Vec<(AbiVersion, Linker<State<H>>)>,
    clock: Option<Clock>,
}

impl<H: Host> Clone for Engine<H> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<H: Host> Engine<H> {
    /// `slots` is the number of VMs that may live at the same time; preparing one more is a fault of reason `Host`.
    pub fn new(policy: Policy, slots: u32) -> Result<Self, wasmtime::Error> {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_core_instances(slots)
            .total_memories(slots)
            .total_tables(slots.saturating_mul(4))
            .max_tables_per_module(4)
            .table_elements(limits::TABLE_ELEMENTS)
            .max_core_instance_size(4 << 20)
            .max_unused_warm_slots(16);
        let mut config = policy.config()?;
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        config.with_custom_code_memory(Some(Arc::new(AnyMemory)));
        let engine = wasmtime::Engine::new(&config)?;
        let linkers = AbiVersion::ALL
            .into_iter()
            .map(|abi| Ok((abi, hostcalls::table(&engine, abi)?)))
            .collect::<Result<_, wasmtime::Error>>()?;
        let clock = (policy == Policy::Foreign).then(|| Clock::start(&engine)).transpose()?;
        Ok(Self { inner: Arc::new(Inner { policy, engine, linkers, clock }) })
    }

    pub fn policy(&self) -> Policy {
        self.inner.policy
    }

    /// Distinguishes artifacts of different engine settings, for cache keys.
    pub fn compatibility(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.inner.engine.precompile_compatibility_hash().hash(&mut hasher);
        hasher.finish()
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.inner.engine
    }

    pub(crate) fn linker(&self, abi: AbiVersion) -> Option<&Linker<State<H>>> {
        self.inner.linkers.iter().find(|(version, _)| *version == abi).map(|(_, linker)| linker)
    }

    /// Counts the ticks of the clock, for stores that ask whether one has passed; none without a clock.
    pub(crate) fn ticks(&self) -> Ticks {
        Ticks { clock: self.inner.clock.as_ref().map(|clock| clock.shared.clone()), seen: 0 }
    }

    /// Tells the clock that a guest is about to run.
    #[inline]
    pub(crate) fn entered(&self) {
        if let Some(clock) = &self.inner.clock {
            clock.entered();
        }
    }
}

/// Advances the epoch once per tick while guests run, and rests while none does.
struct Clock {
    shared: Arc<ClockState>,
    thread: Thread,
}

/// What a store has seen of the clock.
#[derive(Default)]
pub(crate) struct Ticks {
    clock: Option<Arc<ClockState>>,
    seen: u32,
}

impl Ticks {
    /// Whether the clock has ticked since this was last asked.
    #[inline]
    pub(crate) fn passed(&mut self) -> bool {
        let now = self.clock.as_ref().map_or(0, |clock| clock.ticks.load(Ordering::Relaxed));
        std::mem::replace(&mut self.seen, now) != now
    }
}

#[derive(Default)]
struct ClockState {
    /// Wraps around.
    ticks: AtomicU32,
    /// A guest was entered since the last tick.
    active: AtomicBool,
    resting: AtomicBool,
}

impl Clock {
    /// Ticks without a guest after which the clock rests.
    const IDLE_TICKS: u32 = 64;
    /// How long a rest lasts at most.
    const REST: Duration = Duration::from_millis(20);

    fn start(engine: &wasmtime::Engine) -> Result<Self, wasmtime::Error> {
        let shared = Arc::new(ClockState::default());
        let (engine, state) = (engine.weak(), shared.clone());
        let handle = thread::Builder::new().name("wasm-clock".into()).spawn(move || {
            let mut idle = 0;
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                state.ticks.fetch_add(1, Ordering::Relaxed);
                drop(engine);
                idle = if state.active.swap(false, Ordering::Relaxed) { 0 } else { idle + 1 };
                if idle < Self::IDLE_TICKS {
                    thread::sleep(limits::TICK);
                } else {
                    state.resting.store(true, Ordering::SeqCst);
                    // A guest that came in between has seen nobody to wake.
                    if !state.active.load(Ordering::SeqCst) {
                        thread::park_timeout(Self::REST);
                    }
                    state.resting.store(false, Ordering::SeqCst);
                }
            }
        })?;
        Ok(Self { shared, thread: handle.thread().clone() })
    }

    #[inline]
    fn entered(&self) {
        // Read before write: the line stays shared between workers while the clock ticks.
        if !self.shared.active.load(Ordering::Relaxed) {
            self.shared.active.store(true, Ordering::SeqCst);
            if self.shared.resting.load(Ordering::SeqCst) {
                self.thread.unpark();
            }
        }
    }
}
