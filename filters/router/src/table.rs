//! From the written form to a table: every rule of Istio's validation that concerns these fields, each problem with its
//! place, and warnings for what can never run.

use sidegate_sdk::Setup;
use sidegate_sdk::matching::RequestView;

use crate::config::{RouterConfig, VirtualService};
use crate::delegate::Delegates;
use crate::index::Index;
use crate::route::Route;
use crate::service;
use crate::surroundings::Surroundings;

/// Compiled routes.
#[derive(Debug, Default)]
pub struct Table {
    index: Index,
    services: Vec<Box<[Route]>>,
}

impl Table {
    /// Checks and compiles; problems are told to `setup`. With errors the table is not to be used.
    #[must_use]
    pub fn compile(mut config: RouterConfig, surroundings: &Surroundings, setup: &mut Setup) -> Self {
        let mut table = Self::default();
        let delegates = Delegates::take(&mut config.virtual_services);
        for delegate in delegates.iter() {
            service::check_delegate(delegate, surroundings, setup);
        }
        for (number, service) in config.virtual_services.into_iter().enumerate() {
            let pointer = format!("/virtualServices/{number}");
            let routes = if service.hosts.is_empty() && service.name.is_some() {
                service::check_without_routes(&service, &pointer, setup);
                Box::default()
            } else if surroundings.is_one_of(&service.gateways) {
                table.add_hosts(&service, u32::try_from(number).unwrap_or(u32::MAX), &pointer, setup);
                service::compile(service, &delegates, &pointer, surroundings, setup)
            } else {
                // It is for other gateways, and checked all the same.
                Self::default().add_hosts(&service, 0, &pointer, setup);
                drop(service::compile(service, &delegates, &pointer, surroundings, setup));
                Box::default()
            };
            table.services.push(routes);
        }
        table
    }

    fn add_hosts(&mut self, service: &VirtualService, number: u32, pointer: &str, setup: &mut Setup) {
        if service.hosts.is_empty() {
            let text = "a virtual service needs a host; \"*\" is all of them, and one to delegate to needs a name";
            setup.error(format!("{pointer}/hosts"), text);
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

#[cfg(test)]
mod tests {
    #[test]
    fn a_route_stays_small() {
        assert!(size_of::<crate::route::Route>() <= 48);
    }
}
