//! What the parts of an exchange tell each other through its view: bytes counted, trailers, bodies lent to hooks, the
//! outcome that ends it.

use std::task::Context;

use http::header::HeaderMap;
use sidegate_wasm_host::abi::Direction;

use super::head::Trailers;
use super::reply::{Failure, Reply};
use super::view::Waiter;
use super::{BodyError, Exchange, Outcome};
use crate::telemetry::flags::Flags;

impl Exchange {
    pub fn register(&self, who: Waiter, cx: &Context<'_>) {
        self.worker.with_env(|env| {
            if let Some(view) = env.view(self.key) {
                view.asked.register(who, cx.waker());
            }
        });
    }

    /// Whether the response's body must end before its time; wakes it when that changes.
    pub fn is_told_to_close(&self, cx: &Context<'_>) -> bool {
        self.worker.with_env(|env| {
            env.view(self.key).is_some_and(|view| {
                view.asked.register(Waiter::ResponseBody, cx.waker());
                view.asked.close
            })
        })
    }

    /// Ends the exchange wherever it is.
    pub fn close(&self) {
        self.worker.with_env(|env| {
            if let Some(view) = env.view(self.key) {
                view.asked.close = true;
                view.facts.flags.insert(Flags::LOCAL_RESET);
                view.asked.wake();
            }
        });
    }

    pub fn set_outcome(&self, outcome: Outcome) {
        self.outcome.borrow_mut().get_or_insert(outcome);
        self.worker.with_env(|env| {
            if let Some(view) = env.view(self.key) {
                view.asked.wake();
            }
        });
    }

    pub fn take_outcome(&self) -> Option<Outcome> {
        self.outcome.borrow_mut().take()
    }

    /// What a broken body means.
    pub fn broken(&self, direction: Direction, error: &BodyError) -> Outcome {
        let failure = match (direction, error) {
            (Direction::Request, BodyError::Stalled) => Failure::BodyTimeout,
            (Direction::Request, _) => Failure::RequestBroken,
            (Direction::Response, _) => return Outcome::Close,
        };
        Outcome::Reply(Box::new(Reply::failure(failure, self.grpc)))
    }

    /// Counts body bytes, and the gRPC messages in them.
    pub fn count_body(&self, direction: Direction, bytes: &[u8]) {
        self.add_bytes(direction, bytes.len() as u64, bytes);
    }

    fn add_bytes(&self, direction: Direction, count: u64, bytes: &[u8]) {
        self.worker.with_env(|env| {
            let Some(view) = env.view(self.key) else { return };
            match direction {
                Direction::Request => view.facts.request_bytes += count,
                Direction::Response => view.facts.response_bytes += count,
            }
            if let Some([request, response]) = view.facts.grpc_messages.as_deref_mut() {
                match direction {
                    Direction::Request => request.pass(bytes),
                    Direction::Response => response.pass(bytes),
                }
            }
        });
    }

    /// The request's body has ended.
    pub fn request_ended(&self) {
        let elapsed = self.started.elapsed();
        self.worker.with_env(|env| {
            if let Some(view) = env.view(self.key) {
                view.facts.request_end.get_or_insert(elapsed);
            }
        });
    }

    /// The upstream's response has ended.
    pub fn upstream_ended(&self) {
        let elapsed = self.started.elapsed();
        self.worker.with_env(|env| {
            if let Some(view) = env.view(self.key) {
                let sent = view.facts.pool_ready.unwrap_or_default();
                view.facts.backend_latency.get_or_insert(elapsed.saturating_sub(sent));
            }
        });
    }

    /// What a tunnel carried: bytes up and down.
    pub fn count_tunnel(&self, up: u64, down: u64) {
        self.add_bytes(Direction::Request, up, &[]);
        self.add_bytes(Direction::Response, down, &[]);
    }

    pub fn set_trailers(&self, direction: Direction, trailers: Option<Trailers>) {
        self.worker.with_env(|env| {
            if let Some(view) = env.view(self.key) {
                match direction {
                    Direction::Request => view.request_trailers = trailers,
                    Direction::Response => view.response_trailers = trailers,
                }
            }
        });
    }

    pub fn trailers(&self, direction: Direction) -> Option<HeaderMap> {
        self.worker.with_env(|env| {
            let view = env.view(self.key)?;
            let trailers = match direction {
                Direction::Request => view.request_trailers.as_ref(),
                Direction::Response => view.response_trailers.as_ref(),
            };
            trailers.map(|trailers| trailers.fields.clone())
        })
    }

    /// Puts body bytes where hooks find them.
    pub fn lend_body(&self, direction: Direction, bytes: Vec<u8>) {
        self.worker.with_env(|env| {
            if let Some(view) = env.view(self.key) {
                match direction {
                    Direction::Request => view.request_body = Some(bytes),
                    Direction::Response => view.response_body = Some(bytes),
                }
            }
        });
    }

    pub fn return_body(&self, direction: Direction) -> Vec<u8> {
        self.worker.with_env(|env| {
            let body = env.view(self.key).and_then(|view| match direction {
                Direction::Request => view.request_body.take(),
                Direction::Response => view.response_body.take(),
            });
            body.unwrap_or_default()
        })
    }

    /// The response was cut short after its head left.
    pub fn cut(&self) {
        self.worker.with_env(|env| {
            if let Some(view) = env.view(self.key) {
                view.facts.flags.insert(Flags::UPSTREAM_CONNECTION_TERMINATION);
            }
        });
    }
}
