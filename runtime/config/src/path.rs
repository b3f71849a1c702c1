//! Names of places inside the configuration: `listeners[0].filters[2].config`.

use std::fmt::Write;

use crate::{bounds::MAX_QUOTED, tree::scalar::quoted};

/// `parent` followed by the key, which is shortened where it is long.
pub(crate) fn key(parent: &str, key: &str) -> String {
    let plain = (1..=MAX_QUOTED).contains(&key.len())
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    match (plain, parent.is_empty()) {
        (true, true) => key.to_owned(),
        (true, false) => format!("{parent}.{key}"),
        (false, _) => format!("{parent}[{}]", quoted(key)),
    }
}

/// `parent` followed by the index.
pub(crate) fn index(parent: &str, index: usize) -> String {
    format!("{parent}[{index}]")
}

/// The path with every index left out, as the table of unsupported keys writes it: `listeners[].filters[]`.
pub(crate) fn pattern(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len());
    let mut in_index = false;
    for c in path.chars() {
        match c {
            '[' => in_index = true,
            ']' => {
                in_index = false;
                let _ = pattern.write_str("[]");
            }
            _ if in_index => {}
            _ => pattern.push(c),
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_like_code() {
        assert_eq!(key(&index("listeners", 0), "filters"), "listeners[0].filters");
        assert_eq!(key("node.metadata", "a b"), "node.metadata[\"a b\"]");
        assert_eq!(pattern("listeners[12].filters[3].config"), "listeners[].filters[].config");
    }
}
