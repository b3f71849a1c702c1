//! A service outside that decides. What it may say is one [`Verdict`], whichever way it is asked.

mod edit;
mod grpc;
mod headers;
mod http;
mod target;

use sidegate_sdk::{Request, Result, Setup};

use crate::config::ExtAuthz;
use crate::surroundings::Surroundings;
pub(crate) use edit::Edit;
use grpc::GrpcService;
use http::HttpService;
pub(crate) use target::OnError;

/// A service that is asked.
pub(crate) enum Provider {
    Http(HttpService),
    Grpc(GrpcService),
}

/// What the service says.
pub(crate) enum Verdict {
    /// The request may go on, with these changes of its headers, and these of the response's.
    Allow { upstream: Vec<Edit>, downstream: Vec<Edit> },
    /// The client gets this.
    Deny { status: u16, headers: Vec<Edit>, body: Vec<u8> },
    /// There was no answer to go by.
    Error(String),
}

impl Provider {
    /// Checks and compiles; `None` with an error told to `setup`.
    pub(crate) fn compile(written: &ExtAuthz, of: &Surroundings, setup: &mut Setup) -> Option<Self> {
        const POINTER: &str = "/extAuthz";
        match (&written.envoy_ext_authz_http, &written.envoy_ext_authz_grpc) {
            (Some(http), None) => Some(Self::Http(HttpService::compile(http, of, setup))),
            (None, Some(grpc)) => Some(Self::Grpc(GrpcService::compile(grpc, of, setup))),
            (None, None) => {
                setup.error(POINTER, "envoyExtAuthzHttp or envoyExtAuthzGrpc is needed");
                None
            }
            (Some(_), Some(_)) => {
                setup.error(POINTER, "envoyExtAuthzHttp and envoyExtAuthzGrpc exclude each other");
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
            Self::Grpc(service) => service.ask(req).await,
        }
    }

    pub(crate) fn on_error(&self) -> OnError {
        match self {
            Self::Http(service) => service.target.on_error,
            Self::Grpc(service) => service.target.on_error,
        }
    }
}
