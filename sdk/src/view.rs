//! Borrowed looks at an exchange, for synchronous code: nothing is copied out of the host.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::time::Duration;

use sidegate_matching::RequestView;

use crate::host::{self, Hook, Map};
use crate::pairs;
use crate::properties::{self, Path};

/// A request's head. Each value is asked of the host when it is first needed, and once.
///
/// ```
/// use sidegate_sdk::{Filter, Next, Request, Response, Result, config, filter, matching::HttpMatchRequest, testing};
///
/// #[config]
/// struct Deny { deny: Vec<HttpMatchRequest> }
///
/// #[filter]
/// impl Filter for Deny {
///     async fn handle(&self, req: Request, next: Next) -> Result<Response> {
///         let denied = req.inspect(|head| {
///             self.deny.iter().any(|entry| entry.compile().is_ok_and(|matcher| matcher.matches(head)))
///         })?;
///         if denied { Ok(Response::new(403)) } else { Ok(next.forward(req)) }
///     }
/// }
///
/// let filter = testing::Filter::<Deny>::configure(r#"{"deny": [{"uri": {"prefix": "/admin"}}]}"#).unwrap();
/// assert_eq!(filter.get("/admin/x").run().status(), 403);
/// assert_eq!(filter.get("/").run().status(), 200);
/// ```
pub struct RequestHead<'h> {
    hook: &'h Hook,
    path: OnceCell<Cow<'h, str>>,
    method: OnceCell<Cow<'h, str>>,
    scheme: OnceCell<Cow<'h, str>>,
    authority: OnceCell<Cow<'h, str>>,
    claims: OnceCell<Option<Cow<'h, str>>>,
}

impl<'h> RequestHead<'h> {
    pub(crate) fn new(hook: &'h Hook) -> Self {
        Self {
            hook,
            path: OnceCell::new(),
            method: OnceCell::new(),
            scheme: OnceCell::new(),
            authority: OnceCell::new(),
            claims: OnceCell::new(),
        }
    }

    /// The first value of a header.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<Cow<'h, str>> {
        header(self.hook, Map::Request, name)
    }

    /// All values of a header, in order.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<Cow<'h, str>> {
        all_in_request(self.hook, name)
    }

    /// A property as text.
    pub fn property(&self, path: impl Path) -> Option<Cow<'h, str>> {
        property(self.hook, &path.joined())
    }

    /// A property as integer.
    pub fn int(&self, path: impl Path) -> Option<i64> {
        properties::lend(self.hook, &path.joined()).and_then(|bytes| properties::as_int(&bytes))
    }

    /// A property as boolean.
    pub fn bool(&self, path: impl Path) -> Option<bool> {
        properties::lend(self.hook, &path.joined()).and_then(|bytes| bytes.first().map(|byte| *byte != 0))
    }
}

impl RequestView for RequestHead<'_> {
    fn path(&self) -> &str {
        self.path.get_or_init(|| self.first(":path").unwrap_or_default())
    }

    fn method(&self) -> &str {
        self.method.get_or_init(|| self.first(":method").unwrap_or_default())
    }

    fn scheme(&self) -> &str {
        self.scheme.get_or_init(|| self.first(":scheme").unwrap_or_default())
    }

    fn authority(&self) -> &str {
        self.authority.get_or_init(|| self.first(":authority").unwrap_or_default())
    }

    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        // The map returns the first value only; the property joins repeated headers, which a match has to see.
        property(self.hook, &["request", "headers", name].joined())
    }

    fn claims(&self) -> Option<Cow<'_, str>> {
        self.claims.get_or_init(|| property(self.hook, "sidegate.auth.claims")).as_deref().map(Cow::Borrowed)
    }

    fn local_port(&self) -> Option<u16> {
        properties::int(["destination", "port"]).and_then(|port| u16::try_from(port).ok())
    }
}

/// A finished exchange, as [`Filter::log`](crate::Filter::log) sees it.
///
/// ```
/// use sidegate_sdk::{Filter, LogView, config, filter, testing};
///
/// #[config]
/// struct Slow {}
///
/// #[filter]
/// impl Filter for Slow {
///     fn log(&self, view: &LogView<'_>) {
///         sidegate_sdk::info!("{} took {:?}", view.request_header(":path").unwrap_or_default(), view.duration());
///     }
/// }
///
/// let outcome = testing::Filter::<Slow>::configure("{}").unwrap().get("/x").run();
/// assert!(outcome.logs()[0].text.starts_with("/x took"));
/// ```
pub struct LogView<'h> {
    hook: &'h Hook,
}

impl<'h> LogView<'h> {
    pub(crate) fn new(hook: &'h Hook) -> Self {
        Self { hook }
    }

    /// The first value of a request header.
    #[must_use]
    pub fn request_header(&self, name: &str) -> Option<Cow<'h, str>> {
        header(self.hook, Map::Request, name)
    }

    /// The first value of a response header.
    #[must_use]
    pub fn response_header(&self, name: &str) -> Option<Cow<'h, str>> {
        header(self.hook, Map::Response, name)
    }

    /// All request headers in order.
    #[must_use]
    pub fn request_headers(&self) -> Vec<(String, String)> {
        entries(self.hook, Map::Request)
    }

    /// All response headers in order.
    #[must_use]
    pub fn response_headers(&self) -> Vec<(String, String)> {
        entries(self.hook, Map::Response)
    }

    /// The status the client got; 0 if there was none.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.int(["response", "code"]).and_then(|code| u16::try_from(code).ok()).unwrap_or(0)
    }

    /// From the first byte of the request to the last of the response.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.int(["request", "duration"]).and_then(|nanos| nanos.try_into().ok()).unwrap_or(0))
    }

    /// A property as text. `"request\0id"` spares joining `["request", "id"]`.
    pub fn text(&self, path: impl Path) -> Option<Cow<'h, str>> {
        property(self.hook, &path.joined())
    }

    /// A property as integer.
    pub fn int(&self, path: impl Path) -> Option<i64> {
        properties::lend(self.hook, &path.joined()).and_then(|bytes| properties::as_int(&bytes))
    }

    /// A property as boolean.
    pub fn bool(&self, path: impl Path) -> Option<bool> {
        properties::lend(self.hook, &path.joined()).and_then(|bytes| bytes.first().map(|byte| *byte != 0))
    }
}

fn header<'h>(hook: &'h Hook, map: Map, name: &str) -> Option<Cow<'h, str>> {
    host::header(hook, map, name).ok().flatten().map(text)
}

/// All values of a request header, in order.
pub(crate) fn all_in_request<'h>(hook: &'h Hook, name: &str) -> Vec<Cow<'h, str>> {
    match property(hook, &["request", "headers", name].joined()) {
        None => Vec::new(),
        // The property joins values with commas: without one there is a single value.
        Some(joined) if !joined.contains(',') => vec![joined],
        Some(_) => {
            let of_name = |(key, _): &(String, String)| key.eq_ignore_ascii_case(name);
            let all = entries(hook, Map::Request).into_iter().filter(of_name);
            all.map(|(_, value)| Cow::Owned(value)).collect()
        }
    }
}

fn property<'h>(hook: &'h Hook, path: &str) -> Option<Cow<'h, str>> {
    properties::lend(hook, path).map(text)
}

fn text(bytes: Cow<'_, [u8]>) -> Cow<'_, str> {
    match bytes {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

fn entries(hook: &Hook, map: Map) -> Vec<(String, String)> {
    let own = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let bytes = host::header_pairs(hook, map).unwrap_or_default();
    pairs::decode(&bytes).map(|(name, value)| (own(name), own(value))).collect()
}
