//! From the written form to a table: every rule of Istio's validation that concerns these fields, each problem with its
//! place, and warnings for what can never run.

use sidegate_sdk::matching::{HttpMatchRequest, RequestView};
use sidegate_sdk::serde::Deserialize;
use sidegate_sdk::serde_json;
use sidegate_sdk::{Setup, properties};

use crate::config::{HttpRoute, HttpRouteDestination, RouterConfig, VirtualService};
use crate::direct::Direct;
use crate::headers::{Direction, Ops};
use crate::index::Index;
use crate::lint::Shadow;
use crate::redirect::Redirect;
use crate::rewrite::Rewrite;
use crate::route::{Action, Forward, Levels, Match, Route, Target};
use crate::{duration, retries};

/// Compiled routes.
#[derive(Debug, Default)]
pub struct Table {
    index: Index,
    services: Vec<Box<[Route]>>,
}

/// What a table is compiled for: the workload, and the clusters that exist.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// Labels of the workload; `None` if the host does not say.
    pub labels: Option<Vec<(String, String)>>,
    /// Namespace of the workload.
    pub namespace: Option<String>,
    /// Names and hosts of clusters, each with subsets; `None` if the host does not say.
    pub clusters: Option<Vec<Cluster>>,
}

/// An entry of the property `sidegate.clusters`.
#[derive(Debug, Default, Deserialize)]
#[serde(crate = "sidegate_sdk::serde", default)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Further names.
    pub hosts: Vec<String>,
    /// Names of its subsets.
    pub subsets: Vec<String>,
}

impl Surroundings {
    /// Asks the host.
    #[must_use]
    pub fn of_host() -> Self {
        let clusters = properties::bytes("sidegate.clusters").and_then(|json| serde_json::from_slice(&json).ok());
        Self { labels: None, namespace: properties::text(["xds", "node", "metadata", "NAMESPACE"]), clusters }
    }

    /// Whether an entry is for this workload. What the host does not say speaks against nothing.
    fn selects(&self, entry: &HttpMatchRequest) -> bool {
        let namespace = match (&entry.source_namespace, &self.namespace) {
            (Some(wanted), Some(own)) => wanted == own,
            _ => true,
        };
        namespace && entry.source_labels.iter().all(|(key, wanted)| self.label(key).is_none_or(|own| own == *wanted))
    }

    fn label(&self, key: &str) -> Option<String> {
        match &self.labels {
            Some(labels) => labels.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone()),
            None => properties::text(["xds", "node", "metadata", "LABELS", key]),
        }
    }
}

// === impl Table ===

impl Table {
    /// Checks and compiles; problems are told to `setup`. With errors the table is not to be used.
    #[must_use]
    pub fn compile(config: RouterConfig, surroundings: &Surroundings, setup: &mut Setup) -> Self {
        let mut table = Self::default();
        for (number, service) in config.virtual_services.into_iter().enumerate() {
            let pointer = format!("/virtualServices/{number}");
            table.add_hosts(&service, u32::try_from(number).unwrap_or(u32::MAX), &pointer, setup);
            let routes = compile_service(service, &pointer, surroundings, setup);
            table.services.push(routes);
        }
        table
    }

    fn add_hosts(&mut self, service: &VirtualService, number: u32, pointer: &str, setup: &mut Setup) {
        if service.hosts.is_empty() {
            setup.error(format!("{pointer}/hosts"), "a virtual service needs a host; \"*\" is all of them");
        }
        for (at, host) in service.hosts.iter().enumerate() {
            match self.index.add(host, number) {
                Ok(false) => {}
                Ok(true) => setup.warning(
                    format!("{pointer}/hosts/{at}"),
                    format!("`{host}` has routes already; these come behind them"),
                ),
                Err(problem) => setup.error(format!("{pointer}/hosts/{at}"), problem),
            }
        }
    }

    /// The routes for a request's host, in order.
    pub(crate) fn routes(&self, request: &impl RequestView) -> impl Iterator<Item = &Route> {
        let services =
            if self.index.ignores_authority() { self.index.any() } else { self.index.find(request.authority()) };
        services.iter().filter_map(|service| self.services.get(usize::try_from(*service).ok()?)).flatten()
    }
}

