//! Asking over gRPC: `envoy.service.auth.v3.Authorization/Check`.

mod answer;
mod question;

use sidegate_sdk::{Request, Result, Setup, grpc};

use super::Verdict;
use super::target::{Target, Written};
use crate::config::ExtAuthzGrpc;
use crate::surroundings::Surroundings;

const POINTER: &str = "/extAuthz/envoyExtAuthzGrpc";

/// A compiled service.
pub(crate) struct GrpcService {
    pub(crate) target: Target,
    context_extensions: Vec<(String, String)>,
}

impl GrpcService {
    pub(crate) fn compile(written: &ExtAuthzGrpc, of: &Surroundings, setup: &mut Setup) -> Self {
        if written.include_request_body_in_check.is_some() {
            setup.error(format!("{POINTER}/includeRequestBodyInCheck"), "not supported yet");
        }
        let words = Written {
            service: &written.service,
            port: written.port,
            timeout: written.timeout.as_deref(),
            fail_open: written.fail_open,
            status_on_error: written.status_on_error.as_ref(),
        };
        Self {
            target: Target::compile(&words, POINTER, of, setup),
            context_extensions: written.context_extensions.clone().into_iter().collect(),
        }
    }

    pub(crate) async fn ask(&self, req: &Request) -> Result<Verdict> {
        let headers = req.headers().entries();
        let question = req.inspect(|head| question::write(head, &headers, &self.context_extensions))?;
        let Target { cluster, timeout, .. } = &self.target;
        let answer = grpc::call(cluster, "envoy.service.auth.v3.Authorization", "Check", &[], question, *timeout).await;
        Ok(match answer {
            Ok(answer) => answer::read(answer.message()).unwrap_or_else(|problem| Verdict::Error(problem.to_string())),
            Err(problem) => Verdict::Error(problem.to_string()),
        })
    }
}
