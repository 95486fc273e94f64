//! `latido demo`: the whole thing on one machine, in network namespaces.
mod fault;
mod table;

use crate::lab::client::Probe;
use crate::lab::error::{Doing, Result};
use crate::lab::pair::{Link, Pair, Settings, Step};
use crate::lab::{Switch, permission, process};
use clap::{Args as ClapArgs, ValueEnum};
use fault::{Fault, Measure};
use std::collections::BTreeMap;
use std::io::{Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Arguments of `latido demo`.
#[derive(ClapArgs, Clone, Debug)]
#[command(after_help = AFTER)]
pub struct Args {
    /// Bring about this fault instead of the story's; may be given several times.
    #[arg(long, value_name = "NAME", value_enum)]
    fault: Vec<Fault>,
    /// Do everything so many times, each in a laboratory built anew.
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,
    /// Print results for programs: every run, and medians.
    #[arg(long)]
    json: bool,
    /// Run this directory's Heartbeat files (a copy of them, in the laboratory's networks).
    #[arg(long, value_name = "DIR")]
    ha_dir: Option<PathBuf>,
    /// Shorten the times of --ha-dir: 100 ms, and 1 s of silence.
    #[arg(long, requires = "ha_dir")]
    fast: bool,
    /// Between two heartbeats, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 100, conflicts_with = "ha_dir")]
    interval: u64,
    /// Silence after which a node counts as dead, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 1000, conflicts_with = "ha_dir")]
    dead: u64,
    /// Heartbeat links.
    #[arg(long, value_name = "NAME,…", value_enum, value_delimiter = ',', conflicts_with = "ha_dir",
        default_values_t = [LinkName::Lan, LinkName::Crossover, LinkName::Serial])]
    links: Vec<LinkName>,
    /// How the client asks.
    #[arg(long, value_enum, default_value_t = ProbeName::Http)]
    probe: ProbeName,
    /// How long `loss` and `steady` last.
    #[arg(long, value_name = "S", default_value_t = 60)]
    seconds: u64,
}

const AFTER: &str = "\
Needs root, or a kernel that lets everybody have user namespaces. Leaves nothing behind.

Examples:
  latido demo                                     the story: handover, power cut, return
  latido demo --fault power-cut --runs 20 --json --interval 10 --dead 30
  latido demo --fault partition
  latido demo --ha-dir /etc/ha.d --fast           your own Heartbeat configuration";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LinkName {
    Lan,
    Crossover,
    Serial,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ProbeName {
    /// A new connection each time.
    Http,
    /// A datagram each time.
    Udp,
}

/// Everything measured in one run.
#[derive(Clone, Debug, Default)]
struct Run {
    /// From the start of the daemons to the first answer.
    start: Duration,
    /// Whether the preferred node owned then.
    steps: Vec<Step>,
    /// What each node's daemon used, of `steady`.
    usage: BTreeMap<String, Used>,
}

/// What a node's daemon used.
#[derive(Clone, Copy, Debug)]
struct Used {
    cpu: Duration,
    during: Duration,
    pss_kib: u64,
}

/// Runs the demo: 0 done, 1 when it could not be done.
pub fn run(args: &Args) -> ExitCode {
    match demo(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(stderr(), "latido demo: {why}");
            ExitCode::FAILURE
        }
    }
}

fn demo(args: &Args) -> Result<()> {
    // First of all: later there are threads, and a user namespace wants one alone.
    permission::acquire()?;
    let program = std::env::current_exe().doing("finding the program itself")?;
    let faults = match args.fault.as_slice() {
        [] => vec![Fault::Switchover, Fault::PowerCut],
        chosen => chosen.to_vec(),
    };
    let mut runs = Vec::new();
    for number in 1..=args.runs {
        if !args.json && args.runs > 1 {
            say(&format!("Run {number} of {}", args.runs));
        }
        runs.push(one_run(args, &program, &faults)?);
    }
    let text = if args.json { table::json(args, &runs) } else { table::text(&runs) };
    // Whoever closed the pipe does not want to read it.
    let _ = writeln!(stdout(), "{text}");
    Ok(())
}

/// A line of the story.
fn say(line: &str) {
    let _ = writeln!(stdout(), "{line}");
}

