//! Every difference that is meant: the lines of `explained.txt`.

use std::fs;
use std::path::Path;

/// A difference between the two proxies.
pub(crate) struct Explained {
    /// Cases whose names begin so; empty: all.
    case: String,
    /// A part of the difference as it is printed.
    pub(crate) fact: String,
    /// Words of docs/proxy-wasm.md that tell it.
    pub(crate) key: String,
}

impl Explained {
    /// The table, in its order: the first line that fits explains.
    pub(crate) fn all() -> Vec<Self> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/explained.txt");
        let text = fs::read_to_string(&file).unwrap();
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(|line| Self::read(line).unwrap_or_else(|| panic!("{line:?} is not `case | fact | key`"))).collect()
    }

    fn read(line: &str) -> Option<Self> {
        let mut cells = line.splitn(3, " | ").map(|cell| cell.trim().to_owned());
        Some(Self { case: cells.next()?, fact: cells.next()?, key: cells.next()? })
    }

    pub(crate) fn fits(&self, case: &str, difference: &str) -> bool {
        case.starts_with(&self.case) && difference.contains(&self.fact)
    }
}
