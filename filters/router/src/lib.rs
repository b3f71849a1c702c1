//! `builtin:router`: sends requests where Istio's `VirtualService` says.
//!
//! [`config`] is the written form, [`table`] checks and compiles it, [`policy`] decides for one request as plain Rust,
//! and this file turns a decision into headers, properties and replies. The proxy does the sending: cluster, subset,
//! timeout and retries are told to it as properties, so in a host that does not know them the filter only logs in
//! vain and changes headers.
//!
//! Refused with `not supported yet`: `fault`, `mirror`, `mirrors`, `corsPolicy`, `delegate`, `tls`, `tcp`.
#![forbid(unsafe_code)]

pub mod config;
mod direct;
mod duration;
mod headers;
mod index;
mod lint;
pub mod policy;
mod redirect;
mod retries;
mod rewrite;
mod route;
pub mod table;
mod template;

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use sidegate_sdk::{Filter, Next, Request, RequestHead, Response, Result, Setup, debug, filter, properties};

use crate::config::RouterConfig;
use crate::headers::{Evaluated, evaluate};
use crate::policy::Chosen;
use crate::route::Action;
use crate::table::{Surroundings, Table};

/// The filter: a table and a source of chance.
pub struct Router {
    table: Table,
    chance: Cell<u64>,
}

#[filter]
impl Filter for Router {
    type Config = RouterConfig;

    fn configure(config: RouterConfig, setup: &mut Setup) -> Result<Self> {
        let table = Table::compile(config, &Surroundings::of_host(), setup);
        Ok(Self { table, chance: Cell::new(RandomState::new().hash_one(0) | 1) })
    }

    async fn handle(&self, mut req: Request, next: Next) -> Result<Response> {
        let (chosen, response_ops) = req.inspect(|head| {
            let chosen = self.table.choose(head, || self.draw());
            let ops = chosen.as_ref().map_or_else(Vec::new, |chosen| evaluate(chosen.response_ops(), head));
            (chosen, ops)
        })?;
        let Some(chosen) = chosen else {
            // Where the flag cannot be kept the client still gets its 404.
            if let Err(problem) = properties::set("sidegate.response_flag", "NR") {
                debug!("no response flag: {problem}");
            }
            return Ok(Response::new(404).details("route_not_found"));
        };
        if let Some(name) = chosen.name() {
            properties::set("sidegate.route.name", name)?;
        }
        let mut response = match &chosen.route.action {
            Action::Forward(_) => {
                send(&chosen, &mut req)?;
                if response_ops.is_empty() {
                    return Ok(next.forward(req));
                }
                next.run(req).await?
            }
            Action::Redirect(redirect) => req.inspect(|head| redirect.reply(&chosen, head))?,
            Action::Direct(direct) => direct.reply(),
        };
        Evaluated::apply_all(&response_ops, &mut response.headers_mut())?;
        Ok(response)
    }
}

impl Router {
    /// The next number of a xorshift64* generator.
    fn draw(&self) -> u64 {
        let mut state = self.chance.get();
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.chance.set(state);
        state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32
    }
}

/// Changes the request and tells the proxy where it goes.
fn send(chosen: &Chosen<'_>, req: &mut Request) -> Result<()> {
    let Some((forward, target)) = chosen.target() else { return Ok(()) };
    if chosen.has_request_ops() {
        // Read before anything is changed, so that %REQ(:path)% is the path that the client sent.
        let ops = req.inspect(|head| evaluate(chosen.request_ops(), head))?;
        Evaluated::apply_all(&ops, &mut req.headers_mut())?;
    }
    if let Some(rewrite) = &forward.rewrite {
        let (path, authority) = req.inspect(|head: &RequestHead<'_>| rewrite.apply(chosen, head))?;
        if let Some(rewritten) = path {
            req.headers_mut().set("x-envoy-original-path", rewritten.original)?;
            req.headers_mut().set(":path", rewritten.path)?;
        }
        if let Some(authority) = authority {
            req.headers_mut().set(":authority", authority)?;
        }
    }
    properties::set("sidegate.upstream.cluster", &*target.cluster)?;
    if let Some(subset) = &target.subset {
        properties::set("sidegate.upstream.subset", &**subset)?;
    }
    if let Some(timeout) = &forward.timeout {
        properties::set("sidegate.upstream.timeout", &**timeout)?;
    }
    if let Some(retries) = &forward.retries {
        properties::set("sidegate.upstream.retries", &**retries)?;
    }
    Ok(())
}
