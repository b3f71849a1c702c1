//! Asking over gRPC: `envoy.service.auth.v3.Authorization/Check`.

mod answer;
mod question;

use sidegate_sdk::{Request, Result, grpc};

use super::Verdict;
use super::body::{PARTIAL_BODY, ToldBody};
use super::place::Place;
use super::target::Target;
use crate::config::ExtAuthzGrpc;
use crate::surroundings::Surroundings;

/// A compiled service.
pub(crate) struct GrpcService {
    pub(crate) target: Target,
    context_extensions: Vec<(String, String)>,
}

impl GrpcService {
    pub(crate) fn compile(written: &ExtAuthzGrpc, of: &Surroundings, place: &mut Place<'_>) -> Self {
        Self {
            target: Target::compile(&written.into(), of, place),
            context_extensions: written.context_extensions.clone().into_iter().collect(),
        }
    }

    pub(crate) async fn ask(&self, req: &Request, body: &ToldBody) -> Result<Verdict> {
        let mut headers = req.headers().entries();
        // Whether the body is whole is not the client's to say.
        headers.retain(|(name, _)| name != PARTIAL_BODY);
        if let Some(partial) = body.partial() {
            headers.push((PARTIAL_BODY.to_owned(), partial.to_owned()));
        }
        let Target { cluster, timeout, .. } = &self.target;
        let is_packed = self.target.body.is_some_and(|body| body.is_packed_as_bytes);
        let question = question::Question { headers: &headers, context: &self.context_extensions, body, is_packed };
        let question = req.inspect(|head| question.write(head))?;
        let answer = grpc::call(cluster, "envoy.service.auth.v3.Authorization", "Check", &[], question, *timeout).await;
        Ok(match answer {
            Ok(answer) => answer::read(answer.message()).unwrap_or_else(|problem| Verdict::Error(problem.to_string())),
            Err(problem) => Verdict::Error(problem.to_string()),
        })
    }
}
