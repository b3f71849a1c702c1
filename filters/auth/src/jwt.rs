//! RequestAuthentication: where tokens are found, which are good, and what becomes of them.
//!
//! A token that is there must be good. Which rule judges it is decided by its issuer and by the place it was found in.
//! A request without a token passes.

mod cache;
mod claims;
mod der;
mod keys;
mod location;
mod offload;
mod pace;
mod rule;
mod source;
mod token;
mod verify;

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use sidegate_sdk::{Request, Result, Setup};

pub use claims::Claims;

use crate::config::RequestAuthentication;
use crate::reason::Reason;
use crate::surroundings::Surroundings;
use cache::Cache;
use location::{Found, Locations};
use offload::Offload;
use pace::Pace;
use rule::Rule;
use source::SourceState;
use token::Token;
use verify::Outcome;

/// Tokens in one request, in all places together: a request with more is refused.
const TOKENS: usize = 8;
/// Bytes of a token: header fields of other sizes do not reach us in any host.
const TOKEN_BYTES: usize = 16 * 1024;

/// A token that was found good.
#[derive(Debug)]
pub struct Verified {
    rule: usize,
    /// What it says.
    pub claims: Claims,
    /// The payload as it stands in the token.
    payload: Box<str>,
}

/// All rules, with the keys and what was verified lately.
#[derive(Default)]
pub struct Authenticator {
    rules: Vec<Rule>,
    locations: Locations,
    /// Headers that only we may write, lower-case.
    outputs: Vec<String>,
    cache: Cache,
    offload: Offload,
}

// === impl Authenticator ===

impl Authenticator {
    /// Checks and compiles; with errors told to `setup` the result is not to be used.
    #[must_use]
    pub fn compile(written: &RequestAuthentication, of: &Surroundings, setup: &mut Setup) -> Self {
        const POINTER: &str = "/requestAuthentication";
        if written.target_refs.is_some() {
            setup.error(format!("{POINTER}/targetRefs"), "not supported yet");
        }
        if written.jwt_rules.len() > rule::RULES {
            setup.error(format!("{POINTER}/jwtRules"), format!("at most {} rules are taken", rule::RULES));
        }
        let mut all = Self::default();
        for (number, written) in written.jwt_rules.iter().enumerate() {
            let pointer = format!("{POINTER}/jwtRules/{number}");
            all.locations.add(written, number, &pointer, setup);
            all.rules.push(Rule::compile(written, &pointer, of, setup));
        }
        if !of.selects(written.selector.as_ref()) {
            return Self::default();
        }
        for output in all.rules.iter().flat_map(Rule::outputs) {
            if !all.outputs.iter().any(|known| known == output) {
                all.outputs.push(output.to_owned());
            }
        }
        all
    }

    /// Whether keys are fetched, so that somebody has to see to it.
    #[must_use]
    pub fn fetches(&self) -> bool {
        self.rules.iter().any(|rule| rule.source.is_remote())
    }

    /// Fetches the keys that are due.
    pub async fn refresh(&self) {
        for rule in &self.rules {
            if rule.source.is_due(sidegate_sdk::now()) {
                rule.source.refresh().await;
            }
        }
    }

    /// Judges the tokens of a request: takes them out, hands claims on, returns the first one's. No token is `None`.
    ///
    /// # Errors
    /// The outer one if the host refuses, the inner one if a token is bad.
    pub async fn authenticate(&self, req: &mut Request) -> Result<Result<Option<Rc<Verified>>, Reason>> {
        if self.rules.is_empty() {
            return Ok(Ok(None));
        }
        for name in &self.outputs {
            if req.headers().has(name) {
                req.headers_mut().remove(name)?;
            }
        }
        let found = req.inspect(|head| self.locations.find(head))?;
        if found.is_empty() {
            return Ok(Ok(None));
        }
        if found.len() > TOKENS {
            return Ok(Err(Reason::JwtTooMany));
        }
        let pace = Pace::default();
        let mut good = Vec::with_capacity(found.len());
        for token in &found {
            match self.judge(token, &pace).await {
                Ok(verified) => good.push(verified),
                Err(reason) => return Ok(Err(reason)),
            }
        }
        for (found, verified) in found.iter().zip(&good) {
            let Some(rule) = self.rules.get(verified.rule) else { continue };
            if !rule.forwards {
                found.remove(req)?;
            }
            rule.write_outputs(verified, req)?;
        }
        Ok(Ok(good.into_iter().next()))
    }

    async fn judge(&self, found: &Found, pace: &Pace) -> Result<Rc<Verified>, Reason> {
        let now = since_epoch(sidegate_sdk::now());
        let text = &*found.token;
        if let Some(known) = self.cache.find(text).filter(|known| found.rules.contains(&known.rule)) {
            known.claims.check_times(now)?;
            return Ok(known);
        }
        if text.len() > TOKEN_BYTES {
            return Err(Reason::JwtBadFormat);
        }
        let token = Token::parse(text).ok_or(Reason::JwtBadFormat)?;
        let issuer = token.issuer();
        let mut reason = Reason::JwtUnknownIssuer;
        let rules = found.rules.iter().filter_map(|number| Some((*number, self.rules.get(*number)?)));
        for (number, rule) in rules.filter(|(_, rule)| rule.is_of(issuer)) {
            match self.judge_by(&token, rule, now, pace).await {
                Ok(claims) => {
                    let verified = Rc::new(Verified { rule: number, claims, payload: token.payload.into() });
                    self.cache.keep(text, &verified, &rule.source);
                    return Ok(verified);
                }
                Err(problem) => reason = problem,
            }
        }
        Err(reason)
    }

    async fn judge_by(&self, token: &Token<'_>, rule: &Rule, now: Duration, pace: &Pace) -> Result<Claims, Reason> {
        // What costs nothing comes first: an old token is refused without looking at its signature.
        let claims = Claims::new(token.claims.clone(), &rule.space_delimited);
        claims.check_times(now)?;
        if !rule.takes_audience(&claims) {
            return Err(Reason::JwtAudience);
        }
        if rule.source.state() == SourceState::Empty {
            rule.source.wait().await;
        }
        let mut outcome = self.check(token, rule, pace).await;
        if outcome == Outcome::NoKey && rule.source.may_know_more(sidegate_sdk::now()) {
            // The issuer may have got a new key since we asked.
            rule.source.wait().await;
            outcome = self.check(token, rule, pace).await;
        }
        match outcome {
            Outcome::Good => Ok(claims),
            Outcome::Bad => Err(Reason::JwtSignature),
            Outcome::NoKey if rule.source.state() == SourceState::Empty => Err(Reason::JwksUnavailable),
            Outcome::NoKey => Err(Reason::JwtNoKey),
        }
    }

    async fn check(&self, token: &Token<'_>, rule: &Rule, pace: &Pace) -> Outcome {
        let mut outcome = Outcome::NoKey;
        for number in 0..verify::ATTEMPTS {
            if token.algorithm.is_costly() && rule.source.with(|keys| verify::has(token, keys, number)) {
                pace.step().await;
            }
            match rule.source.with(|keys| verify::check(token, keys, number, &self.offload)) {
                Outcome::Good => return Outcome::Good,
                Outcome::Bad => outcome = Outcome::Bad,
                Outcome::NoKey => break,
            }
        }
        outcome
    }
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