fn compile_service(service: VirtualService, pointer: &str, of: &Surroundings, setup: &mut Setup) -> Box<[Route]> {
    for (name, part) in [("tls", &service.tls), ("tcp", &service.tcp)] {
        if part.is_some() {
            setup.error(format!("{pointer}/{name}"), "not supported yet");
        }
    }
    if service.http.is_empty() && service.tls.is_none() && service.tcp.is_none() {
        setup.error(format!("{pointer}/http"), "a virtual service needs a route");
    }
    let mut shadow = Shadow::default();
    let mut routes = Vec::with_capacity(service.http.len());
    for (number, route) in service.http.into_iter().enumerate() {
        let pointer = format!("{pointer}/http/{number}");
        let Some(matches) = compile_matches(&route, &pointer, of, setup) else { continue };
        shadow.check(&matches, number, &pointer, setup);
        routes.push(compile_route(&route, matches, &pointer, of, setup));
    }
    routes.into()
}

/// `None`: the route is for other workloads.
fn compile_matches(route: &HttpRoute, pointer: &str, of: &Surroundings, setup: &mut Setup) -> Option<Box<[Match]>> {
    let route_name = route.name.as_deref().filter(|name| !name.is_empty());
    if route.matches.is_empty() {
        let matcher = HttpMatchRequest::default().compile().ok()?;
        return Some([Match { matcher, name: route_name.map(Into::into) }].into());
    }
    let mut matches = Vec::with_capacity(route.matches.len());
    let mut is_for_others = true;
    for (number, entry) in route.matches.iter().enumerate() {
        if !of.selects(entry) {
            continue;
        }
        is_for_others = false;
        let name = match (route_name, entry.name.as_deref().filter(|name| !name.is_empty())) {
            (Some(route), Some(entry)) => Some(format!("{route}.{entry}").into()),
            (route, entry) => route.or(entry).map(Into::into),
        };
        match entry.compile() {
            Ok(matcher) => matches.push(Match { matcher, name }),
            Err(problem) => setup.error(format!("{pointer}/match/{number}{}", problem.pointer), problem.text),
        }
    }
    (!is_for_others).then(|| matches.into())
}

fn compile_route(
    route: &HttpRoute,
    matches: Box<[Match]>,
    pointer: &str,
    of: &Surroundings,
    setup: &mut Setup,
) -> Route {
    refuse_unsupported(route, pointer, setup);
    refuse_combinations(route, pointer, setup);
    let levels = compile_levels(route.headers.as_deref(), &format!("{pointer}/headers"), setup);
    let host_ops = levels.as_ref().is_some_and(|levels| levels.request.rewrites_host());
    if host_ops && route.rewrite.as_ref().is_some_and(|rewrite| rewrite.authority.is_some()) {
        setup.error(format!("{pointer}/rewrite/authority"), "the host is also set in headers.request; say it once");
    }
    let action = if let Some(direct) = &route.direct_response {
        Action::Direct(Box::new(Direct::compile(direct, &format!("{pointer}/directResponse"), setup)))
    } else if let Some(redirect) = &route.redirect {
        let pointer = format!("{pointer}/redirect");
        Action::Redirect(Box::new(Redirect::compile(redirect, &matches, &pointer, setup)))
    } else {
        Action::Forward(Box::new(compile_forward(route, pointer, of, setup)))
    };
    Route { matches, action, levels }
}

fn refuse_unsupported(route: &HttpRoute, pointer: &str, setup: &mut Setup) {
    let HttpRoute { delegate, fault, mirror, mirrors, mirror_percentage, mirror_percent, cors_policy, .. } = route;
    for (name, part) in [
        ("delegate", delegate),
        ("fault", fault),
        ("mirror", mirror),
        ("mirrors", mirrors),
        ("mirrorPercentage", mirror_percentage),
        ("mirrorPercent", mirror_percent),
        ("corsPolicy", cors_policy),
    ] {
        if part.is_some() {
            setup.error(format!("{pointer}/{name}"), "not supported yet");
        }
    }
}

