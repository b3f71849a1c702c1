//! How many tests ran, out of the closing lines of the two test runners.

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

impl Counts {
    /// The sum of every closing line in the output of `cargo test` or `cargo nextest run`.
    pub(crate) fn read(output: &str) -> Self {
        let mut sum = Self::default();
        for line in output.lines().map(str::trim_start) {
            // "test result: FAILED. 3 passed; 1 failed; 0 ignored; ..."
            // "Summary [   0.1s] 4 tests run: 2 passed (1 slow), 1 failed, 1 timed out, 0 skipped"
            if line.starts_with("test result: ") {
                let (_, numbers) = line.split_once(". ").unwrap_or_default();
                sum.add(Self::of(numbers.split(';')));
            } else if line.starts_with("Summary [") {
                let (_, numbers) = line.split_once("run: ").unwrap_or_default();
                sum.add(Self::of(numbers.split(',')));
            }
        }
        sum
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }

    fn of<'a>(numbers: impl Iterator<Item = &'a str>) -> Self {
        let mut counts = Self::default();
        for entry in numbers {
            let Some((number, what)) = entry.trim().split_once(' ') else { continue };
            let number: usize = number.parse().unwrap_or_default();
            if what.starts_with("passed") {
                counts.passed += number;
            } else if ["failed", "timed out", "exec failed"].iter().any(|end| what.starts_with(end)) {
                counts.failed += number;
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_both_runners_are_summed() {
        let output = "running 4 tests\ntest a ... ok\n\
            test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
            test result: ok. 2 passed; 0 failed; 5 ignored; 0 measured; 0 filtered out; finished in 0.00s\n     \
            Summary [   0.110s] 9/11 tests run: 5 passed (1 slow), 2 failed, 1 timed out, 3 skipped\n";
        assert_eq!(Counts::read(output), Counts { passed: 10, failed: 4 });
    }

    #[test]
    fn other_lines_that_speak_of_tests_are_not_counted() {
        assert_eq!(Counts::read("4 tests run: 4 passed\ntest result\nSummary of 3 passed\n"), Counts::default());
    }
}
