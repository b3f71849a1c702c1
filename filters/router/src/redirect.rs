//! Redirects: what is not given stays as the client asked.

use sidegate_sdk::matching::{RequestView, UriMatch};
use sidegate_sdk::{Response, Setup};

use crate::config::{DerivePort, HttpRedirect};
use crate::index::without_port;
use crate::policy::Chosen;
use crate::rewrite::replace_matched;
use crate::route::Match;

/// Codes that a proxy can send; Istio takes 300 to 399 and then routes nowhere.
const CODES: [u16; 5] = [301, 302, 303, 307, 308];

#[derive(Debug)]
pub(crate) struct Redirect {
    code: u16,
    scheme: Option<Box<str>>,
    authority: Option<Box<str>>,
    port: Port,
    path: Path,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    /// As in the authority.
    AsWritten,
    Fixed(u16),
    Default,
    OfRequest,
}

#[derive(Debug)]
enum Path {
    AsRequested,
    Whole(Box<str>),
    Prefix(Box<str>),
}

impl Redirect {
    /// Checks and compiles; problems are told to `setup` below `pointer`.
    pub(crate) fn compile(written: &HttpRedirect, matches: &[Match], pointer: &str, setup: &mut Setup) -> Self {
        let HttpRedirect { uri, prefix_rewrite, authority, port, derive_port, scheme, redirect_code } = written;
        if uri.is_none()
            && prefix_rewrite.is_none()
            && authority.is_none()
            && port.is_none()
            && derive_port.is_none()
            && scheme.is_none()
            && redirect_code.is_none()
        {
            setup.error(pointer, "a redirect needs uri, prefixRewrite, authority, scheme, port or redirectCode");
        }
        let code = redirect_code.unwrap_or(301);
        if !CODES.contains(&code) {
            setup.error(format!("{pointer}/redirectCode"), "301, 302, 303, 307 and 308 are redirects");
        }
        if scheme.as_deref().is_some_and(|scheme| scheme != "http" && scheme != "https") {
            setup.error(format!("{pointer}/scheme"), "http and https are schemes");
        }
        let is_prefix = |one: &Match| matches!(one.matcher.uri(), UriMatch::Prefix(_));
        let path = match (uri, prefix_rewrite) {
            (Some(_), Some(_)) => {
                setup.error(format!("{pointer}/prefixRewrite"), "uri and prefixRewrite exclude each other");
                Path::AsRequested
            }
            (Some(uri), None) => Path::Whole(uri.as_str().into()),
            (None, Some(prefix)) => {
                if !matches.iter().all(is_prefix) {
                    let text = "prefixRewrite needs a prefix match on uri in every match";
                    setup.error(format!("{pointer}/prefixRewrite"), text);
                }
                Path::Prefix(prefix.as_str().into())
            }
            (None, None) => Path::AsRequested,
        };
        let port = match (port, derive_port) {
            (Some(_), Some(_)) => {
                setup.error(format!("{pointer}/derivePort"), "port and derivePort exclude each other");
                Port::AsWritten
            }
            (Some(port), None) => Port::Fixed(*port),
            (None, Some(DerivePort::FromProtocolDefault)) => Port::Default,
            (None, Some(DerivePort::FromRequestPort)) => Port::OfRequest,
            (None, None) => Port::AsWritten,
        };
        let boxed = |text: &Option<String>| text.as_deref().map(Into::into);
        Self { code, scheme: boxed(scheme), authority: boxed(authority), port, path }
    }

    pub(crate) fn reply(&self, chosen: &Chosen<'_>, head: &impl RequestView) -> Response {
        Response::new(self.code).header("location", self.location(chosen, head)).details("direct_response")
    }

    fn location(&self, chosen: &Chosen<'_>, head: &impl RequestView) -> String {
        let requested = head.authority();
        let scheme = self.scheme.as_deref().unwrap_or_else(|| head.scheme());
        let authority = self.authority.as_deref().unwrap_or(requested);
        let host = without_port(authority);
        let port_of = |authority: &str| {
            authority.get(without_port(authority).len()..).and_then(|port| port.strip_prefix(':')?.parse::<u16>().ok())
        };
        let port = match self.port {
            // The port belonged to the scheme that is left behind.
            Port::AsWritten if self.scheme.is_some() && self.authority.is_none() => {
                port_of(authority).filter(|port| Some(*port) != default_port(head.scheme()))
            }
            Port::AsWritten => port_of(authority),
            Port::Fixed(port) => Some(port),
            Port::Default => None,
            Port::OfRequest => port_of(requested),
        };
        let port = port.filter(|port| Some(*port) != default_port(scheme));
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let path = head.path();
        let path = match &self.path {
            Path::AsRequested => path.to_owned(),
            Path::Whole(uri) if uri.contains('?') => uri.to_string(),
            Path::Whole(uri) => format!("{uri}{}", path.find('?').and_then(|at| path.get(at..)).unwrap_or_default()),
            Path::Prefix(prefix) => replace_matched(path, prefix, chosen.matched.matcher.uri()),
        };
        format!("{scheme}://{host}{port}{path}")
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}
