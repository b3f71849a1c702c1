//! Reads numbers out of a Prometheus text page.

/// The sum over every series of this name that has all of these labels; `None` when there is none.
pub fn sum(page: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let mut found = None;
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let (series_name, series_labels) = series.split_once('{').unwrap_or((series, ""));
        let has_all = labels.iter().all(|(key, value)| has_label(series_labels, key, value));
        if let (true, true, Ok(value)) = (series_name == name, has_all, value.parse::<f64>()) {
            found = Some(found.unwrap_or(0.0) + value);
        }
    }
    found
}

/// The bucket of a histogram, by its upper bound, in which this share of all values lies; `None` without values.
pub fn quantile(page: &str, name: &str, share: f64) -> Option<f64> {
    let prefix = format!("{name}_bucket{{");
    let of_bucket = |line: &str| {
        let (series, count) = line.strip_prefix(&prefix)?.rsplit_once(' ')?;
        let bound = series.split_once("le=\"")?.1.split_once('"')?.0;
        Some((bound.parse::<f64>().ok()?, count.parse::<f64>().ok()?))
    };
    let mut buckets: Vec<(f64, f64)> = page.lines().filter_map(of_bucket).collect();
    buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
    let all = buckets.last().map(|(_, count)| *count).filter(|count| *count > 0.0)?;
    buckets.iter().find(|(_, count)| *count >= all * share).map(|(bound, _)| *bound)
}

fn has_label(labels: &str, key: &str, value: &str) -> bool {
    let wanted = format!("{key}=\"{value}\"");
    labels.match_indices(&wanted).any(|(at, _)| at == 0 || labels.as_bytes().get(at - 1) == Some(&b','))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_bucket_that_reaches_it() {
        let page = "h_bucket{le=\"0.5\"} 90\nh_bucket{le=\"1\"} 99\nh_bucket{le=\"+Inf\"} 100\nh_count 100\n";
        assert_eq!(quantile(page, "h", 0.5), Some(0.5));
        assert_eq!(quantile(page, "h", 0.99), Some(1.0));
        assert_eq!(quantile(page, "h", 1.0), Some(f64::INFINITY));
        assert_eq!(quantile("h_bucket{le=\"+Inf\"} 0\n", "h", 0.5), None);
    }

    #[test]
    fn series_are_summed_over_the_labels_that_are_not_asked_for() {
        let page = "# TYPE n counter\nn{a=\"1\",b=\"x\"} 2\nn{a=\"1\",b=\"y\"} 3\nn{a=\"2\",b=\"y\"} 4\nnn 7\n";
        assert_eq!(sum(page, "n", &[("a", "1")]), Some(5.0));
        assert_eq!(sum(page, "n", &[("b", "y"), ("a", "2")]), Some(4.0));
        assert_eq!(sum(page, "n", &[]), Some(9.0));
        assert_eq!(sum(page, "n", &[("a", "3")]), None);
        assert_eq!(sum(page, "nn", &[]), Some(7.0));
    }
}
