//! The command line: parses, dispatches, and decides the exit code in one place.
mod advise;
pub mod check;
mod command;
pub mod demo;
mod doctor;
mod fence;
mod image;
mod init;
mod key;
pub mod keygen;
mod link;
pub mod migrate;
mod run;
mod status;
mod watchdog;
mod witness;

pub use run::RunArgs;

use clap::{Args, Parser, Subcommand};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// Done.
pub const DONE: u8 = 0;
/// Refused or failed; one line has said why and what to do.
pub const FAILED: u8 = 1;
/// No daemon runs (as LSB wants it of `status`).
pub const NOT_RUNNING: u8 = 3;
/// The daemon's state cannot be told (LSB): not permitted, or it does not answer.
pub const UNKNOWN: u8 = 4;

const AFTER: &str = "\
Examples:
  latido demo                      see a pair fail over, on this machine, nothing to configure
  latido check                     what is wrong with the configuration, and the cure
  latido run                       the daemon, in the foreground
  latido status                    nodes, links, groups, and what needs you
  latido standby --group ftp       hand one group over, on purpose

Exit codes:
  0  done      1  refused or failed: one line says why and what to do
  2  usage     3  no daemon runs here     4  the daemon's state cannot be told";

#[derive(Parser)]
#[command(
    name = "latido",
    version,
    about = "High availability for two to eight Linux machines: heartbeats, takeover of addresses \
             and services",
    after_help = AFTER,
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon in the foreground.
    Run(RunArgs),
    /// The engine process that `run` starts and watches.
    #[command(hide = true)]
    Engine(RunArgs),
    Check(check::Args),
    /// Show nodes, links and groups; problems first.
    Status(status::Args),
    Advise(advise::Args),
    /// Hand groups over to another node.
    Standby(command::StandbyArgs),
    /// Take groups over to this node.
    Takeover(command::TakeoverArgs),
    /// Return groups to their preferred nodes; end this node's standby and failures.
    Failback(command::FailbackArgs),
    /// Hand everything over and end the daemon.
    Stop(command::StopArgs),
    /// Read the configuration again.
    Reload(command::ReloadArgs),
    /// Switch a node's power off and on, now.
    Fence(fence::FenceArgs),
    /// Vouch that a node is off, so that its groups can be taken over.
    ConfirmDead(fence::ConfirmArgs),
    Migrate(migrate::Args),
    /// See a pair fail over on this machine: nothing to configure, nothing left behind.
    Demo(demo::Args),
    Keygen(keygen::Args),
    Key(key::Args),
    Link(link::Args),
    Init(init::Args),
    Doctor(doctor::Args),
    Image(image::Args),
    Witness(witness::Args),
    /// Have the watchdog handed over; prove that it resets this machine.
    Watchdog(watchdog::Args),
}

/// Which daemon is meant.
#[derive(Args, Clone, Debug)]
pub struct Where {
    /// Runtime directory of the daemon.
    #[arg(long, value_name = "DIR", default_value = crate::runtime::DEFAULT_DIR)]
    pub runtime_dir: PathBuf,
}

/// Runs the program and returns its exit code: 0 done, 1 refused or failed, 2 usage, 3 not
/// running, 4 unknown.
pub fn main() -> ExitCode {
    let args: Vec<String> =
        std::env::args_os().skip(1).map_while(|arg| arg.into_string().ok()).collect();
    if let Some(code) = crate::lab::subcommand(&args) {
        return code;
    }
    match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Engine(args) => run::engine(&args),
        Command::Check(args) => check::run(args),
        Command::Status(args) => status::run(&args),
        Command::Advise(args) => advise::run(&args),
        Command::Standby(args) => command::standby(&args),
        Command::Takeover(args) => command::takeover(&args),
        Command::Failback(args) => command::failback(&args),
        Command::Stop(args) => command::stop(&args),
        Command::Reload(args) => command::reload(&args),
        Command::Fence(args) => fence::fence(&args),
        Command::ConfirmDead(args) => fence::confirm_dead(&args),
        Command::Migrate(args) => migrate::run(args),
        Command::Demo(args) => demo::run(&args),
        Command::Keygen(args) => keygen::run(args),
        Command::Key(args) => key::run(&args),
        Command::Link(args) => link::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Image(args) => image::run(&args),
        Command::Witness(args) => witness::run(&args),
        Command::Watchdog(args) => watchdog::run(&args),
    }
}

/// One line on stderr, `latido: …`.
fn complain(text: impl std::fmt::Display) {
    // Nobody is left to be told if it cannot be written.
    let _ = writeln!(std::io::stderr(), "latido: {text}");
}
