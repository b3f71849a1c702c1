//! What a policy can ask of a request, and how the host is asked for it.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::net::IpAddr;

use sidegate_sdk::RequestHead;
use sidegate_sdk::matching::RequestView;

use super::address;
use crate::jwt::Claims;

/// A request as policies see it. Each method is asked only when a policy needs it.
pub trait Facts {
    /// The path with its query.
    fn path(&self) -> &str;
    /// The method.
    fn method(&self) -> &str;
    /// The authority.
    fn authority(&self) -> &str;
    /// All values of a header, in order; the name is lower-case.
    fn headers(&self, name: &str) -> Vec<Cow<'_, str>>;
    /// The identity in the client's certificate, if the connection is mutual TLS and it has one.
    fn identity(&self) -> Option<Identity<'_>>;
    /// The claims of a verified token.
    fn claims(&self) -> Option<&Claims>;
    /// The address at the other end of the connection.
    fn source(&self) -> Option<IpAddr>;
    /// The address of the client before trusted proxies.
    fn remote(&self) -> Option<IpAddr>;
    /// The address the request came to.
    fn destination(&self) -> Option<IpAddr>;
    /// The port the request came to.
    fn port(&self) -> Option<u16>;
    /// The name in the TLS handshake.
    fn server_name(&self) -> Option<Cow<'_, str>>;
}

/// `spiffe://<trust domain>/ns/<namespace>/sa/<account>`, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity<'i> {
    /// All of it without `spiffe://`.
    pub principal: &'i str,
    /// The trust domain.
    pub trust_domain: &'i str,
    /// The namespace; empty if it is not written in Istio's form.
    pub namespace: &'i str,
    /// The service account; empty likewise.
    pub account: &'i str,
}

impl<'i> Identity<'i> {
    /// Reads a URI of a certificate; `None` if it is no SPIFFE id.
    #[must_use]
    pub fn new(uri: &'i str) -> Option<Self> {
        let principal = uri.strip_prefix("spiffe://")?;
        let mut segments = principal.split('/');
        let trust_domain = segments.next().filter(|domain| !domain.is_empty())?;
        let (namespace, account) = match [segments.next(), segments.next(), segments.next(), segments.next()] {
            [Some("ns"), Some(namespace), Some("sa"), Some(account)] if segments.next().is_none() => {
                (namespace, account)
            }
            _ => ("", ""),
        };
        Some(Self { principal, trust_domain, namespace, account })
    }
}

/// A request in its host.
pub struct HostFacts<'f, 'h> {
    head: &'f RequestHead<'h>,
    claims: Option<&'f Claims>,
    trusted_proxies: usize,
    certificate: OnceCell<Option<Cow<'h, str>>>,
}

impl<'f, 'h> HostFacts<'f, 'h> {
    /// Looks at a request. `trusted_proxies` are believed about who came before them.
    #[must_use]
    pub fn new(head: &'f RequestHead<'h>, claims: Option<&'f Claims>, trusted_proxies: usize) -> Self {
        Self { head, claims, trusted_proxies, certificate: OnceCell::new() }
    }

    fn address(&self, path: [&str; 2]) -> Option<IpAddr> {
        address::read(&self.head.property(path)?)
    }
}

impl Facts for HostFacts<'_, '_> {
    fn path(&self) -> &str {
        RequestView::path(self.head)
    }

    fn method(&self) -> &str {
        RequestView::method(self.head)
    }

    fn authority(&self) -> &str {
        RequestView::authority(self.head)
    }

    fn headers(&self, name: &str) -> Vec<Cow<'_, str>> {
        self.head.all(name)
    }

    fn identity(&self) -> Option<Identity<'_>> {
        let certificate = self.certificate.get_or_init(|| {
            // A certificate that the client showed and nobody verified proves nothing.
            let is_mutual = self.head.bool(["connection", "mtls"]) == Some(true);
            is_mutual.then(|| self.head.property(["connection", "uri_san_peer_certificate"])).flatten()
        });
        Identity::new(certificate.as_deref()?)
    }

    fn claims(&self) -> Option<&Claims> {
        self.claims
    }

    fn source(&self) -> Option<IpAddr> {
        self.address(["source", "address"])
    }

    fn remote(&self) -> Option<IpAddr> {
        if self.trusted_proxies > 0 {
            // The host has added the connection's address at the end; each trusted proxy added one before it.
            let list = self.head.all("x-forwarded-for").join(",");
            if let Some(client) = list.rsplit(',').nth(self.trusted_proxies) {
                return address::read(client);
            }
        }
        self.source()
    }

    fn destination(&self) -> Option<IpAddr> {
        self.address(["destination", "address"])
    }

    fn port(&self) -> Option<u16> {
        self.head.local_port()
    }

    fn server_name(&self) -> Option<Cow<'_, str>> {
        self.head.property(["connection", "requested_server_name"]).filter(|name| !name.is_empty())
    }
}
