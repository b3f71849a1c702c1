//! Metrics as text: Prometheus exposition, Envoy's plain `name: value`, and JSON.

use std::fmt::Write;

use super::help::help;
use super::metrics::{Kind, Registry, Series, SeriesName};

/// The Prometheus text format 0.0.4.
pub fn render(registry: &Registry) -> String {
    let mut out = String::new();
    let mut previous = String::new();
    for (name, series) in registry.all() {
        if name.name != previous {
            let kind = match series.kind() {
                Kind::Counter | Kind::Seconds => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram | Kind::ShortTimes => "histogram",
            };
            if let Some(help) = help(&name.name) {
                let _ = writeln!(out, "# HELP {} {help}", name.name);
            }
            let _ = writeln!(out, "# TYPE {} {kind}", name.name);
            previous.clone_from(&name.name);
        }
        match series.kind() {
            Kind::Counter | Kind::Gauge => {
                let _ = writeln!(out, "{}{} {}", name.name, braces(&name.labels, ""), series.value());
            }
            Kind::Seconds => {
                let seconds = series.value() as f64 / 1e9;
                let _ = writeln!(out, "{}{} {seconds:.9}", name.name, braces(&name.labels, ""));
            }
            Kind::Histogram => histogram(&mut out, &name, &series, 1.0),
            Kind::ShortTimes => histogram(&mut out, &name, &series, 1e9),
        }
    }
    out
}

/// `unit`: how many of what was recorded make one of what is shown.
fn histogram(out: &mut String, name: &SeriesName, series: &Series, unit: f64) {
    let counts = series.cumulative();
    for (bound, count) in series.kind().bounds().iter().zip(&counts) {
        let bound = bound / unit;
        let labels = braces(&name.labels, &format!("le=\"{bound}\""));
        let _ = writeln!(out, "{}_bucket{labels} {count}", name.name);
    }
    let all = counts.last().copied().unwrap_or_default();
    let _ = writeln!(out, "{}_bucket{} {all}", name.name, braces(&name.labels, "le=\"+Inf\""));
    let _ = writeln!(out, "{}_sum{} {}", name.name, braces(&name.labels, ""), series.value() as f64 / unit);
    let _ = writeln!(out, "{}_count{} {all}", name.name, braces(&name.labels, ""));
}

fn braces(labels: &str, more: &str) -> String {
    match (labels.is_empty(), more.is_empty()) {
        (true, true) => String::new(),
        (false, false) => format!("{{{labels},{more}}}"),
        _ => format!("{{{labels}{more}}}"),
    }
}

/// One `name: value` line each, as `/stats` prints them.
pub fn plain(registry: &Registry) -> String {
    let mut out = String::new();
    for (name, value) in flat(registry) {
        let _ = writeln!(out, "{name}: {value}");
    }
    out
}

/// Envoy's `{"stats": [{name, value}]}`.
pub fn json(registry: &Registry) -> serde_json::Value {
    let stats: Vec<_> =
        flat(registry).into_iter().map(|(name, value)| serde_json::json!({"name": name, "value": value})).collect();
    serde_json::json!({ "stats": stats })
}

fn flat(registry: &Registry) -> Vec<(String, u64)> {
    let value = |series: &Series| match series.kind() {
        Kind::Histogram | Kind::ShortTimes => series.cumulative().last().copied().unwrap_or_default(),
        Kind::Counter | Kind::Gauge => series.value(),
        Kind::Seconds => series.value() / 1_000_000_000,
    };
    registry
        .all()
        .into_iter()
        .map(|(name, series)| (format!("{}{}", name.name, braces(&name.labels, "")), value(&series)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exposition() {
        let registry = Registry::new(1);
        registry.series(Kind::Counter, &SeriesName::new("c", &[("k", "a\"b")])).add(0, 3);
        registry.series(Kind::Histogram, &SeriesName::new("h", &[])).add(0, 20);
        let text = render(&registry);
        assert!(
            text.starts_with("# TYPE c counter\nc{k=\"a\\\"b\"} 3\n# TYPE h histogram\nh_bucket{le=\"0.5\"} 0\n"),
            "{text}"
        );
        assert!(text.ends_with("h_bucket{le=\"+Inf\"} 1\nh_sum 20\nh_count 1\n"), "{text}");
    }
}
