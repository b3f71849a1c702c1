//! Which services there are: `extAuthz`, and the extension providers of the proxy that CUSTOM policies name.

use sidegate_sdk::serde_json::{self, Value};
use sidegate_sdk::{Bodies, Mode, Setup, properties};

use super::Service;
use super::place::Place;
use crate::authz::{Facts, Policies};
use crate::config::{Action, AuthConfig, ExtAuthz};
use crate::surroundings::Surroundings;

/// Services that one filter may ask.
const MOST: usize = 16;

/// All services, in the order in which they are asked.
#[derive(Default)]
pub(crate) struct Providers(Vec<Provider>);

struct Provider {
    name: String,
    /// About every request, since no policy says which.
    is_asked_always: bool,
    service: Service,
}

impl Providers {
    /// Finds, checks and compiles; problems are told to `setup`.
    pub(crate) fn compile(config: &AuthConfig, of: &Surroundings, setup: &mut Setup) -> Self {
        let mut all = Self::default();
        let policies = config.authorization_policies.iter().enumerate();
        // A policy for other workloads asks nobody here, so it names nobody.
        let customs = policies
            .filter(|(_, policy)| policy.action == Action::Custom)
            .filter(|(_, policy)| of.selects(policy.selector.as_ref()));
        let named: Vec<(usize, &str)> =
            customs.filter_map(|(number, policy)| Some((number, &*policy.provider.as_ref()?.name))).collect();
        if let Some(own) = &config.ext_authz {
            let is_asked_always = !named.iter().any(|(_, name)| *name == own.name);
            let mut place = Place { setup, pointer: "/extAuthz".to_owned(), provider: None };
            let service = Service::compile(own, of, &mut place);
            all.0.extend(service.map(|service| Provider { name: own.name.clone(), is_asked_always, service }));
        }
        for (number, name) in named {
            let is_own = config.ext_authz.as_ref().is_some_and(|own| own.name == name);
            if is_own || all.index_of(name).is_some() {
                continue;
            }
            let pointer = format!("/authorizationPolicies/{number}/provider/name");
            if all.0.len() == MOST {
                setup.error(pointer, format!("a filter asks at most {MOST} services"));
                return all;
            }
            match of_host(name) {
                Ok(written) => {
                    let mut place = Place { setup, pointer, provider: Some(name.to_owned()) };
                    let service = Service::compile(&written, of, &mut place);
                    let provider = |service| Provider { name: name.to_owned(), is_asked_always: false, service };
                    all.0.extend(service.map(provider));
                }
                Err(problem) => setup.error(pointer, problem),
            }
        }
        all
    }

    /// Which bodies are needed.
    pub(crate) fn bodies(&self) -> Bodies {
        let most = self.0.iter().filter_map(|provider| provider.service.body()).map(|body| body.most).max();
        most.map_or_else(Bodies::none, |limit| Bodies::none().request(Mode::Buffered { limit }))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The place of the service with this name.
    pub(crate) fn index_of(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|provider| provider.name == name)
    }

    /// The services that are to be asked about a request, by their places.
    pub(crate) fn asked(&self, policies: &Policies, facts: &impl Facts) -> Vec<usize> {
        let all = self.0.iter().enumerate();
        let is_asked = |(at, provider): &(usize, &Provider)| provider.is_asked_always || policies.asks(*at, facts);
        all.filter(is_asked).map(|(at, _)| at).collect()
    }

    pub(crate) fn service(&self, at: usize) -> Option<&Service> {
        self.0.get(at).map(|provider| &provider.service)
    }
}

/// What the proxy tells of an extension provider.
fn of_host(name: &str) -> Result<ExtAuthz, String> {
    let unknown = || format!("there is no extAuthz and no extension provider named `{name}`");
    let json = properties::bytes("sidegate.extensionProviders").ok_or_else(unknown)?;
    let all: Vec<Value> = serde_json::from_slice(&json).unwrap_or_default();
    let named = all.into_iter().find(|provider| provider.get("name").and_then(Value::as_str) == Some(name));
    let named = named.ok_or_else(unknown)?;
    if named.get("envoyExtAuthzHttp").is_none() && named.get("envoyExtAuthzGrpc").is_none() {
        return Err(format!("extension provider `{name}` is no service that decides about requests"));
    }
    serde_json::from_value(named).map_err(|problem| format!("extension provider `{name}`: {problem}"))
}
