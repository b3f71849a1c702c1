//! The quickstart, tried by a client: each promise of the configuration is one row.

use std::io;

use serde_json::Value;
use sidegate_tests::{Client, Request, Response, eventually, prometheus};

use super::proxy::{ADMIN, LISTENER, PATIENCE, Proxy};
use super::swap::swap;
use crate::workspace::Workspace;

/// Requests that are split 90 to 10.
const SPLIT_REQUESTS: usize = 400;
/// Answers of v2 among them: 40 on average, and outside of this less than once in 2,000 runs.
const SPLIT_V2: std::ops::RangeInclusive<usize> = 20..=62;
/// Requests that must all go to v2.
const STEERED_REQUESTS: usize = 20;
/// The status and body that the configuration gives to /about.
const ABOUT: (u16, &str) = (200, "a small shop behind Sidegate\n");
/// The greeting that the configuration gives to the hello filter.
const GREETING: &str = "hello from a filter";

/// How many checks held, and how many did not.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

/// What was seen, and whether it is right; an error counts as seen and wrong.
type Seen = io::Result<(String, bool)>;

/// Sends the requests and prints one row each.
pub(crate) fn check(workspace: &Workspace, proxy: &Proxy) -> Tally {
    let hello = workspace.filters().join("hello-filter.wasm");
    let steps: [(&str, &dyn Fn() -> Seen); 8] = [
        ("90 of 100 requests go to v1, 10 to v2", &split),
        ("end-user: jason goes to v2", &steered),
        ("/about is answered by the router", &about),
        ("/hello gets x-greeting from a filter", &greeted),
        ("other paths do not", &not_greeted),
        ("the filter is swapped under traffic", &|| swap(&hello, proxy.token())),
        ("istio_requests_total counts them", &counted),
        ("the access log tells of them", &|| logged(proxy)),
    ];
    let mut tally = Tally::default();
    println!("\n{:<40} {:<6} seen", "check", "");
    for (what, step) in steps {
        let (seen, holds) = step().unwrap_or_else(|error| (error.to_string(), false));
        println!("{what:<40} {:<6} {seen}", if holds { "ok" } else { "WRONG" });
        if holds { tally.passed += 1 } else { tally.failed += 1 }
    }
    tally
}

fn split() -> Seen {
    let mut client = Client::connect(LISTENER)?;
    let (mut v1, mut v2) = (0, 0);
    for _ in 0..SPLIT_REQUESTS {
        match version(&client.get("/reviews/1")?).as_str() {
            "v1" => v1 += 1,
            "v2" => v2 += 1,
            other => return Ok((other.to_owned(), false)),
        }
    }
    Ok((format!("{v1} by v1, {v2} by v2"), SPLIT_V2.contains(&v2)))
}

fn steered() -> Seen {
    let mut client = Client::connect(LISTENER)?;
    let request = Request::get("/reviews/1").with_header("end-user", "jason");
    for _ in 0..STEERED_REQUESTS {
        let version = version(&client.send(&request)?);
        if version != "v2" {
            return Ok((version, false));
        }
    }
    Ok((format!("{STEERED_REQUESTS} of {STEERED_REQUESTS} by v2"), true))
}

fn about() -> Seen {
    let answer = Client::get_once(LISTENER, "/about")?;
    let text = answer.text();
    Ok((format!("{} {:?}", answer.status, text), (answer.status, text.as_ref()) == ABOUT))
}

fn greeted() -> Seen {
    let answer = Client::get_once(LISTENER, "/hello")?;
    let greeting = answer.header("x-greeting");
    let seen = format!("{} x-greeting: {}", answer.status, greeting.unwrap_or("(none)"));
    Ok((seen, answer.status == 200 && greeting == Some(GREETING)))
}

fn not_greeted() -> Seen {
    let answer = Client::get_once(LISTENER, "/reviews/1")?;
    let greeting = answer.header("x-greeting");
    Ok((format!("{} x-greeting: {}", answer.status, greeting.unwrap_or("(none)")), greeting.is_none()))
}

fn counted() -> Seen {
    let mut last = None;
    let holds = eventually(PATIENCE, || {
        let page = Client::get_once(ADMIN, "/stats/prometheus").ok()?;
        last = prometheus::sum(&page.text(), "istio_requests_total", &[("response_code", "200")]);
        last.filter(|sum| *sum >= (SPLIT_REQUESTS + STEERED_REQUESTS) as f64)
    });
    Ok((last.map_or_else(|| "no such metric".to_owned(), |sum| sum.to_string()), holds.is_some()))
}

fn logged(proxy: &Proxy) -> Seen {
    let line = proxy.access_log().line_with("\"GET /about HTTP/1.1\" 200", PATIENCE);
    Ok((line.clone().unwrap_or_else(|| "no line for GET /about".to_owned()), line.is_some()))
}

/// The version in the service's answer; what came instead if it has none.
fn version(answer: &Response) -> String {
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let version = body.as_ref().and_then(|body| body.get("version")?.as_str());
    version.map_or_else(|| format!("{} {:?}", answer.status, answer.text()), str::to_owned)
}
