//! What clients and services are told: the refusal, and headers.

use sidegate_sdk::{HeadersMut, Response, Result, Setup};

use crate::bucket::Taken;
use crate::config::{AppendAction, HeaderValueOption, RateLimitConfig, RateLimitHeaders};
use crate::service::Ruling;

const RESOURCE_EXHAUSTED: u8 = 8;

/// The compiled answer.
pub(crate) struct Answer {
    status: u16,
    grpc_status: Option<u8>,
    headers: Vec<HeaderValueOption>,
    tells: bool,
}

/// What is told of a limit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// The limit, as the header says it.
    pub(crate) limit: String,
    /// How many more may pass.
    pub(crate) remaining: u64,
    /// Seconds until more may.
    pub(crate) seconds: u64,
}

impl Told {
    /// Of a bucket by what it holds and what it answered.
    pub(crate) fn of_bucket((max_tokens, taken): (u64, Taken)) -> Self {
        let seconds = taken.next_fill.as_millis().div_ceil(1000);
        let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
        Self { limit: max_tokens.to_string(), remaining: taken.remaining, seconds }
    }
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

    /// The refusal by a bucket.
    pub(crate) fn refuse(&self, told: Option<&Told>) -> Result<Response> {
        self.refuse_with("local_rate_limited", b"local_rate_limited".to_vec(), told)
    }

    /// The refusal by the rate limit service.
    pub(crate) fn refuse_by_service(&self, ruling: Ruling) -> Result<Response> {
        let mut response = self.refuse_with("request_rate_limited", ruling.body, ruling.told.as_ref())?;
        add(&ruling.response_headers, &mut response.headers_mut())?;
        Ok(response)
    }

    /// What clients get when the rate limit service does not answer and may not be left out.
    pub(crate) fn fail() -> Response {
        Response::new(500).details("rate_limiter_error")
    }

    /// Adds the state of a limit, if that is wanted.
    pub(crate) fn tell(&self, told: Option<&Told>, headers: &mut HeadersMut<'_>) -> Result<()> {
        let Some(Told { limit, remaining, seconds }) = told.filter(|_| self.tells) else { return Ok(()) };
        headers.set("x-ratelimit-limit", limit)?;
        headers.set("x-ratelimit-remaining", remaining.to_string())?;
        headers.set("x-ratelimit-reset", seconds.to_string())
    }

    fn refuse_with(&self, details: &'static str, body: Vec<u8>, told: Option<&Told>) -> Result<Response> {
        let mut response = Response::new(self.status).body(body).details(details);
        if let Some(status) = self.grpc_status {
            response = response.grpc_status(status);
        }
        let mut headers = response.headers_mut();
        headers.set("x-envoy-ratelimited", "true")?;
        self.tell(told, &mut headers)?;
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
}

/// Adds what the rate limit service wants to be added.
pub(crate) fn add(list: &[(String, String)], headers: &mut HeadersMut<'_>) -> Result<()> {
    list.iter().try_for_each(|(name, value)| headers.append(name, value))
}

/// Reports names that are no header names.
pub(crate) fn check_headers(options: &[HeaderValueOption], pointer: &str, setup: &mut Setup) {
    for (number, option) in options.iter().enumerate() {
        let name = &option.header.key;
        if !is_header_name(name) {
            setup.error(format!("{pointer}/{number}/header/key"), format!("`{name}` is no header name"));
        }
        if !is_header_value(&option.header.value) {
            setup.error(format!("{pointer}/{number}/header/value"), "a header's value is one line");
        }
    }
}

/// Whether a text is a header's name, and not that of a pseudo header.
pub(crate) fn is_header_name(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token)
}

/// Whether a text can be a header's value.
pub(crate) fn is_header_value(value: &str) -> bool {
    !value.bytes().any(|byte| (byte < b' ' && byte != b'\t') || byte == 0x7f)
}
