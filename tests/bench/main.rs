//! Swaps of a filter under load, measured: `cargo xtask bench swap`. Exits with 1 when a request was lost or met two
//! versions; the other numbers are for people, with what they ought to be.

mod hiccups;
mod idle;
mod modules;
mod numbers;
mod operator;
mod windows;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use numbers::{median, percentile};
use operator::Operator;
use sidegate_tests::prometheus;
use sidegate_tests::traffic::witness;
use windows::{Measured, WINDOWS, Window};

/// What can go wrong before there is anything to show; text for a person.
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("swap-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Arguments: how many swaps, and the folder with the built filters.
fn run() -> Outcome<bool> {
    let mut arguments = env::args().skip(1);
    let (Some(swaps), Some(filters)) = (arguments.next(), arguments.next()) else {
        return Err("usage: swap-bench SWAPS FILTERS".into());
    };
    let (swaps, filters): (usize, PathBuf) = (swaps.parse()?, filters.into());
    let hello = filters.join("hello-filter.wasm");
    let hello = std::fs::read(&hello).map_err(|error| format!("{}: {error}", hello.display()))?;

    let origin = witness();
    let operator = Operator::start(&origin, &hello)?;
    let pushes = idle::pushes(&operator, &hello)?;
    let saves = idle::saves(&operator)?;
    let measured = windows::measure(&operator, swaps)?;
    let gone = operator.old_versions_gone()?;
    show(&operator, &hello, &pushes, &saves, &measured, gone);
    Ok(measured.report.is_clean())
}

/// Which times of a window.
type Times = fn(&Window) -> Vec<f64>;

fn show(operator: &Operator, hello: &[u8], pushes: &[f64], saves: &[f64], measured: &Measured, gone: f64) {
    let Measured { report, swaps, seconds, steady, swapping, memory, .. } = measured;
    let row = |what: &str, seen: String, target: &str| println!("{what:<44} {seen:>26}  {target}");
    let count = |seen: usize| seen.to_string();
    println!();
    row("swaps under load", count(*swaps), "");
    let rate = report.requests as f64 / seconds;
    row("requests (a second)", format!("{} ({rate:.0})", report.requests), "1,000 a second");
    let [http1, http2, slow, websockets] = report.by_kind;
    row("  HTTP/1.1, HTTP/2, slow bodies, WebSockets", format!("{http1}, {http2}, {slow}, {websockets}"), "");
    row("failed", count(report.failed), "0");
    row("mixed: two versions in one request", count(report.mixed), "0");
    row("disordered: a version that was gone", count(report.disordered), "0");
    let of = |windows: &[Window], times: Times, share| {
        median(windows.iter().map(|window| percentile(&times(window), share)).collect())
    };
    let clear: Times = |window| window.times.clone();
    let all: Times = Window::all;
    for (name, times, share, target) in [
        ("p50 steady, swapping (ratio)", clear, 0.5, ""),
        ("p99 steady, swapping (ratio)", clear, 0.99, "ratio 1.2"),
        ("  with stops of the machine", all, 0.99, ""),
    ] {
        let (steady, swapping) = (of(steady, times, share), of(swapping, times, share));
        let ratio = swapping / steady;
        row(name, format!("{steady:.2} ms, {swapping:.2} ms ({ratio:.2})"), target);
    }
    let page = operator.metrics();
    let pause = |share| match prometheus::quantile(&page, "sidegate_swap_pause_seconds", share) {
        Some(bound) if bound.is_finite() => format!("{:.0}", bound * 1e6),
        other => format!("{other:?}"),
    };
    let seen = format!("{}, {}, {} us", pause(0.5), pause(0.99), pause(1.0));
    row("pause of a worker: p50, p99, all below", seen, "p99 10 us");
    let times = |times: &[f64]| {
        let most = times.iter().copied().fold(0.0, f64::max);
        format!("{:.0} ms, {most:.0} ms", median(times.to_vec()))
    };
    let what = format!("push of {} KiB, idle: median, most", hello.len() >> 10);
    row(&what, times(pushes), "300 ms");
    row("saved file to first response: median, most", times(saves), "1,000 ms");
    let (before, after) = (memory.first().copied().unwrap_or(0), memory.last().copied().unwrap_or(0));
    let most = memory.iter().max().copied().unwrap_or(0);
    let mebibytes = |kibibytes: u64| kibibytes as f64 / 1024.0;
    row("resident memory before, after", format!("{:.1}, {:.1} MiB", mebibytes(before), mebibytes(after)), "");
    row("  largest growth", format!("{:.1} MiB", mebibytes(most.saturating_sub(before))), "16 MiB");
    row("old versions gone after the load", format!("{:.0} ms", gone * 1e3), "1,000 ms");
    row("live versions at the end", format!("{}", operator.versions()), "1");
    println!("{WINDOWS} windows of each kind; latencies are of keep-alive HTTP/1.1, medians over windows");
    println!("the machine stood still {} times; requests that met this are left out:", measured.hiccups);
    for (name, windows) in [("steady", steady), ("swapping", swapping)] {
        let stopped: usize = windows.iter().map(|window| window.stopped.len()).sum();
        let each: Vec<_> = windows.iter().map(|window| format!("{:.2}", percentile(&window.times, 0.99))).collect();
        println!("  {name}: {stopped}; p99 of the others by window: {} ms", each.join(", "));
    }
    for failure in &report.failures {
        println!("  {failure}");
    }
}
