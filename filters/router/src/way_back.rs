//! What happens to a response.

use sidegate_sdk::{RequestHead, Response, Result};

use crate::cors::Cors;
use crate::headers::{Evaluated, evaluate};
use crate::policy::Chosen;
use crate::stats::RouteStats;

/// Decided while the request can be read, done when the response is there.
#[derive(Debug, Default)]
pub(crate) struct WayBack<'t> {
    ops: Vec<Evaluated<'t>>,
    /// The policy and the origin that it allows.
    cors: Option<(&'t Cors, String)>,
    stats: Option<&'t RouteStats>,
}

impl<'t> WayBack<'t> {
    pub(crate) fn of(chosen: &Chosen<'t>, head: &RequestHead<'_>) -> Self {
        // What the route answers itself is no request of an upstream.
        let stats = chosen.target().and(chosen.matched.stats.as_deref());
        Self { ops: evaluate(chosen.response_ops(), head), cors: None, stats }
    }

    pub(crate) fn allow(&mut self, cors: &'t Cors, origin: String) {
        self.cors = Some((cors, origin));
    }

    /// Whether the response is not looked at.
    pub(crate) fn is_nothing(&self) -> bool {
        self.ops.is_empty() && self.cors.is_none() && self.stats.is_none()
    }

    /// # Errors
    /// If the host refuses a header or a counter.
    pub(crate) fn apply(&self, response: &mut Response) -> Result<()> {
        if let Some(stats) = self.stats {
            stats.answered(response.status())?;
        }
        if let Some((cors, origin)) = &self.cors {
            cors.mark(origin, &mut response.headers_mut())?;
        }
        Evaluated::apply_all(&self.ops, &mut response.headers_mut())
    }
}
