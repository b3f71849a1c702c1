//! One scripted exchange, run through a filter's hooks as a host would.

use std::time::Duration;

use crate::body::Mode;
use crate::properties::Path;
use crate::settle::CONTINUE;
use crate::testing::world::Live;
use crate::testing::{Filter, Message, Outcome, Reply, Value};

/// A request and the service's answer to it.
#[must_use = "an exchange does nothing until it is run"]
pub struct Exchange<'f, F> {
    filter: &'f Filter<F>,
    request: Message,
    response: Message,
    live: Live,
}

impl<'f, F: crate::Filter> Exchange<'f, F> {
    pub(crate) fn new(filter: &'f Filter<F>, method: &str, path: &str) -> Self {
        let pseudo = [(":authority", "example.com"), (":path", path), (":method", method), (":scheme", "http")];
        Self {
            filter,
            request: message(&pseudo, b""),
            response: message(&[(":status", "200")], b""),
            live: Live::default(),
        }
    }

    /// Adds a request header; one of `:authority`, `:scheme` replaces the default.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if name.starts_with(':') {
            self.request.headers.retain(|(key, _)| key != name);
        }
        self.request.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    /// Sets the request's body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.request.body = body.into();
        self
    }

    /// Gives a property its value in this exchange.
    pub fn property(mut self, path: impl Path, value: impl Value) -> Self {
        self.live.given.insert(path.joined().into_owned(), value.bytes());
        self
    }

    /// What the service answers. Default: 200 and nothing else.
    pub fn respond(mut self, status: u16, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Self {
        self.response = message(&[(":status", &status.to_string())], b"");
        self.response
            .headers
            .extend(headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), (*value).to_owned())));
        self.response.body = body.into();
        self
    }

    /// Runs it to its end.
    pub fn run(self) -> Outcome {
        let world = &self.filter.world;
        self.filter.enter();
        let (began, logged, called) = world.with(|state| (state.now, state.logs.len(), state.sent.len()));
        let grpc_called = world.with(|state| state.grpc_sent.len());
        let bodies = F::body();
        let has_body = !self.request.body.is_empty();
        let id = world.with(|state| state.open(self.request.clone(), self.live.clone()));

        let mut is_hung = false;
        if F::USES.handle {
            let held = self.filter.hooks.request_headers(id, !has_body) != CONTINUE;
            is_hung = held && !self.release(id, true, has_body && bodies.request != Mode::None);
            if !held && has_body && F::USES.request_body && bodies.request == Mode::Streamed {
                self.filter.hooks.request_body(id, Some(self.request.body.len()), true);
            }
        }
        let reply = world.with(|state| state.live.reply.take());
        let request = world.with(|state| state.live.request.clone());
        let was_sent = reply.is_none() && !is_hung;
        let mut last_reply = reply.clone();
        let response = match &reply {
            Some(reply) => as_response(reply),
            None => self.response.clone(),
        };
        if !is_hung {
            world.with(|state| state.respond(response));
            if F::USES.response {
                let has_body = world.with(|state| !state.live.response.body.is_empty());
                let held = self.filter.hooks.response_headers(id, !has_body) != CONTINUE;
                is_hung = held && !self.release(id, false, has_body && bodies.response != Mode::None);
                if !held && has_body && F::USES.response_body && bodies.response == Mode::Streamed {
                    let length = world.with(|state| state.live.response.body.len());
                    self.filter.hooks.response_body(id, Some(length), true);
                }
                if let Some(reply) = world.with(|state| state.live.reply.take()) {
                    world.with(|state| state.live.response = as_response(&reply));
                    last_reply = Some(reply);
                }
            }
        }
        world.with(|state| state.live.is_over = true);
        if F::USES.log {
            self.filter.hooks.log(id);
        }
        self.filter.hooks.delete(id);
        world.with(|state| Outcome {
            request: was_sent.then_some(request),
            reply: last_reply,
            response: if is_hung { Message::default() } else { state.live.response.clone() },
            properties: std::mem::take(&mut state.live.set),
            logs: state.logs.get(logged..).unwrap_or_default().to_vec(),
            callouts: state.sent.get(called..).unwrap_or_default().to_vec(),
            grpc_callouts: state.grpc_sent.get(grpc_called..).unwrap_or_default().to_vec(),
            access_logs: std::mem::take(&mut state.live.access_logs),
            waited: Duration::from_nanos(state.now - began),
            is_hung,
        })
    }

    /// Brings what the filter waits for until it lets the message go; false if nothing more can come.
    fn release(&self, id: u32, is_request: bool, mut body_left: bool) -> bool {
        let world = &self.filter.world;
        loop {
            let is_free = world.with(|state| {
                let live = &state.live;
                live.reply.is_some() || if is_request { live.request_continued } else { live.response_continued }
            });
            if is_free {
                return true;
            }
            if self.filter.answer_one() {
                continue;
            }
            if let Some(due) = world.with(|state| state.next_timer()) {
                self.filter.elapse(due);
                continue;
            }
            if !body_left {
                return false;
            }
            body_left = false;
            let length = world
                .with(|state| if is_request { state.live.request.body.len() } else { state.live.response.body.len() });
            let action = if is_request {
                self.filter.hooks.request_body(id, Some(length), true)
            } else {
                self.filter.hooks.response_body(id, Some(length), true)
            };
            if action == CONTINUE {
                return true;
            }
        }
    }
}

fn message(headers: &[(&str, &str)], body: &[u8]) -> Message {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Message { headers: headers.iter().map(own).collect(), body: body.to_vec() }
}

fn as_response(reply: &Reply) -> Message {
    let mut message = reply.message.clone();
    message.headers.insert(0, (":status".to_owned(), reply.status.to_string()));
    message
}
