//! One condition: an attribute, and values of which one must fit, or none.

use std::net::IpAddr;

use sidegate_sdk::matching::path_only;

use super::address::Block;
use super::attribute::Attribute;
use super::facts::{Facts, Identity};
use super::host::{Authority, HostPattern};
use super::path::{Path, PathPattern};
use super::text::Text;
use super::truth::Truth;
use crate::jwt::Claims;

#[derive(Debug)]
pub(crate) struct Condition {
    pub(crate) attribute: Attribute,
    pub(crate) values: Values,
    /// None of the values may fit. What is absent fits none.
    pub(crate) is_negated: bool,
}

#[derive(Debug)]
pub(crate) enum Values {
    Texts(Box<[Text]>),
    /// Namespace and name.
    Accounts(Box<[(String, String)]>),
    Blocks(Box<[Block]>),
    Ports(Box<[u16]>),
    Hosts(Box<[HostPattern]>),
    Paths(Box<[PathPattern]>),
}

impl Condition {
    pub(crate) fn holds(&self, facts: &impl Facts) -> Truth {
        let fits = match &self.values {
            Values::Texts(texts) => self.text_fits(texts, facts),
            Values::Accounts(accounts) => Truth::of(facts.identity().is_some_and(|identity| {
                let is_meant = |(namespace, name): &(String, String)| {
                    identity.namespace == namespace && identity.account == name && !name.is_empty()
                };
                accounts.iter().any(is_meant)
            })),
            Values::Blocks(blocks) => {
                let address = self.address(facts);
                Truth::of(address.is_some_and(|address| blocks.iter().any(|block| block.contains(address))))
            }
            Values::Ports(ports) => Truth::of(facts.port().is_some_and(|port| ports.contains(&port))),
            Values::Hosts(hosts) => {
                let authority = Authority::new(facts.authority());
                Truth::any(hosts.iter().map(|host| Truth::over(host.readings(&authority))))
            }
            Values::Paths(paths) => {
                let path = Path::new(path_only(facts.path()));
                // Each reading may be met by another of the values.
                let either = paths.iter().fold([false; 2], |[raw, resolved], pattern| {
                    let [one, other] = pattern.readings(&path);
                    [raw || one, resolved || other]
                });
                Truth::over(either)
            }
        };
        if self.is_negated { fits.negated() } else { fits }
    }

    fn address(&self, facts: &impl Facts) -> Option<IpAddr> {
        match self.attribute {
            Attribute::RemoteAddress => facts.remote(),
            Attribute::DestinationAddress => facts.destination(),
            _ => facts.source(),
        }
    }

    fn text_fits(&self, texts: &[Text], facts: &impl Facts) -> Truth {
        let fits = |found: &str| texts.iter().any(|text| text.matches(found));
        let of_identity =
            |part: for<'i> fn(&Identity<'i>) -> &'i str| facts.identity().is_some_and(|identity| fits(part(&identity)));
        let of_claims = |test: &dyn Fn(&Claims) -> bool| facts.claims().is_some_and(test);
        Truth::of(match &self.attribute {
            Attribute::Header(name) => return header_fits(&facts.headers(name), fits),
            Attribute::Principal => of_identity(|identity| identity.principal),
            Attribute::Namespace => of_identity(|identity| identity.namespace),
            Attribute::TrustDomain => of_identity(|identity| identity.trust_domain),
            Attribute::Method => fits(facts.method()),
            Attribute::ServerName => facts.server_name().is_some_and(|name| fits(&name)),
            Attribute::RequestPrincipal => of_claims(&|claims| claims.principal().is_some_and(fits)),
            Attribute::Audience => of_claims(&|claims| claims.audiences().any(fits)),
            Attribute::Presenter => of_claims(&|claims| claims.texts(&["azp"]).any(fits)),
            Attribute::Claim(path) => of_claims(&|claims| claims.texts(path).any(fits)),
            // The others have values of their own kind.
            _ => false,
        })
    }
}

/// A header that came several times is read as one list, or as any of its values.
fn header_fits(values: &[std::borrow::Cow<'_, str>], fits: impl Fn(&str) -> bool) -> Truth {
    match values {
        [] => Truth::No,
        [one] => Truth::of(fits(one)),
        several => {
            let joined = several.join(",");
            Truth::over(several.iter().map(|value| fits(value)).chain([fits(&joined)]))
        }
    }
}
