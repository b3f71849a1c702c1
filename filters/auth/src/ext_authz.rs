//! A service outside that decides. What it may say is one [`Verdict`], whichever way it is asked.

mod headers;
mod http;

use sidegate_sdk::{Request, Result, Setup};

use crate::config::ExtAuthz;
use crate::surroundings::Surroundings;
use http::HttpService;

/// A service that is asked.
pub(crate) enum Provider {
    Http(HttpService),
}

/// What the service says.
pub(crate) enum Verdict {
    /// The request may go on, with these headers in place of its own, and these for the response.
    Allow { upstream: Vec<(String, String)>, downstream: Vec<(String, String)> },
    /// The client gets this.
    Deny { status: u16, headers: Vec<(String, String)>, body: Vec<u8> },
    /// There was no answer to go by.
    Error(String),
}

/// What is done when there is no answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OnError {
    pub(crate) is_open: bool,
    pub(crate) status: u16,
}

impl Provider {
    /// Checks and compiles; `None` with an error told to `setup`.
    pub(crate) fn compile(written: &ExtAuthz, of: &Surroundings, setup: &mut Setup) -> Option<Self> {
        const POINTER: &str = "/extAuthz";
        if written.envoy_ext_authz_grpc.is_some() {
            setup.error(format!("{POINTER}/envoyExtAuthzGrpc"), "not supported yet");
        }
        match &written.envoy_ext_authz_http {
            Some(http) => Some(Self::Http(HttpService::compile(http, of, setup))),
            None => {
                setup.error(POINTER, "envoyExtAuthzHttp is needed");
                None
            }
        }
    }

    /// Asks about a request.
    ///
    /// # Errors
    /// If the request has left the filter; a service that does not answer is a verdict.
    pub(crate) async fn ask(&self, req: &Request) -> Result<Verdict> {
        match self {
            Self::Http(service) => service.ask(req).await,
        }
    }

    pub(crate) fn on_error(&self) -> OnError {
        match self {
            Self::Http(service) => service.on_error,
        }
    }
}
