//! Descriptions of a request: Envoy's descriptors, made by actions.

use std::borrow::Cow;
use std::net::IpAddr;

use sidegate_sdk::matching::{RequestView, path_only, query_value};
use sidegate_sdk::serde_json::Value;

/// What of a request can be described.
pub trait Facts: RequestView {
    /// The client's address, with or without its port.
    fn remote_address(&self) -> Option<Cow<'_, str>>;
}

/// Keys and values, in the order of the actions.
pub type Description<'r> = Vec<(&'r str, Cow<'r, str>)>;

/// A compiled action.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) key: Box<str>,
    pub(crate) source: Source,
    pub(crate) skip_if_absent: bool,
}

/// Where a value comes from.
#[derive(Debug)]
pub(crate) enum Source {
    Header(Box<str>),
    Query(Box<str>),
    Claim(Box<str>),
    Path,
    Address,
    /// How many bits of an IPv4 and of an IPv6 address count.
    Network(u8, u8),
    Constant(Box<str>),
}

/// Describes a request; `None` if it lacks a value that the description needs.
pub(crate) fn describe<'r>(parts: &'r [Part], request: &'r impl Facts) -> Option<Description<'r>> {
    let mut description = Vec::with_capacity(parts.len());
    for part in parts {
        match part.source.value(request) {
            Some(value) => description.push((&*part.key, value)),
            None if part.skip_if_absent => {}
            None => return None,
        }
    }
    (!description.is_empty()).then_some(description)
}

impl Source {
    fn value<'r>(&'r self, request: &'r impl Facts) -> Option<Cow<'r, str>> {
        match self {
            Self::Header(name) => match &**name {
                ":path" => Some(request.path().into()),
                ":method" => Some(request.method().into()),
                ":authority" => Some(request.authority().into()),
                ":scheme" => Some(request.scheme().into()),
                name => request.header(name),
            },
            Self::Query(name) => query_value(request.path(), name).map(Cow::Borrowed),
            Self::Claim(name) => claim(&request.claims()?, name).map(Cow::Owned),
            Self::Path => Some(path_only(request.path()).into()),
            Self::Address => Some(address(&request.remote_address()?)?.to_string().into()),
            Self::Network(v4, v6) => Some(network(address(&request.remote_address()?)?, *v4, *v6).into()),
            Self::Constant(value) => Some(Cow::Borrowed(value)),
        }
    }
}

/// A claim by its name, or by the names of the claims around it joined by dots.
fn claim(claims: &str, name: &str) -> Option<String> {
    let claims: Value = sidegate_sdk::serde_json::from_str(claims).ok()?;
    let found = claims.get(name).or_else(|| name.split('.').try_fold(&claims, |within, name| within.get(name)))?;
    match found {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Of `1.2.3.4`, `1.2.3.4:5`, `::1`, `[::1]:5`.
fn address(text: &str) -> Option<IpAddr> {
    let alone = text.parse::<IpAddr>().ok();
    alone.or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip())).map(|ip| ip.to_canonical())
}

fn network(address: IpAddr, v4: u8, v6: u8) -> String {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(v4.min(32))).unwrap_or(0);
            format!("{}/{v4}", std::net::Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(v6.min(128))).unwrap_or(0);
            format!("{}/{v6}", std::net::Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lose_port_and_host_bits() {
        for (text, v4, v6, wanted) in [
            ("10.1.2.3:555", 16, 0, "10.1.0.0/16"),
            ("10.1.2.3", 32, 0, "10.1.2.3/32"),
            ("10.1.2.3", 0, 0, "0.0.0.0/0"),
            ("[2001:db8:1:2::9]:1", 0, 64, "2001:db8:1:2::/64"),
            ("::1", 0, 128, "::1/128"),
            ("::ffff:10.1.2.3", 24, 0, "10.1.2.0/24"),
        ] {
            assert_eq!(network(address(text).unwrap(), v4, v6), wanted);
        }
        assert_eq!(address("/run/app.sock"), None);
    }

    #[test]
    fn claims_are_found_by_name_or_path() {
        let claims = r#"{"sub": "ann", "realm": {"plan": "gold", "n": 7}, "a.b": true, "roles": ["x"]}"#;
        let of = |name: &str| claim(claims, name);
        assert_eq!(of("sub").as_deref(), Some("ann"));
        assert_eq!((of("realm.plan").as_deref(), of("realm.n").as_deref()), (Some("gold"), Some("7")));
        assert_eq!(of("a.b").as_deref(), Some("true"));
        assert_eq!((of("roles"), of("realm"), of("none"), claim("", "sub")), (None, None, None, None));
    }
}
