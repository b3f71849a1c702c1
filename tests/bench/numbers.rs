//! Medians and percentiles of unsorted values; 0 without values.

pub(crate) fn median(values: Vec<f64>) -> f64 {
    percentile(&values, 0.5)
}

pub(crate) fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}
