//! The thread of one group: does its jobs, one after the other.
use super::address::{places, resolve};
use super::announce;
use super::held::Held;
use super::keeper::Shared;
use super::script::{Program, State};
use super::{Job, Report, Slots, lock};
use crate::config::{self, Group, Kind, Resource};
use crate::core::id::GroupId;
use crate::core::io::Outcome;
use crate::platform::netlink::{Address, Socket};
use crate::platform::output::Output;
use crate::platform::process::{End, spawn, wait_readable};
use crate::platform::{packet, virtual_mac};
use log::{Level, debug, error, info, warn};
use rustix::fd::AsFd;
use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a failing stop is tried, and how long after each other (Heartbeat: 11 times).
const STOP_ATTEMPTS: u32 = 5;
const STOP_PAUSE: Duration = Duration::from_secs(1);
/// Kept back of a stop's time, at most, to kill a script that hangs and ask for its status.
const STOP_RESERVE: Duration = Duration::from_secs(3);
/// A status may take so long at most.
const STATUS_LIMIT: Duration = Duration::from_secs(20);
/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_millis(500);
/// Outputs of scripts that have ended but left somebody behind who may still write to them.
const LINGERING_MAX: usize = 8;
/// A gate that does not come to a new interface for so long never does.
const GATE_WAIT: Duration = Duration::from_secs(2);
const LINGER_LOOK: Duration = Duration::from_millis(200);

/// Why a script's action came to no end of its own.
enum Broken {
    /// It could not be started.
    NotStarted(String),
    /// It was killed when its time was over; what it printed last.
    TimedOut(String),
    /// It was killed because a stop is wanted, or the daemon ends.
    Aborted,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Broken::NotStarted(why) => write!(f, "could not be run: {why}"),
            Broken::TimedOut(last) if last.is_empty() => {
                f.write_str("ran out of time and was killed; it had printed nothing")
            }
            Broken::TimedOut(last) => {
                write!(f, "ran out of time and was killed; it had printed last: {last}")
            }
            Broken::Aborted => f.write_str("was broken off"),
        }
    }
}

/// What a script's action came to.
struct Ran {
    end: End,
    head: Vec<u8>,
    last: String,
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.end {
            End::Exited(code) => write!(f, "ended with exit code {code}")?,
            End::Signalled(signal) => write!(f, "was killed by signal {signal}")?,
        }
        if self.last.is_empty() { Ok(()) } else { write!(f, ": {}", self.last) }
    }
}

/// What may break off a script.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Abort {
    /// A waiting stop.
    OnStop,
    /// Only the end of the daemon.
    OnQuit,
}

/// A group's worker.
pub(super) struct Worker<R> {
    group: Group,
    id: GroupId,
    node: String,
    ha_dir: Option<PathBuf>,
    slots: Arc<Slots>,
    shared: Arc<Shared>,
    socket: Socket,
    packets: Option<packet::Socket>,
    lingering: Vec<Output>,
    /// Which resources were started by us and not stopped since.
    started: Vec<bool>,
    report: R,
}

impl<R: Fn(Report)> Worker<R> {
    pub(super) fn new(
        group: Group,
        id: GroupId,
        (node, ha_dir): (&str, Option<&Path>),
        slots: Arc<Slots>,
        shared: Arc<Shared>,
        report: R,
    ) -> io::Result<Self> {
        Ok(Worker {
            started: vec![false; group.resources.len()],
            group,
            id,
            node: node.into(),
            ha_dir: ha_dir.map(Into::into),
            slots,
            shared,
            socket: Socket::open()?,
            packets: packet::Socket::sender().ok(), // the keeper has complained
            lingering: Vec::new(),
            report,
        })
    }

    pub(super) fn run(&mut self) {
        while !self.slots.quits() {
            let (job, outcome) = match self.slots.take() {
                Some(Job::Start(job)) => {
                    self.begin();
                    (job, self.start())
                }
                Some(Job::Stop(job)) => (job, self.stop()),
                Some(Job::Probe(job)) => {
                    self.begin();
                    (job, self.probe())
                }
                None => {
                    self.wait(None);
                    continue;
                }
            };
            (self.report)(Report { group: self.id, job, outcome });
        }
    }

    /// Waits for a job, and reads what the scripts' heirs print meanwhile.
    fn wait(&mut self, limit: Option<Duration>) {
        let mut fds = vec![Some(self.slots.wake.as_fd())];
        fds.extend(self.lingering.iter().map(Output::fd));
        wait_readable(&fds, limit);
        self.slots.wake.clear();
        self.read_lingering();
    }

    fn read_lingering(&mut self) {
        for output in &mut self.lingering {
            output.read();
        }
        self.lingering.retain_mut(|output| {
            if output.fd().is_none() {
                output.finish();
            }
            output.fd().is_some()
        });
    }

