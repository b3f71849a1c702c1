//! How a change ends.

use std::sync::Arc;

use sidegate_config::{Config, Problems};

use crate::control::change::{Done, Refused};
use crate::control::publish::Refusal;
use crate::snapshot::Snapshot;

/// An update that took effect.
pub struct Committed {
    pub config: Config,
    pub snapshot: Arc<Snapshot>,
    /// Plugins that have no VM; only an update that is the first may have any.
    pub refusals: Vec<Refusal>,
}

/// What came of a change.
pub enum Outcome {
    Committed(Box<Committed>, Done),
    /// It says what is the case already.
    Nothing(Done),
    /// A URL has not answered yet, or code is not compiled yet. It is to be applied again when there is news.
    Waits,
}

/// Why nothing came of it.
pub enum Failure {
    /// For whoever asked.
    Refused(Refused),
    /// In the configuration, or a module that it names.
    Problems(Problems),
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::Problems(problems)
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}
