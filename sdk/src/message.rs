//! The two messages of an exchange, as handles: nothing is copied out of the host until it is asked for.

use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use crate::body::{Beginning, BodyState, Chunk, Mode};
use crate::error::{Error, Result};
use crate::headers::{Headers, HeadersMut, Source, Target};
use crate::host::{Buffer, Hook, Map};
use crate::link::{Link, Phase};
use crate::view::RequestHead;

/// The request, held by this filter until it is given to [`Next`](crate::Next).
///
/// ```
/// use sidegate_sdk::{Filter, Next, Request, Response, Result, config, filter, testing};
///
/// #[config]
/// struct OnlyGet {}
///
/// #[filter]
/// impl Filter for OnlyGet {
///     async fn handle(&self, req: Request, next: Next) -> Result<Response> {
///         if req.method() != "GET" {
///             return Ok(Response::new(405).header("allow", "GET"));
///         }
///         next.run(req).await
///     }
/// }
///
/// let filter = testing::Filter::<OnlyGet>::configure("{}").unwrap();
/// assert_eq!(filter.post("/").run().status(), 405);
/// assert_eq!(filter.get("/").run().status(), 200);
/// ```
pub struct Request {
    pub(crate) link: Rc<Link>,
}

impl Request {
    /// The path with its query.
    #[must_use]
    pub fn path(&self) -> String {
        self.headers().get(":path").unwrap_or_default()
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> String {
        self.headers().get(":method").unwrap_or_default()
    }

    /// The authority (`Host`).
    #[must_use]
    pub fn authority(&self) -> String {
        self.headers().get(":authority").unwrap_or_default()
    }

    /// The headers, pseudo headers included.
    #[must_use]
    pub fn headers(&self) -> Headers<'_> {
        Headers(Source::Host(&self.link, Map::Request))
    }

    /// The headers, to be changed. `:path`, `:method` and `:authority` can be set too.
    pub fn headers_mut(&mut self) -> HeadersMut<'_> {
        HeadersMut(Target::Host(&self.link, Map::Request))
    }

    /// Looks at the request without copying: what the closure asks for is borrowed from the host.
    ///
    /// # Errors
    /// If the request has left this filter.
    pub fn inspect<R>(&self, look: impl FnOnce(&RequestHead<'_>) -> R) -> Result<R> {
        self.link.check(Phase::Request)?;
        let hook = Hook::running();
        Ok(look(&RequestHead::new(&hook)))
    }

    /// Waits for the whole body. Needs [`Mode::Buffered`] in [`Filter::body`](crate::Filter::body).
    ///
    /// # Errors
    /// `BodyTooLarge` over the limit, `BodyNotDeclared` without the declaration.
    pub async fn body(&mut self) -> Result<Vec<u8>> {
        whole(&self.link, Phase::Request, &self.link.request, Buffer::RequestBody).await
    }

    /// Waits for the first `most` bytes of the body, or for all of one that is shorter, and lets the rest wait in the
    /// host. Needs [`Mode::Buffered`] in [`Filter::body`](crate::Filter::body), whose limit does not count here.
    ///
    /// # Errors
    /// `BodyNotDeclared` without the declaration.
    ///
    /// ```
    /// use sidegate_sdk::{Bodies, Filter, Mode, Next, Request, Response, Result, config, filter, testing};
    ///
    /// #[config]
    /// struct Sniff {}
    ///
    /// #[filter]
    /// impl Filter for Sniff {
    ///     fn body() -> Bodies {
    ///         Bodies::none().request(Mode::Buffered { limit: 4 })
    ///     }
    ///
    ///     async fn handle(&self, mut req: Request, next: Next) -> Result<Response> {
    ///         let beginning = req.beginning(4).await?;
    ///         req.headers_mut().set("x-kind", if beginning.bytes == b"%PDF" { "pdf" } else { "other" })?;
    ///         Ok(next.forward(req))
    ///     }
    /// }
    ///
    /// let filter = testing::Filter::<Sniff>::configure("{}").unwrap();
    /// let outcome = filter.post("/").body("%PDF-1.7 and so on").run();
    /// assert_eq!(outcome.request().unwrap().header("x-kind"), Some("pdf"));
    /// ```
    pub async fn beginning(&mut self, most: usize) -> Result<Beginning> {
        let (bytes, is_whole) =
            arrive(&self.link, Phase::Request, &self.link.request, Buffer::RequestBody, most).await?;
        Ok(Beginning { bytes, is_whole })
    }

    /// Sends another body; to be called after [`Request::body`] was awaited.
    ///
    /// # Errors
    /// If the host refuses. If a callout was awaited before the body, and the last piece came behind others that the
    /// host had kept meanwhile, it cannot be replaced: await the body first, then the callout.
    pub fn set_body(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.headers_mut().set("content-length", bytes.as_ref().len().to_string())?;
        self.link.request.replace(Buffer::RequestBody, bytes.as_ref())
    }

    /// Gives every piece of the body to `map` as it passes. Needs [`Mode::Streamed`].
    ///
    /// # Errors
    /// `BodyNotDeclared` without the declaration.
    pub fn map_body(&mut self, map: impl FnMut(&mut Chunk<'_>) -> Result<()> + 'static) -> Result<()> {
        stream(&self.link.request, map)?;
        self.headers_mut().remove("content-length")
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("context", &self.link.id.get()).finish()
    }
}

/// The response: of the service as [`Next::run`](crate::Next::run) returned it, or one made here.
///
/// ```
/// use sidegate_sdk::Response;
/// let reply = Response::new(429).header("retry-after", "1").body("slow down\n").details("quota");
/// assert_eq!(reply.status(), 429);
/// ```
pub struct Response {
    pub(crate) kind: Kind,
}

pub(crate) enum Kind {
    /// The request went on and the filter is done.
    Forwarded,
    Upstream(Rc<Link>),
    Local(Box<Local>),
}

/// A reply made in a filter.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) details: &'static str,
    pub(crate) grpc_status: i32,
}

