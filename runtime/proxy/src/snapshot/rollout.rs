//! A rollout as workers see it: which share of the exchanges gets the new version of a plugin, and how both versions do.

use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderName;

/// Shares are counted in parts of this.
pub const WHOLE: u32 = 10_000;

/// One plugin that has two versions.
#[derive(Clone, Debug)]
pub struct Rollout {
    pub plugin: String,
    /// Parts of `WHOLE` that get the new version.
    pub weight: u32,
    /// The header whose value decides; `None`: chance does.
    pub sticky: Option<HeaderName>,
    pub tally: Arc<Tally>,
}

/// Which of the two versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Old,
    New,
}

impl Rollout {
    /// Draws the version of an exchange. The same value of the sticky header gives the same side at every weight that
    /// is not smaller, so that nobody goes back and forth while the share grows.
    pub fn draw(&self, sticky: Option<&[u8]>, chance: u64) -> Side {
        let lot = match sticky {
            Some(value) => place(&self.plugin, value),
            // Two rollouts draw from one number, each for itself.
            None => place(&self.plugin, &chance.to_le_bytes()),
        };
        if lot < self.weight { Side::New } else { Side::Old }
    }
}

/// The place of a value from 0 to `WHOLE`: the same in every process, another one for every plugin.
fn place(plugin: &str, value: &[u8]) -> u32 {
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    hasher.write(plugin.as_bytes());
    hasher.write(&[0]);
    hasher.write(value);
    // The low bits of this hash are its weak ones.
    let mixed = hasher.finish().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    u32::try_from((mixed * u64::from(WHOLE)) >> 32).unwrap_or_default()
}

/// FNV-1a: a hash that no process seeds.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// How the two versions do.
#[derive(Debug, Default)]
pub struct Tally {
    pub old: Counts,
    pub new: Counts,
}

impl Tally {
    pub fn of(&self, side: Side) -> &Counts {
        match side {
            Side::Old => &self.old,
            Side::New => &self.new,
        }
    }
}

/// What exchanges with one version saw, over all workers.
#[derive(Debug)]
pub struct Counts {
    requests: AtomicU64,
    faults: AtomicU64,
    server_errors: AtomicU64,
    /// Time inside the plugin.
    times: Box<[AtomicU32]>,
}

/// An exchange of a rollout, when it is over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conduct {
    pub faulted: bool,
    /// The plugin answered with a status of 500 or more.
    pub server_error: bool,
    /// Hooks and pauses.
    pub inside: Duration,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            requests: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            server_errors: AtomicU64::new(0),
            times: (0..BUCKETS).map(|_| AtomicU32::new(0)).collect(),
        }
    }
}

impl Counts {
    pub fn note(&self, conduct: Conduct) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.faults.fetch_add(conduct.faulted.into(), Ordering::Relaxed);
        self.server_errors.fetch_add(conduct.server_error.into(), Ordering::Relaxed);
        if let Some(bucket) = self.times.get(bucket(conduct.inside)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }
    pub fn server_errors(&self) -> u64 {
        self.server_errors.load(Ordering::Relaxed)
    }

    /// The bounds of the bucket that holds the exchange of this rank, counted from 0; `None`: there are not so many.
    pub fn time_at(&self, rank: u64) -> Option<(Duration, Duration)> {
        let mut passed = 0;
        for (at, bucket) in self.times.iter().enumerate() {
            passed += u64::from(bucket.load(Ordering::Relaxed));
            if passed > rank {
                return Some((floor(at), floor(at + 1)));
            }
        }
        None
    }
}

/// Buckets of time: sixteen for each doubling, so that a bound is at most 7 % from the value.
const PER_DOUBLING: u64 = 16;
/// Up to 2^34 microseconds, nearly five hours: longer than any plugin may hold an exchange.
const BUCKETS: usize = 31 * PER_DOUBLING as usize;

fn bucket(time: Duration) -> usize {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
    if micros < PER_DOUBLING {
        return micros as usize;
    }
    let shift = u64::from(micros.ilog2()) - 4;
    // The four bits below the highest one.
    let at = (shift + 1) * PER_DOUBLING + (micros >> shift) - PER_DOUBLING;
    (at as usize).min(BUCKETS - 1)
}

/// Where a bucket begins.
fn floor(at: usize) -> Duration {
    let at = at as u64;
    if at < PER_DOUBLING {
        return Duration::from_micros(at);
    }
    let (shift, rest) = (at / PER_DOUBLING - 1, at % PER_DOUBLING);
    Duration::from_micros((PER_DOUBLING + rest) << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_what_falls_between_their_bounds() {
        let mut before = 0;
        for micros in (1..5_000).chain([10_000, 99_999, 1_000_000, 123_456_789]) {
            let time = Duration::from_micros(micros);
            let at = bucket(time);
            assert!(at >= before && floor(at) <= time && time < floor(at + 1), "{micros}: {at}");
            before = at;
        }
    }

    #[test]
    fn a_sticky_set_only_grows() {
        let rollout = |weight| Rollout { plugin: "p".into(), weight, sticky: None, tally: Arc::default() };
        let side = |weight, user: u32| rollout(weight).draw(Some(user.to_string().as_bytes()), 0);
        let count = |weight| (0..10_000).filter(|user| side(weight, *user) == Side::New).count();
        assert!((400..600).contains(&count(500)), "{}", count(500));
        assert!((4_800..5_200).contains(&count(5_000)));
        for user in 0..10_000 {
            assert!(side(500, user) == Side::Old || side(5_000, user) == Side::New, "{user} went back");
        }
    }

    #[test]
    fn what_one_rollout_draws_says_nothing_about_another() {
        let rollout =
            |plugin: &str| Rollout { plugin: plugin.into(), weight: 5_000, sticky: None, tally: Arc::default() };
        let (a, b) = (rollout("a"), rollout("b"));
        let mut both = [0; 4];
        for draw in 0..10_000_u64 {
            let chance = draw.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let new = |rollout: &Rollout| usize::from(rollout.draw(None, chance) == Side::New);
            both[2 * new(&a) + new(&b)] += 1;
        }
        assert!(both.iter().all(|count| (2_250..2_750).contains(count)), "{both:?}");
    }

    #[test]
    fn quantiles() {
        let counts = Counts::default();
        for millis in 1..=100 {
            counts.note(Conduct { inside: Duration::from_millis(millis), ..Conduct::default() });
        }
        let (low, high) = counts.time_at(98).unwrap();
        assert!(low <= Duration::from_millis(99) && Duration::from_millis(99) < high);
        assert_eq!(counts.time_at(100), None);
    }
}
