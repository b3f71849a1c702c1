//! `builtin:auth`: who may do what.
//!
//! [`config`] is the written form. [`jwt`] judges tokens (Istio's RequestAuthentication), [`authz`] judges requests
//! (Istio's AuthorizationPolicy) as plain Rust, `secrets` knows API keys and passwords, `ext_authz` asks services
//! outside. This file puts them in order: secrets, tokens, CUSTOM, DENY, ALLOW. Claims go on to other filters in
//! `sidegate.auth.claims`, `.principal` and `.audiences`.
//!
//! A client learns a status and a challenge; the reason stands in the log, in the response code details and in
//! `sidegate_auth_denied_total{reason}`.
//!
//! Refused with `not supported yet`: `targetRefs`, keys found by the issuer alone.
#![forbid(unsafe_code)]

pub mod authz;
pub mod config;
mod ext_authz;
pub mod jwt;
mod names;
pub mod reason;
mod secrets;
mod surroundings;

use std::rc::Rc;
use std::time::Duration;

use sidegate_sdk::metrics::Counter;
use sidegate_sdk::{
    Bodies, Filter, Mode, Next, Request, Response, Result, Setup, debug, filter, info, properties, warn,
};

use crate::authz::facts::HostFacts;
use crate::authz::{Decision, Policies};
use crate::config::AuthConfig;
use crate::ext_authz::{Edit, Providers, Verdict};
use crate::jwt::{Authenticator, Verified};
use crate::reason::Reason;
use crate::secrets::Secrets;
use crate::surroundings::Surroundings;

/// The header that tells the service who was let in. Only we write it.
const USER: &str = "x-auth-user";
/// How often the filter looks whether keys are due.
const TICK: Duration = Duration::from_secs(1);

/// The filter.
pub struct Auth {
    secrets: Secrets,
    tokens: Authenticator,
    policies: Policies,
    providers: Providers,
    trusted_proxies: usize,
    allowed: Counter,
}

#[filter(callouts, grpc, sleep)]
impl Filter for Auth {
    type Config = AuthConfig;

    fn configure(config: AuthConfig, setup: &mut Setup) -> Result<Self> {
        let of = Surroundings::of_host();
        let tokens = Authenticator::compile(&config.request_authentication, &of, setup);
        if tokens.fetches() {
            setup.every(TICK);
        }
        let providers = Providers::compile(&config, &of, setup);
        setup.bodies(providers.bodies());
        let service = |name: &str| providers.index_of(name);
        Ok(Self {
            secrets: Secrets::compile(config.api_keys.as_ref(), config.basic.as_ref(), setup),
            tokens,
            policies: Policies::compile(&config.authorization_policies, service, &of, setup),
            providers,
            trusted_proxies: config.num_trusted_proxies,
            allowed: Counter::define("sidegate_auth_allowed_total", &[])?,
        })
    }

    fn body() -> Bodies {
        // The configuration says whether a service is told of bodies, and of how much.
        Bodies::none().request(Mode::Buffered { limit: 0 })
    }

    async fn handle(&self, mut req: Request, next: Next) -> Result<Response> {
        if req.headers().has(USER) {
            req.headers_mut().remove(USER)?;
        }
        match self.secrets.check(&req)? {
            Ok(None) => {}
            Ok(Some(name)) => req.headers_mut().set(USER, name)?,
            Err(reason) => return self.refuse(reason, None),
        }
        let token = match self.tokens.authenticate(&mut req).await? {
            Ok(token) => token,
            Err(reason) => return self.refuse(reason, None),
        };
        if let Some(token) = &token {
            hand_on(token);
        }
        let downstream = match self.ask(&mut req, token.as_deref()).await? {
            Ok(downstream) => downstream,
            Err(refusal) => return Ok(refusal),
        };
        if let Some(reason) = self.judge(&req, token.as_deref())? {
            return self.refuse(reason, token.as_deref());
        }
        self.secrets.hide(&mut req)?;
        self.allowed.add(1);
        if downstream.is_empty() {
            return Ok(next.forward(req));
        }
        let mut response = next.run(req).await?;
        Edit::change_response(&downstream, &mut response)?;
        Ok(response)
    }

    async fn tick(&self) {
        self.tokens.refresh().await;
    }
}

