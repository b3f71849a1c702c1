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

fn has_label(labels: &str, key: &str, value: &str) -> bool {
    let wanted = format!("{key}=\"{value}\"");
    labels.match_indices(&wanted).any(|(at, _)| at == 0 || labels.as_bytes().get(at - 1) == Some(&b','))
}

#[cfg(test)]
mod tests {
    use super::*;

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
