//! Hosts: the spelling of an authority does not decide who gets in.

use std::borrow::Cow;

use super::text::Text;

/// A condition on the authority. Case, user information and a dot at the end never count; the port counts only where
/// it is written.
#[derive(Debug, Clone)]
pub(crate) struct HostPattern {
    text: Text,
    has_port: bool,
}

impl HostPattern {
    pub(crate) fn new(written: &str) -> Self {
        let written = written.to_ascii_lowercase();
        let (_, port) = split(&written);
        Self { text: Text::new(&written), has_port: port.is_some() }
    }

    /// Whether an authority matches, for each way to read it.
    pub(crate) fn readings(&self, authority: &Authority<'_>) -> impl Iterator<Item = bool> {
        let host = &authority.host;
        let (first, second) = match (self.has_port, authority.port) {
            (false, _) => (self.text.matches(host), None),
            (true, Some(port)) => (self.text.matches(&format!("{host}:{port}")), None),
            // Which port is meant is not ours to say: both defaults are possible.
            (true, None) => (self.text.matches(&format!("{host}:80")), Some(self.text.matches(&format!("{host}:443")))),
        };
        // A request without a port is not the one that was written with it: one reading never matches.
        let as_written = (self.has_port && authority.port.is_none()).then_some(false);
        [Some(first), second, as_written].into_iter().flatten()
    }
}

/// An authority, taken apart.
#[derive(Debug)]
pub(crate) struct Authority<'a> {
    host: Cow<'a, str>,
    port: Option<&'a str>,
}

impl<'a> Authority<'a> {
    pub(crate) fn new(written: &'a str) -> Self {
        let written = written.rsplit_once('@').map_or(written, |(_, host)| host);
        let (host, port) = split(written);
        let host = host.strip_suffix('.').unwrap_or(host);
        let is_lower = !host.bytes().any(|byte| byte.is_ascii_uppercase());
        let host = if is_lower { Cow::Borrowed(host) } else { Cow::Owned(host.to_ascii_lowercase()) };
        Self { host, port: port.filter(|port| !port.is_empty()) }
    }
}

/// Host and port; the colons of an IPv6 address are not of a port.
fn split(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}
