//! One scripted exchange, run through a filter's hooks as a host would.

use std::collections::VecDeque;
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
    script: VecDeque<Step>,
}

/// What comes to a filter that holds a message.
enum Step {
    /// A piece of the body.
    Piece(Vec<u8>),
    /// An answer of a callout, or a timer.
    Answer,
    /// All of these that there are.
    Answers,
}

/// The way of a message, in the hooks' order.
#[derive(Clone, Copy)]
struct Way {
    id: u32,
    is_request: bool,
    mode: Mode,
}

impl<'f, F: crate::Filter> Exchange<'f, F> {
    pub(crate) fn new(filter: &'f Filter<F>, method: &str, path: &str) -> Self {
        let pseudo = [(":authority", "example.com"), (":path", path), (":method", method), (":scheme", "http")];
        Self {
            filter,
            request: message(&pseudo, b""),
            response: message(&[(":status", "200")], b""),
            live: Live::default(),
            script: VecDeque::new(),
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

    /// Sets the request's body. It comes in one piece, once the filter waits for nothing else.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.script = whole(body.into());
        self
    }

    /// Adds a piece of the request's body, which comes while the filter holds the request, before the answer of a
    /// callout that is under way. The last piece ends the body, and may be empty.
    ///
    /// ```
    /// # use sidegate_sdk::{Bodies, Callout, Filter, Mode, Next, Request, Response, Result, config, filter, testing};
    /// # #[config]
    /// # struct Judge {}
    /// # #[filter]
    /// # impl Filter for Judge {
    /// #     fn body() -> Bodies {
    /// #         Bodies::none().request(Mode::Buffered { limit: 64 })
    /// #     }
    /// #     async fn handle(&self, mut req: Request, next: Next) -> Result<Response> {
    /// #         Callout::to("users").send().await?;
    /// #         let body = req.body().await?;
    /// #         Callout::to("judge").post("/", body).send().await?;
    /// #         Ok(next.forward(req))
    /// #     }
    /// # }
    /// let filter = testing::Filter::<Judge>::configure("{}").unwrap();
    /// filter.answer("users", |_| testing::Answer::new(200));
    /// filter.answer("judge", |_| testing::Answer::new(200));
    /// let outcome = filter.post("/").piece("drop ").answered().piece("table").piece("").run();
    /// assert_eq!(outcome.callouts()[1].message.text(), "drop table");
    /// ```
    pub fn piece(mut self, piece: impl Into<Vec<u8>>) -> Self {
        self.script.push_back(Step::Piece(piece.into()));
        self
    }

    /// Lets the oldest callout be answered, or else a timer fire, before the next piece comes.
    pub fn answered(mut self) -> Self {
        self.script.push_back(Step::Answer);
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
    pub fn run(mut self) -> Outcome {
        let world = &self.filter.world;
        self.filter.enter();
        let (began, logged, called) = world.with(|state| (state.now, state.logs.len(), state.sent.len()));
        let grpc_called = world.with(|state| state.grpc_sent.len());
        let bodies = F::body();
        let script = std::mem::take(&mut self.script);
        let id = world.with(|state| state.open(self.request.clone(), self.live.clone()));

        let way = Way { id, is_request: true, mode: bodies.request };
        let mut is_hung = !self.pass(way, script);
        let reply = world.with(|state| state.live.reply.take());
        let request = world.with(|state| state.live.request.clone());
        let was_sent = reply.is_none() && !is_hung;
        let mut last_reply = reply.clone();
        let mut response = match &reply {
            Some(reply) => as_response(reply),
            None => self.response.clone(),
        };
        if !is_hung {
            let script = whole(std::mem::take(&mut response.body));
            world.with(|state| state.respond(response));
            let way = Way { id, is_request: false, mode: bodies.response };
            is_hung = !self.pass(way, script);
            if let Some(reply) = world.with(|state| state.live.reply.take()) {
                world.with(|state| state.live.response = as_response(&reply));
                last_reply = Some(reply);
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

    /// Brings one message through the filter; false if the filter keeps it.
    fn pass(&self, way: Way, script: VecDeque<Step>) -> bool {
        let has_body = has_pieces(&script);
        let hooks = &self.filter.hooks;
        let action = if way.is_request {
            hooks.request_headers(way.id, !has_body)
        } else {
            hooks.response_headers(way.id, !has_body)
        };
        // A body that is not awaited comes after the head.
        let is_shown = matches!(way.mode, Mode::Buffered { .. });
        let (mut during, after) = if is_shown { (script, VecDeque::new()) } else { (VecDeque::new(), script) };
        if action != CONTINUE && !self.release(way, &mut during) {
            return false;
        }
        let mut rest: VecDeque<Step> = during.into_iter().chain(after).collect();
        while let Some(step) = rest.pop_front() {
            let Step::Piece(piece) = step else { continue };
            if is_shown || way.mode == Mode::None {
                self.filter.world.with(|state| state.live.body(way.is_request).0.extend_from_slice(&piece));
            } else {
                self.deliver(way, &piece, !has_pieces(&rest));
            }
        }
        true
    }

    /// Brings what the filter waits for until it lets the message go; false if nothing more can come.
    fn release(&self, way: Way, script: &mut VecDeque<Step>) -> bool {
        loop {
            let is_free = self.filter.world.with(|state| {
                let live = &state.live;
                live.reply.is_some() || if way.is_request { live.request_continued } else { live.response_continued }
            });
            if is_free {
                return true;
            }
            match script.pop_front() {
                Some(Step::Piece(piece)) => {
                    if self.deliver(way, &piece, !has_pieces(script)) == CONTINUE {
                        return true;
                    }
                }
                Some(Step::Answer) => {
                    self.stir();
                }
                Some(Step::Answers) if self.stir() => script.push_front(Step::Answers),
                Some(Step::Answers) => {}
                None if self.stir() => {}
                None => return false,
            }
        }
    }

    /// Answers a callout, or else fires a timer; false if there is neither.
    fn stir(&self) -> bool {
        if self.filter.answer_one() {
            return true;
        }
        let due = self.filter.world.with(|state| state.next_timer());
        due.map(|due| self.filter.elapse(due)).is_some()
    }

    /// Shows a piece to the filter.
    fn deliver(&self, way: Way, piece: &[u8], is_last: bool) -> u32 {
        let world = &self.filter.world;
        let length = world.with(|state| state.show(way.is_request, piece));
        let action = if way.is_request {
            self.filter.hooks.request_body(way.id, Some(length), is_last)
        } else {
            self.filter.hooks.response_body(way.id, Some(length), is_last)
        };
        world.with(|state| state.shown(way.is_request, action));
        action
    }
}

/// A body that comes at once, when nothing else does.
fn whole(body: Vec<u8>) -> VecDeque<Step> {
    if body.is_empty() { VecDeque::new() } else { VecDeque::from([Step::Answers, Step::Piece(body)]) }
}

fn has_pieces(script: &VecDeque<Step>) -> bool {
    script.iter().any(|step| matches!(step, Step::Piece(_)))
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