impl Response {
    /// A reply with this status and nothing else. Returned from `handle` it is sent at once; the service is not asked.
    #[must_use]
    pub fn new(status: u16) -> Self {
        let local = Local { status, headers: Vec::new(), body: Vec::new(), details: "", grpc_status: -1 };
        Self { kind: Kind::Local(Box::new(local)) }
    }

    /// Adds a header to a reply made here.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        // A reply of our own takes any header; one of the service reports its problem in the chain's log.
        if let Err(problem) = self.headers_mut().append(name, value) {
            crate::warn!("header {name} not added: {problem}");
        }
        self
    }

    /// Sets the body of a reply made here.
    #[must_use]
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        if let Kind::Local(local) = &mut self.kind {
            local.body = bytes.into();
        }
        self
    }

    /// Sets the response code details of a reply made here, as access logs show them.
    #[must_use]
    pub fn details(mut self, details: &'static str) -> Self {
        if let Kind::Local(local) = &mut self.kind {
            local.details = details;
        }
        self
    }

    /// Sets the gRPC status that a gRPC client gets. Default: derived from the HTTP status.
    #[must_use]
    pub fn grpc_status(mut self, status: u8) -> Self {
        if let Kind::Local(local) = &mut self.kind {
            local.grpc_status = i32::from(status);
        }
        self
    }

    /// The status; 0 if the host does not say.
    #[must_use]
    pub fn status(&self) -> u16 {
        match &self.kind {
            Kind::Local(local) => local.status,
            _ => self.headers().get(":status").and_then(|status| status.parse().ok()).unwrap_or(0),
        }
    }

    /// The headers, `:status` included for a response of the service.
    #[must_use]
    pub fn headers(&self) -> Headers<'_> {
        Headers(match &self.kind {
            Kind::Forwarded => Source::Own(&[]),
            Kind::Upstream(link) => Source::Host(link, Map::Response),
            Kind::Local(local) => Source::Own(&local.headers),
        })
    }

    /// The headers, to be changed.
    pub fn headers_mut(&mut self) -> HeadersMut<'_> {
        HeadersMut(match &mut self.kind {
            Kind::Upstream(link) => Target::Host(link, Map::Response),
            Kind::Local(local) => Target::Own(&mut local.headers),
            Kind::Forwarded => Target::Gone,
        })
    }

    /// Waits for the whole body of the service. Needs [`Mode::Buffered`] in [`Filter::body`](crate::Filter::body).
    ///
    /// # Errors
    /// As [`Request::body`].
    pub async fn bytes(&mut self) -> Result<Vec<u8>> {
        match &self.kind {
            Kind::Forwarded => Err(Error::Gone),
            Kind::Local(local) => Ok(local.body.clone()),
            Kind::Upstream(link) => whole(link, Phase::Response, &link.response, Buffer::ResponseBody).await,
        }
    }

    /// Sends another body; for a response of the service after [`Response::bytes`] was awaited.
    ///
    /// # Errors
    /// If the host refuses; likewise after a callout, as in [`Request::set_body`].
    pub fn set_body(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        if let Kind::Local(local) = &mut self.kind {
            local.body = bytes.as_ref().to_vec();
            return Ok(());
        }
        self.headers_mut().set("content-length", bytes.as_ref().len().to_string())?;
        let Kind::Upstream(link) = &self.kind else { return Err(Error::Gone) };
        link.response.replace(Buffer::ResponseBody, bytes.as_ref())
    }

    /// Gives every piece of the service's body to `map` as it passes. Needs [`Mode::Streamed`].
    ///
    /// # Errors
    /// `BodyNotDeclared` without the declaration, `Gone` for a reply made here.
    pub fn map_body(&mut self, map: impl FnMut(&mut Chunk<'_>) -> Result<()> + 'static) -> Result<()> {
        let Kind::Upstream(link) = &self.kind else { return Err(Error::Gone) };
        stream(&link.response, map)?;
        self.headers_mut().remove("content-length")
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Forwarded => f.write_str("Response(forwarded)"),
            Kind::Upstream(link) => f.debug_struct("Response").field("context", &link.id.get()).finish(),
            Kind::Local(local) => local.fmt(f),
        }
    }
}

