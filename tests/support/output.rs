//! What a child process writes, line by line, while it runs.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// One captured stream of a process.
#[derive(Clone, Debug, Default)]
pub struct Output(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<String>,
    has_ended: bool,
}

impl Output {
    /// Reads the stream to its end on a thread of its own.
    pub fn capture(stream: impl Read + Send + 'static) -> Self {
        let output = Self::default();
        let writer = output.clone();
        thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while matches!(stream.read_until(b'\n', &mut line), Ok(read) if read > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                writer.change(|state| state.lines.push(text));
                line.clear();
            }
            writer.change(|state| state.has_ended = true);
        });
        output
    }

    /// Every line so far.
    pub fn lines(&self) -> Vec<String> {
        self.state().lines.clone()
    }

    /// Waits for a line that contains the text; `None` when the stream ends or the limit passes without one.
    pub fn line_with(&self, text: &str, limit: Duration) -> Option<String> {
        self.wait(limit, |state| state.lines.iter().find(|line| line.contains(text)).cloned())
    }

    /// Waits until the process has closed the stream; false when it has not at the limit.
    pub fn has_ended(&self, limit: Duration) -> bool {
        self.wait(limit, |state| state.has_ended.then_some(())).is_some()
    }

    fn wait<T>(&self, limit: Duration, look: impl Fn(&State) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + limit;
        let mut state = self.state();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let seen = look(&state);
            if seen.is_some() || state.has_ended || left.is_zero() {
                return seen;
            }
            state = self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.0.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_ends_ends_the_wait() {
        let output = Output::capture(&b"one\ntwo"[..]);
        assert_eq!(output.line_with("tw", Duration::from_secs(10)).as_deref(), Some("two"));
        assert_eq!(output.line_with("three", Duration::from_secs(3600)), None);
        assert!(output.has_ended(Duration::ZERO));
    }
}
