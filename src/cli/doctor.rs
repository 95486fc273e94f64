//! `latido doctor`: what is wrong with this machine, and the cure.
use super::complain;
use crate::board::doctor::{Finding, Level, look};
use crate::board::{detect, named};
use crate::config::{HA_DIR, Source, load};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
Looks, and changes nothing: serial lines free of consoles, watchdog, clock, realtime scheduling,
power, sleep, network, card. With a configuration it looks at what that one uses. --root DIR looks
at a mounted card or another system's files.

Exit codes: 0 nothing that stops it from working, 1 a fault was found, 2 usage";

/// Look at this machine: what would keep a node from doing its duty, and the cure.
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct Args {
    /// The kind of machine [default: as it says itself]
    #[arg(long, value_name = "NAME")]
    board: Option<String>,
    /// Configuration file; without it, Heartbeat's files in /etc/ha.d
    #[arg(long, value_name = "FILE", default_value = crate::config::LATIDO_TOML)]
    config: PathBuf,
    /// Where the machine's file system begins
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Machine-readable
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> ExitCode {
    let profile = match &args.board {
        Some(name) => match named(name) {
            Ok(profile) => Some(profile),
            Err(why) => {
                complain(why);
                return ExitCode::from(2);
            }
        },
        None => detect(&args.root).1,
    };
    let file = at(&args.root, &args.config);
    let heartbeat = at(&args.root, Path::new(HA_DIR));
    let source = if file.exists() { Source::Latido(file) } else { Source::Heartbeat(heartbeat) };
    let config = load(&source).config;
    let findings = look(&args.root, profile.as_ref(), config.as_ref());
    if args.json {
        println!("{}", json(&findings));
    } else {
        print!("{}", text(&findings));
    }
    let fault = findings.iter().any(|finding| finding.level == Level::Fault);
    if fault { ExitCode::from(super::FAILED) } else { ExitCode::SUCCESS }
}

fn at(root: &Path, file: &Path) -> PathBuf {
    match file.strip_prefix("/") {
        Ok(inside) => root.join(inside),
        Err(_) => file.to_owned(),
    }
}

/// The gravest first.
fn text(findings: &[Finding]) -> String {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    let mut text = String::new();
    for finding in sorted {
        text += &format!("{:8} {:9} {}\n", finding.level.word(), finding.topic, finding.what);
        if !finding.cure.is_empty() {
            text += &format!("{:18} -> {}\n", "", finding.cure);
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (faults, warnings) = (count(Level::Fault), count(Level::Warning));
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    text + &format!("{faults} fault{}, {warnings} warning{}\n", plural(faults), plural(warnings))
}

fn json(findings: &[Finding]) -> String {
    let list: Vec<serde_json::Value> = findings
        .iter()
        .map(|finding| {
            serde_json::json!({
                "topic": finding.topic,
                "level": finding.level.word(),
                "what": finding.what,
                "cure": finding.cure,
            })
        })
        .collect();
    serde_json::json!({ "findings": list }).to_string()
}
