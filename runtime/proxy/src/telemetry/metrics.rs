//! Metrics: series with one cell per worker. A worker writes its own cell without locks; readers add them up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Counter,
    /// A counter of nanoseconds that is shown in seconds.
    Seconds,
    Gauge,
    Histogram,
    /// A histogram of short times, recorded in nanoseconds and shown in seconds.
    ShortTimes,
}

impl Kind {
    /// Upper bounds of the buckets, in what is recorded; none for what is no histogram.
    pub fn bounds(self) -> &'static [f64] {
        match self {
            Self::Counter | Self::Seconds | Self::Gauge => &[],
            Self::Histogram => &BUCKETS,
            Self::ShortTimes => &NANOSECONDS,
        }
    }
}

/// A microsecond to a second.
const NANOSECONDS: [f64; 13] = [1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 1e6, 5e6, 1e7, 1e8, 5e8, 1e9];

/// Upper bounds of histogram buckets: Envoy's and Istio's defaults, in the metric's own unit.
pub const BUCKETS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1000.0,
    2500.0,
    5000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

/// A metric name with labels in Prometheus form: `name{k="v"}` or `name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesName {
    pub name: String,
    /// The text between the braces, `k="v",k2="v2"`.
    pub labels: String,
}

impl SeriesName {
    /// From a guest's text: what stands in braces becomes labels; characters that Prometheus forbids become `_`.
    pub fn from_guest(text: &str) -> Self {
        let (name, labels) = match text.split_once('{') {
            Some((name, rest)) if rest.ends_with('}') && labels_are_sound(&rest[..rest.len() - 1]) => {
                (name, &rest[..rest.len() - 1])
            }
            _ => (text, ""),
        };
        let mut clean: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == ':' { c } else { '_' }).collect();
        if clean.is_empty() || clean.starts_with(|c: char| c.is_ascii_digit()) {
            clean.insert(0, '_');
        }
        Self { name: clean, labels: labels.to_owned() }
    }

    pub fn new(name: &str, labels: &[(&str, &str)]) -> Self {
        let mut text = String::new();
        for (key, value) in labels {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(key);
            text.push_str("=\"");
            for c in value.chars() {
                match c {
                    '"' => text.push_str("\\\""),
                    '\\' => text.push_str("\\\\"),
                    '\n' => text.push_str("\\n"),
                    c => text.push(c),
                }
            }
            text.push('"');
        }
        Self { name: name.to_owned(), labels: text }
    }
}

/// Whether the text is a well-formed list of labels, so that a guest cannot break the exposition format.
fn labels_are_sound(mut text: &str) -> bool {
    loop {
        let Some((name, rest)) = text.split_once("=\"") else { return false };
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return false;
        }
        let mut escaped = false;
        let end = rest.char_indices().find(|(_, c)| {
            if escaped {
                escaped = false;
                return false;
            }
            escaped = *c == '\\';
            *c == '"' || *c == '\n'
        });
        let Some((end, '"')) = end else { return false };
        match rest.get(end + 1..) {
            None | Some("") => return true,
            Some(more) => match more.strip_prefix(',') {
                Some(more) => text = more,
                None => return false,
            },
        }
    }
}

/// One series, shared by all workers.
#[derive(Debug)]
pub struct Series {
    kind: Kind,
    cells: Box<[Cell]>,
}

/// What one thread writes; padded so that two threads never share a cache line.
#[derive(Debug)]
#[repr(align(64))]
struct Cell {
    /// Counter or gauge value; a histogram's sum.
    value: AtomicU64,
    buckets: Box<[AtomicU64]>,
}

