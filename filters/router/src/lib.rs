//! `builtin:router`: sends requests where Istio's `VirtualService` says.
//!
//! [`config`] is the written form, [`table`] checks and compiles it, [`policy`] decides for one request as plain Rust,
//! and this file turns a decision into headers, properties and replies. The proxy does the sending: cluster, subset,
//! timeout, retries and mirrors are told to it as properties. A host that does not know them sends requests where it
//! would anyway, and the log says so once; everything else is done here, in any host.
//!
//! Refused with `not supported yet`: `tls`, `tcp`.
#![forbid(unsafe_code)]

mod compile;
pub mod config;
mod cors;
mod delegate;
mod direct;
mod duration;
mod fault;
mod headers;
mod index;
mod lint;
mod mirrors;
pub mod policy;
mod redirect;
mod retries;
mod rewrite;
mod route;
mod service;
mod share;
mod stats;
pub mod surroundings;
pub mod table;
mod template;
mod way_back;

use sidegate_sdk::{
    Filter, Next, Random, Request, RequestHead, Response, Result, Setup, debug, filter, properties, sleep, warn,
};

use crate::config::RouterConfig;
use crate::cors::Cross;
use crate::fault::Abort;
use crate::headers::{Evaluated, evaluate};
use crate::policy::Chosen;
use crate::route::Action;
use crate::surroundings::Surroundings;
use crate::table::Table;
use crate::way_back::WayBack;

/// The value of `sidegate.upstream.retries` that forbids them.
const NO_RETRIES: &str = r#"{"attempts":0}"#;

/// The filter: a table and a source of chance.
pub struct Router {
    table: Table,
    chance: Random,
    /// Whether the host is known to send requests where the table says.
    is_obeyed: bool,
}

#[filter(sleep)]
impl Filter for Router {
    type Config = RouterConfig;

    fn configure(config: RouterConfig, setup: &mut Setup) -> Result<Self> {
        let of = Surroundings::of_host();
        let is_obeyed = of.clusters.is_some();
        if !is_obeyed && !config.virtual_services.is_empty() {
            warn!(
                "this host sends requests where it would without this filter: destinations, timeouts, retries and mirrors have no effect"
            );
        }
        Ok(Self { table: Table::compile(config, &of, setup), chance: Random::new(), is_obeyed })
    }

    async fn handle(&self, mut req: Request, next: Next) -> Result<Response> {
        let (chosen, mut back) = req.inspect(|head| {
            let chosen = self.table.choose(head, &self.chance);
            (chosen, chosen.as_ref().map_or_else(WayBack::default, |chosen| WayBack::of(chosen, head)))
        })?;
        let Some(chosen) = chosen else {
            flag("NR");
            return Ok(Response::new(404).details("route_not_found"));
        };
        if let Some(name) = chosen.name() {
            self.tell("sidegate.route.name", name)?;
        }
        let drawn = chosen.faults().map(|faults| faults.draw(&self.chance)).unwrap_or_default();
        if let Some(delay) = drawn.delay {
            flag("DI");
            sleep(delay).await;
        }
        let mut response = match self.own_reply(&chosen, drawn.abort, &req, &mut back)? {
            Some(reply) => reply,
            None => {
                self.send(&chosen, drawn.delay.is_some(), &mut req)?;
                if back.is_nothing() {
                    return Ok(next.forward(req));
                }
                next.run(req).await?
            }
        };
        back.apply(&mut response)?;
        Ok(response)
    }
}

impl Router {
    /// The reply to a request that is not sent on: an injected failure, a preflight answer, or what the route says.
    fn own_reply<'t>(
        &self,
        chosen: &Chosen<'t>,
        abort: Option<Abort>,
        req: &Request,
        back: &mut WayBack<'t>,
    ) -> Result<Option<Response>> {
        if let Some(abort) = abort {
            flag("FI");
            return Ok(Some(abort.reply()));
        }
        if let Some(cors) = chosen.cors() {
            match req.inspect(|head| cors.judge(head))? {
                Cross::No => {}
                Cross::Preflight(reply) => return Ok(Some(reply)),
                Cross::From(origin) => back.allow(cors, origin),
            }
        }
        match &chosen.route.action {
            Action::Forward(_) => Ok(None),
            Action::Redirect(redirect) => req.inspect(|head| redirect.reply(chosen, head)).map(Some),
            Action::Direct(direct) => Ok(Some(direct.reply())),
        }
    }

    /// Changes the request and tells the proxy where it goes.
    fn send(&self, chosen: &Chosen<'_>, was_delayed: bool, req: &mut Request) -> Result<()> {
        let Some((forward, target)) = chosen.target() else { return Ok(()) };
        // Read before anything is changed, so that %REQ(:path)% is the path that the client sent.
        let (ops, host, path) = req.inspect(|head: &RequestHead<'_>| {
            let host = chosen.host().and_then(|host| host.value(head));
            let path = forward.rewrite.as_deref().and_then(|rewrite| rewrite.path(chosen, head));
            (evaluate(chosen.request_ops(), head), host, path)
        })?;
        Evaluated::apply_all(&ops, &mut req.headers_mut())?;
        if let Some(rewritten) = path {
            req.headers_mut().set("x-envoy-original-path", rewritten.original)?;
            req.headers_mut().set(":path", rewritten.path)?;
        }
        if let Some(host) = host {
            req.headers_mut().set(":authority", host)?;
        }
        if let Some(stats) = &chosen.matched.stats {
            stats.sent();
        }
        self.tell("sidegate.upstream.cluster", &target.cluster)?;
        // A delayed request has used up its time on purpose: Istio then knows neither timeouts nor retries.
        let timeout = forward.timeout.as_deref().filter(|_| !was_delayed);
        let retries = if was_delayed { Some(NO_RETRIES) } else { forward.retries.as_deref() };
        for (name, value) in [
            ("sidegate.upstream.subset", target.subset.as_deref()),
            ("sidegate.upstream.timeout", timeout),
            ("sidegate.upstream.retries", retries),
            ("sidegate.upstream.mirrors", forward.mirrors.as_deref()),
        ] {
            if let Some(value) = value {
                self.tell(name, value)?;
            }
        }
        Ok(())
    }

    /// # Errors
    /// If a host that would obey refuses.
    fn tell(&self, property: &str, value: &str) -> Result<()> {
        match properties::set(property, value) {
            Err(problem) if !self.is_obeyed => {
                debug!("{property} is not told: {problem}");
                Ok(())
            }
            told => told,
        }
    }
}

/// Says why the answer is what it is. Where flags cannot be kept the client still gets its answer.
fn flag(code: &str) {
    if let Err(problem) = properties::set("sidegate.response_flag", code) {
        debug!("no response flag: {problem}");
    }
}
