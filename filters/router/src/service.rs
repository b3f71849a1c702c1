//! The routes of one virtual service, those of its delegates in their places.

use sidegate_sdk::Setup;
use sidegate_sdk::matching::HttpMatchRequest;

use crate::compile::{compile_body, compile_route};
use crate::config::{HttpRoute, VirtualService};
use crate::delegate::{Delegated, Delegates, merge};
use crate::lint::Shadow;
use crate::route::{Match, Route};
use crate::stats::RouteStats;
use crate::surroundings::{Surroundings, warn_of_source};

/// Checks and compiles; problems are told to `setup`, below `pointer` or where a delegate stands.
pub(crate) fn compile(
    service: VirtualService,
    delegates: &Delegates,
    pointer: &str,
    of: &Surroundings,
    setup: &mut Setup,
) -> Box<[Route]> {
    check_without_routes(&service, pointer, setup);
    if service.http.is_empty() && service.tls.is_none() && service.tcp.is_none() {
        setup.error(format!("{pointer}/http"), "a virtual service needs a route");
    }
    let mut shadow = Shadow::default();
    let mut routes = Vec::with_capacity(service.http.len());
    let host = service.hosts.first().map_or("*", String::as_str);
    for (number, route) in service.http.iter().enumerate() {
        let pointer = format!("{pointer}/http/{number}");
        for (at, entry) in route.matches.iter().enumerate() {
            warn_of_source(entry, &service.gateways, &format!("{pointer}/match/{at}"), setup);
        }
        if route.delegate.is_some() {
            let namespace = service.namespace.as_deref().or(of.namespace.as_deref());
            for merged in compile_delegating(route, delegates, namespace, (host, &pointer), of, setup) {
                shadow.add(&merged.matches, number);
                routes.push(merged);
            }
            continue;
        }
        let Some(matches) = compile_matches(route, (host, &pointer), of, setup) else { continue };
        shadow.check(&matches, &pointer, setup);
        shadow.add(&matches, number);
        routes.push(compile_route(route, matches, &pointer, of, setup));
    }
    routes.into()
}

/// Checks what a virtual service has besides hosts and HTTP routes.
pub(crate) fn check_without_routes(service: &VirtualService, pointer: &str, setup: &mut Setup) {
    for (name, part) in [("tls", &service.tls), ("tcp", &service.tcp)] {
        if part.is_some() {
            setup.error(format!("{pointer}/{name}"), "not supported yet");
        }
    }
    if service.export_to.len() > 1 && service.export_to.iter().any(|name| name == "*") {
        setup.error(format!("{pointer}/exportTo"), "`*` is everybody and stands alone");
    }
}

/// Checks a delegate as it stands; its routes are used where somebody delegates to it.
pub(crate) fn check_delegate(delegate: &Delegated, of: &Surroundings, setup: &mut Setup) {
    if delegate.http.is_empty() {
        setup.error(format!("{}/http", delegate.pointer), "a virtual service needs a route");
    }
    for (number, route) in delegate.http.iter().enumerate() {
        let pointer = format!("{}/http/{number}", delegate.pointer);
        if route.delegate.is_some() {
            setup.error(format!("{pointer}/delegate"), "a delegate does not delegate further");
            continue;
        }
        let matches = compile_matches(route, ("", &pointer), of, setup).unwrap_or_default();
        drop(compile_route(route, matches, &pointer, of, setup));
    }
}

/// The routes in the place of one that delegates. What both sides say was checked where each of them stands; here only
/// what they make together is told.
fn compile_delegating(
    root: &HttpRoute,
    delegates: &Delegates,
    namespace: Option<&str>,
    (host, pointer): (&str, &str),
    of: &Surroundings,
    setup: &mut Setup,
) -> Vec<Route> {
    for (name, is_there) in [
        ("route", !root.route.is_empty()),
        ("redirect", root.redirect.is_some()),
        ("directResponse", root.direct_response.is_some()),
    ] {
        if is_there {
            setup.error(format!("{pointer}/{name}"), format!("delegate and {name} exclude each other"));
        }
    }
    let Some(matches) = compile_matches(root, (host, pointer), of, setup) else { return Vec::new() };
    drop(compile_body(root, matches, pointer, of, setup));
    let Some(wanted) = &root.delegate else { return Vec::new() };
    let Some(delegate) = delegates.find(wanted, namespace) else {
        let text =
            format!("there is no virtual service `{}` without hosts; requests go on to later routes", wanted.name);
        setup.warning(format!("{pointer}/delegate/name"), text);
        return Vec::new();
    };
    // Of the root, only the entries for this workload take part.
    let own: Vec<HttpMatchRequest> = root.matches.iter().filter(|entry| of.selects(entry)).cloned().collect();
    let root = HttpRoute { matches: own, ..root.clone() };
    let mut routes = Vec::new();
    for (number, route) in delegate.http.iter().enumerate() {
        let place = format!("{}/http/{number}", delegate.pointer);
        let Some(merged) = merge(&root, route) else {
            let text = format!("left out: its matches do not fit those of {pointer}, which delegates to it");
            setup.warning(place, text);
            continue;
        };
        let mut together = Setup::default();
        if let Some(matches) = compile_matches(&merged, (host, &place), of, &mut together) {
            routes.push(compile_route(&merged, matches, &place, of, &mut together));
        }
        for problem in together.problems() {
            if setup.problems().iter().all(|known| known.text != problem.text) {
                setup.error(format!("{pointer}/delegate"), format!("together with {place}: {}", problem.text));
            }
        }
    }
    routes
}

/// `None`: the route is for other workloads.
fn compile_matches(
    route: &HttpRoute,
    (host, pointer): (&str, &str),
    of: &Surroundings,
    setup: &mut Setup,
) -> Option<Box<[Match]>> {
    let route_name = route.name.as_deref().filter(|name| !name.is_empty());
    if route.matches.is_empty() {
        let matcher = HttpMatchRequest::default().compile().ok()?;
        return Some([Match { matcher, name: route_name.map(Into::into), stats: None }].into());
    }
    let mut matches = Vec::with_capacity(route.matches.len());
    let mut is_for_others = true;
    for (number, entry) in route.matches.iter().enumerate() {
        let compiled = entry.compile();
        if let Err(problem) = &compiled {
            setup.error(format!("{pointer}/match/{number}{}", problem.pointer), problem.text.clone());
        }
        if !of.selects(entry) {
            continue;
        }
        is_for_others = false;
        let name = match (route_name, entry.name.as_deref().filter(|name| !name.is_empty())) {
            (Some(route), Some(entry)) => Some(format!("{route}.{entry}").into()),
            (route, entry) => route.or(entry).map(Into::into),
        };
        let stats = entry.stat_prefix.as_deref().filter(|prefix| !prefix.is_empty()).and_then(|prefix| {
            let defined = RouteStats::define(host, prefix);
            if let Err(problem) = &defined {
                setup.error(format!("{pointer}/match/{number}/statPrefix"), problem.to_string());
            }
            defined.ok().map(Box::new)
        });
        matches.extend(compiled.ok().map(|matcher| Match { matcher, name, stats }));
    }
    (!is_for_others).then(|| matches.into())
}
