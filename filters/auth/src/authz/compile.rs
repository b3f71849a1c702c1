//! From the written form to policies, by Istio's validation; every problem is told with its place.

use sidegate_sdk::Setup;

use super::address::Block;
use super::attribute::Attribute;
use super::condition::{Condition, Values};
use super::host::HostPattern;
use super::path::PathPattern;
use super::text::Text;
use super::{Policies, Policy, Rule};
use crate::config::{Action, AuthorizationPolicy, Operation, Source, When};
use crate::surroundings::Surroundings;

impl Policies {
    /// Checks and compiles; with errors told to `setup` the result is not to be used. `service` says the place of the
    /// service that a CUSTOM policy names, and has told what is wrong with it.
    #[must_use]
    pub fn compile(
        written: &[AuthorizationPolicy],
        service: impl Fn(&str) -> Option<usize>,
        of: &Surroundings,
        setup: &mut Setup,
    ) -> Self {
        let mut policies = Self::default();
        for (number, policy) in written.iter().enumerate() {
            let pointer = format!("/authorizationPolicies/{number}");
            if policy.target_refs.is_some() {
                setup.error(format!("{pointer}/targetRefs"), "not supported yet");
            }
            check_provider(policy, &pointer, setup);
            let rules = policy.rules.iter().enumerate();
            let rules = rules.map(|(at, rule)| compile_rule(rule, &format!("{pointer}/rules/{at}"), of, setup));
            let compiled = Policy { number, rules: rules.collect() };
            if !of.selects(policy.selector.as_ref()) {
                continue;
            }
            match policy.action {
                Action::Custom => {
                    let at = policy.provider.as_ref().and_then(|provider| service(&provider.name));
                    policies.custom.extend(at.map(|at| (at, compiled)));
                }
                Action::Deny => policies.deny.push(compiled),
                Action::Allow => policies.allow.push(compiled),
                Action::Audit => policies.audit.push(compiled),
            }
        }
        policies
    }
}

fn check_provider(policy: &AuthorizationPolicy, pointer: &str, setup: &mut Setup) {
    match (policy.action, &policy.provider) {
        (Action::Custom, None) => {
            setup.error(pointer, "action CUSTOM needs a provider: the name of extAuthz or of an extension provider");
        }
        (Action::Allow | Action::Deny, Some(_)) => {
            setup.error(format!("{pointer}/provider"), "only CUSTOM policies ask a provider");
        }
        _ => {}
    }
}

fn compile_rule(rule: &crate::config::Rule, pointer: &str, of: &Surroundings, setup: &mut Setup) -> Rule {
    let mut compiled = Rule::default();
    for (key, is_empty) in
        [("from", rule.from.as_ref().is_some_and(Vec::is_empty)), ("to", rule.to.as_ref().is_some_and(Vec::is_empty))]
    {
        if is_empty {
            setup.error(format!("{pointer}/{key}"), "an empty list matches nothing; leave it out to match everything");
        }
    }
    for (at, from) in rule.from.iter().flatten().enumerate() {
        let mut parts = Parts { pointer: format!("{pointer}/from/{at}/source"), setup, of, conditions: Vec::new() };
        parts.source(&from.source);
        compiled.from.push(parts.done());
    }
    for (at, to) in rule.to.iter().flatten().enumerate() {
        let mut parts = Parts { pointer: format!("{pointer}/to/{at}/operation"), setup, of, conditions: Vec::new() };
        parts.operation(&to.operation);
        compiled.to.push(parts.done());
    }
    for (at, when) in rule.when.iter().enumerate() {
        let mut parts = Parts { pointer: format!("{pointer}/when/{at}"), setup, of, conditions: Vec::new() };
        parts.when(when);
        compiled.when.extend(parts.conditions);
    }
    compiled
}

/// The conditions of one entry as they are read.
struct Parts<'p> {
    pointer: String,
    setup: &'p mut Setup,
    of: &'p Surroundings,
    conditions: Vec<Condition>,
}

