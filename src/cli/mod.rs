//! The command line: parses, dispatches, and decides the exit code in one place.
pub mod check;
pub mod keygen;
pub mod migrate;

use std::process::ExitCode;

/// Runs the program and returns its exit code: 0 done, 1 refused or failed, 2 usage.
pub fn main() -> ExitCode {
    ExitCode::from(2)
}
