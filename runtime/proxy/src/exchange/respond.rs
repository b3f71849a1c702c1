//! The way back: an upstream's response, a filter's reply or our own, through the response hooks to the client.

use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::rc::Rc;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use http_body::Body;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use sidegate_wasm_host::abi::Direction;
use sidegate_wasm_host::hooks::Hook;

use super::bodies::ResponseBody;
use super::body::Pump;
use super::chain::Step;
use super::head::ResponseHead;
use super::head::joined::{self, Part};
use super::hop;
use super::peer::Introduction;
use super::reply::{Failure, Reply};
use super::source::{GATHER, Source, is_short};
use super::{Aborted, Ended, Exchange, Introduces, Outcome, full, tunnel};
use crate::upstream::{Answer, InFlight};

/// A response on its way to the client.
struct Returning {
    source: Source,
    in_flight: Option<InFlight>,
    /// Filters that still see it: those before this index, backwards.
    before: usize,
}

impl Exchange {
    /// Answers with a failure of ours; every filter sees it.
    pub(super) async fn fail(self: &Rc<Self>, failure: Failure) -> Result<Response<ResponseBody>, Aborted> {
        let reply = Box::new(Reply::failure(failure, self.grpc));
        self.answer(Ended { outcome: Outcome::Reply(reply), from: None }).await
    }

    /// Turns the request away to save memory. Filters log it, nothing else.
    pub(super) async fn shed(self: Rc<Self>) -> Result<Response<ResponseBody>, Aborted> {
        let source = self.take_reply(Reply::failure(Failure::Overload, self.grpc));
        self.return_through(Returning { source, in_flight: None, before: 0 }).await
    }

    /// Ends an exchange that has no response from upstream.
    pub(super) async fn answer(self: &Rc<Self>, ended: Ended) -> Result<Response<ResponseBody>, Aborted> {
        let reply = match ended.outcome {
            Outcome::Reply(reply) => reply,
            Outcome::Close => {
                self.finish(false);
                return Err(Aborted);
            }
        };
        let before = ended.from.map_or(self.chain.borrow().count(), |index| index + 1);
        let source = self.take_reply(*reply);
        self.return_through(Returning { source, in_flight: None, before }).await
    }