impl Parts<'_> {
    fn source(&mut self, source: &Source) {
        self.field("principals", Attribute::Principal, &source.principals, &source.not_principals);
        self.field(
            "requestPrincipals",
            Attribute::RequestPrincipal,
            &source.request_principals,
            &source.not_request_principals,
        );
        self.field("namespaces", Attribute::Namespace, &source.namespaces, &source.not_namespaces);
        self.field(
            "serviceAccounts",
            Attribute::ServiceAccount,
            &source.service_accounts,
            &source.not_service_accounts,
        );
        self.field("trustDomains", Attribute::TrustDomain, &source.trust_domains, &source.not_trust_domains);
        self.field("ipBlocks", Attribute::SourceAddress, &source.ip_blocks, &source.not_ip_blocks);
        self.field("remoteIpBlocks", Attribute::RemoteAddress, &source.remote_ip_blocks, &source.not_remote_ip_blocks);
        let has_accounts = source.service_accounts.is_some() || source.not_service_accounts.is_some();
        let has_others = [&source.principals, &source.not_principals, &source.namespaces, &source.not_namespaces];
        if has_accounts && has_others.into_iter().any(Option::is_some) {
            self.setup.error(&*self.pointer, "serviceAccounts and principals or namespaces exclude each other");
        }
    }

    fn operation(&mut self, operation: &Operation) {
        self.field("hosts", Attribute::Host, &operation.hosts, &operation.not_hosts);
        self.field("ports", Attribute::Port, &operation.ports, &operation.not_ports);
        self.field("methods", Attribute::Method, &operation.methods, &operation.not_methods);
        self.field("paths", Attribute::Path, &operation.paths, &operation.not_paths);
    }

    fn when(&mut self, when: &When) {
        let attribute = match Attribute::of_key(&when.key) {
            Ok(attribute) => attribute,
            Err(problem) => return self.setup.error(format!("{}/key", self.pointer), problem),
        };
        if when.values.is_empty() && when.not_values.is_empty() {
            return self.setup.error(&*self.pointer, "one of values and notValues is needed");
        }
        for (key, values, is_negated) in [("values", &when.values, false), ("notValues", &when.not_values, true)] {
            if !values.is_empty() {
                self.add(key, attribute.clone(), values, is_negated);
            }
        }
    }

    fn field(&mut self, key: &str, attribute: Attribute, is: &Option<Vec<String>>, is_not: &Option<Vec<String>>) {
        let mut letters = key.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase()).unwrap_or_default();
        let not_key = format!("not{first}{}", letters.as_str());
        for (key, values, is_negated) in [(key, is, false), (&*not_key, is_not, true)] {
            match values {
                None => {}
                Some(values) if values.is_empty() => {
                    let pointer = format!("{}/{key}", self.pointer);
                    self.setup.error(pointer, "an empty list matches nothing; leave it out to match everything");
                }
                Some(values) => self.add(key, attribute.clone(), values, is_negated),
            }
        }
    }

    fn add(&mut self, key: &str, attribute: Attribute, written: &[String], is_negated: bool) {
        let own_namespace = self.of.namespace.as_deref();
        let values = match attribute {
            Attribute::SourceAddress | Attribute::RemoteAddress | Attribute::DestinationAddress => {
                Values::Blocks(self.each(key, written, Block::new))
            }
            Attribute::Port => Values::Ports(self.each(key, written, |text| {
                text.parse().ok().filter(|port| *port > 0).ok_or_else(|| format!("`{text}` is no port"))
            })),
            Attribute::ServiceAccount => Values::Accounts(self.each(key, written, |text| account(text, own_namespace))),
            Attribute::Host => Values::Hosts(self.each(key, written, |text| Ok(HostPattern::new(text)))),
            Attribute::Path => Values::Paths(self.each(key, written, PathPattern::new)),
            _ => Values::Texts(self.each(key, written, |text| Ok(Text::new(text)))),
        };
        self.conditions.push(Condition { attribute, values, is_negated });
    }

    fn each<T>(&mut self, key: &str, written: &[String], read: impl Fn(&str) -> Result<T, String>) -> Box<[T]> {
        let mut all = Vec::with_capacity(written.len());
        for (at, text) in written.iter().enumerate() {
            let value = if text.is_empty() { Err("a value cannot be empty".to_owned()) } else { read(text) };
            match value {
                Ok(value) => all.push(value),
                Err(problem) => self.setup.error(format!("{}/{key}/{at}", self.pointer), problem),
            }
        }
        all.into()
    }

    /// The conditions; an entry without any is a mistake.
    fn done(self) -> Vec<Condition> {
        if self.conditions.is_empty() {
            self.setup.error(self.pointer, "one field at least is needed; leave the entry out to match everything");
        }
        self.conditions
    }
}

fn account(written: &str, own_namespace: Option<&str>) -> Result<(String, String), String> {
    let own = |namespace: &str, name: &str| Ok((namespace.to_owned(), name.to_owned()));
    if written.contains('*') {
        return Err("a service account is written out, without *".to_owned());
    }
    match (written.split_once('/'), own_namespace) {
        (Some((namespace, name)), _) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            own(namespace, name)
        }
        (None, Some(namespace)) if !namespace.is_empty() => own(namespace, written),
        (None, _) => Err(format!("`{written}` needs its namespace: <namespace>/{written}")),
        (Some(_), _) => Err(format!("`{written}` is no service account: <namespace>/<account>")),
    }
}
