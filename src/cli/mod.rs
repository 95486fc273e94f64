//! The command line: parses, dispatches, and decides the exit code in one place.
pub mod demo;

use std::process::ExitCode;

/// Runs the program and returns its exit code: 0 done, 1 refused or failed, 2 usage.
pub fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = crate::lab::subcommand(&args) {
        return code;
    }
    ExitCode::from(2)
}
