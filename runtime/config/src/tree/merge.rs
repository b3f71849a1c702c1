//! Several files as one configuration.

use std::collections::HashMap;

use crate::{
    report::Report,
    tree::{ElementId, Key, Place, Tree, Value, scalar::Scalar, scalar::quoted},
};

/// Keys of the whole whose lists are joined; all others belong to one file.
const JOINED: [&str; 4] = ["plugins", "listeners", "clusters", "extensionProviders"];

/// Said by every file that likes to; the check of its value sees the first.
const REPEATABLE: &str = "apiVersion";

/// One root for the roots of all files, in their order.
pub(crate) fn roots(tree: &mut Tree, roots: &[ElementId], report: &Report) -> ElementId {
    let mut merged: Vec<(Key, ElementId)> = Vec::new();
    let mut index: HashMap<Box<str>, usize> = HashMap::new();
    for root in roots {
        let element = tree.element(*root).clone();
        let entries = match element.value {
            Value::Map(entries) => entries,
            Value::Scalar(Scalar::Null) => continue,
            other => {
                let message = format!("expected a map with keys such as \"listeners\", found {}", other.describe());
                report.error(tree.location(element.place), "", message, None);
                continue;
            }
        };
        for (key, value) in entries {
            match index.get(&key.text).and_then(|&at| merged.get_mut(at)) {
                None => {
                    index.insert(key.text.clone(), merged.len());
                    merged.push((key, value));
                }
                Some((first, so_far)) => match join(tree, &key, *so_far, value) {
                    Some(joined) => *so_far = joined,
                    None if &*key.text == REPEATABLE => {}
                    None => {
                        let first = tree.location(first.place);
                        let message = format!("key {} is given twice, first in {first}", quoted(&key.text));
                        report.error(tree.location(key.place), &key.text, message, Some("keep one of them".into()));
                    }
                },
            }
        }
    }
    let place = match roots.first() {
        Some(root) => tree.element(*root).place,
        None => Place { file: 0, line: 1, column: 1 },
    };
    tree.add(place, Value::Map(merged))
}

/// The two lists as one; `None` when the key takes no list or one of the values is something else.
fn join(tree: &mut Tree, key: &Key, first: ElementId, second: ElementId) -> Option<ElementId> {
    if !JOINED.contains(&&*key.text) {
        return None;
    }
    let place = tree.element(first).place;
    match (&tree.element(first).value, &tree.element(second).value) {
        (Value::List(a), Value::List(b)) => {
            let joined = a.iter().chain(b).copied().collect();
            Some(tree.add(place, Value::List(joined)))
        }
        (Value::List(_), Value::Scalar(Scalar::Null)) => Some(first),
        (Value::Scalar(Scalar::Null), Value::List(_)) => Some(second),
        _ => None,
    }
}