async fn whole(link: &Link, phase: Phase, state: &BodyState, buffer: Buffer) -> Result<Vec<u8>> {
    let Mode::Buffered { limit } = state.mode.get() else { return Err(Error::BodyNotDeclared) };
    let (bytes, is_whole) = arrive(link, phase, state, buffer, limit.saturating_add(1)).await?;
    if is_whole && bytes.len() <= limit { Ok(bytes) } else { Err(Error::BodyTooLarge { limit }) }
}

/// Waits for `enough` bytes or the end; says whether those are all.
async fn arrive(
    link: &Link,
    phase: Phase,
    state: &BodyState,
    buffer: Buffer,
    enough: usize,
) -> Result<(Vec<u8>, bool)> {
    if !matches!(state.mode.get(), Mode::Buffered { .. }) {
        return Err(Error::BodyNotDeclared);
    }
    poll_fn(|_| {
        if let Err(gone) = link.check(phase) {
            return Poll::Ready(Err(gone));
        }
        let is_whole = state.complete.get();
        if is_whole || state.held.get() >= enough {
            let is_whole = is_whole && state.held.get() <= enough;
            return Poll::Ready(state.bytes(buffer, enough).map(|bytes| (bytes, is_whole)));
        }
        match state.want(buffer, enough) {
            Ok(()) => Poll::Pending,
            Err(problem) => Poll::Ready(Err(problem)),
        }
    })
    .await
}

fn stream(state: &BodyState, map: impl FnMut(&mut Chunk<'_>) -> Result<()> + 'static) -> Result<()> {
    if state.mode.get() != Mode::Streamed {
        return Err(Error::BodyNotDeclared);
    }
    state.mapper.set(Some(Box::new(map)));
    Ok(())
}
