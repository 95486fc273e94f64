//! `latido demo`: the whole thing on one machine, in network namespaces.
mod fault;
mod picture;
mod table;

use crate::config::{Diagnostic, Source, load, print_all};
use crate::lab::client::Probe;
use crate::lab::error::{Doing, Result};
use crate::lab::pair::{Link, Pair, Settings, Step};
use crate::lab::{Switch, heartbeat, permission, process, wait};
use crate::platform::signal::{self, Signals};
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

/// Ended by Ctrl-C, as shells say it.
const INTERRUPTED: u8 = 130;

/// Runs the demo: 0 done, 1 when it could not be done, 130 interrupted.
pub fn run(args: &Args) -> ExitCode {
    match demo(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if wait::is_interrupted() => {
            let _ = writeln!(stderr(), "latido demo: interrupted: everything is cleaned up");
            ExitCode::from(INTERRUPTED)
        }
        Err(why) => {
            let _ = writeln!(stderr(), "latido demo: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What is wrong with the original files. They are checked where they are, so that what is said
/// names them; that they are private does not matter, since the copy is.
fn faults_of(dir: &Path) -> Result<Vec<Diagnostic>> {
    let mut found = Vec::new();
    for dir in heartbeat::directories(dir)? {
        let loaded = load(&Source::Heartbeat(dir));
        let is_fault = |one: &Diagnostic| one.is_error() && !one.is_about_permissions();
        if loaded.diagnostics.iter().any(is_fault) {
            found.extend(loaded.diagnostics.into_iter().filter(|one| !one.is_about_permissions()));
        }
    }
    Ok(found)
}

/// From now on SIGINT and SIGTERM end what waits, and the laboratory goes in order.
fn end_on_signals() -> Result<()> {
    let signals = Signals::install(&[signal::INTERRUPT, signal::TERMINATE])
        .doing("installing signal handlers")?;
    let listen = move || {
        loop {
            let mut fds = [rustix::event::PollFd::new(&signals, rustix::event::PollFlags::IN)];
            let _ = rustix::event::poll(&mut fds, None);
            if signals.take().is_some() {
                wait::interrupt();
            }
        }
    };
    std::thread::Builder::new().spawn(listen).map(drop).doing("starting a thread")
}

fn demo(args: &Args) -> Result<()> {
    if let Some(dir) = &args.ha_dir {
        let found = faults_of(dir)?;
        if !found.is_empty() {
            print_all(&found);
            let message = format!("{} has errors: correct them first", dir.display());
            return Err(crate::lab::Error::new(message));
        }
    }
    // Before there are threads: a user namespace wants one alone.
    permission::acquire()?;
    end_on_signals()?;
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
    let seconds = Duration::from_secs(args.seconds);
    let pair = match &args.ha_dir {
        None => {
            let paths = paths(&args.links);
            if told {
                introduce(&settings.nodes, &paths);
                say(&format!(
                    "A heartbeat every {} ms; a machine that is silent for {} ms counts as dead.\n",
                    args.interval, args.dead
                ));
            }
            let only = picture::only(&paths);
            let measure = Measure { dead: settings.dead, seconds, failback: true, only };
            (Pair::start(program, &settings)?, measure)
        }
        Some(dir) => {
            let copy = heartbeat::Copy::of(dir, args.fast)?;
            let path = |(link, name, heartbeats)| picture::Path { link, name, heartbeats };
            let paths: Vec<picture::Path> = copy.paths().into_iter().map(path).collect();
            if told {
                introduce(&copy.nodes(), &paths);
            }
            for line in copy.notes() {
                tell(line);
            }
            let only = picture::only(&paths);
            let measure = Measure { dead: copy.dead(), seconds, failback: copy.failback(), only };
            (copy.start(program, settings.switch, settings.probe)?, measure)
        }
    };
    let (pair, measure) = pair;
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
    Settings {
        interval: Duration::from_millis(args.interval),
        dead,
        initial_dead: (dead * 5).max(Duration::from_secs(5)),
        links: args.links.iter().copied().map(LinkName::link).collect(),
        switch: if relay { Switch::Relay } else { Switch::Bridge },
        probe: Some(match args.probe {
            ProbeName::Http => Probe::Http,
            ProbeName::Udp => Probe::Udp,
        }),
        ..Settings::default()
    }
}

impl LinkName {
    fn link(self) -> Link {
        match self {
            LinkName::Lan => Link::Lan,
            LinkName::Crossover => Link::Crossover,
            LinkName::Serial => Link::Serial,
        }
    }
}

/// The paths of the demo's own configuration: the LAN, which clients need, and what was chosen.
fn paths(links: &[LinkName]) -> Vec<picture::Path> {
    let all = [
        (LinkName::Lan, "LAN"),
        (LinkName::Crossover, "crossover cable"),
        (LinkName::Serial, "null-modem"),
    ];
    let path = |(link, name): (LinkName, &str)| {
        let heartbeats = links.contains(&link);
        let there = heartbeats || link == LinkName::Lan;
        there.then(|| picture::Path { link: link.link(), name: name.into(), heartbeats })
    };
    all.into_iter().filter_map(path).collect()
}

fn introduce(nodes: &[String; 2], paths: &[picture::Path]) {
    say("Two machines and a client, all on this computer, in network namespaces of their own:\n");
    say(&picture::draw(nodes, paths));
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
