//! A compiled route.

use sidegate_sdk::matching::Matcher;

use crate::cors::Cors;
use crate::direct::Direct;
use crate::fault::Faults;
use crate::headers::Ops;
use crate::redirect::Redirect;
use crate::rewrite::Rewrite;
use crate::stats::RouteStats;

/// One entry of a table.
#[derive(Debug)]
pub(crate) struct Route {
    /// At least one; the first that holds is remembered for rewrites and the name.
    pub(crate) matches: Box<[Match]>,
    pub(crate) action: Action,
    pub(crate) levels: Option<Box<Levels>>,
    pub(crate) extras: Option<Box<Extras>>,
}

/// What few routes have.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    pub(crate) faults: Option<Faults>,
    pub(crate) cors: Option<Cors>,
}

impl Extras {
    pub(crate) fn boxed(self) -> Option<Box<Self>> {
        (self.faults.is_some() || self.cors.is_some()).then(|| Box::new(self))
    }
}

/// One way to match, with the route's name by it.
#[derive(Debug)]
pub(crate) struct Match {
    pub(crate) matcher: Matcher,
    pub(crate) name: Option<Box<str>>,
    pub(crate) stats: Option<Box<RouteStats>>,
}

/// Route-level header operations.
#[derive(Debug, Default)]
pub(crate) struct Levels {
    pub(crate) request: Ops,
    pub(crate) response: Ops,
}

impl Levels {
    pub(crate) fn boxed(self) -> Option<Box<Self>> {
        (!self.request.is_empty() || !self.response.is_empty()).then(|| Box::new(self))
    }
}

#[derive(Debug)]
pub(crate) enum Action {
    Forward(Box<Forward>),
    Redirect(Box<Redirect>),
    Direct(Box<Direct>),
}

#[derive(Debug)]
pub(crate) struct Forward {
    /// Not empty; a destination without weight among several is left out.
    pub(crate) targets: Box<[Target]>,
    /// Whether more than one destination was written, which turns the order of header operations around.
    pub(crate) is_split: bool,
    pub(crate) rewrite: Option<Box<Rewrite>>,
    pub(crate) timeout: Option<Box<str>>,
    pub(crate) retries: Option<Box<str>>,
    /// The value of `sidegate.upstream.mirrors`.
    pub(crate) mirrors: Option<Box<str>>,
}

#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) cluster: Box<str>,
    pub(crate) subset: Option<Box<str>>,
    /// Sum of the weights up to and with this one.
    pub(crate) up_to: u64,
    pub(crate) levels: Option<Box<Levels>>,
}
