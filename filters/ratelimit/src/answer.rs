//! What clients and services are told: the refusal, and headers.

use sidegate_sdk::{HeadersMut, Response, Result, Setup};

use crate::bucket::Taken;
use crate::config::{AppendAction, HeaderValueOption, RateLimitConfig, RateLimitHeaders};
use crate::policy::Verdict;

const RESOURCE_EXHAUSTED: u8 = 8;

/// The compiled answer.
pub(crate) struct Answer {
    status: u16,
    grpc_status: Option<u8>,
    headers: Vec<HeaderValueOption>,
    tells: bool,
}

impl Answer {
    /// Checks and compiles; a problem is told to `setup`.
    pub(crate) fn compile(written: &mut RateLimitConfig, setup: &mut Setup) -> Self {
        let status = written.status.as_ref().map_or(429, |status| status.code);
        if !(400..600).contains(&status) {
            setup.error("/status/code", "a refusal has a status between 400 and 599");
        }
        let headers = std::mem::take(&mut written.response_headers_to_add);
        check_headers(&headers, "/responseHeadersToAdd", setup);
        Self {
            status,
            grpc_status: written.rate_limited_as_resource_exhausted.then_some(RESOURCE_EXHAUSTED),
            headers,
            tells: written.enable_x_ratelimit_headers == RateLimitHeaders::Draft03,
        }
    }

    /// Whether responses of the service have to be changed.
    pub(crate) fn tells(&self) -> bool {
        self.tells
    }

    /// The refusal.
    pub(crate) fn refuse(&self, verdict: &Verdict) -> Result<Response> {
        let mut response = Response::new(self.status).body("local_rate_limited").details("local_rate_limited");
        if let Some(status) = self.grpc_status {
            response = response.grpc_status(status);
        }
        let mut headers = response.headers_mut();
        headers.set("x-envoy-ratelimited", "true")?;
        self.tell(verdict, &mut headers)?;
        for option in &self.headers {
            // Nothing but our own headers is there yet, so that they differ only where one is written twice.
            let name = &option.header.key;
            match option.append_action {
                AppendAction::Append => headers.append(name, &option.header.value)?,
                AppendAction::AddIfAbsent | AppendAction::Overwrite => headers.set(name, &option.header.value)?,
            }
        }
        Ok(response)
    }

    /// Adds the bucket's state, if that is wanted.
    pub(crate) fn tell(&self, verdict: &Verdict, headers: &mut HeadersMut<'_>) -> Result<()> {
        let Some((limit, Taken { remaining, next_fill, .. })) = verdict.told.filter(|_| self.tells) else {
            return Ok(());
        };
        let seconds = next_fill.as_millis().div_ceil(1000);
        headers.set("x-ratelimit-limit", limit.to_string())?;
        headers.set("x-ratelimit-remaining", remaining.to_string())?;
        headers.set("x-ratelimit-reset", seconds.to_string())
    }
}

/// Reports names that are no header names.
pub(crate) fn check_headers(options: &[HeaderValueOption], pointer: &str, setup: &mut Setup) {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    for (number, option) in options.iter().enumerate() {
        let name = &option.header.key;
        if name.is_empty() || !name.bytes().all(is_token) {
            setup.error(format!("{pointer}/{number}/header/key"), format!("`{name}` is no header name"));
        }
        if option.header.value.bytes().any(|byte| byte < b' ' && byte != b'\t') {
            setup.error(format!("{pointer}/{number}/header/value"), "a header's value is one line");
        }
    }
}
