//! The `latido` program.
fn main() -> std::process::ExitCode {
    latido::cli::main()
}
