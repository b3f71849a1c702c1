//! The decision for one request: which host, which route, which destination.

use sidegate_sdk::Random;
use sidegate_sdk::matching::RequestView;

use crate::cors::Cors;
use crate::fault::Faults;
use crate::headers::Op;
use crate::route::{Action, Extras, Forward, Levels, Match, Route, Target};
use crate::table::Table;
use crate::template::Template;

/// What was decided. It borrows from the table only.
#[derive(Debug, Clone, Copy)]
pub struct Chosen<'t> {
    pub(crate) route: &'t Route,
    pub(crate) matched: &'t Match,
    target: Option<&'t Target>,
}

impl Table {
    /// The first route that matches, of the virtual services with the longest host that fits. Chance is asked
    /// only when there is a choice of destinations.
    pub fn choose(&self, request: &impl RequestView, chance: &Random) -> Option<Chosen<'_>> {
        let (route, matched) = self.routes(request).find_map(|route| {
            let matched = route.matches.iter().find(|one| one.matcher.matches(request))?;
            Some((route, matched))
        })?;
        let target = match &route.action {
            Action::Forward(forward) => forward.pick(chance),
            _ => None,
        };
        Some(Chosen { route, matched, target })
    }
}

impl Forward {
    fn pick(&self, chance: &Random) -> Option<&Target> {
        if let [only] = &*self.targets {
            return Some(only);
        }
        let total = self.targets.last()?.up_to;
        // The weights add up to no more than that: `compile` sees to it.
        let drawn = u64::from(chance.below(u32::try_from(total).unwrap_or(u32::MAX)));
        self.targets.iter().find(|target| drawn < target.up_to)
    }
}

impl<'t> Chosen<'t> {
    /// The route's name with the match's behind it.
    #[must_use]
    pub fn name(&self) -> Option<&'t str> {
        self.matched.name.as_deref()
    }

    /// The cluster and subset the request goes to, if it goes anywhere.
    #[must_use]
    pub fn destination(&self) -> Option<(&'t str, Option<&'t str>)> {
        self.target.map(|target| (&*target.cluster, target.subset.as_deref()))
    }

    pub(crate) fn target(&self) -> Option<(&'t Forward, &'t Target)> {
        match (&self.route.action, self.target) {
            (Action::Forward(forward), Some(target)) => Some((forward, target)),
            _ => None,
        }
    }

    pub(crate) fn faults(&self) -> Option<&'t Faults> {
        self.extras()?.faults.as_ref()
    }

    pub(crate) fn cors(&self) -> Option<&'t Cors> {
        self.extras()?.cors.as_ref()
    }

    pub(crate) fn request_ops(&self) -> impl Iterator<Item = &'t Op> + use<'t> {
        self.levels().flat_map(|level| level.request.list.iter())
    }

    pub(crate) fn response_ops(&self) -> impl Iterator<Item = &'t Op> + use<'t> {
        self.levels().flat_map(|level| level.response.list.iter())
    }

    /// The host that the request gets: the route's goes before that of a single destination, and gives way to that of
    /// one among several.
    pub(crate) fn host(&self) -> Option<&'t Template> {
        let (forward, target) = self.target()?;
        let of = |levels: Option<&'t Levels>| levels.and_then(|levels| levels.request.host.as_deref());
        let rewrite = forward.rewrite.as_deref().and_then(|rewrite| rewrite.authority.as_ref());
        let route = rewrite.or_else(|| of(self.route.levels.as_deref()));
        let target = of(target.levels.as_deref());
        if forward.is_split { target.or(route) } else { route.or(target) }
    }

    /// Route and destination level in the order they run. With one destination its own operations come last and win;
    /// with several, Envoy knows the destination as a part of the route and runs the route's last.
    fn levels(&self) -> impl Iterator<Item = &'t Levels> + use<'t> {
        let route = self.route.levels.as_deref();
        let target = self.target.and_then(|target| target.levels.as_deref());
        let order = if self.is_split() { [target, route] } else { [route, target] };
        order.into_iter().flatten()
    }

    fn is_split(&self) -> bool {
        matches!(&self.route.action, Action::Forward(forward) if forward.is_split)
    }

    fn extras(&self) -> Option<&'t Extras> {
        self.route.extras.as_deref()
    }
}
