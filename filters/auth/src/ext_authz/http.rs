//! Asking over HTTP: the request's method, path and chosen headers, and its body where that is asked for.

use sidegate_sdk::{Callout, Request, Result, escape_pointer};

use super::Verdict;
use super::body::{PARTIAL_BODY, ToldBody};
use super::edit::{Action, Edit};
use super::headers::HeaderList;
use super::place::Place;
use super::target::Target;
use crate::config::ExtAuthzHttp;
use crate::names;
use crate::surroundings::Surroundings;

/// Headers of a refusal that go to the client with every list.
const ALWAYS_ON_DENY: [&str; 3] = ["www-authenticate", "proxy-authenticate", "location"];

/// A compiled service.
pub(crate) struct HttpService {
    pub(crate) target: Target,
    path_prefix: String,
    include: HeaderList,
    add: Vec<(String, String)>,
    upstream: HeaderList,
    downstream_on_allow: HeaderList,
    /// `None`: all.
    downstream_on_deny: Option<HeaderList>,
}

impl HttpService {
    pub(crate) fn compile(written: &ExtAuthzHttp, of: &Surroundings, place: &mut Place<'_>) -> Self {
        if !(written.path_prefix.is_empty() || written.path_prefix.starts_with('/')) {
            place.error("pathPrefix", "a prefix of a path begins with /");
        }
        for (name, value) in &written.include_additional_headers_in_check {
            if !names::is_writable(name) || !names::is_value(value) {
                let key = format!("includeAdditionalHeadersInCheck/{}", escape_pointer(name));
                place.error(&key, "this is no header that can be sent");
            }
        }
        let mut list = |key: &str, list: &[String]| HeaderList::compile(list, key, place);
        let include = list("includeRequestHeadersInCheck", &written.include_request_headers_in_check);
        let upstream = list("headersToUpstreamOnAllow", &written.headers_to_upstream_on_allow);
        let downstream_on_allow = list("headersToDownstreamOnAllow", &written.headers_to_downstream_on_allow);
        let downstream_on_deny = written.headers_to_downstream_on_deny.as_ref();
        let downstream_on_deny = downstream_on_deny.map(|written| list("headersToDownstreamOnDeny", written));
        let add = written.include_additional_headers_in_check.iter();
        Self {
            target: Target::compile(&written.into(), of, place),
            path_prefix: written.path_prefix.trim_end_matches('/').to_owned(),
            include,
            add: add.map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect(),
            upstream,
            downstream_on_allow,
            downstream_on_deny,
        }
    }

    pub(crate) async fn ask(&self, req: &Request, body: &ToldBody) -> Result<Verdict> {
        let answer = match self.call(req, body).timeout(self.target.timeout).send().await {
            Ok(answer) => answer,
            Err(problem) => return Ok(Verdict::Error(problem.to_string())),
        };
        let chosen = |action: Action, is_meant: &dyn Fn(&str) -> bool| -> Vec<Edit> {
            let mut edits: Vec<Edit> = Vec::new();
            for (name, value) in answer.headers().iter().filter(|(name, _)| is_meant(name)) {
                // Of several values the first takes the place of what was there, and the others stand beside it.
                let is_first = !edits.iter().any(|edit| edit.name == *name);
                edits.extend(Edit::new(if is_first { action } else { Action::Append }, name, value));
            }
            edits
        };
        Ok(match answer.status() {
            200 => Verdict::Allow {
                upstream: chosen(Action::Set, &|name| self.upstream.has(name)),
                downstream: chosen(Action::Append, &|name| self.downstream_on_allow.has(name)),
            },
            status @ 201..=499 => {
                let is_meant = |name: &str| match &self.downstream_on_deny {
                    None => true,
                    Some(list) => list.has(name) || ALWAYS_ON_DENY.contains(&name),
                };
                // What is neither an error nor a redirect says no all the same.
                let status = if status < 300 { 403 } else { status };
                Verdict::Deny { status, headers: chosen(Action::Append, &is_meant), body: answer.body().to_vec() }
            }
            status => Verdict::Error(format!("the answer has status {status}")),
        })
    }

    fn call(&self, req: &Request, body: &ToldBody) -> Callout {
        let (path, authority) = (req.path(), req.authority());
        let mut call = Callout::to(&*self.target.cluster)
            .post(format!("{}{path}", self.path_prefix), body.bytes.as_slice())
            .method(req.method())
            .authority(authority);
        for (name, value) in req.headers().entries() {
            let is_meant = name == "authorization" || self.include.has(&name);
            let is_replaced = self.add.iter().any(|(added, _)| *added == name);
            // Whether the body is whole is not the client's to say.
            let is_ours = name == PARTIAL_BODY;
            if is_meant && !is_replaced && !is_ours && names::is_writable(&name) {
                call = call.header(&name, value);
            }
        }
        if let Some(partial) = body.partial() {
            call = call.header(PARTIAL_BODY, partial);
        }
        self.add.iter().fold(call, |call, (name, value)| call.header(name, &**value))
    }
}
