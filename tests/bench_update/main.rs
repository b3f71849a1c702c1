//! What updates promise, counted: `cargo xtask bench update`. Kills in the middle of pushes, and rollouts of versions that
//! are like the one before or worse. Exits with 1 when a promise was broken.

mod kills;
mod load;
mod modules;
mod operator;
mod rollouts;

use std::env;
use std::process::ExitCode;

/// What can go wrong before there is anything to show; text for a person.
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("update-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Arguments: how many kills, and how many rollouts of each kind.
fn run() -> Outcome<bool> {
    let mut arguments = env::args().skip(1);
    let (Some(kills), Some(rollouts)) = (arguments.next(), arguments.next()) else {
        return Err("usage: update-bench KILLS ROLLOUTS".into());
    };
    let (kills, rollouts): (usize, usize) = (kills.parse()?, rollouts.parse()?);
    let survived = kills == 0 || kills::kills(kills)?;
    let judged = rollouts == 0 || rollouts::rollouts(rollouts)?;
    Ok(survived && judged)
}

/// One line of the result; whether it is as promised.
fn row(what: &str, seen: &str, promised: &str, kept: bool) -> bool {
    println!("{what:<52} {seen:>34}  {promised}{}", if kept { "" } else { "  BROKEN" });
    kept
}
