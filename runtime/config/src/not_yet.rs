//! Keys and words that belong to the configuration but do nothing yet. Each is refused by its name, so that nobody
//! believes it works. Building one of them starts with deleting its line here.

use crate::{cursor::Cursor, path, tree::Value, tree::scalar::Scalar};

/// Which values of a key are refused.
enum Refused {
    /// Every one but nothing at all.
    Any,
    /// All but an empty list or map.
    NotEmpty,
    /// Only `true`.
    True,
    /// These words.
    Words(&'static [&'static str]),
    /// Strings that begin so.
    Prefixes(&'static [&'static str]),
}

use Refused::{Any, NotEmpty, Prefixes, True, Words};

/// Where, which key, which values. A place that begins with `*` is any that ends so below `clusters`.
const TABLE: &[(&str, &str, Refused)] = &[
    ("outboundTrafficPolicy", "mode", Words(&["REGISTRY_ONLY"])),
    ("plugins[]", "url", Prefixes(&["oci://"])),
    ("listeners[]", "protocol", Words(&["HTTPS", "TCP", "TLS"])),
    ("listeners[]", "originalDst", True),
    ("listeners[]", "proxyProtocol", True),
    ("listeners[]", "tls", Any),
    ("listeners[]", "sniRoutes", NotEmpty),
    ("clusters[]", "resolution", Words(&["DNS", "FILE"])),
    ("clusters[]", "path", Any),
    ("clusters[]", "healthChecks", NotEmpty),
    ("*.trafficPolicy", "outlierDetection", Any),
    ("*.trafficPolicy", "tls", Any),
    ("*.trafficPolicy", "retryBudget", Any),
    ("*.trafficPolicy", "portLevelSettings", NotEmpty),
    ("*.trafficPolicy", "proxyProtocol", Any),
    ("*.trafficPolicy", "tunnel", Any),
    ("*.trafficPolicy.loadBalancer", "simple", Words(&["PASSTHROUGH"])),
    ("*.trafficPolicy.loadBalancer", "consistentHash", Any),
    ("*.trafficPolicy.loadBalancer", "localityLbSetting", Any),
    ("*.trafficPolicy.loadBalancer", "zoneAwareLbSetting", Any),
    ("*.trafficPolicy.loadBalancer", "warmup", Any),
    ("*.trafficPolicy.connectionPool.tcp", "maxConnectionDuration", Any),
    ("*.trafficPolicy.connectionPool.tcp", "tcpKeepalive", Any),
    ("*.trafficPolicy.connectionPool.http", "h2UpgradePolicy", Any),
    ("*.trafficPolicy.connectionPool.http", "useClientProtocol", True),
    ("*.trafficPolicy.connectionPool.http", "http2KeepAlive", Any),
];

/// What becomes of the value of a key.
pub(crate) enum Verdict {
    /// It is read as the model says.
    Read,
    /// It asks for nothing that is missing, and the model has no place for it.
    Skip,
    /// It is a problem: of the key, or of the value alone.
    Refuse { message: String, at_key: bool, fix: Option<String> },
}

/// Looks a value up in the table.
pub(crate) fn judge(value: &Cursor<'_>) -> Verdict {
    let pattern = path::pattern(&value.path);
    let Some((_, key, refused)) = TABLE.iter().find(|(place, key, _)| {
        pattern.strip_suffix(key).is_some_and(|rest| is_at(rest.strip_suffix('.').unwrap_or(rest), place))
    }) else {
        return Verdict::Read;
    };
    let whole_key = || Verdict::Refuse { message: format!("{key} is not supported yet"), at_key: true, fix: None };
    let this_value = |word: &str| Verdict::Refuse {
        message: format!("{key} {word} is not supported yet"),
        at_key: false,
        fix: None,
    };
    match (refused, value.value()) {
        (Any | NotEmpty | True, Value::Scalar(Scalar::Null)) => Verdict::Skip,
        (NotEmpty, Value::List(items)) if items.is_empty() => Verdict::Skip,
        (NotEmpty, Value::Map(entries)) if entries.is_empty() => Verdict::Skip,
        (True, Value::Scalar(Scalar::Bool(false))) => Verdict::Skip,
        (True, Value::Scalar(Scalar::Bool(true))) | (Any | NotEmpty, _) => whole_key(),
        (True, other) => {
            let message = format!("expected true or false, found {}", other.describe());
            Verdict::Refuse { message, at_key: false, fix: None }
        }
        (Words(words), _) => match words.iter().find(|word| value.text() == Some(word)) {
            Some(word) => this_value(word),
            None => Verdict::Read,
        },
        (Prefixes(prefixes), _) => {
            match prefixes.iter().find(|prefix| value.text().is_some_and(|text| text.starts_with(*prefix))) {
                Some(prefix) => this_value(prefix),
                None => Verdict::Read,
            }
        }
    }
}

/// The keys of the table at a path: they are known words too when a key is misspelt.
pub(crate) fn keys_under<'k>(path: &str) -> impl Iterator<Item = &'k str> + use<'k> {
    let pattern = path::pattern(path);
    TABLE.iter().filter(move |(place, _, _)| is_at(&pattern, place)).map(|(_, key, _)| *key)
}

fn is_at(pattern: &str, place: &str) -> bool {
    match place.strip_prefix('*') {
        Some(end) => pattern.starts_with("clusters[]") && pattern.ends_with(end),
        None => pattern == place,
    }
}
