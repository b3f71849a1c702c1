//! The `sidegate` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    sidegate::cli::main()
}