    fn label(&self, resource: &Resource) -> String {
        format!("{}/{}", self.group.name, resource.name)
    }

    /// A start after a stop: the group's addresses are looked after again.
    fn begin(&self) {
        self.shared.set_stopping(self.id.index(), false);
        if self.slots.stop_waits() {
            self.shared.set_stopping(self.id.index(), true);
        }
    }

    fn start(&mut self) -> Outcome {
        let resources = self.group.resources.clone();
        for (index, resource) in resources.iter().enumerate() {
            let label = self.label(resource);
            if self.slots.stop_waits() {
                info!(target: "resource", "{}: the start is broken off", self.group.name);
                return Outcome::Failed;
            }
            let result = match &resource.kind {
                Kind::Address(address) => self.start_address(&label, address),
                Kind::Service { .. } | Kind::Script { .. } => {
                    self.start_script(&label, index, resource)
                }
            };
            if let Err(why) = result {
                error!(target: "resource", "{label}: start failed: {why}");
                return Outcome::Failed;
            }
        }
        Outcome::Running
    }

    fn start_address(&mut self, label: &str, wanted: &config::Address) -> Result<(), String> {
        let there = places(&mut self.socket, wanted)?;
        let plan = resolve(&mut self.socket, wanted, &there)?;
        if plan.fresh && self.shared.cover.get().is_some_and(|cover| !cover.wait(GATE_WAIT)) {
            return Err(format!("the lease gate does not come to {}", plan.link.name));
        }
        let (index, ip, prefix) = (plan.address.index, wanted.address, plan.address.prefix);
        let same = |a: &&_| {
            let a: &Address = a;
            a.index == index && a.prefix == prefix
        };
        let adopted = there.iter().any(|place| same(&place));
        {
            let mut held = lock(&self.shared.groups[self.id.index()]);
            self.socket.replace_address(&plan.address).map_err(|error| error.to_string())?;
            let mac = plan.link.mac.filter(|_| !plan.link.no_arp && !plan.link.loopback);
            let mut announced = false;
            if let (Some(mac), Some(packets)) = (mac, &self.packets) {
                match announce::send(packets, index, mac, ip) {
                    Ok(()) => announced = true,
                    Err(error) => warn!(target: "resource", "{label}: not announced: {error}"),
                }
            }
            held.retain(|held| held.plan.address.address != ip);
            let mut new = Held::new(plan.clone(), announced);
            // Who has it already has told its neighbours.
            new.check_wanted = !adopted;
            held.push(new);
        }
        self.shared.kick();
        let name = &plan.link.name;
        let how = if adopted { "adopted" } else { "added" };
        info!(target: "resource", "{label}: {how} on {name} as {ip}/{prefix}");
        if !plan.lan.carrier {
            let name = &plan.lan.name;
            warn!(target: "resource", "{label}: {name} has no carrier: nobody can reach it there");
        }
        for other in there.iter().filter(|place| !same(place)) {
            match remove(&mut self.socket, other) {
                Ok(_) => warn!(target: "resource", "{label}: removed a second copy: {other}"),
                Err(why) => warn!(target: "resource", "{label}: {why}"),
            }
        }
        Ok(())
    }

    fn start_script(
        &mut self,
        label: &str,
        index: usize,
        resource: &Resource,
    ) -> Result<(), String> {
        let program = Program::locate(&resource.kind)?;
        self.started[index] = true;
        let end = Instant::now() + resource.start_timeout;
        if !matches!(program, Program::Unit(_)) {
            // Heartbeat's order: what runs already is not started again.
            let limit = Instant::now() + (resource.start_timeout / 2).min(STATUS_LIMIT);
            match self.status(label, &program, limit, Abort::OnStop) {
                Ok(State::Running) => {
                    info!(target: "resource", "{label}: runs already");
                    return Ok(());
                }
                Ok(State::Stopped) => {}
                Err(Broken::Aborted) => return Err(Broken::Aborted.to_string()),
                Err(why) => warn!(target: "resource", "{label}: its status {why}"),
            }
        }
        debug!(target: "resource", "{label}: start");
        match self.act(label, &program, "start", end, Abort::OnStop) {
            Ok(ran) if ran.end == End::Exited(0) => {
                info!(target: "resource", "{label}: started");
                Ok(())
            }
            Ok(ran) => Err(ran.to_string()),
            Err(why) => Err(why.to_string()),
        }
    }

    fn stop(&mut self) -> Outcome {
        let resources = self.group.resources.clone();
        let mut outcome = Outcome::Stopped;
        for (index, resource) in resources.iter().enumerate().rev() {
            let label = self.label(resource);
            let result = match &resource.kind {
                Kind::Address(address) => self.stop_address(&label, address),
                Kind::Service { .. } | Kind::Script { .. } => {
                    self.stop_script(&label, resource, self.started[index])
                }
            };
            match result {
                Ok(()) => self.started[index] = false,
                Err(why) => {
                    error!(target: "resource", "{label}: stop failed: {why}");
                    outcome = Outcome::Failed;
                }
            }
        }
        outcome
    }

