//! Rollouts at five percent, under load: a version like the one before is never taken for worse, a worse one goes back
//! within so many requests as a step wants at least, and one second of its share more.

use std::fs;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sidegate_tests::{Answer, Origin, Sidegate, eventually};

use crate::load::{Seen, during};
use crate::modules::{Conduct, module, with_mark};
use crate::operator::{is_settled, proxy, push, rolled_back};
use crate::{Outcome, row};

const SHARE: f64 = 0.05;
/// Requests that a step wants, when nothing else is said.
const MIN_REQUESTS: f64 = 200.0;
/// How long one rollout may take before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// One rollout of a bad version.
struct Course {
    /// Requests that got the new version, those that it lost included.
    requests: f64,
    /// As many as it may have had.
    allowed: f64,
    faults: u64,
    errors: u64,
    seconds: f64,
    went_back: bool,
}

pub(crate) fn rollouts(count: usize) -> Outcome<bool> {
    let place = tempfile::tempdir()?;
    let origin = Origin::answering(|_| Answer::ok("fine"));
    fs::write(place.path().join("stamp.wasm"), module("old", Conduct::Good)?)?;
    let sidegate = proxy(place.path(), &origin).start();
    let like = identical(&sidegate, count)?;
    let traps = worse(&sidegate, count, "a version that traps for 1 of 50", Conduct::Traps)?;
    let slow = worse(&sidegate, count, "a version that takes 5 ms more", Conduct::Slow)?;
    Ok(like && traps && slow)
}

fn identical(sidegate: &Sidegate, count: usize) -> Outcome<bool> {
    let (begun, before) = (Instant::now(), rolled_back(sidegate));
    let same = module("old", Conduct::Good)?;
    let (done, seen) = during(sidegate.address("inbound"), "", |_| {
        for number in 0..count {
            roll_out(sidegate, "0s", &with_mark(&same, number))?;
        }
        Ok::<_, Box<dyn std::error::Error>>(())
    });
    done?;
    let back = rolled_back(sidegate) - before;
    println!("{count} rollouts at 5 % of a version like the one before");
    let never = row("  rolled back", &back.to_string(), "0", back == 0);
    let (errors, faults) = (seen.errors.load(Ordering::Relaxed), seen.faults.load(Ordering::Relaxed));
    let clean =
        row("  requests, lost", &format!("{}, {}", seen.all(), errors + faults), "lost 0", errors + faults == 0);
    row("  seconds", &format!("{:.0}", begun.elapsed().as_secs_f64()), "", true);
    Ok(never && clean)
}

fn worse(sidegate: &Sidegate, count: usize, what: &str, conduct: Conduct) -> Outcome<bool> {
    let bad = module("new", conduct)?;
    let mut courses = Vec::new();
    for number in 0..count {
        let before = rolled_back(sidegate);
        let bad = with_mark(&bad, number);
        let (seconds, seen) = during(sidegate.address("inbound"), "new", |seen| {
            // The old version is known when the new one comes.
            eventually(PATIENCE, || (seen.all() > 1_000).then_some(()));
            let begun = (Instant::now(), seen.all());
            roll_out(sidegate, "60s", &bad)?;
            let seconds = begun.0.elapsed().as_secs_f64();
            Ok::<_, Box<dyn std::error::Error>>((seconds, (seen.all() - begun.1) as f64 / seconds))
        });
        let (seconds, rate) = seconds?;
        courses.push(course(&seen, seconds, rate, rolled_back(sidegate) > before));
    }
    println!("{count} rollouts at 5 % of {what}");
    let back = courses.iter().filter(|course| course.went_back).count();
    let all = row("  rolled back", &back.to_string(), &count.to_string(), back == count);
    let within = courses.iter().filter(|course| course.requests <= course.allowed).count();
    let within =
        row("  within 200 requests and 1 s of their share", &within.to_string(), &count.to_string(), within == count);
    let most = |of: fn(&Course) -> f64| courses.iter().map(of).fold(0.0, f64::max);
    let mean = |of: fn(&Course) -> f64| courses.iter().map(of).sum::<f64>() / courses.len().max(1) as f64;
    let requests = |course: &Course| course.requests;
    row("  requests it got: mean, most", &format!("{:.0}, {:.0}", mean(requests), most(requests)), "", true);
    row("  as many allowed, at this load", &format!("{:.0}", mean(|course| course.allowed)), "", true);
    let seconds = |course: &Course| course.seconds;
    row("  seconds until it was gone: mean, most", &format!("{:.2}, {:.2}", mean(seconds), most(seconds)), "", true);
    let faults: u64 = courses.iter().map(|course| course.faults).sum();
    let errors: u64 = courses.iter().map(|course| course.errors).sum();
    row("  requests lost by its faults, and otherwise", &format!("{faults}, {errors}"), "otherwise 0", errors == 0);
    Ok(all && within && errors == 0)
}

fn course(seen: &Seen, seconds: f64, rate: f64, went_back: bool) -> Course {
    let count = |of: &std::sync::atomic::AtomicU64| of.load(Ordering::Relaxed);
    let faults = count(&seen.faults);
    Course {
        requests: (count(&seen.new) + faults) as f64,
        allowed: MIN_REQUESTS + rate * SHARE,
        faults,
        errors: count(&seen.errors),
        seconds,
        went_back,
    }
}

/// Rolls a module out at five percent, and waits until it serves alone or is gone.
fn roll_out(sidegate: &Sidegate, hold: &str, module: &[u8]) -> Outcome<()> {
    let answer = push(sidegate.admin(), &format!("?rollout=5&hold={hold}"), module)?;
    if answer.status != 200 {
        return Err(answer.text().into_owned().into());
    }
    eventually(PATIENCE, || is_settled(sidegate).then_some(())).ok_or_else(|| "a rollout does not end".into())
}
