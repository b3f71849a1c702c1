//! Delegates: virtual services without hosts, whose routes stand in the place of a route that delegates to them.
//!
//! A request has to match both. Matches are put together where the delegate's asks for no more than the root's allows;
//! where one cannot tell, as with expressions, the two are in conflict and that route is left out.

use std::collections::BTreeMap;

use sidegate_sdk::matching::{HttpMatchRequest, StringMatch, ValueMatch};

use crate::config::{Delegate, HttpRoute, VirtualService};

/// The virtual services that can be delegated to.
#[derive(Debug, Default)]
pub(crate) struct Delegates(Vec<Delegated>);

/// One of them.
#[derive(Debug)]
pub(crate) struct Delegated {
    name: String,
    namespace: Option<String>,
    /// Its place in the configuration.
    pub(crate) pointer: String,
    pub(crate) http: Vec<HttpRoute>,
}

impl Delegates {
    /// Takes the virtual services without hosts that have a name.
    pub(crate) fn take(services: &mut [VirtualService]) -> Self {
        let mut found = Vec::new();
        for (number, service) in services.iter_mut().enumerate() {
            if let (true, Some(name)) = (service.hosts.is_empty(), service.name.clone()) {
                let pointer = format!("/virtualServices/{number}");
                let http = std::mem::take(&mut service.http);
                found.push(Delegated { name, namespace: service.namespace.clone(), pointer, http });
            }
        }
        Self(found)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Delegated> {
        self.0.iter()
    }

    /// The one that a route of a virtual service in `namespace` means. An unknown namespace speaks against nothing.
    pub(crate) fn find(&self, delegate: &Delegate, namespace: Option<&str>) -> Option<&Delegated> {
        let wanted = delegate.namespace.as_deref().or(namespace);
        let fits = |own: Option<&str>| wanted.is_none() || own.is_none() || own == wanted;
        self.0.iter().find(|known| known.name == delegate.name && fits(known.namespace.as_deref()))
    }
}

/// The route that both describe; `None` if they are in conflict. What the delegate does not say, the root says.
pub(crate) fn merge(root: &HttpRoute, delegate: &HttpRoute) -> Option<HttpRoute> {
    let matches = merge_matches(&root.matches, &delegate.matches)?;
    let (root, delegate) = (root.clone(), delegate.clone());
    // What belongs to sending is inherited by routes that send.
    let sends = delegate.redirect.is_none() && delegate.direct_response.is_none();
    let mirrors_itself = delegate.mirror.is_some() || !delegate.mirrors.is_empty();
    let (mirror, mirrors) = match (mirrors_itself, sends) {
        (false, true) => (root.mirror, root.mirrors),
        _ => (delegate.mirror, delegate.mirrors),
    };
    Some(HttpRoute {
        name: joined(root.name, delegate.name),
        matches,
        route: delegate.route,
        redirect: delegate.redirect,
        direct_response: delegate.direct_response,
        delegate: None,
        rewrite: delegate.rewrite.or(root.rewrite.filter(|_| sends)),
        timeout: delegate.timeout.or(root.timeout),
        retries: delegate.retries.or(root.retries),
        fault: delegate.fault.or(root.fault.filter(|_| sends)),
        mirror,
        mirrors,
        mirror_percentage: delegate.mirror_percentage.or(root.mirror_percentage),
        mirror_percent: delegate.mirror_percent.or(root.mirror_percent),
        cors_policy: delegate.cors_policy.or(root.cors_policy),
        headers: delegate.headers.or(root.headers),
    })
}

fn joined(root: Option<String>, delegate: Option<String>) -> Option<String> {
    let said = |name: Option<String>| name.filter(|name| !name.is_empty());
    match (said(root), said(delegate)) {
        (Some(root), Some(delegate)) => Some(format!("{root}-{delegate}")),
        (root, delegate) => root.or(delegate),
    }
}

/// Every entry of the delegate has to fit at least one of the root.
fn merge_matches(root: &[HttpMatchRequest], delegate: &[HttpMatchRequest]) -> Option<Vec<HttpMatchRequest>> {
    if root.is_empty() || delegate.is_empty() {
        return Some(if root.is_empty() { delegate.to_vec() } else { root.to_vec() });
    }
    let mut merged = Vec::new();
    for entry in delegate {
        let before = merged.len();
        merged.extend(root.iter().filter(|root| fits(root, entry)).map(|root| merge_match(root, entry)));
        if merged.len() == before {
            return None;
        }
    }
    Some(merged)
}

fn merge_match(root: &HttpMatchRequest, delegate: &HttpMatchRequest) -> HttpMatchRequest {
    let (root, delegate) = (root.clone(), delegate.clone());
    HttpMatchRequest {
        name: joined(root.name, delegate.name),
        uri: delegate.uri.or(root.uri),
        scheme: delegate.scheme.or(root.scheme),
        method: delegate.method.or(root.method),
        authority: delegate.authority.or(root.authority),
        headers: both(root.headers, delegate.headers),
        without_headers: both(root.without_headers, delegate.without_headers),
        query_params: both(root.query_params, delegate.query_params),
        port: delegate.port.or(root.port),
        stat_prefix: delegate.stat_prefix.or(root.stat_prefix),
        // Of the root they have been decided already.
        source_labels: delegate.source_labels,
        source_namespace: delegate.source_namespace,
        gateways: delegate.gateways,
        ignore_uri_case: delegate.ignore_uri_case,
    }
}

fn both<V>(mut root: BTreeMap<String, V>, delegate: BTreeMap<String, V>) -> BTreeMap<String, V> {
    root.extend(delegate);
    root
}

/// Whether the delegate's entry asks for no more than the root's allows.
fn fits(root: &HttpMatchRequest, delegate: &HttpMatchRequest) -> bool {
    let one = |root: &Option<StringMatch>, delegate: &Option<StringMatch>| match (root, delegate) {
        (Some(root), Some(delegate)) => is_within(delegate, root),
        _ => true,
    };
    let map = |root: &BTreeMap<String, ValueMatch>, delegate: &BTreeMap<String, ValueMatch>| {
        delegate.iter().all(|(key, value)| match (root.get(key), value) {
            (None, _) | (Some(ValueMatch::Present), ValueMatch::Present) => true,
            (Some(ValueMatch::Is(root)), ValueMatch::Is(delegate)) => is_within(delegate, root),
            // Istio finds a presence on one side only in conflict too.
            (Some(_), _) => false,
        })
    };
    one(&root.uri, &delegate.uri)
        && one(&root.scheme, &delegate.scheme)
        && one(&root.method, &delegate.method)
        && one(&root.authority, &delegate.authority)
        && map(&root.headers, &delegate.headers)
        && delegate
            .without_headers
            .iter()
            .all(|(key, value)| root.without_headers.get(key).is_none_or(|own| own == value))
        && map(&root.query_params, &delegate.query_params)
        && root.ignore_uri_case == delegate.ignore_uri_case
        && root.port.zip(delegate.port).is_none_or(|(root, delegate)| root == delegate)
}

/// Whether every text that satisfies `inner` satisfies `outer`. Of expressions nobody knows.
fn is_within(inner: &StringMatch, outer: &StringMatch) -> bool {
    match (inner, outer) {
        (StringMatch::Exact(inner), StringMatch::Exact(outer)) => inner == outer,
        (StringMatch::Exact(inner) | StringMatch::Prefix(inner), StringMatch::Prefix(outer)) => {
            inner.starts_with(outer)
        }
        _ => false,
    }
}
