//! Proxies as most tests need them.

use std::fmt::Display;

use sidegate_tests::{Answer, Origin, Sidegate};

/// The line of an access log that the tests read: status, flags, what happened, method, path.
const LOG_FORMAT: &str = "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %REQ(:METHOD)% %REQ(:PATH)%";

/// An origin that says `fine` to everything.
pub(crate) fn fine() -> Origin {
    Origin::answering(|_| Answer::ok("fine"))
}

/// A proxy before one upstream, without filters.
pub(crate) fn plain(upstream: impl Display) -> Sidegate {
    Sidegate::start(&config("", upstream, ""))
}

/// One listener before one cluster; both may have further keys, written as `, key: value`.
pub(crate) fn config(listener: &str, upstream: impl Display, cluster: &str) -> String {
    format!(
        "listeners: [{{name: inbound, address: $inbound, cluster: app{listener}}}]\n\
         clusters: [{{name: app, endpoints: [{{address: \"{upstream}\"}}]{cluster}}}]\n"
    )
}

/// The same with an access log of [`LOG_FORMAT`] on stdout.
pub(crate) fn logged(listener: &str, upstream: impl Display, cluster: &str) -> String {
    let chain =
        format!(", filters: [{{plugin: telemetry, config: {{accessLogging: [{{format: \"{LOG_FORMAT}\\n\"}}]}}}}]");
    standard_filters() + &config(&format!("{listener}{chain}"), upstream, cluster)
}

/// One of these configurations with a filter at the front of its chain, and further clusters, written as
/// `{name: x, ...}`; none if this is empty.
pub(crate) fn with_filter(logged: &str, filter: &str, clusters: &str) -> String {
    let text = logged.replace("filters: [", &format!("filters: [{filter}, "));
    if clusters.is_empty() { text } else { with_clusters(&text, clusters) }
}

/// The same with further clusters only.
pub(crate) fn with_clusters(text: &str, clusters: &str) -> String {
    text.replace("clusters: [", &format!("clusters: [{clusters}, "))
}

/// One listener with the router alone, with these routes for every host, before one cluster; the listener may have
/// further keys.
pub(crate) fn routed(listener: &str, upstream: impl Display, http: &str) -> String {
    standard_filters() + &config(&format!("{listener}, filters: [{}]", router("*", http)), upstream, "")
}

/// The filter `router` with these routes for a host, as they stand in `http`.
pub(crate) fn router(host: &str, http: &str) -> String {
    format!("{{plugin: router, config: {{virtualServices: [{{hosts: [\"{host}\"], http: [{http}]}}]}}}}")
}

/// What a configuration with standard filters begins with: a folder in which compiled code outlives one proxy.
pub(crate) fn standard_filters() -> String {
    format!("stateDir: {}/e2e-state\n", env!("CARGO_TARGET_TMPDIR"))
}

/// A line of the process's `/proc/PID/status`, in KiB: `VmRSS` now, `VmHWM` at most so far.
pub(crate) fn memory(sidegate: &Sidegate, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", sidegate.pid())).unwrap();
    let line = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
