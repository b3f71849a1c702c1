//! Bodies of requests, as far as a service is told of them.

use sidegate_sdk::{Request, Result};

use super::place::Place;
use crate::config::RequestBodyInCheck;
use crate::surroundings::Surroundings;

/// Envoy's header that tells the service whether it sees all of a body.
pub(crate) const PARTIAL_BODY: &str = "x-envoy-auth-partial-body";

/// How much of a body is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyInCheck {
    /// Bytes, at least one.
    pub(crate) most: usize,
    is_partial_allowed: bool,
    pub(crate) is_packed_as_bytes: bool,
}

/// What a service is told of a body. Without a body nothing is.
#[derive(Debug, Clone, Default)]
pub(crate) struct ToldBody {
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_partial: bool,
}

impl BodyInCheck {
    pub(crate) fn compile(written: &RequestBodyInCheck, of: &Surroundings, place: &mut Place<'_>) -> Self {
        let key = "includeRequestBodyInCheck/maxRequestBytes";
        let most = usize::try_from(written.max_request_bytes).unwrap_or(usize::MAX);
        if most == 0 {
            place.error(key, "at least 1 byte is needed to tell of a body");
        }
        if let Some(limit) = of.body_limit.filter(|limit| most > *limit) {
            place.error(key, &format!("limits.body of this plugin lets a filter hold {limit} bytes only"));
        }
        Self { most, is_partial_allowed: written.allow_partial_message, is_packed_as_bytes: written.pack_as_bytes }
    }

    /// Waits for what is to be told. `None`: the body is larger than it may be.
    pub(crate) async fn take(self, req: &mut Request) -> Result<Option<ToldBody>> {
        if self.is_partial_allowed {
            let beginning = req.beginning(self.most).await?;
            return Ok(Some(ToldBody { bytes: beginning.bytes, is_partial: !beginning.is_whole }));
        }
        // One byte more tells whether there is more.
        let beginning = req.beginning(self.most.saturating_add(1)).await?;
        let fits = beginning.is_whole && beginning.bytes.len() <= self.most;
        Ok(fits.then_some(ToldBody { bytes: beginning.bytes, is_partial: false }))
    }
}

impl ToldBody {
    /// The value of [`PARTIAL_BODY`], where there is a body.
    pub(crate) fn partial(&self) -> Option<&'static str> {
        match (self.bytes.is_empty(), self.is_partial) {
            (true, _) => None,
            (false, true) => Some("true"),
            (false, false) => Some("false"),
        }
    }
}
