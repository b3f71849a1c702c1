//! One route: from its written form to the compiled one.

use sidegate_sdk::Setup;

use crate::config::{Headers, HttpRoute};
use crate::cors::Cors;
use crate::direct::Direct;
use crate::fault::Faults;
use crate::headers::{Direction, Ops};
use crate::redirect::Redirect;
use crate::rewrite::Rewrite;
use crate::route::{Action, Extras, Forward, Levels, Match, Route, Target};
use crate::surroundings::Surroundings;
use crate::{duration, mirrors, retries};

/// Checks and compiles; problems are told to `setup` below `pointer`.
pub(crate) fn compile_route(
    route: &HttpRoute,
    matches: Box<[Match]>,
    pointer: &str,
    of: &Surroundings,
    setup: &mut Setup,
) -> Route {
    refuse_combinations(route, pointer, setup);
    compile_body(route, matches, pointer, of, setup)
}

/// The same without asking whether the route has exactly one action.
pub(crate) fn compile_body(
    route: &HttpRoute,
    matches: Box<[Match]>,
    pointer: &str,
    of: &Surroundings,
    setup: &mut Setup,
) -> Route {
    let levels = compile_levels(route.headers.as_deref(), &format!("{pointer}/headers"), setup);
    let host_ops = levels.as_ref().is_some_and(|levels| levels.request.host.is_some());
    if host_ops && route.rewrite.as_ref().is_some_and(|rewrite| rewrite.authority.is_some()) {
        setup.error(format!("{pointer}/rewrite/authority"), "the host is also set in headers.request; say it once");
    }
    let faults = route.fault.as_deref().map(|fault| Faults::compile(fault, &format!("{pointer}/fault"), setup));
    let cors = route.cors_policy.as_deref().map(|cors| Cors::compile(cors, &format!("{pointer}/corsPolicy"), setup));
    let action = if let Some(direct) = &route.direct_response {
        Action::Direct(Box::new(Direct::compile(direct, &format!("{pointer}/directResponse"), setup)))
    } else if let Some(redirect) = &route.redirect {
        let pointer = format!("{pointer}/redirect");
        Action::Redirect(Box::new(Redirect::compile(redirect, &matches, &pointer, setup)))
    } else {
        Action::Forward(Box::new(compile_forward(route, pointer, of, setup)))
    };
    Route { matches, action, levels, extras: Extras { faults, cors }.boxed() }
}

fn refuse_combinations(route: &HttpRoute, pointer: &str, setup: &mut Setup) {
    let kinds = [
        ("route", !route.route.is_empty()),
        ("redirect", route.redirect.is_some()),
        ("directResponse", route.direct_response.is_some()),
    ];
    let written: Vec<&str> = kinds.iter().filter(|(_, is_there)| *is_there).map(|(name, _)| *name).collect();
    match &*written {
        [] => setup.error(pointer, "one of route, redirect, directResponse and delegate is needed"),
        [first, second, ..] => {
            setup.error(format!("{pointer}/{second}"), format!("{first} and {second} exclude each other"));
        }
        _ => {}
    }
    for kind in written.iter().filter(|kind| **kind != "route") {
        for (name, is_there) in [("rewrite", route.rewrite.is_some()), ("fault", route.fault.is_some())] {
            if is_there {
                setup.error(format!("{pointer}/{name}"), format!("{name} and {kind} exclude each other"));
            }
        }
        if route.mirror.is_some() || !route.mirrors.is_empty() {
            setup.warning(pointer, format!("a route with {kind} sends nothing that could be mirrored"));
        }
    }
}

fn compile_levels(written: Option<&Headers>, pointer: &str, setup: &mut Setup) -> Option<Box<Levels>> {
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
    Forward {
        targets: compile_targets(route, pointer, of, setup),
        is_split: route.route.len() > 1,
        rewrite,
        timeout,
        retries,
        mirrors: mirrors::compile(route, pointer, of, setup),
    }
}

fn compile_targets(route: &HttpRoute, pointer: &str, of: &Surroundings, setup: &mut Setup) -> Box<[Target]> {
    let is_split = route.route.len() > 1;
    let mut targets = Vec::with_capacity(route.route.len());
    let mut total = 0_u64;
    for (number, written) in route.route.iter().enumerate() {
        let pointer = format!("{pointer}/route/{number}");
        of.check(&written.destination, &format!("{pointer}/destination"), setup);
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
    targets.into()
}
