//! The programs of other people that `cargo xtask test --peers` brings.

use std::env;
use std::path::PathBuf;

/// The path in this variable.
pub(crate) fn installed(variable: &str) -> PathBuf {
    let given = env::var_os(variable).map(PathBuf::from);
    given.unwrap_or_else(|| panic!("{variable} names nothing; `cargo xtask test --peers` installs it and says where"))
}
