//! A filter is swapped, and rolled back, while requests pass it.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use sidegate_tests::{Client, Request, Response};

use super::proxy::{ADMIN, LISTENER};

/// The header that the filter writes, and what the other version calls it: the same number of bytes.
const HEADERS: [&str; 2] = ["x-greeting", "x-welcomed"];
/// Keep-alive connections with requests meanwhile.
const CONNECTIONS: usize = 4;
/// Pushes, each followed by a rollback.
const ROUNDS: usize = 5;

/// How many requests there were and how many were lost, in words; and whether all is as it should be.
pub(super) fn swap(filter: &Path, token: &str) -> io::Result<(String, bool)> {
    let other = other_version(&fs::read(filter)?)?;
    let stop = AtomicBool::new(false);
    let (changes, seen) = thread::scope(|scope| {
        let clients: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(|| requests(&stop))).collect();
        let changes = (0..ROUNDS).try_for_each(|_| {
            let [before, after] = HEADERS;
            change("PUT", "module", token, other.clone())?;
            serves(after)?;
            change("POST", "rollback", token, Vec::new())?;
            serves(before)
        });
        stop.store(true, Ordering::SeqCst);
        (changes, clients.into_iter().map(|client| client.join().unwrap_or((0, 1))).collect::<Vec<_>>())
    });
    changes?;
    let (answered, lost) = seen.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let text = format!("{ROUNDS} pushes, {ROUNDS} rollbacks, {answered} requests, {lost} lost");
    Ok((text, answered > 0 && lost == 0))
}

/// The same filter with another name of its header.
fn other_version(filter: &[u8]) -> io::Result<Vec<u8>> {
    let [name, other] = HEADERS.map(str::as_bytes);
    let at = filter.windows(name.len()).position(|bytes| bytes == name);
    let (before, after) = at
        .and_then(|at| Some((filter.get(..at)?, filter.get(at + name.len()..)?)))
        .ok_or_else(|| io::Error::other("the filter does not name its header"))?;
    Ok([before, other, after].concat())
}

/// Sends one request after the other; how many were answered by one of the versions, and how many were not.
fn requests(stop: &AtomicBool) -> (usize, usize) {
    let (mut answered, mut lost, mut client) = (0, 0, None);
    while !stop.load(Ordering::SeqCst) {
        let answer = match client.take().map_or_else(|| Client::connect(LISTENER), Ok) {
            Ok(connected) => client.insert(connected).get("/hello"),
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) if answer.status == 200 && stamped(&answer).len() == 1 => answered += 1,
            Ok(_) => lost += 1,
            Err(_) => (client, lost) = (None, lost + 1),
        }
    }
    (answered, lost)
}

/// Which versions wrote on this answer.
fn stamped(answer: &Response) -> Vec<&'static str> {
    HEADERS.into_iter().filter(|name| answer.header(name).is_some()).collect()
}

fn serves(name: &'static str) -> io::Result<()> {
    let seen = stamped(&Client::get_once(LISTENER, "/hello")?);
    if seen == [name] { Ok(()) } else { Err(io::Error::other(format!("{seen:?} instead of {name}"))) }
}

fn change(method: &str, what: &str, token: &str, body: Vec<u8>) -> io::Result<()> {
    let request = Request::new(method, &format!("/plugins/hello/{what}"))
        .with_header("authorization", &format!("Bearer {token}"))
        .with_header("content-length", &body.len().to_string())
        .with_body(body);
    let answer = Client::connect(ADMIN)?.send(&request)?;
    if answer.status == 200 {
        Ok(())
    } else {
        Err(io::Error::other(format!("{what}: {} {}", answer.status, answer.text())))
    }
}