fn refuse_combinations(route: &HttpRoute, pointer: &str, setup: &mut Setup) {
    let kinds = [
        ("route", !route.route.is_empty()),
        ("redirect", route.redirect.is_some()),
        ("directResponse", route.direct_response.is_some()),
    ];
    let written: Vec<&str> = kinds.iter().filter(|(_, is_there)| *is_there).map(|(name, _)| *name).collect();
    match &*written {
        [] if route.delegate.is_none() => {
            setup.error(pointer, "one of route, redirect and directResponse is needed");
        }
        [first, second, ..] => {
            setup.error(format!("{pointer}/{second}"), format!("{first} and {second} exclude each other"));
        }
        _ => {}
    }
    for kind in written.iter().filter(|kind| **kind != "route") {
        if route.rewrite.is_some() {
            setup.error(format!("{pointer}/rewrite"), format!("rewrite and {kind} exclude each other"));
        }
    }
}

fn compile_levels(written: Option<&crate::config::Headers>, pointer: &str, setup: &mut Setup) -> Option<Box<Levels>> {
    let written = written?;
    let mut one = |ops: &Option<_>, direction, name: &str| {
        let ops = ops.as_ref().map(|ops| Ops::compile(ops, direction, &format!("{pointer}/{name}"), setup));
        ops.unwrap_or_default()
    };
    let request = one(&written.request, Direction::Request, "request");
    let response = one(&written.response, Direction::Response, "response");
    Levels { request, response }.boxed()
}

fn compile_forward(route: &HttpRoute, pointer: &str, of: &Surroundings, setup: &mut Setup) -> Forward {
    let is_split = route.route.len() > 1;
    let mut targets = Vec::with_capacity(route.route.len());
    let mut total = 0_u64;
    for (number, written) in route.route.iter().enumerate() {
        let pointer = format!("{pointer}/route/{number}");
        check_destination(written, &format!("{pointer}/destination"), of, setup);
        let levels = compile_levels(written.headers.as_deref(), &format!("{pointer}/headers"), setup);
        let weight = if is_split { u64::from(written.weight) } else { 1 };
        if weight == 0 {
            continue;
        }
        total += weight;
        targets.push(Target {
            cluster: written.destination.host.as_str().into(),
            subset: written.destination.subset.as_deref().filter(|subset| !subset.is_empty()).map(Into::into),
            up_to: total,
            levels,
        });
    }
    if is_split && total == 0 {
        setup.error(format!("{pointer}/route"), "of several destinations one needs a weight");
    }
    if total > u64::from(u32::MAX) {
        setup.error(format!("{pointer}/route"), "the weights add up to more than 4294967295");
    }
    let timeout = route.timeout.as_deref().and_then(|text| match duration::read_timeout(text) {
        Ok(timeout) => timeout.map(|timeout| duration::write(timeout).into()),
        Err(problem) => {
            setup.error(format!("{pointer}/timeout"), problem);
            None
        }
    });
    let retries =
        route.retries.as_deref().map(|written| retries::compile(written, &format!("{pointer}/retries"), setup));
    let rewrite = route
        .rewrite
        .as_deref()
        .map(|written| Box::new(Rewrite::compile(written, &format!("{pointer}/rewrite"), setup)));
    Forward { targets: targets.into(), is_split, rewrite, timeout, retries }
}

fn check_destination(written: &HttpRouteDestination, pointer: &str, of: &Surroundings, setup: &mut Setup) {
    let destination = &written.destination;
    if destination.host.is_empty() {
        setup.error(format!("{pointer}/host"), "a destination needs a host");
        return;
    }
    let Some(clusters) = &of.clusters else { return };
    let is_named = |cluster: &&Cluster| cluster.name == destination.host || cluster.hosts.contains(&destination.host);
    match (clusters.iter().find(is_named), &destination.subset) {
        (None, _) => setup.warning(
            format!("{pointer}/host"),
            format!("there is no cluster `{}`; requests for it get 503", destination.host),
        ),
        (Some(cluster), Some(subset)) if !subset.is_empty() && !cluster.subsets.contains(subset) => setup.warning(
            format!("{pointer}/subset"),
            format!("cluster `{}` has no subset `{subset}`; requests for it get 503", cluster.name),
        ),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_route_stays_small() {
        assert!(size_of::<crate::route::Route>() <= 48);
    }
}
