//! The rest of the chain and the service behind it.

use std::fmt;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::Poll;

use crate::error::{Error, Result};
use crate::link::{Link, Phase};
use crate::message::{Kind, Request, Response};

/// Sends a request on, once.
pub struct Next {
    pub(crate) link: Rc<Link>,
}

impl Next {
    /// Sends the request on and waits for the head of the response.
    ///
    /// When the client goes away the future is dropped here: code behind this `.await` does not run, `log` does.
    ///
    /// # Errors
    /// If the request belongs to another exchange.
    pub fn run(self, request: Request) -> impl Future<Output = Result<Response>> {
        let sent = self.send(&request);
        drop(request);
        let link = self.link;
        poll_fn(move |_| match (&sent, link.phase.get()) {
            (Err(_), _) => Poll::Ready(Err(Error::Gone)),
            (Ok(()), Phase::Response) => Poll::Ready(Ok(Response { kind: Kind::Upstream(Rc::clone(&link)) })),
            _ => Poll::Pending,
        })
    }

    /// Sends the request on without looking at the response: the cheapest way through a filter, since nothing is kept
    /// for the exchange.
    ///
    /// ```
    /// use sidegate_sdk::{Filter, Next, Request, Response, Result, config, filter, testing};
    ///
    /// #[config]
    /// struct Mark {}
    ///
    /// #[filter]
    /// impl Filter for Mark {
    ///     async fn handle(&self, mut req: Request, next: Next) -> Result<Response> {
    ///         req.headers_mut().set("x-mark", "1")?;
    ///         Ok(next.forward(req))
    ///     }
    /// }
    ///
    /// let outcome = testing::Filter::<Mark>::configure("{}").unwrap().get("/").run();
    /// assert_eq!(outcome.request().unwrap().header("x-mark"), Some("1"));
    /// ```
    #[must_use]
    pub fn forward(self, request: Request) -> Response {
        if self.send(&request).is_err() {
            return Response::new(500).details("request_of_another_exchange");
        }
        Response { kind: Kind::Forwarded }
    }

    fn send(&self, request: &Request) -> Result<()> {
        self.link.check(Phase::Request)?;
        if !Rc::ptr_eq(&self.link, &request.link) {
            return Err(Error::Gone);
        }
        self.link.phase.set(Phase::Sent);
        Ok(())
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").field("context", &self.link.id.get()).finish()
    }
}