fn one_run(args: &Args, program: &Path, faults: &[Fault]) -> Result<Run> {
    let told = !args.json && args.runs == 1;
    let begun = Instant::now();
    let mut tell = |line: &str| {
        if told {
            say(&format!("{:7.3} s  {line}", begun.elapsed().as_secs_f64()));
        }
    };
    let settings = settings(args, faults);
    if told {
        introduce(args, &settings);
    }
    let (pair, measure) = match &args.ha_dir {
        None => {
            let dead = settings.dead;
            let pair = Pair::start(program, &settings)?;
            (pair, Measure { dead, seconds: Duration::from_secs(args.seconds), failback: true })
        }
        Some(dir) => {
            let copy = crate::lab::heartbeat::Copy::of(dir, args.fast)?;
            for line in copy.notes() {
                tell(line);
            }
            let measure = Measure {
                dead: copy.dead(),
                seconds: Duration::from_secs(args.seconds),
                failback: copy.failback(),
            };
            (copy.start(program, settings.switch, settings.probe)?, measure)
        }
    };
    let started = Instant::now();
    let owner = pair.ready(measure.dead * 5 + Duration::from_secs(20))?;
    let mut run = Run { start: started.elapsed(), ..Run::default() };
    tell(&format!("{owner} has the address {} and serves the client.", pair.address()));
    for &fault in faults {
        let before = (fault == Fault::Steady).then(|| usage(&pair));
        let mut report = |step: Step| {
            if told {
                say(&format!("{:10}  {}", "", table::sentence(&step)));
            }
            run.steps.push(step);
        };
        fault::run(fault, &pair, measure, &mut tell, &mut report)?;
        if let Some((since, before)) = before {
            run.usage = used_since(since, &before, &usage(&pair).1);
        }
    }
    drop(pair);
    tell("Everything is cleaned up.");
    Ok(run)
}

fn settings(args: &Args, faults: &[Fault]) -> Settings {
    let dead = Duration::from_millis(args.dead);
    let relay = faults.iter().any(|fault| fault.switch() == Switch::Relay);
    let link = |name: &LinkName| match name {
        LinkName::Lan => Link::Lan,
        LinkName::Crossover => Link::Crossover,
        LinkName::Serial => Link::Serial,
    };
    Settings {
        interval: Duration::from_millis(args.interval),
        dead,
        initial_dead: (dead * 5).max(Duration::from_secs(5)),
        links: args.links.iter().map(link).collect(),
        switch: if relay { Switch::Relay } else { Switch::Bridge },
        probe: Some(match args.probe {
            ProbeName::Http => Probe::Http,
            ProbeName::Udp => Probe::Udp,
        }),
        ..Settings::default()
    }
}

fn introduce(args: &Args, settings: &Settings) {
    say("Two machines and a client, all on this computer, in network namespaces of their own:");
    say("");
    say("   pi ──────────── LAN ──────────── laptop        heartbeats go over all three paths;");
    say("    ├────── crossover cable ──────────┤           one of the two has the address that");
    say("    └──────── null-modem ─────────────┘           the client asks every millisecond");
    say("");
    if args.ha_dir.is_none() {
        say(&format!(
            "A heartbeat every {} ms; a machine that is silent for {} ms counts as dead.",
            settings.interval.as_millis(),
            settings.dead.as_millis()
        ));
    }
    say("");
}

/// When, and what the daemon's processes of each node have used until then.
fn usage(pair: &Pair) -> (Instant, BTreeMap<String, (Duration, u64)>) {
    let mut all = BTreeMap::new();
    for node in pair.lab.nodes() {
        let Some(daemon) = node.daemon() else { continue };
        let family = process::descendants(daemon.pid);
        let pids = std::iter::once(daemon.pid).chain(family.iter().map(|one| one.pid));
        let mut sum = (Duration::ZERO, 0);
        for used in pids.filter_map(|pid| process::usage(pid).ok()) {
            sum = (sum.0 + used.cpu, sum.1 + used.pss_kib);
        }
        all.insert(node.name().to_owned(), sum);
    }
    (Instant::now(), all)
}

fn used_since(
    since: Instant,
    before: &BTreeMap<String, (Duration, u64)>,
    after: &BTreeMap<String, (Duration, u64)>,
) -> BTreeMap<String, Used> {
    let during = since.elapsed();
    let used = |(name, (cpu, pss_kib)): (&String, &(Duration, u64))| {
        let cpu = cpu.saturating_sub(before.get(name)?.0);
        Some((name.clone(), Used { cpu, during, pss_kib: *pss_kib }))
    };
    after.iter().filter_map(used).collect()
}
