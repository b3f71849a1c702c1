//! Waiting for time to pass, and the root's own ticks, over one timer.
//!
//! Sidegate's timers fire one by one. Other hosts have a tick for the whole plugin: there a tick runs only while
//! something waits for it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::time::Duration;

use crate::host::{self, Buffer, Hook};
use crate::link::current;
use crate::waiting::Slot;

/// The function id under which Sidegate reports its timers.
pub(crate) const TIMER_FUNCTION: u32 = 0x5347;

/// Waits, at least a millisecond. In `handle` the request is held meanwhile.
///
/// ```
/// use std::time::Duration;
/// use sidegate_sdk::{Filter, Next, Request, Response, Result, config, filter, sleep, testing};
///
/// #[config]
/// struct Delay { milliseconds: u64 }
///
/// #[filter]
/// impl Filter for Delay {
///     async fn handle(&self, req: Request, next: Next) -> Result<Response> {
///         sleep(Duration::from_millis(self.milliseconds)).await;
///         next.run(req).await
///     }
/// }
///
/// let filter = testing::Filter::<Delay>::configure(r#"{"milliseconds": 250}"#).unwrap();
/// assert_eq!(filter.get("/").run().waited(), Duration::from_millis(250));
/// ```
pub async fn sleep(duration: Duration) {
    if !DECLARED.with(Cell::get) {
        crate::error!("this filter does not declare that it sleeps and goes on at once; write #[filter(sleep)]");
        return;
    }
    let slot = Rc::new(Slot::new());
    let milliseconds = u32::try_from(duration.as_millis()).unwrap_or(u32::MAX).max(1);
    let wake = timer(milliseconds).map_or_else(|| Wake::At(after(milliseconds)), Wake::Timer);
    let by_tick = matches!(wake, Wake::At(_));
    SLEEPERS.with(|sleepers| {
        let mut sleepers = sleepers.borrow_mut();
        sleepers.retain(|sleeper| sleeper.slot.strong_count() > 0);
        sleepers.push(Sleeper { wake, owner: current(), slot: Rc::downgrade(&slot) });
    });
    if by_tick {
        arm();
    }
    poll_fn(|context| slot.poll(context)).await;
}

#[derive(Clone, Copy)]
enum Wake {
    Timer(u32),
    /// Nanoseconds since 1970.
    At(u64),
}

struct Sleeper {
    wake: Wake,
    owner: u32,
    slot: Weak<Slot<()>>,
}

thread_local! {
    /// Whether timers can fire: the module exports their hooks.
    static DECLARED: Cell<bool> = const { Cell::new(false) };
    static SLEEPERS: RefCell<Vec<Sleeper>> = const { RefCell::new(Vec::new()) };
    /// Period of the filter's own tick in milliseconds and when it is due next; 0 if it has none.
    static OWN_TICK: Cell<(u32, u64)> = const { Cell::new((0, 0)) };
    /// The period the host was last told.
    static ARMED: Cell<u32> = const { Cell::new(0) };
}

/// Says whether the filter exports the hooks of timers.
pub(crate) fn declare(is_declared: bool) {
    DECLARED.with(|declared| declared.set(is_declared));
}

fn timer(milliseconds: u32) -> Option<u32> {
    let hook = Hook::running();
    let answer = host::foreign(&hook, "sidegate_timer", &milliseconds.to_le_bytes()).ok().flatten()?;
    answer.first_chunk::<4>().map(|id| u32::from_le_bytes(*id))
}

fn after(milliseconds: u32) -> u64 {
    host::now().saturating_add(u64::from(milliseconds) * 1_000_000)
}

/// Starts the filter's own tick.
pub(crate) fn every(period: Duration) {
    let milliseconds = u32::try_from(period.as_millis()).unwrap_or(u32::MAX).max(1);
    OWN_TICK.with(|tick| tick.set((milliseconds, after(milliseconds))));
    arm();
}

/// Sets the host's tick to the next thing that waits for it.
fn arm() {
    let now = host::now();
    let sleeper = SLEEPERS.with(|sleepers| {
        let due = |sleeper: &Sleeper| match sleeper.wake {
            Wake::At(time) if sleeper.slot.strong_count() > 0 => Some(time),
            _ => None,
        };
        sleepers.borrow().iter().filter_map(due).min()
    });
    let (period, due) = OWN_TICK.with(Cell::get);
    let own = (period > 0).then_some(due);
    let milliseconds = match (own, sleeper) {
        (None, None) => 0,
        // Alone, the own tick keeps its period and the host its rhythm.
        (Some(_), None) => period,
        (own, Some(time)) => {
            let next = own.map_or(time, |own| own.min(time));
            u32::try_from(next.saturating_sub(now).div_ceil(1_000_000)).unwrap_or(u32::MAX).max(1)
        }
    };
    if ARMED.with(|armed| armed.replace(milliseconds)) != milliseconds
        && let Err(problem) = host::set_tick_period(milliseconds)
    {
        crate::error!("timers do not run: {problem}");
    }
}

/// Handles a tick: returns whether the filter's own is due, and who slept until now.
pub(crate) fn ticked() -> (bool, Vec<u32>) {
    let (period, due) = OWN_TICK.with(Cell::get);
    let sleeps = SLEEPERS.with(|sleepers| sleepers.borrow().iter().any(|sleeper| matches!(sleeper.wake, Wake::At(_))));
    if !sleeps {
        OWN_TICK.with(|tick| tick.set((period, after(period))));
        arm();
        return (period > 0, Vec::new());
    }
    let now = host::now();
    let own = period > 0 && now >= due;
    if own {
        OWN_TICK.with(|tick| tick.set((period, after(period))));
    }
    let woken = wake(|sleeper| matches!(sleeper, Wake::At(time) if time <= now));
    arm();
    (own, woken)
}

/// Handles a timer of Sidegate's: returns who slept until now.
pub(crate) fn fired() -> Vec<u32> {
    let hook = Hook::running();
    let argument = host::buffer(&hook, Buffer::ForeignCall, 0, 4).unwrap_or_default();
    let Some(id) = argument.first_chunk::<4>().map(|id| u32::from_le_bytes(*id)) else { return Vec::new() };
    wake(|sleeper| matches!(sleeper, Wake::Timer(timer) if timer == id))
}

fn wake(is_due: impl Fn(Wake) -> bool) -> Vec<u32> {
    let mut due = Vec::new();
    SLEEPERS.with(|sleepers| {
        sleepers.borrow_mut().retain(|sleeper| {
            let Some(slot) = sleeper.slot.upgrade() else { return false };
            if is_due(sleeper.wake) {
                due.push((sleeper.owner, slot));
                return false;
            }
            true
        });
    });
    due.into_iter()
        .map(|(owner, slot)| {
            slot.fill(());
            owner
        })
        .collect()
}
