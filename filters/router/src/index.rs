//! From an authority to the virtual services for it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Hosts and what is known under them.
#[derive(Debug, Default)]
pub(crate) struct Index {
    exact: HashMap<Box<str>, Vec<u32>, BuildHasherDefault<Fnv>>,
    /// By what stands behind `*.`.
    wildcards: HashMap<Box<str>, Vec<u32>, BuildHasherDefault<Fnv>>,
    any: Vec<u32>,
}

impl Index {
    /// Adds a host as written; the error says what is wrong with it. True: the host was known already.
    pub(crate) fn add(&mut self, host: &str, service: u32) -> Result<bool, String> {
        let lower = host.to_ascii_lowercase();
        let list = if lower == "*" {
            &mut self.any
        } else {
            let (map, name) = match lower.strip_prefix("*.") {
                Some(rest) => (&mut self.wildcards, rest),
                None => (&mut self.exact, lower.as_str()),
            };
            check(name).map_err(|reason| format!("`{host}` is no host: {reason}"))?;
            map.entry(name.into()).or_default()
        };
        let was_known = !list.is_empty();
        if list.last() != Some(&service) {
            list.push(service);
        }
        Ok(was_known)
    }

    /// Whether every authority leads to the same services.
    pub(crate) fn ignores_authority(&self) -> bool {
        self.exact.is_empty() && self.wildcards.is_empty()
    }

    /// The services for an authority, by the longest host that fits. The port does not count.
    pub(crate) fn find(&self, authority: &str) -> &[u32] {
        let host = without_port(authority);
        let mut lower = String::new();
        let host = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            lower.push_str(host);
            lower.make_ascii_lowercase();
            lower.as_str()
        } else {
            host
        };
        if let Some(found) = self.exact.get(host) {
            return found;
        }
        if !self.wildcards.is_empty() {
            let mut rest = host;
            while let Some((_, behind)) = rest.split_once('.') {
                if let Some(found) = self.wildcards.get(behind) {
                    return found;
                }
                rest = behind;
            }
        }
        &self.any
    }

    /// The services for all authorities.
    pub(crate) fn any(&self) -> &[u32] {
        &self.any
    }
}

/// An authority without its port; the brackets of an IPv6 address stay.
pub(crate) fn without_port(authority: &str) -> &str {
    let end_of_address = authority.rfind(']').unwrap_or(0);
    match authority.rfind(':') {
        Some(colon) if colon > end_of_address => authority.get(..colon).unwrap_or(authority),
        _ => authority,
    }
}

fn check(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("it is empty");
    }
    if name.contains('*') {
        return Err("* stands alone or as the first label");
    }
    if name.starts_with('[') || name.contains(':') {
        let address = name.trim_start_matches('[').trim_end_matches(']');
        return if address.parse::<std::net::Ipv6Addr>().is_ok() { Ok(()) } else { Err("a port is not written here") };
    }
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
    };
    if name.trim_end_matches('.').split('.').all(is_label) { Ok(()) } else { Err("its labels are not DNS labels") }
}

/// FNV-1a: host names are the operator's, so nobody can choose them to collide.
#[derive(Debug)]
pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        // hashbrown takes the top bits for its tags, which FNV mixes least.
        self.0 ^ (self.0 << 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Index, without_port};

    #[test]
    fn the_longest_host_wins_and_ports_and_case_do_not_count() {
        let mut index = Index::default();
        for (service, host) in ["*", "*.example.com", "shop.example.com", "*.shop.example.com"].into_iter().enumerate()
        {
            index.add(host, service as u32).unwrap();
        }
        for (authority, service) in [
            ("shop.example.com", 2),
            ("Shop.Example.com:8080", 2),
            ("a.shop.example.com", 3),
            ("a.b.shop.example.com", 3),
            ("x.example.com", 1),
            ("example.com", 0),
            ("", 0),
        ] {
            assert_eq!(index.find(authority), [service], "{authority}");
        }
        assert_eq!(without_port("[::1]:80"), "[::1]");
        assert_eq!(without_port("[::1]"), "[::1]");
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let mut index = Index::default();
        for host in ["", "a.*.b", "*a.b", "a..b", "a:80", "a/b", "*."] {
            assert!(index.add(host, 0).is_err(), "{host}");
        }
        assert!(index.add("10.0.0.1", 0).is_ok());
        assert!(index.add("[::1]", 0).is_ok());
    }
}