    fn stop_address(&mut self, label: &str, wanted: &config::Address) -> Result<(), String> {
        let mut held = lock(&self.shared.groups[self.id.index()]);
        held.retain(|held| held.plan.address.address != wanted.address);
        let mut failure = None;
        for place in places(&mut self.socket, wanted)? {
            match remove(&mut self.socket, &place) {
                Ok(true) => info!(target: "resource", "{label}: removed"),
                Ok(false) => {}
                Err(why) => failure = Some(why),
            }
        }
        if let Some(mac) = wanted.virtual_mac
            && let Err(why) = virtual_mac::remove(&mut self.socket, mac)
        {
            failure.get_or_insert(why);
        }
        failure.map_or(Ok(()), Err)
    }

    fn stop_script(
        &mut self,
        label: &str,
        resource: &Resource,
        started: bool,
    ) -> Result<(), String> {
        let end = Instant::now() + resource.stop_timeout;
        let last = end - (resource.stop_timeout / 4).min(STOP_RESERVE);
        let program = match Program::locate(&resource.kind) {
            Ok(program) => program,
            Err(why) if started => return Err(why),
            Err(why) => {
                warn!(target: "resource", "{label}: counts as stopped: {why}");
                return Ok(());
            }
        };
        let mut why = String::new();
        for attempt in 1..=STOP_ATTEMPTS {
            let hung = match self.act(label, &program, "stop", last, Abort::OnQuit) {
                Ok(ran) if ran.end == End::Exited(0) => {
                    info!(target: "resource", "{label}: stopped");
                    return Ok(());
                }
                Ok(ran) => {
                    why = ran.to_string();
                    false
                }
                Err(broken) => {
                    why = broken.to_string();
                    !matches!(broken, Broken::NotStarted(_))
                }
            };
            warn!(target: "resource", "{label}: stop, attempt {attempt}: {why}");
            let limit = end.max(Instant::now() + STOP_PAUSE);
            if let Ok(State::Stopped) = self.status(label, &program, limit, Abort::OnQuit) {
                warn!(target: "resource", "{label}: counts as stopped, its status says so, though \
                    its stop failed; the script should end with 0 when there is nothing to stop");
                return Ok(());
            }
            if hung || Instant::now() + STOP_PAUSE >= last || self.slots.quits() {
                break;
            }
            self.pause(STOP_PAUSE);
        }
        Err(why)
    }