impl Series {
    fn new(kind: Kind, workers: usize) -> Self {
        let buckets = if kind.bounds().is_empty() { 0 } else { kind.bounds().len() + 1 };
        let cell = || Cell { value: AtomicU64::new(0), buckets: (0..buckets).map(|_| AtomicU64::new(0)).collect() };
        Self { kind, cells: (0..workers).map(|_| cell()).collect() }
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Counters and gauges add (wrapping, as Envoy's gauges do); histograms record. `worker` owns its cell, so that
    /// load and store need not be one atomic step.
    #[inline]
    pub fn add(&self, worker: usize, delta: i64) {
        let Some(cell) = self.cells.get(worker) else { return };
        let value = cell.value.load(Ordering::Relaxed).wrapping_add_signed(delta);
        cell.value.store(value, Ordering::Relaxed);
        if !cell.buckets.is_empty() {
            let sample = delta.cast_unsigned() as f64;
            let bounds = self.kind.bounds();
            let at = bounds.iter().position(|bound| sample <= *bound).unwrap_or(bounds.len());
            if let Some(bucket) = cell.buckets.get(at) {
                bucket.store(bucket.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            }
        }
    }

    /// Counts from a thread that owns no cell.
    pub fn add_shared(&self, delta: u64) {
        if let Some(cell) = self.cells.last() {
            cell.value.fetch_add(delta, Ordering::Relaxed);
        }
    }

    /// Sets a gauge for the whole process.
    pub fn set(&self, value: u64) {
        for (index, cell) in self.cells.iter().enumerate() {
            cell.value.store(if index == 0 { value } else { 0 }, Ordering::Relaxed);
        }
    }

    /// The sum over all cells.
    pub fn value(&self) -> u64 {
        self.cells.iter().fold(0u64, |sum, cell| sum.wrapping_add(cell.value.load(Ordering::Relaxed)))
    }

    /// Cumulative bucket counts, the last one being the count of all.
    pub fn cumulative(&self) -> Vec<u64> {
        let mut counts = vec![0; self.kind.bounds().len() + 1];
        for cell in &self.cells {
            for (sum, bucket) in counts.iter_mut().zip(&cell.buckets) {
                *sum += bucket.load(Ordering::Relaxed);
            }
        }
        let mut running = 0;
        for count in &mut counts {
            running += *count;
            *count = running;
        }
        counts
    }
}

/// All series of the process.
#[derive(Debug)]
pub struct Registry {
    cells: usize,
    series: Mutex<BTreeMap<SeriesName, Arc<Series>>>,
    /// Series that guests refer to by number.
    handles: Mutex<Vec<Arc<Series>>>,
}

impl Registry {
    /// One cell for each worker, and one for all other threads.
    pub fn new(workers: usize) -> Self {
        Self { cells: workers + 1, series: Mutex::default(), handles: Mutex::default() }
    }

    /// The series of this name, made if it is new. A name that is known under another kind keeps its kind.
    pub fn series(&self, kind: Kind, name: &SeriesName) -> Arc<Series> {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = series.get(name) {
            return known.clone();
        }
        let new = Arc::new(Series::new(kind, self.cells));
        series.insert(name.clone(), new.clone());
        new
    }

    /// A number for the series of this name; the same series has one number.
    pub fn handle(&self, kind: Kind, name: &SeriesName) -> u32 {
        let series = self.series(kind, name);
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        let known = handles.iter().position(|known| Arc::ptr_eq(known, &series));
        let at = known.unwrap_or_else(|| {
            handles.push(series);
            handles.len() - 1
        });
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    pub fn by_handle(&self, handle: u32) -> Option<Arc<Series>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).get(handle as usize).cloned()
    }

    /// Takes out the series of a counter for whose labels `into` gives others, and adds what they counted to those. Nobody
    /// may count in them any more.
    pub fn fold(&self, metric: &str, into: impl Fn(&str) -> Option<String>) {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let first = SeriesName { name: metric.to_owned(), labels: String::new() };
        let of_metric = series.range(first..).take_while(|(name, _)| name.name == metric);
        let moves: Vec<_> = of_metric.filter_map(|(name, _)| Some((name.clone(), into(&name.labels)?))).collect();
        for (name, labels) in moves {
            let Some(gone) = series.remove(&name) else { continue };
            let name = SeriesName { labels, ..name };
            let sum = series.entry(name).or_insert_with(|| Arc::new(Series::new(gone.kind, self.cells)));
            sum.add_shared(gone.value());
        }
    }

    /// A copy of the list, in the order of names.
    pub fn all(&self) -> Vec<(SeriesName, Arc<Series>)> {
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        series.iter().map(|(name, series)| (name.clone(), series.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_names() {
        let name = |text| {
            let name = SeriesName::from_guest(text);
            (name.name, name.labels)
        };
        assert_eq!(name("a.b-c"), ("a_b_c".into(), String::new()));
        assert_eq!(name("n{k=\"v\",l=\"a\\\"}\"}"), ("n".into(), "k=\"v\",l=\"a\\\"}\"".into()));
        assert_eq!(name("n{k=\"v\"} 1\nx 2"), ("n_k__v___1_x_2".into(), String::new()), "no injection");
        assert_eq!(name("9"), ("_9".into(), String::new()));
    }

    #[test]
    fn cells_add_up() {
        let registry = Registry::new(2);
        let name = SeriesName::new("h", &[]);
        let series = registry.series(Kind::Histogram, &name);
        series.add(0, 1);
        series.add(1, 7);
        let counts = series.cumulative();
        assert_eq!((series.value(), counts[1], counts[3], counts[19]), (8, 1, 2, 2));
    }
}
