//! Where problems are collected while a text is read: reading goes on after each of them.

use std::cell::{Cell, RefCell};

use crate::{Location, Problem, Problems, Severity, bounds::MAX_PROBLEMS};

#[derive(Debug, Default)]
pub(crate) struct Report {
    problems: RefCell<Vec<Problem>>,
    dropped: Cell<usize>,
}

impl Report {
    pub(crate) fn error(&self, location: Location, path: &str, message: impl Into<String>, fix: Option<String>) {
        self.add(Severity::Error, location, path, message.into(), fix);
    }

    pub(crate) fn warning(&self, location: Location, path: &str, message: impl Into<String>, fix: Option<String>) {
        self.add(Severity::Warning, location, path, message.into(), fix);
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.problems.borrow().iter().any(|problem| problem.severity == Severity::Error)
    }

    /// What was found, in the order of the places: everything when there is an error, else the warnings.
    pub(crate) fn into_problems(self) -> Problems {
        let mut problems = self.problems.into_inner();
        problems.sort_by(|a, b| a.location.cmp(&b.location));
        if let (dropped @ 1.., Some(last)) = (self.dropped.get(), problems.last()) {
            let message = format!("and {dropped} further problems");
            let (severity, location) = (Severity::Error, last.location.clone());
            problems.push(Problem { severity, location, path: String::new(), message, fix: None });
        }
        Problems(problems)
    }

    fn add(&self, severity: Severity, location: Location, path: &str, message: String, fix: Option<String>) {
        let mut problems = self.problems.borrow_mut();
        if problems.len() < MAX_PROBLEMS {
            problems.push(Problem { severity, location, path: path.to_owned(), message, fix });
        } else {
            self.dropped.set(self.dropped.get() + 1);
        }
    }
}
