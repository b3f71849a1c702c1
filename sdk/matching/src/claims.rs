//! `@request.auth.claims.a.b` and `@request.auth.claims[a][b]`: conditions on JWT claims, written as header names.

use serde_json::Value;

const PREFIX: &str = "@request.auth.claims";

/// The claim path a header name stands for; `None` for an ordinary header name.
pub(crate) fn claim_path(name: &str) -> Option<Vec<String>> {
    let rest = name.strip_prefix(PREFIX)?;
    let path: Vec<String> = if let Some(dotted) = rest.strip_prefix('.') {
        dotted.split('.').map(str::to_owned).collect()
    } else {
        let inner = rest.strip_prefix('[')?.strip_suffix(']')?;
        inner.split("][").map(str::to_owned).collect()
    };
    path.iter().all(|segment| !segment.is_empty()).then_some(path)
}

/// Whether the claim exists and, being a string or a list of strings, satisfies `test`.
pub(crate) fn claim_satisfies(claims: &str, path: &[String], test: impl Fn(&str) -> bool) -> bool {
    let Ok(root) = serde_json::from_str::<Value>(claims) else { return false };
    let Some(value) = path.iter().try_fold(&root, |at, segment| at.get(segment)) else { return false };
    match value {
        Value::String(text) => test(text),
        Value::Array(items) => items.iter().filter_map(Value::as_str).any(test),
        _ => false,
    }
}
