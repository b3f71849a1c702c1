//! The process is killed at random moments of a push. What serves after a restart is the old version or the new one, the
//! new one if the push was answered, and nothing on disk is broken.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use sidegate_tests::{Answer, Origin, Sidegate};

use crate::modules::{Conduct, module};
use crate::operator::{proxy, push, rollback};
use crate::{Outcome, row};

/// What the log says when a file on disk is not what was written.
const BROKEN: [&str; 3] = ["not written by us", "was changed", "cannot be loaded"];

/// Pushes that are measured before, so that kills fall into them.
const WARM: usize = 9;

#[derive(Default)]
struct Count {
    old: usize,
    new: usize,
    answered: usize,
    /// Answered, and yet the old one serves.
    lost: usize,
    neither: usize,
    broken: usize,
    leftovers: HashSet<PathBuf>,
    slowest: Duration,
}

pub(crate) fn kills(kills: usize) -> Outcome<bool> {
    let place = tempfile::tempdir()?;
    let origin = Origin::answering(|_| Answer::ok("fine"));
    fs::write(place.path().join("stamp.wasm"), module("first", Conduct::Good)?)?;
    let mut sidegate = proxy(place.path(), &origin).start();
    let (mut serves, mut times) = (String::new(), Vec::new());
    for number in 0..WARM {
        serves = format!("w{number}");
        let begun = Instant::now();
        expect_ok(push(sidegate.admin(), "", &module(&serves, Conduct::Good)?)?.status)?;
        times.push(begun.elapsed());
    }
    times.sort();
    let whole = times.get(WARM / 2).copied().unwrap_or_default();
    let mut count = Count::default();
    for kill in 0..kills {
        let (name, admin) = (format!("k{kill}"), sidegate.admin());
        let pushed = module(&name, Conduct::Good)?;
        let pushing = thread::spawn(move || push(admin, "", &pushed).is_ok_and(|answer| answer.status == 200));
        thread::sleep(moment(whole));
        // Dropping it kills the process.
        count.broken += usize::from(is_broken(&sidegate));
        drop(sidegate);
        let answered = pushing.join().unwrap_or(false);
        leftovers(&place.path().join("state"), &mut count.leftovers);
        let begun = Instant::now();
        sidegate = proxy(place.path(), &origin).start();
        count.slowest = count.slowest.max(begun.elapsed());
        let now = sidegate.get("/").header("x-gen").unwrap_or_default().to_owned();
        count.answered += usize::from(answered);
        match (now == name, now == serves) {
            (true, _) => count.new += 1,
            (_, true) => count.old += 1,
            _ => count.neither += 1,
        }
        if now != name && (now != serves || answered) {
            println!("  kill {kill}: {now:?} serves, not {serves:?} or {name:?}");
            sidegate.log().lines().iter().for_each(|line| println!("    {line}"));
        }
        count.lost += usize::from(answered && now != name);
        serves = now;
    }
    count.broken += usize::from(is_broken(&sidegate));
    // Everything that is kept can be loaded.
    let mut walked = 0;
    while rollback(&sidegate) == 200 && sidegate.get("/").status == 200 {
        walked += 1;
    }
    count.broken += usize::from(is_broken(&sidegate));
    Ok(show(kills, whole, walked, &count))
}

fn show(kills: usize, whole: Duration, walked: usize, count: &Count) -> bool {
    println!("{kills} kills -9 in the middle of a push that takes {} ms", whole.as_millis());
    let served = row(
        "  after the restart: old, new, neither",
        &format!("{}, {}, {}", count.old, count.new, count.neither),
        "neither 0",
        count.neither == 0,
    );
    let durable = row(
        "  answered before the kill, and lost",
        &format!("{} of {}", count.lost, count.answered),
        "0",
        count.lost == 0,
    );
    let sound = row("  files on disk found broken", &count.broken.to_string(), "0", count.broken == 0);
    row("  half-written files left behind", &count.leftovers.len().to_string(), "", true);
    row("  versions that a rollback then walks back", &walked.to_string(), "", true);
    row("  slowest start after a kill", &format!("{} ms", count.slowest.as_millis()), "", true);
    served && durable && sound
}

/// A random moment of a push, or a little after it: a process that answers may still write.
fn moment(whole: Duration) -> Duration {
    let share = RandomState::new().hash_one(0u8) % 1_000;
    whole.mul_f64(1.2 * share as f64 / 1_000.0)
}

fn is_broken(sidegate: &Sidegate) -> bool {
    sidegate.log().lines().iter().any(|line| BROKEN.iter().any(|words| line.contains(words)))
}

/// Notes the files below a folder whose name says that they are half written.
fn leftovers(folder: &Path, found: &mut HashSet<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            leftovers(&path, found);
        } else if path.extension().is_some_and(|end| end.to_string_lossy().starts_with("tmp")) {
            found.insert(path);
        }
    }
}

fn expect_ok(status: u16) -> Outcome<()> {
    if status == 200 { Ok(()) } else { Err(format!("a push is answered with {status}").into()) }
}
