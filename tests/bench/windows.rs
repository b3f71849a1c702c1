//! Windows of load without and with swaps, one after the other.

use std::thread;
use std::time::{Duration, Instant};

use sidegate_tests::traffic::{Generations, Load, Report, during};

use crate::hiccups::Hiccups;
use crate::operator::Operator;
use crate::{Outcome, modules};

/// Windows of each kind.
pub(crate) const WINDOWS: usize = 5;
/// From one swap to the next, unless the answer takes longer.
const EVERY: Duration = Duration::from_millis(50);
/// Until connections are open and caches warm.
const WARM: Duration = Duration::from_secs(2);
/// Swaps between two looks at the memory.
const LOOK: usize = 20;
/// A little more than 1,200 requests a second.
const LOAD: Load = Load { http1: 8, http2: 2, slow: 4, websockets: 4, pace: Duration::from_millis(8) };

pub(crate) struct Measured {
    pub(crate) report: Report,
    pub(crate) swaps: usize,
    pub(crate) seconds: f64,
    pub(crate) steady: Vec<Window>,
    pub(crate) swapping: Vec<Window>,
    /// How often the machine stood still.
    pub(crate) hiccups: usize,
    /// Resident memory in KiB: before the first swap, between swaps, after the last.
    pub(crate) memory: Vec<u64>,
}

/// Milliseconds of each request.
#[derive(Default)]
pub(crate) struct Window {
    pub(crate) times: Vec<f64>,
    /// Those of requests that met a moment when the machine stood still.
    pub(crate) stopped: Vec<f64>,
}

impl Window {
    pub(crate) fn all(&self) -> Vec<f64> {
        [&self.times[..], &self.stopped].concat()
    }
}

/// What happened in one go: the windows as times, and the memory.
#[derive(Default)]
struct Course {
    steady: Vec<(Instant, Instant)>,
    swapping: Vec<(Instant, Instant)>,
    memory: Vec<u64>,
    swaps: usize,
}

/// Swaps `stamp` between two versions; `a` must serve.
pub(crate) fn measure(operator: &Operator, swaps: usize) -> Outcome<Measured> {
    let modules = [modules::stamp("a")?, modules::stamp("b")?];
    let generations = Generations::new(&["a", "b"]);
    let begun = Instant::now();
    let swapping = || {
        let mut course = Course::default();
        thread::sleep(WARM);
        course.memory.push(operator.memory()?);
        for window in 1..=WINDOWS {
            let until = swaps * window / WINDOWS;
            // As long as the swaps are going to take: a machine's own hiccups shall meet both.
            let begun = Instant::now();
            thread::sleep(EVERY * u32::try_from(until - course.swaps)?.max(1));
            course.steady.push((begun, Instant::now()));
            swap(operator, &generations, &modules, &mut course, until)?;
            println!("window {window} of {WINDOWS}");
        }
        course.memory.push(operator.memory()?);
        Ok::<_, Box<dyn std::error::Error>>(course)
    };
    let address = operator.sidegate.address("inbound");
    let ((course, report), hiccups) = Hiccups::during(|| during(address, &LOAD, &generations, swapping));
    let (course, seconds) = (course?, begun.elapsed().as_secs_f64());
    let window = |(from, to): &(Instant, Instant)| {
        let mut window = Window::default();
        for (at, time) in report.latencies.iter().filter(|(at, _)| from <= at && at < to) {
            let stopped = hiccups.meet(at.checked_sub(*time).unwrap_or(*at), *at);
            let times = if stopped { &mut window.stopped } else { &mut window.times };
            times.push(time.as_secs_f64() * 1e3);
        }
        window
    };
    let (steady, swapping) = (course.steady.iter().map(window).collect(), course.swapping.iter().map(window).collect());
    let hiccups = hiccups.count();
    Ok(Measured { report, swaps: course.swaps, seconds, steady, swapping, hiccups, memory: course.memory })
}

/// Goes on swapping until there were so many swaps.
fn swap(
    operator: &Operator,
    generations: &Generations,
    modules: &[Vec<u8>; 2],
    course: &mut Course,
    until: usize,
) -> Outcome<()> {
    let [a, b] = modules;
    let begun = Instant::now();
    let mut due = begun;
    while course.swaps < until {
        let module = if generations.begin() == "a" { a } else { b };
        operator.push("stamp", module)?;
        generations.commit();
        course.swaps += 1;
        if course.swaps.is_multiple_of(LOOK) {
            course.memory.push(operator.memory()?);
        }
        due += EVERY;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    course.swapping.push((begun, Instant::now()));
    Ok(())
}
