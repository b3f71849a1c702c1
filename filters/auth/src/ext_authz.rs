//! Services outside that decide. What one may say is a [`Verdict`], whichever way it is asked.

mod body;
mod edit;
mod grpc;
mod headers;
mod http;
mod place;
mod providers;
mod target;

use sidegate_sdk::{Request, Result};

use crate::config::ExtAuthz;
use crate::surroundings::Surroundings;
use body::{BodyInCheck, ToldBody};
pub(crate) use edit::Edit;
use grpc::GrpcService;
use http::HttpService;
use place::Place;
pub(crate) use providers::Providers;
pub(crate) use target::OnError;
use target::Target;

/// A service that is asked.
pub(crate) enum Service {
    Http(HttpService),
    Grpc(GrpcService),
}

/// What the service says.
pub(crate) enum Verdict {
    /// The request may go on, with these changes of its headers, and these of the response's.
    Allow { upstream: Vec<Edit>, downstream: Vec<Edit> },
    /// The client gets this.
    Deny { status: u16, headers: Vec<Edit>, body: Vec<u8> },
    /// The request's body is larger than what is told of bodies; nobody was asked.
    TooLarge,
    /// There was no answer to go by.
    Error(String),
}

impl Service {
    /// Checks and compiles; `None` with an error told at its place.
    fn compile(written: &ExtAuthz, of: &Surroundings, place: &mut Place<'_>) -> Option<Self> {
        let within = |place: &mut Place<'_>, key: &str| {
            if place.provider.is_none() {
                place.pointer = format!("{}/{key}", place.pointer);
            }
        };
        match (&written.envoy_ext_authz_http, &written.envoy_ext_authz_grpc) {
            (Some(http), None) => {
                within(place, "envoyExtAuthzHttp");
                Some(Self::Http(HttpService::compile(http, of, place)))
            }
            (None, Some(grpc)) => {
                within(place, "envoyExtAuthzGrpc");
                Some(Self::Grpc(GrpcService::compile(grpc, of, place)))
            }
            (None, None) => {
                place.setup.error(&*place.pointer, "envoyExtAuthzHttp or envoyExtAuthzGrpc is needed");
                None
            }
            (Some(_), Some(_)) => {
                place.setup.error(&*place.pointer, "envoyExtAuthzHttp and envoyExtAuthzGrpc exclude each other");
                None
            }
        }
    }

    /// Asks about a request.
    ///
    /// # Errors
    /// If the request has left the filter; a service that does not answer is a verdict.
    pub(crate) async fn ask(&self, req: &mut Request) -> Result<Verdict> {
        let body = match self.body() {
            None => ToldBody::default(),
            Some(body) => match body.take(req).await? {
                Some(told) => told,
                None => return Ok(Verdict::TooLarge),
            },
        };
        match self {
            Self::Http(service) => service.ask(req, &body).await,
            Self::Grpc(service) => service.ask(req, &body).await,
        }
    }

    pub(crate) fn on_error(&self) -> OnError {
        self.target().on_error
    }

    fn body(&self) -> Option<BodyInCheck> {
        self.target().body
    }

    fn target(&self) -> &Target {
        match self {
            Self::Http(service) => &service.target,
            Self::Grpc(service) => &service.target,
        }
    }
}
