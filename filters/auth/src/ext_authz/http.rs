//! Asking over HTTP: the request's method, path and chosen headers, without its body.

use std::time::Duration;

use sidegate_sdk::{Callout, Request, Result, Setup, escape_pointer, parse_duration};

use super::headers::HeaderList;
use super::{OnError, Verdict};
use crate::config::{ExtAuthzHttp, StatusOnError};
use crate::names;
use crate::surroundings::Surroundings;

const POINTER: &str = "/extAuthz/envoyExtAuthzHttp";
/// How long an answer may take, where nothing is written.
const TIMEOUT: Duration = Duration::from_millis(200);
/// Headers of a refusal that go to the client with every list.
const ALWAYS_ON_DENY: [&str; 3] = ["www-authenticate", "proxy-authenticate", "location"];

/// A compiled service.
pub(crate) struct HttpService {
    cluster: String,
    timeout: Duration,
    path_prefix: String,
    pub(crate) on_error: OnError,
    include: HeaderList,
    add: Vec<(String, String)>,
    upstream: HeaderList,
    downstream_on_allow: HeaderList,
    /// `None`: all.
    downstream_on_deny: Option<HeaderList>,
}

impl HttpService {
    pub(crate) fn compile(written: &ExtAuthzHttp, of: &Surroundings, setup: &mut Setup) -> Self {
        if written.include_request_body_in_check.is_some() {
            setup.error(format!("{POINTER}/includeRequestBodyInCheck"), "not supported yet");
        }
        let timeout = match written.timeout.as_deref().map(parse_duration) {
            None => TIMEOUT,
            Some(Ok(timeout)) if timeout >= Duration::from_millis(1) => timeout,
            Some(other) => {
                let problem = other.err().unwrap_or_else(|| "a timeout has at least 1ms".to_owned());
                setup.error(format!("{POINTER}/timeout"), problem);
                TIMEOUT
            }
        };
        if !(written.path_prefix.is_empty() || written.path_prefix.starts_with('/')) {
            setup.error(format!("{POINTER}/pathPrefix"), "a prefix of a path begins with /");
        }
        for (name, value) in &written.include_additional_headers_in_check {
            if !names::is_writable(name) || !names::is_value(value) {
                let pointer = format!("{POINTER}/includeAdditionalHeadersInCheck/{}", escape_pointer(name));
                setup.error(pointer, "this is no header that can be sent");
            }
        }
        let mut list = |key: &str, list: &[String]| HeaderList::compile(list, &format!("{POINTER}/{key}"), setup);
        let include = list("includeRequestHeadersInCheck", &written.include_request_headers_in_check);
        let upstream = list("headersToUpstreamOnAllow", &written.headers_to_upstream_on_allow);
        let downstream_on_allow = list("headersToDownstreamOnAllow", &written.headers_to_downstream_on_allow);
        let downstream_on_deny = written.headers_to_downstream_on_deny.as_ref();
        let downstream_on_deny = downstream_on_deny.map(|written| list("headersToDownstreamOnDeny", written));
        let add = written.include_additional_headers_in_check.iter();
        Self {
            cluster: cluster(written, of, setup),
            timeout,
            path_prefix: written.path_prefix.trim_end_matches('/').to_owned(),
            on_error: OnError { is_open: written.fail_open, status: status(written, setup) },
            include,
            add: add.map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect(),
            upstream,
            downstream_on_allow,
            downstream_on_deny,
        }
    }

    pub(crate) async fn ask(&self, req: &Request) -> Result<Verdict> {
        let answer = match self.call(req).timeout(self.timeout).send().await {
            Ok(answer) => answer,
            Err(problem) => return Ok(Verdict::Error(problem.to_string())),
        };
        let chosen = |is_meant: &dyn Fn(&str) -> bool| -> Vec<(String, String)> {
            let all = answer.headers().iter().filter(|(name, _)| names::is_writable(name));
            all.filter(|(name, _)| is_meant(name)).cloned().collect()
        };
        Ok(match answer.status() {
            200 => Verdict::Allow {
                upstream: chosen(&|name| self.upstream.has(name)),
                downstream: chosen(&|name| self.downstream_on_allow.has(name)),
            },
            status @ 201..=499 => {
                let is_meant = |name: &str| match &self.downstream_on_deny {
                    None => true,
                    Some(list) => list.has(name) || ALWAYS_ON_DENY.contains(&name),
                };
                // What is neither an error nor a redirect says no all the same.
                let status = if status < 300 { 403 } else { status };
                Verdict::Deny { status, headers: chosen(&is_meant), body: answer.body().to_vec() }
            }
            status => Verdict::Error(format!("the answer has status {status}")),
        })
    }

    fn call(&self, req: &Request) -> Callout {
        let (path, authority) = (req.path(), req.authority());
        let mut call = Callout::to(&*self.cluster)
            .get(format!("{}{path}", self.path_prefix))
            .method(req.method())
            .authority(authority);
        for (name, value) in req.headers().entries() {
            let is_meant = name == "authorization" || self.include.has(&name);
            let is_replaced = self.add.iter().any(|(added, _)| *added == name);
            if is_meant && !is_replaced && names::is_writable(&name) {
                call = call.header(&name, value);
            }
        }
        self.add.iter().fold(call, |call, (name, value)| call.header(name, &**value))
    }
}

fn cluster(written: &ExtAuthzHttp, of: &Surroundings, setup: &mut Setup) -> String {
    // Istio allows `namespace/host`.
    let host = written.service.rsplit('/').next().unwrap_or_default();
    if host.is_empty() {
        setup.error(format!("{POINTER}/service"), "a service is needed: a cluster's name or one of its hosts");
    }
    of.cluster_of(host, written.port).unwrap_or_else(|| {
        if !host.is_empty() {
            setup.warning(
                format!("{POINTER}/service"),
                format!("no cluster has `{host}` as its name or among its hosts"),
            );
        }
        host.to_owned()
    })
}

fn status(written: &ExtAuthzHttp, setup: &mut Setup) -> u16 {
    let status = match &written.status_on_error {
        None => return 403,
        Some(StatusOnError::Number(status)) => Some(*status),
        Some(StatusOnError::Text(text)) => text.parse().ok(),
    };
    status.filter(|status| (400..=599).contains(status)).unwrap_or_else(|| {
        setup.error(format!("{POINTER}/statusOnError"), "a status of an error lies between 400 and 599");
        403
    })
}