impl Auth {
    /// Asks the services that are to be asked, one after the other: what the response gets, or the first refusal.
    async fn ask(&self, req: &mut Request, token: Option<&Verified>) -> Result<Result<Vec<Edit>, Response>> {
        let mut for_client = Vec::new();
        if self.providers.is_empty() {
            return Ok(Ok(for_client));
        }
        let claims = token.map(|token| &token.claims);
        let asked = req.inspect(|head| {
            self.providers.asked(&self.policies, &HostFacts::new(head, claims, self.trusted_proxies))
        })?;
        for service in asked.into_iter().filter_map(|at| self.providers.service(at)) {
            match service.ask(req).await? {
                Verdict::Allow { upstream, downstream } => {
                    Edit::change_request(&upstream, req)?;
                    for_client.extend(downstream);
                }
                Verdict::Deny { status, headers, body } => {
                    let mut refusal = reply(Reason::ExternalDenied, status).body(body);
                    Edit::change_response(&headers, &mut refusal)?;
                    return Ok(Err(refusal));
                }
                Verdict::TooLarge => {
                    return Ok(Err(reply(Reason::ExternalBodyTooLarge, Reason::ExternalBodyTooLarge.status())));
                }
                Verdict::Error(problem) if service.on_error().is_open => {
                    warn!("the external service gave no answer, and the request passes: {problem}");
                }
                Verdict::Error(problem) => {
                    warn!("the external service gave no answer: {problem}");
                    return Ok(Err(reply(Reason::ExternalError, service.on_error().status)));
                }
            }
        }
        Ok(Ok(for_client))
    }

    fn judge(&self, req: &Request, token: Option<&Verified>) -> Result<Option<Reason>> {
        if self.policies.is_empty() {
            return Ok(None);
        }
        let claims = token.map(|token| &token.claims);
        req.inspect(|head| {
            let facts = HostFacts::new(head, claims, self.trusted_proxies);
            if let Some(number) = self.policies.audited(&facts) {
                info!("audited by authorizationPolicies[{number}]");
                count("sidegate_auth_audited_total", &[]);
            }
            match self.policies.decide(&facts) {
                Decision::Allowed => None,
                Decision::Denied(number) => {
                    info!("denied by authorizationPolicies[{number}]");
                    Some(Reason::PolicyDenied)
                }
                Decision::NotAllowed => Some(Reason::PolicyNotAllowed),
            }
        })
    }

    /// The answer for a client that is refused: status and challenge, no reason.
    fn refuse(&self, reason: Reason, token: Option<&Verified>) -> Result<Response> {
        let mut response = reply(reason, reason.status());
        //= RFC 6750 section 3, RFC 7235 section 4.1
        if reason.is_of_token() {
            response = response.header("www-authenticate", "Bearer error=\"invalid_token\"");
        } else if reason.status() == 401 {
            for challenge in self.secrets.challenges() {
                response = response.header("www-authenticate", challenge);
            }
        } else if token.is_some() {
            response = response.header("www-authenticate", "Bearer error=\"insufficient_scope\"");
        }
        Ok(response)
    }
}

/// Tells other filters what the token says.
fn hand_on(token: &Rc<Verified>) {
    let claims = &token.claims;
    let audiences = claims.audiences().collect::<Vec<_>>().join(",");
    let principal = claims.principal().unwrap_or_default();
    for (name, value) in [
        ("sidegate.auth.claims", &*claims.json()),
        ("sidegate.auth.principal", principal),
        ("sidegate.auth.audiences", &*audiences),
    ] {
        if value.is_empty() {
            continue;
        }
        if let Err(problem) = properties::set(name, value) {
            // Other filters go without; who may do what is decided here.
            debug!("{name} not told: {problem}");
        }
    }
}

fn reply(reason: Reason, status: u16) -> Response {
    info!("refused: {}", reason.name());
    count("sidegate_auth_denied_total", &[("reason", reason.name())]);
    if matches!(reason, Reason::ExternalDenied | Reason::ExternalError)
        && let Err(problem) = properties::set("sidegate.response_flag", "UAEX")
    {
        debug!("no response flag: {problem}");
    }
    Response::new(status).details(reason.details())
}

/// Counts what is rare; the series is made when it is needed.
fn count(name: &str, labels: &[(&str, &str)]) {
    match Counter::define(name, labels) {
        Ok(counter) => counter.add(1),
        Err(problem) => debug!("{name} is not counted: {problem}"),
    }
}
