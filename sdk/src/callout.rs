//! HTTP requests to other clusters, awaited in the middle of an exchange.

use std::borrow::Cow;
use std::cell::Cell;
use std::future::poll_fn;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::headers::read_pairs;
use crate::host::{self, Buffer, Hook, Map};
use crate::pairs;
use crate::waiting::Waiters;

/// A request to a cluster.
///
/// ```
/// use std::time::Duration;
/// use sidegate_sdk::{Callout, Filter, Next, Request, Response, Result, config, filter, testing};
///
/// #[config]
/// struct Users {}
///
/// #[filter]
/// impl Filter for Users {
///     async fn handle(&self, mut req: Request, next: Next) -> Result<Response> {
///         let user = Callout::to("users").get("/me").timeout(Duration::from_millis(200)).send().await?;
///         if user.status() != 200 {
///             return Ok(Response::new(401));
///         }
///         req.headers_mut().set("x-user", user.text())?;
///         next.run(req).await
///     }
/// }
///
/// let filter = testing::Filter::<Users>::configure("{}").unwrap();
/// filter.answer("users", |_| testing::Answer::new(200).body("ann"));
/// assert_eq!(filter.get("/").run().request().unwrap().header("x-user"), Some("ann"));
/// ```
#[derive(Debug, Clone)]
pub struct Callout {
    cluster: String,
    method: Cow<'static, str>,
    path: String,
    authority: Option<String>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    timeout: Duration,
}

impl Callout {
    /// A callout to a cluster: `GET /`, its authority the cluster's name, 5 s to answer.
    pub fn to(cluster: impl Into<String>) -> Self {
        Self {
            cluster: cluster.into(),
            method: Cow::Borrowed("GET"),
            path: "/".to_owned(),
            authority: None,
            headers: Vec::new(),
            body: Vec::new(),
            timeout: Duration::from_secs(5),
        }
    }

    /// Asks for a path.
    #[must_use]
    pub fn get(self, path: impl Into<String>) -> Self {
        Self { method: Cow::Borrowed("GET"), path: path.into(), ..self }
    }

    /// Sends a body to a path.
    #[must_use]
    pub fn post(self, path: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self { method: Cow::Borrowed("POST"), path: path.into(), body: body.into(), ..self }
    }

    /// Uses another method.
    #[must_use]
    pub fn method(self, method: impl Into<Cow<'static, str>>) -> Self {
        Self { method: method.into(), ..self }
    }

    /// Sets the authority (`Host`).
    #[must_use]
    pub fn authority(self, authority: impl Into<String>) -> Self {
        Self { authority: Some(authority.into()), ..self }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.into()));
        self
    }

    /// How long to wait, in whole milliseconds and at least one.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Sends it and waits for the answer. A timeout or a refused connection is an answer with 504 or 503.
    /// Dropping the future gives the answer up; the host still finishes the call.
    ///
    /// # Errors
    /// If the host refuses (an unknown cluster, too many callouts), the call was reset, or `#[filter]` was told that
    /// the filter sends none.
    pub async fn send(self) -> Result<Answer> {
        if !DECLARED.with(Cell::get) {
            return Err(Error::new("this filter does not declare its callouts; write #[filter(callouts)]"));
        }
        let token = self.dispatch()?;
        let slot = WAITING.with(|waiting| waiting.wait(token));
        let answer = poll_fn(|context| slot.poll(context)).await;
        answer.ok_or(Error::Callout { cluster: self.cluster, reason: "it was reset or its answer was too large" })
    }

    fn dispatch(&self) -> Result<u32> {
        let pseudo = [
            (":method", &*self.method),
            (":path", self.path.as_str()),
            (":authority", self.authority.as_deref().unwrap_or(&self.cluster)),
            (":scheme", "http"),
        ];
        let own = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let all = pseudo.into_iter().chain(own).map(|(name, value)| (name, value.as_bytes()));
        let timeout = u32::try_from(self.timeout.as_millis()).unwrap_or(u32::MAX >> 1).max(1);
        host::http_call(&self.cluster, &pairs::encode(all), &self.body, timeout)
    }
}

/// What a callout brought.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    /// The status; 0 if the answer had none.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.header(":status").and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All headers in order.
    #[must_use]
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as text; bytes that are not UTF-8 become U+FFFD.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    /// If it is not what `T` expects.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        Ok(serde_json::from_slice(&self.body)?)
    }
}

thread_local! {
    /// Whether answers can arrive: the module exports their hook.
    static DECLARED: Cell<bool> = const { Cell::new(false) };
    static WAITING: Waiters<Option<Answer>> = const { Waiters::new() };
}

/// Says whether the filter exports the hook for answers.
pub(crate) fn declare(is_declared: bool) {
    DECLARED.with(|declared| declared.set(is_declared));
}

/// Takes an answer in, inside `proxy_on_http_call_response`. Returns who waits for it; nobody, if it was given up.
pub(crate) fn arrived(token: u32, headers: u32, body: usize) -> Option<u32> {
    let (owner, slot) = WAITING.with(|waiting| waiting.take(token))?;
    let answer = (headers > 0).then(|| {
        let hook = Hook::running();
        let bytes = if body > 0 {
            host::buffer(&hook, Buffer::Callout, 0, body).unwrap_or_default()
        } else {
            Default::default()
        };
        Answer { headers: read_pairs(Map::Callout), body: bytes.into_owned() }
    });
    slot.fill(answer);
    Some(owner)
}