    /// Waits, unless the daemon ends.
    fn pause(&mut self, span: Duration) {
        let end = Instant::now() + span;
        while !self.slots.quits() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            self.wait(Some(left));
        }
    }

    fn probe(&mut self) -> Outcome {
        let resources = self.group.resources.clone();
        let (mut running, mut stopped) = (0, 0);
        for resource in &resources {
            let label = self.label(resource);
            let state = match &resource.kind {
                Kind::Address(address) => self.probe_address(&label, address),
                Kind::Service { .. } | Kind::Script { .. } => self.probe_script(&label, resource),
            };
            debug!(target: "resource", "{label}: probe: {state:?}");
            match state {
                Ok(State::Running) => running += 1,
                Ok(State::Stopped) => stopped += 1,
                Err(why) => {
                    warn!(target: "resource", "{label}: nobody knows whether it runs: {why}")
                }
            }
        }
        match resources.len() {
            all if all == stopped => Outcome::Stopped,
            all if all == running => Outcome::Running,
            _ => Outcome::Partial,
        }
    }

    /// An address of ours that is still there, and that the engine vouches for, is kept alive from
    /// now on: it would vanish while the scripts are probed.
    fn probe_address(&mut self, label: &str, wanted: &config::Address) -> Result<State, String> {
        let there = places(&mut self.socket, wanted)?;
        if there.is_empty() {
            // A crash may have left its interface, which must not take what is for another node.
            if let Some(mac) = wanted.virtual_mac
                && virtual_mac::remove(&mut self.socket, mac)?
            {
                info!(target: "resource", "{label}: removed the virtual MAC that was left");
            }
            return Ok(State::Stopped);
        }
        if self.shared.vouched(self.id.index()) {
            match resolve(&mut self.socket, wanted, &there) {
                Ok(plan) => {
                    let mut held = lock(&self.shared.groups[self.id.index()]);
                    if !held.iter().any(|held| held.plan.address.address == wanted.address) {
                        match self.socket.replace_address(&plan.address) {
                            Ok(()) => held.push(Held::new(plan, false)),
                            Err(error) => warn!(target: "resource", "{label}: {error}"),
                        }
                    }
                }
                Err(why) => warn!(target: "resource", "{label}: {why}"),
            }
            self.shared.kick();
        }
        Ok(State::Running)
    }

    fn probe_script(&mut self, label: &str, resource: &Resource) -> Result<State, String> {
        let program = match Program::locate(&resource.kind) {
            Ok(program) => program,
            Err(why) => {
                warn!(target: "resource", "{label}: counts as stopped: {why}");
                return Ok(State::Stopped);
            }
        };
        let limit = Instant::now() + resource.start_timeout.min(STATUS_LIMIT);
        self.status(label, &program, limit, Abort::OnStop)
            .map_err(|why| format!("its status {why}"))
    }

    fn status(
        &mut self,
        label: &str,
        program: &Program,
        deadline: Instant,
        abort: Abort,
    ) -> Result<State, Broken> {
        let ran = self.act(label, program, "status", deadline, abort)?;
        Ok(program.state(ran.end, &ran.head))
    }

    /// Runs one action of a script until it ends, its time is over or it is broken off.
    fn act(
        &mut self,
        label: &str,
        program: &Program,
        action: &str,
        deadline: Instant,
        abort: Abort,
    ) -> Result<Ran, Broken> {
        let prepared = self.prepare(program.command(action), action);
        let (mut child, pipe) = spawn(prepared)
            .or_else(|error| match program.shell_command(action) {
                Some(shell) if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) => {
                    spawn(self.prepare(shell, action))
                }
                _ => Err(error),
            })
            .map_err(|error| Broken::NotStarted(error.to_string()))?;
        let level = if action == "status" { Level::Debug } else { Level::Info };
        let mut output = Output::new(pipe, "resource", label.into(), level);
        let end = loop {
            // In this order: what it printed before its end is in the pipe when the end is seen.
            let end = child.ended();
            output.read();
            if let Some(end) = end {
                break Ok(end);
            }
            let aborted = match abort {
                Abort::OnStop => self.slots.stop_waits(),
                Abort::OnQuit => self.slots.quits(),
            };
            if aborted {
                child.kill(GRACE);
                break Err(Broken::Aborted);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                child.kill(GRACE);
                output.read();
                break Err(Broken::TimedOut(String::new()));
            }
            let limit = if self.lingering.is_empty() { left } else { left.min(LINGER_LOOK) };
            child.wait_for_news(output.fd(), &self.slots.wake, limit);
            self.slots.wake.clear();
            self.read_lingering();
        };
        output.finish();
        let (head, last) = (output.head().to_vec(), output.last().to_string());
        match end {
            Ok(end) => {
                if action == "start" && output.fd().is_some() {
                    self.linger(output);
                }
                Ok(Ran { end, head, last })
            }
            Err(Broken::TimedOut(_)) => Err(Broken::TimedOut(last)),
            Err(broken) => Err(broken),
        }
    }

    /// Goes on reading what the heirs of a script print: a service whose output pipe is closed
    /// dies of it.
    fn linger(&mut self, output: Output) {
        if self.lingering.len() == LINGERING_MAX {
            self.lingering.remove(0);
        }
        self.lingering.push(output);
    }

    /// Adds the environment: Heartbeat's, and ours.
    fn prepare(&self, mut command: Command, action: &str) -> Command {
        if std::env::var_os("PATH").is_none() {
            command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        }
        if let Some(dir) = &self.ha_dir {
            command
                .env("HA_DIR", dir)
                .env("HA_RCDIR", dir.join("rc.d"))
                .env("HA_RESOURCEDIR", dir.join("resource.d"))
                .env("HA_FUNCS", dir.join("shellfuncs"))
                .env("HA_BIN", "/usr/lib/heartbeat")
                .env("HA_DATEFMT", "%Y/%m/%d_%T ")
                .env("HA_DONTASK", "yes")
                .env("HA_NICEFAILBACK", "yes")
                .env("HA_debug", "0");
        }
        command
            .env("HA_CURHOST", &self.node)
            .env("OCF_ROOT", "/usr/lib/ocf")
            .env("LATIDO_NODE", &self.node)
            .env("LATIDO_GROUP", &self.group.name)
            .env("LATIDO_ACTION", action);
        command
    }
}

/// Removes an address, and the interface that was made for it: also one of a former configuration.
/// False: it was not there any more.
fn remove(socket: &mut Socket, place: &Address) -> Result<bool, String> {
    let text = |error: crate::platform::netlink::Error| error.to_string();
    let link = socket.link_by_index(place.index).map_err(text)?;
    let removed = socket.delete_address(place).map_err(text)?;
    if let Some(link) = link.filter(virtual_mac::is_ours) {
        virtual_mac::remove_link(socket, &link)?;
    }
    Ok(removed)
}
