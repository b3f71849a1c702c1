//! Swaps of a filter while it has traffic. The load needs an HTTP/2 client and a fast one, so it is a program of its own
//! beside the tests, built for release.

use super::binary;
use crate::command::Failure;
use crate::workspace::Workspace;

pub(crate) const DEFAULT_SWAPS: usize = 1_000;

pub(crate) fn swap(workspace: &Workspace, swaps: usize) -> Result<(), Failure> {
    let proxy = binary(workspace)?;
    let cargo = ["run", "--release", "--package", "sidegate-tests", "--features", "bench", "--bin", "swap-bench", "--"];
    workspace
        .host_cargo(&cargo)
        .args(&[&swaps.to_string()])
        .arg_path(&workspace.filters())
        .env("SIDEGATE_BIN", proxy)
        .step("bench swap")
}