    /// The upstream has answered.
    pub(super) async fn respond(
        self: &Rc<Self>,
        answer: Answer,
        upgrade: Option<OnUpgrade>,
    ) -> Result<Response<ResponseBody>, Aborted> {
        let Answer { response, in_flight } = answer;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            // Only what was asked for: anything else would turn the connection into something nobody agreed to.
            let agreed = hop::upgrades_to_websocket(response.headers());
            return match upgrade.filter(|_| agreed) {
                Some(client) => self.switch(response, in_flight, client),
                None => Box::pin(self.fail(Failure::UpstreamProtocol)).await,
            };
        }
        if response.status().as_u16() < 200 || response.status().as_u16() > 599 {
            return Box::pin(self.fail(Failure::UpstreamProtocol)).await;
        }
        let (mut parts, body) = response.into_parts();
        // A response that nominates fields badly is still a response: what can be stripped is.
        let _ = hop::strip(&mut parts.headers);
        joined::join(&mut parts.headers, Part::Response);
        // HEAD and 304 may tell the length of what they do not carry, 204 may not.
        if parts.status == StatusCode::NO_CONTENT {
            parts.headers.remove(header::CONTENT_LENGTH);
        }
        let introduction = match self.introduces {
            Introduces::Upstream => Introduction::take(&mut parts.headers),
            Introduces::Client | Introduces::Nobody => None,
        };
        self.worker.with_env(|env| {
            let peer = introduction.and_then(|introduction| env.peers.meet(&introduction));
            if let Some(view) = env.view(self.key) {
                view.facts.upstream_peer = peer;
                if let Some(time) = view.facts.upstream_time {
                    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                    parts.headers.insert("x-envoy-upstream-service-time", HeaderValue::from(milliseconds));
                }
                view.facts.details = Cow::Borrowed("via_upstream");
                view.response = Some(ResponseHead::new(parts.status, parts.headers));
            }
        });
        let source = if body.is_end_stream() {
            self.upstream_ended();
            Source::Empty
        } else {
            Source::Incoming(body)
        };
        let before = self.chain.borrow().count();
        self.return_through(Returning { source, in_flight: Some(in_flight), before }).await
    }

    /// Filter after filter, backwards; then out.
    async fn return_through(self: &Rc<Self>, mut returning: Returning) -> Result<Response<ResponseBody>, Aborted> {
        let mut pump = self.response_pump(&mut returning);
        while let Some(index) = returning.before.checked_sub(1) {
            returning.before = index;
            let end = match &pump {
                Some(_) => false,
                None => returning.source.is_end(),
            };
            let step = self.chain.borrow_mut().headers(&self.worker, index, Direction::Response, end);
            let step = match (step, &mut pump) {
                (Step::WaitWithBody, Some(pump)) => {
                    pump.open_up_to(Some(index));
                    let shown = poll_fn(|cx| pump.poll_until_released(cx, index));
                    let shown = self.within_route(returning.in_flight.as_ref(), shown);
                    let shown = async { shown.await.unwrap_or_else(Step::Reply) };
                    Box::pin(self.within_pause(index, shown)).await
                }
                (Step::Wait | Step::WaitWithBody, _) => Box::pin(self.hold(index, Direction::Response)).await,
                (step, _) => step,
            };
            match step {
                Step::Continue | Step::Wait | Step::WaitWithBody => {}
                Step::Reply(reply) => {
                    // It replaces the response; the filters before this one see the new one.
                    if let Some(pump) = &mut pump {
                        let _ = pump.take_back();
                    }
                    returning.in_flight = None;
                    returning.source = self.take_reply(*reply);
                    pump = self.response_pump(&mut returning);
                }
                Step::Close => {
                    self.finish(false);
                    return Err(Aborted);
                }
            }
        }
        if let Some(pump) = &mut pump {
            pump.open_up_to(None);
        }
        if let Some(filtered) = &mut pump
            && self.worker.with_env(|env| {
                let view = env.view(self.key);
                view.and_then(|view| view.response.as_ref()).is_some_and(|head| is_short(&head.headers))
            })
        {
            let gathered = Box::pin(self.within_route(returning.in_flight.as_ref(), filtered.gather(GATHER))).await;
            match gathered.map_err(Outcome::Reply).flatten() {
                Ok(Some(body)) => {
                    self.set_length(body.len());
                    returning.source = if body.is_empty() { Source::Empty } else { Source::Full(body) };
                    if let Some(in_flight) = returning.in_flight.take() {
                        in_flight.complete();
                    }
                    pump = None;
                }
                Ok(None) => {}
                Err(outcome) => return self.stop_response(outcome),
            }
        }
        Ok(self.leave(returning, pump))
    }

    /// Waits for more of a response, as long as its route gives it.
    async fn within_route<T>(
        &self,
        in_flight: Option<&InFlight>,
        more: impl Future<Output = T>,
    ) -> Result<T, Box<Reply>> {
        let Some(deadline) = in_flight.and_then(|in_flight| in_flight.deadline) else { return Ok(more.await) };
        let late = |_| Box::new(Reply::failure(Failure::RouteTimeout, self.grpc));
        tokio::time::timeout_at(deadline.into(), more).await.map_err(late)
    }

    fn set_length(&self, length: usize) {
        self.worker.with_env(|env| {
            if let Some(head) = env.view(self.key).and_then(|view| view.response.as_mut()) {
                head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            }
        });
    }

    /// A filter ended the response while its body was gathered. A fault of ours or the filter's is answered, since the
    /// head has not left; a filter's own reply comes too late, as it would had the body streamed.
    fn stop_response(self: &Rc<Self>, outcome: Outcome) -> Result<Response<ResponseBody>, Aborted> {
        match outcome {
            Outcome::Reply(reply) if reply.failure.is_some() => {
                let source = self.take_reply(*reply);
                Ok(self.leave(Returning { source, in_flight: None, before: 0 }, None))
            }
            Outcome::Reply(_) | Outcome::Close => {
                self.finish(false);
                Err(Aborted)
            }
        }
    }

    /// A pump when a filter that still sees the response wants its body.
    fn response_pump(self: &Rc<Self>, returning: &mut Returning) -> Option<Pump> {
        let chain = self.chain.borrow();
        let links = 0..returning.before;
        let wanted = links
            .clone()
            .any(|index| chain.link_has(index, Hook::ResponseBody) || chain.link_has(index, Hook::ResponseTrailers));
        drop(chain);
        if !wanted || returning.source.is_end() {
            return None;
        }
        let source = std::mem::replace(&mut returning.source, Source::Empty);
        Some(Pump::new(self, Direction::Response, source, links.rev()))
    }

    /// Makes a reply the response of this exchange and returns its body.
    fn take_reply(&self, reply: Reply) -> Source {
        self.worker.with_env(|env| {
            if let Some(view) = env.view(self.key) {
                view.facts.flags.insert(reply.flags);
                view.facts.details = reply.details;
                view.response = Some(reply.head);
                view.response_trailers = None;
            }
        });
        if self.head_request || reply.body.is_empty() { Source::Empty } else { Source::Full(reply.body) }
    }

    /// The head leaves; the body follows by itself.
    fn leave(self: &Rc<Self>, returning: Returning, pump: Option<Pump>) -> Response<ResponseBody> {
        // Filters that log will look at the head again; without one it can leave as it is.
        let logged = self.chain.borrow().has(Hook::Log);
        let (mut rate, mut unmeasured) = (None, false);
        let head = self.worker.with_env(|env| {
            let view = env.view(self.key)?;
            rate = view.steering.response_rate;
            let head = view.response.as_mut()?;
            if head.edits.length_hidden {
                unmeasured = true;
                head.headers.remove(header::CONTENT_LENGTH);
            }
            let headers = if logged { head.headers.clone() } else { std::mem::take(&mut head.headers) };
            Some((head.status?, headers))
        });
        let Some((status, headers)) = head else {
            // A filter took the status away.
            let reply = Reply::failure(Failure::FilterBrokeResponse, self.grpc);
            let head = reply.head.clone();
            let source = self.take_reply(reply);
            let body = match source {
                Source::Full(bytes) => full(self, bytes),
                Source::Incoming(_) | Source::Empty => full(self, Bytes::new()),
            };
            return build(head.status.unwrap_or(StatusCode::BAD_GATEWAY), head.headers, body);
        };
        let Returning { source, in_flight, .. } = returning;
        let mut headers = headers;
        if self.introduces == Introduces::Client {
            self.worker.with_env(|env| env.peers.stamp(&mut headers));
        }
        let mut body = match (pump, source) {
            (Some(pump), _) => {
                // Filters may change the body: its length is made anew.
                headers.remove(header::CONTENT_LENGTH);
                ResponseBody::pumped(self.clone(), pump, in_flight)
            }
            (None, Source::Incoming(incoming)) => match in_flight {
                Some(in_flight) => ResponseBody::direct(self.clone(), incoming, in_flight),
                None => full(self, Bytes::new()),
            },
            (None, Source::Full(bytes)) => full(self, bytes),
            (None, Source::Empty) => {
                match in_flight {
                    Some(in_flight) => in_flight.complete(),
                    None if unmeasured && self.head_request || self.grpc => {}
                    None if status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED => {}
                    None => {
                        headers.entry(header::CONTENT_LENGTH).or_insert(HeaderValue::from_static("0"));
                    }
                }
                full(self, Bytes::new())
            }
        };
        if unmeasured {
            body.unmeasure();
        }
        if let Some(rate) = rate {
            body.slow_down(rate);
        }
        build(status, headers, body)
    }

    /// Both sides agreed to speak something else: bytes pass until one of them stops.
    fn switch(
        self: &Rc<Self>,
        response: Response<Incoming>,
        in_flight: InFlight,
        client: OnUpgrade,
    ) -> Result<Response<ResponseBody>, Aborted> {
        let mut headers = response.headers().clone();
        let _ = hop::strip(&mut headers);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        let head = ResponseHead::new(StatusCode::SWITCHING_PROTOCOLS, headers.clone());
        self.worker.with_env(|env| {
            if let Some(view) = env.view(self.key) {
                view.response = Some(head);
                view.facts.details = Cow::Borrowed("via_upstream");
            }
        });
        tunnel::spawn(self.clone(), client, hyper::upgrade::on(response), in_flight);
        Ok(build(StatusCode::SWITCHING_PROTOCOLS, headers, ResponseBody::plain(Bytes::new())))
    }
}

fn build(status: StatusCode, headers: http::HeaderMap, body: ResponseBody) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
