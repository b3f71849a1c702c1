//! What differs between two configurations, as paths into them.

use std::collections::BTreeSet;

use serde_json::Value;

/// Paths that are listed; more are counted in a last line.
const PATHS: usize = 100;

/// The paths of everything that is not the same. Items of lists are known by their `name`, else by their place.
pub fn paths(before: &Value, after: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(before, after, String::new(), &mut found);
    if found.len() > PATHS {
        let more = found.len() - PATHS;
        found.truncate(PATHS);
        found.push(format!("and {more} more"));
    }
    found
}

fn compare(before: &Value, after: &Value, path: String, found: &mut Vec<String>) {
    match (before, after) {
        _ if before == after => {}
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null), path, found);
            }
        }
        (Value::Array(a), Value::Array(b)) => match (names(a), names(b)) {
            (Some(first), Some(second)) => {
                let all: BTreeSet<&str> = first.iter().chain(&second).copied().collect();
                for name in all {
                    compare(named(a, name), named(b, name), format!("{path}[{name}]"), found);
                }
                let moved = first != second && first.iter().collect::<BTreeSet<_>>() == second.iter().collect();
                if moved {
                    found.push(path);
                }
            }
            _ if a.len() == b.len() => {
                for (at, (a, b)) in a.iter().zip(b).enumerate() {
                    compare(a, b, format!("{path}[{at}]"), found);
                }
            }
            _ => found.push(path),
        },
        _ => found.push(path),
    }
}

fn named<'a>(items: &'a [Value], name: &str) -> &'a Value {
    items.iter().find(|item| item.get("name").and_then(Value::as_str) == Some(name)).unwrap_or(&Value::Null)
}

/// The names of all items, if all have one and none twice.
fn names(items: &[Value]) -> Option<Vec<&str>> {
    let names: Option<Vec<&str>> = items.iter().map(|item| item.get("name")?.as_str()).collect();
    names.filter(|names| names.iter().collect::<BTreeSet<_>>().len() == names.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_named_by_path() {
        let before =
            json!({"node": {"id": "a"}, "listeners": [{"name": "in", "filters": [{"plugin": "x"}]}, {"name": "out"}]});
        let after = json!({"listeners": [{"name": "in", "filters": [{"plugin": "y"}]}, {"name": "new"}]});
        assert_eq!(
            paths(&before, &after),
            ["listeners[in].filters[0].plugin", "listeners[new]", "listeners[out]", "node"]
        );
        assert!(paths(&before, &before).is_empty());
        let list = |names: &[&str]| json!({"l": names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()});
        assert_eq!(paths(&list(&["a", "b"]), &list(&["b", "a"])), ["l"], "order counts");
        let many = |value: usize| json!((0..300).map(|_| value).collect::<Vec<_>>());
        assert_eq!(paths(&many(1), &many(2)).last().unwrap(), "and 200 more");
    }
}
