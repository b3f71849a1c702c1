//! What updates promise, counted by a program of its own beside the tests.

use super::binary;
use crate::command::Failure;
use crate::workspace::Workspace;

pub(crate) const DEFAULT_KILLS: usize = 200;
pub(crate) const DEFAULT_ROLLOUTS: usize = 50;

pub(crate) fn update(workspace: &Workspace, kills: usize, rollouts: usize) -> Result<(), Failure> {
    let proxy = binary(workspace)?;
    let cargo = ["run", "--package", "sidegate-tests", "--features", "bench", "--bin", "update-bench", "--"];
    workspace
        .host_cargo(&cargo)
        .args(&[&kills.to_string(), &rollouts.to_string()])
        .env("SIDEGATE_BIN", proxy)
        .step("bench update")
}
