//! `latido image add`: Latido on a mounted card.
use super::complain;
use crate::board::card::{Cargo, add};
use crate::board::named;
use std::path::PathBuf;
use std::process::ExitCode;

const HELP: &str = "\
Example: latido image add --board pi-4 --boot /media/me/bootfs --root /media/me/rootfs \\
             --program target/aarch64-unknown-linux-musl/release/latido \\
             --config latido.toml --keys keys --enable

Exit codes: 0 done, 1 refused (nothing was written) or failed, 2 usage";

/// Put Latido onto a mounted Raspberry Pi OS card.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    /// Program, unit, configuration and UART settings
    #[command(after_help = HELP)]
    Add(AddArgs),
}

#[derive(clap::Args, Debug)]
struct AddArgs {
    /// The kind of machine that the card is for
    #[arg(long, value_name = "NAME")]
    board: String,
    /// Where the card's first partition is mounted (config.txt)
    #[arg(long, value_name = "DIR")]
    boot: PathBuf,
    /// Where its second partition is mounted (etc, usr)
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// The program for that machine
    #[arg(long, value_name = "FILE")]
    program: PathBuf,
    /// The configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The key file
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Start with the machine
    #[arg(long)]
    enable: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> ExitCode {
    let What::Add(args) = &args.what;
    let cargo = Cargo {
        program: &args.program,
        config: args.config.as_deref(),
        keys: args.keys.as_deref(),
        enable: args.enable,
    };
    let done = named(&args.board).and_then(|profile| add(&profile, &args.boot, &args.root, &cargo));
    match done {
        Ok(done) => {
            done.iter().for_each(|line| println!("{line}"));
            ExitCode::SUCCESS
        }
        Err(why) => {
            complain(why);
            ExitCode::from(super::FAILED)
        }
    }
}
