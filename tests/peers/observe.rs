//! What one proxy makes of a case, in values that can be compared.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use sidegate_tests::probe::Report;
use sidegate_tests::{Client, Headers, eventually};

use crate::case::{Case, Module};
use crate::proxies::Proxy;

/// How long an answer may take: a filter that waits for ever is a case of its own.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long logs may take to be complete after the last answer, and how long they have been silent then.
const LOG_PATIENCE: Duration = Duration::from_secs(20);
const LOG_SILENCE: Duration = Duration::from_secs(1);

/// A case as a list of facts; each is a place and what was seen there.
pub(crate) type Facts = BTreeMap<String, String>;

/// Fields whose values are a proxy's own.
const OWN_FIELDS: [&str; 5] = ["date", "server", "x-request-id", "connection", "x-forwarded-for"];

/// What is asked for that is different each time: only the status is compared.
const OWN_ANSWERS: [&str; 11] = [
    "current_time",
    "request\\0id",
    "\\0time",
    "duration",
    "latency",
    "total_size",
    "address",
    "port'",
    "connection\\0id",
    "environ",
    "node",
];

/// Sends the requests of a case.
pub(crate) fn observe(proxy: &impl Proxy, index: usize, case: &Case) -> Facts {
    let mut facts = Facts::new();
    for (number, request) in case.requests.iter().enumerate() {
        let before = proxy.origin(index).request_count();
        answer(&mut facts, &format!("answer {}", number + 1), proxy, index, &request.bytes);
        let seen = proxy.origin(index).requests();
        let place = format!("upstream {}", number + 1);
        facts.insert(place.clone(), format!("{} requests", seen.len() - before.min(seen.len())));
        if let Some(request) = seen.get(before) {
            facts.insert(format!("{place} line"), format!("{} {}", request.method, request.target));
            fields(&mut facts, &place, &request.headers);
            facts.insert(format!("{place} body"), request.text().into_owned());
            fields(&mut facts, &format!("{place} trailer"), &request.trailers);
        }
    }
    facts
}

fn answer(facts: &mut Facts, place: &str, proxy: &impl Proxy, index: usize, bytes: &str) {
    let answer = Client::connect(proxy.address(index)).and_then(|mut client| {
        client.set_patience(PATIENCE)?;
        client.write(bytes.as_bytes())?;
        if bytes.starts_with("HEAD") { client.read_head_response() } else { client.read_response() }
    });
    match answer {
        Ok(answer) => {
            facts.insert(place.to_owned(), answer.status.to_string());
            fields(facts, place, &answer.headers);
            facts.insert(format!("{place} body"), answer.text().into_owned());
            fields(facts, &format!("{place} trailer"), &answer.trailers);
        }
        Err(error) => {
            facts.insert(place.to_owned(), format!("{:?}", error.kind()));
        }
    }
}

/// One fact per name, its values in order.
fn fields(facts: &mut Facts, place: &str, headers: &Headers) {
    for (name, value) in &headers.0 {
        let name = name.to_ascii_lowercase();
        if OWN_FIELDS.contains(&name.as_str()) || name.starts_with("x-envoy-") {
            continue;
        }
        facts
            .entry(format!("{place} {name}"))
            .and_modify(|values| {
                values.push_str(" | ");
                values.push_str(value);
            })
            .or_insert_with(|| value.clone());
    }
}

/// What guests have logged, by case, once the proxy's log has fallen silent.
pub(crate) fn logs<P: Proxy>(proxy: &P) -> BTreeMap<String, BTreeSet<String>> {
    let (mut length, mut since) = (0, Instant::now());
    eventually(LOG_PATIENCE, || {
        let now = proxy.log().lines().len();
        if now != length {
            (length, since) = (now, Instant::now());
        }
        (since.elapsed() > LOG_SILENCE).then_some(())
    });
    let mut logs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (case, text) in proxy.log().lines().iter().filter_map(|line| P::guest_line(line)) {
        logs.entry(case).or_default().insert(text);
    }
    logs
}

/// The different lines that guests logged, or by step what the probe reported; Envoy starts a module several times.
pub(crate) fn add_log(facts: &mut Facts, lines: &BTreeSet<String>, case: &Case) {
    if case.ignores_log {
        return;
    }
    let Module::Probe(_, script) = &case.module else {
        facts.extend(lines.iter().map(|line| (format!("log {line}"), "logged".to_owned())));
        return;
    };
    let mut seen: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for report in lines.iter().filter_map(|line| Report::read(line)) {
        let text = script.text(report.step);
        let is_own = OWN_ANSWERS.iter().any(|own| text.contains(own));
        let rest = if is_own { String::new() } else { format!("{:#x} {}", report.word, report.text().escape_debug()) };
        let answer = format!("{} {rest}", report.status);
        seen.entry(report.step).or_default().insert(answer.trim_end().to_owned());
    }
    for (step, answers) in seen {
        let answers: Vec<String> = answers.into_iter().collect();
        facts.insert(format!("{:03} {}", step, script.text(step)), answers.join(" or "));
    }
}
