//! A request as it goes up: its body, and its head with framing of our own.

use std::rc::Rc;

use http::{Method, Request};

use super::bodies::{RequestBody, Stall};
use super::body::Pump;
use super::reply::{Failure, Reply};
use super::source::{self, Source};
use super::{Exchange, Introduces, Outcome};
use crate::upstream;
use crate::worker::env::Env;

impl Exchange {
    /// The body as it goes up. A short one that filters saw goes whole, so that its length can be told.
    pub(super) async fn request_body(self: &Rc<Self>, pump: Result<Pump, Source>) -> Result<RequestBody, Outcome> {
        let patience = self.listener.timeouts.body;
        let mut pump = match pump {
            Ok(pump) => pump,
            Err(Source::Incoming(incoming)) => {
                return Ok(RequestBody::Direct { incoming, exchange: self.clone(), stall: Stall::new(patience) });
            }
            Err(Source::Full(_) | Source::Empty) => return Ok(RequestBody::Empty),
        };
        let short =
            self.worker.with_env(|env| env.view(self.key).is_some_and(|view| source::is_short(&view.request.headers)));
        if short {
            let gathered = tokio::time::timeout(patience, Box::pin(pump.gather(source::GATHER))).await;
            let late = || Outcome::Reply(Box::new(Reply::failure(Failure::BodyTimeout, self.grpc)));
            if let Some(bytes) = gathered.map_err(|_| late())?? {
                return Ok(RequestBody::Full(Some(bytes)));
            }
        }
        Ok(RequestBody::Pumped { pump: Box::new(pump), stall: Stall::new(patience) })
    }

    /// The request as it goes up: head from the view, framing made anew where filters see the body.
    pub(super) fn outgoing(
        &self,
        body: RequestBody,
        target: &upstream::Target,
        upgrade: bool,
        trailers: bool,
    ) -> Result<Request<RequestBody>, Failure> {
        self.worker.with_env(|env| {
            let Env { views, peers, rng, .. } = env;
            let view = views.get_mut(self.key as usize).ok_or(Failure::NoRoute)?;
            let head = &view.request;
            let (Some(path), Some(authority)) = (&head.path, &head.authority) else { return Err(Failure::NoRoute) };
            // CONNECT would make a tunnel of what is a request.
            let method = head.method.as_ref().filter(|method| *method != Method::CONNECT);
            let method = method.ok_or(Failure::FilterBrokeRequest)?;
            let mut request = Request::new(body);
            *request.method_mut() = method.clone();
            *request.headers_mut() = head.headers.clone();
            match request.body() {
                RequestBody::Full(Some(bytes)) => {
                    let length = http::HeaderValue::from(bytes.len());
                    request.headers_mut().insert(http::header::CONTENT_LENGTH, length);
                }
                RequestBody::Pumped { .. } => {
                    request.headers_mut().remove(http::header::CONTENT_LENGTH);
                }
                RequestBody::Full(None)
                | RequestBody::Messages(_)
                | RequestBody::Direct { .. }
                | RequestBody::Copied(_)
                | RequestBody::Empty => {}
            }
            upstream::address_request(&mut request, path, authority, target, upgrade, trailers)?;
            if self.introduces == Introduces::Upstream {
                peers.stamp(request.headers_mut());
            }
            view.pass_span_on(request.headers_mut(), rng.draw());
            Ok(request)
        })
    }
}
