//! The machines, what happens next, and the engine's contract with the core.
use super::checker::Checker;
use super::clock::Clock;
use super::fault::Fault;
use super::machine::{
    ADDRESS_LIFETIME, Engine, Fate, Machine, Pending, Runs, SOCKET_BUFFER, Service, Work,
};
use super::network::Network;
use super::random::Random;
use super::setup::Setup;
use super::trace::{Line, Trace};
use crate::core::id::{GroupId, Incarnation, JobId, LinkId, LinkSet};
use crate::core::io::{Command, Event, Input, Outcome, Output, Phase, Reply, Status};
use crate::core::limits::{FRAME_MAX, GROUPS_MAX, LINKS_MAX};
use crate::core::time::Instant;
use crate::core::{Cluster, Identity, MEMORY_MAX, Rule};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::fmt;
use std::rc::Rc;

/// More outputs than this after one input is an endless loop.
const OUTPUTS_MAX: usize = 512;

/// A broken invariant.
#[derive(Clone, Debug)]
pub struct Violation {
    /// What was broken.
    pub what: String,
    /// What led to it.
    pub trace: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\nVIOLATION: {}", self.trace, self.what)
    }
}

/// Something that is going to happen.
#[derive(Clone, Debug)]
enum Happening {
    Arrive { node: usize, link: LinkId, bytes: Rc<[u8]> },
    Wake { node: usize, ticket: u64 },
    Done { node: usize, group: usize, ticket: u64 },
    Fault(Fault),
}

/// A frame as it was sent.
pub type Sent = (usize, u64, Rc<[u8]>);

/// A simulated cluster.
pub struct World {
    /// What it is made of.
    pub setup: Setup,
    /// True time, in µs.
    pub now: u64,
    /// The cables.
    pub network: Network,
    /// How many ownerships began.
    pub moves: u64,
    /// Inputs handled.
    pub handled: u64,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Frames as they were sent: sender, true time, bytes; kept if wanted.
    pub capture: Option<Vec<Sent>>,
    pub(super) machines: Vec<Machine>,
    pub(super) random: Random,
    pub(super) trace: Trace,
    pub(super) checker: Checker,
    agenda: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    tickets: u64,
    commands: u32,
}

impl World {
    /// A cluster whose machines are all off.
    pub fn new(setup: Setup) -> World {
        let machine = |node: usize| Machine {
            config: setup.config(node),
            clock: Clock::new(0, 0, 0),
            on: false,
            boot: 0,
            engine: None,
            process: 0,
            frozen: false,
            memory: None,
            held_until: [Instant::default(); GROUPS_MAX],
            carrier: vec![true; setup.links],
            services: vec![Service::new(); setup.groups],
            events: Vec::new(),
            replies: Vec::new(),
            announced: 0,
            exited: false,
            ticks: (0, 0),
        };
        World {
            now: 0,
            network: Network::new(setup.nodes, setup.links),
            moves: 0,
            handled: 0,
            faults: BTreeMap::new(),
            capture: None,
            machines: (0..setup.nodes).map(machine).collect(),
            random: Random::new(setup.seed),
            trace: Trace::default(),
            checker: Checker::default(),
            agenda: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            tickets: 0,
            commands: 0,
            setup,
        }
    }

    /// Lets the fault happen at true time `at`.
    pub fn plan(&mut self, at: u64, fault: Fault) {
        self.schedule(at, Happening::Fault(fault));
    }

    /// Runs until true time `end`.
    ///
    /// # Errors
    /// The first [`Violation`] of an invariant.
    pub fn run_until(&mut self, end: u64) -> Result<(), Violation> {
        while let Some(Reverse((at, ticket))) = self.agenda.peek().copied() {
            if at > end {
                break;
            }
            self.agenda.pop();
            let Some(happening) = self.happenings.remove(&ticket) else { continue };
            self.now = self.now.max(at);
            self.happen(happening)?;
            self.check()?;
        }
        self.now = self.now.max(end);
        Ok(())
    }

    fn schedule(&mut self, at: u64, happening: Happening) -> u64 {
        self.tickets += 1;
        self.agenda.push(Reverse((at, self.tickets)));
        self.happenings.insert(self.tickets, happening);
        self.tickets
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Violation> {
        match happening {
            Happening::Arrive { node, link, bytes } => {
                self.arrive(node, link, bytes);
                Ok(())
            }
            Happening::Wake { node, ticket } => self.wake(node, ticket),
            Happening::Done { node, group, ticket } => {
                self.done(node, group, ticket);
                Ok(())
            }
            Happening::Fault(fault) => {
                self.apply(fault);
                Ok(())
            }
        }
    }

    /// Bytes reach a machine's socket.
    pub(super) fn arrive(&mut self, node: usize, link: LinkId, bytes: Rc<[u8]>) {
        let machine = &mut self.machines[node];
        if !machine.carrier[link.index()] {
            return;
        }
        let Some(engine) = &mut machine.engine else { return };
        let waiting = &mut engine.queued_frames[link.index()];
        if *waiting < SOCKET_BUFFER {
            *waiting += 1;
            self.enqueue(node, Pending::Frame { link, bytes });
        }
    }

    /// Lets `bytes` arrive at a machine at true time `at`, from anybody.
    pub fn inject(&mut self, at: u64, node: usize, link: usize, bytes: &[u8]) {
        let link = LinkId::new(link).expect("links are few");
        self.schedule(at, Happening::Arrive { node, link, bytes: bytes.into() });
    }

    pub(super) fn enqueue(&mut self, node: usize, pending: Pending) {
        let Some(engine) = &mut self.machines[node].engine else { return };
        engine.queue.push_back(pending);
        let latency = self.random.between(1, self.setup.latency.max(1));
        self.wake_at(node, self.now + latency);
    }

    pub(super) fn wake_at(&mut self, node: usize, at: u64) {
        let Some(engine) = &self.machines[node].engine else { return };
        if engine.wake.is_some_and(|(due, _)| due <= at) {
            return;
        }
        let ticket = self.tickets + 1;
        if let Some(engine) = &mut self.machines[node].engine {
            engine.wake = Some((at, ticket));
        }
        self.schedule(at, Happening::Wake { node, ticket });
    }

    /// The engine's turn: reads its clock once, drains what waits, then lets the timers decide.
    fn wake(&mut self, node: usize, ticket: u64) -> Result<(), Violation> {
        let machine = &mut self.machines[node];
        let Some(engine) = &mut machine.engine else { return Ok(()) };
        if engine.wake.is_none_or(|(_, due)| due != ticket) {
            return Ok(());
        }
        engine.wake = None;
        if machine.frozen {
            return Ok(());
        }
        let now = machine.clock.local(self.now);
        let process = machine.process;
        engine.queued_frames = [0; LINKS_MAX];
        let queue = std::mem::take(&mut engine.queue);
        for pending in queue {
            self.feed(node, now, pending)?;
            if self.machines[node].process != process {
                return Ok(());
            }
        }
        let due = self.machines[node].engine.as_ref().map(|engine| engine.cluster.deadline().at);
        if due.is_some_and(|due| now >= due) {
            self.check_ticks(node)?;
            self.give(node, now, Input::Tick)?;
        }
        if self.machines[node].process == process {
            self.sleep(node, now);
        }
        Ok(())
    }

    /// The end of a turn: vouches for what runs, and sleeps until the core's deadline.
    fn sleep(&mut self, node: usize, now: Instant) {
        let true_now = self.now;
        let machine = &mut self.machines[node];
        let Some(engine) = &machine.engine else { return };
        for (index, service) in machine.services.iter_mut().enumerate() {
            let held = engine.cluster.vouched_until(Setup::group(index));
            machine.held_until[index] = held.unwrap_or_default();
            // Until the probe has ended, what is there is kept; what has vanished is not put back.
            let phase = engine.cluster.inspect(Setup::group(index)).phase;
            let there = phase != Phase::Unknown || service.serves(true_now);
            if self.setup.rule == Rule::Majority {
                // The gate: open until the lease ends, not a moment longer.
                let until = held.map_or(0, |held| machine.clock.when(held));
                if until > service.address_until {
                    service.address_until = until;
                    service.orphan &= until <= true_now;
                }
            } else if held.is_some_and(|held| held > now) && service.runs != Runs::Nothing && there
            {
                service.address_until = true_now + ADDRESS_LIFETIME.max(2 * self.setup.dead);
            }
        }
        let due = machine.clock.when(engine.cluster.deadline().at);
        self.wake_at(node, due.max(true_now + 1));
    }

    fn feed(&mut self, node: usize, now: Instant, pending: Pending) -> Result<(), Violation> {
        match pending {
            Pending::Frame { link, bytes } => {
                self.trace.push(self.now, node, Line::Heard(link.index(), bytes.len()));
                self.give(node, now, Input::Frame { link, bytes: &bytes })
            }
            Pending::Link { link, up } => {
                self.trace.push(self.now, node, Line::Link(link.index(), up));
                self.give(node, now, Input::Link { link, up })
            }
            Pending::Able { group, able } => {
                self.trace.push(self.now, node, Line::Able(group.index(), able));
                self.give(node, now, Input::Able { group, able })
            }
            Pending::Report { group, job, outcome } => {
                self.trace.push(self.now, node, Line::Report(group.index(), outcome));
                self.give(node, now, Input::Report { group, job, outcome })
            }
            Pending::Command { id, command } => {
                self.trace.push(self.now, node, Line::Command(command));
                self.give(node, now, Input::Command { id, command })
            }
        }
    }

    fn give(&mut self, node: usize, now: Instant, input: Input<'_>) -> Result<(), Violation> {
        self.handled += 1;
        if let Some(engine) = &mut self.machines[node].engine {
            engine.cluster.handle(now, input);
        }
        self.drain(node)
    }

    /// Polls to the end and carries out what comes.
    fn drain(&mut self, node: usize) -> Result<(), Violation> {
        let mut frame = [0; FRAME_MAX];
        for _ in 0..OUTPUTS_MAX {
            let Some(engine) = &mut self.machines[node].engine else { return Ok(()) };
            let Some(output) = engine.cluster.poll(&mut frame) else { return Ok(()) };
            match output {
                Output::Remember => self.remember(node),
                Output::Stop { group, job } => self.order(node, group, job, Work::Stop),
                Output::Probe { group, job } => self.order(node, group, job, Work::Probe),
                Output::Start { group, job } => self.order(node, group, job, Work::Start),
                Output::Transmit { links, len } => {
                    self.send(node, links, &frame[..usize::from(len)]);
                }
                Output::InForce => {}
                // No such devices yet.
                Output::Ask { .. } | Output::Fence { .. } | Output::Watchdog(_) => {}
                Output::Announce { group } => {
                    self.trace.push(self.now, node, Line::Ordered("announce", group.index()));
                    self.machines[node].announced += 1;
                }
                Output::Reply { id, reply } => {
                    self.trace.push(self.now, node, Line::Reply(reply));
                    self.machines[node].replies.push((id, reply));
                }
                Output::Event(event) => {
                    self.trace.push(self.now, node, Line::Told(event));
                    self.machines[node].events.push((self.now, event));
                    self.check_event(node, event)?;
                }
                Output::Restart => {
                    self.machines[node].memory = None;
                    self.apply(Fault::Kill(node));
                    self.apply(Fault::Revive(node));
                }
                Output::Exit => {
                    self.trace.push(self.now, node, Line::Note("ends"));
                    // The runtime directory stays as long as the machine runs: it has the terms.
                    self.machines[node].exited = true;
                    self.apply(Fault::Kill(node));
                }
            }
        }
        Err(self.violation(format!("n{node}: more than {OUTPUTS_MAX} outputs after one input")))
    }

    fn remember(&mut self, node: usize) {
        let mut bytes = [0; MEMORY_MAX];
        let machine = &mut self.machines[node];
        let Some(engine) = &machine.engine else { return };
        let len = engine.cluster.memory(&mut bytes).expect("the memory fits");
        machine.memory = Some(bytes[..len].to_vec());
    }

    fn send(&mut self, node: usize, links: LinkSet, bytes: &[u8]) {
        self.trace.push(self.now, node, Line::Sent(links));
        let bytes: Rc<[u8]> = bytes.into();
        if let Some(capture) = &mut self.capture {
            capture.push((node, self.now, bytes.clone()));
        }
        for link in links.iter() {
            if !self.machines[node].carrier[link.index()] {
                continue;
            }
            for to in (0..self.machines.len()).filter(|to| *to != node) {
                let path = [link.index(), node, to];
                let arrivals = self.network.carry(&mut self.random, self.now, path);
                for at in arrivals.into_iter().flatten() {
                    let bytes = bytes.clone();
                    self.schedule(at, Happening::Arrive { node: to, link, bytes });
                }
            }
        }
    }

    fn order(&mut self, node: usize, group: GroupId, job: JobId, work: Work) {
        let name = match work {
            Work::Probe => "probe",
            Work::Start => "start",
            Work::Stop => "stop",
        };
        self.trace.push(self.now, node, Line::Ordered(name, group.index()));
        let now = self.now;
        let service = &mut self.machines[node].services[group.index()];
        let (fate, takes) = match work {
            Work::Probe => (Fate::Works, service.probe_takes),
            Work::Start => (service.start, service.start_takes),
            Work::Stop => (service.stop, service.stop_takes),
        };
        match work {
            Work::Probe => {}
            Work::Start => {
                // What runs is not started again: its keeper takes it over as it is.
                if service.runs == Runs::Nothing {
                    service.runs = Runs::Some;
                }
                service.stuck = false;
                if self.setup.rule == Rule::AssumeDead {
                    service.address_until = now + ADDRESS_LIFETIME.max(2 * self.setup.dead);
                }
            }
            Work::Stop if service.runs != Runs::Nothing => service.runs = Runs::Some,
            Work::Stop => {}
        }
        let takes = if fate == Fate::Hangs { service.limit } else { takes.min(service.limit) };
        let ticket = self.tickets + 1;
        self.machines[node].services[group.index()].work = Some((work, job, ticket));
        self.schedule(now + takes, Happening::Done { node, group: group.index(), ticket });
    }

    fn done(&mut self, node: usize, group: usize, ticket: u64) {
        let now = self.now;
        let service = &mut self.machines[node].services[group];
        let Some((work, job, _)) = service.work.filter(|work| work.2 == ticket) else { return };
        service.work = None;
        let outcome = match work {
            Work::Probe => match service.runs {
                Runs::Nothing => Outcome::Stopped,
                Runs::All if now < service.address_until => Outcome::Running,
                Runs::All | Runs::Some => Outcome::Partial,
            },
            Work::Start if service.start == Fate::Works => {
                service.runs = Runs::All;
                Outcome::Running
            }
            Work::Stop if service.stop == Fate::Works || service.runs == Runs::Nothing => {
                service.runs = Runs::Nothing;
                service.orphan = false;
                service.stuck = false;
                Outcome::Stopped
            }
            Work::Stop => {
                service.stuck = true;
                Outcome::Failed
            }
            Work::Start => Outcome::Failed,
        };
        self.enqueue(node, Pending::Report { group: Setup::group(group), job, outcome });
    }

    /// Starts the engine's process.
    pub(super) fn revive(&mut self, node: usize) {
        let identity = (Incarnation(self.random.bits()), self.random.bits());
        let machine = &mut self.machines[node];
        if machine.engine.is_some() || !machine.on {
            return;
        }
        machine.exited = false;
        machine.process += 1;
        let identity = Identity {
            incarnation: identity.0,
            memory: machine.memory.as_deref(),
            held_until: machine.held_until,
            seed: identity.1,
        };
        let now = machine.clock.local(self.now);
        let cluster = Cluster::new(machine.config.clone(), &identity, now);
        let mut queue = VecDeque::new();
        for link in 0..self.setup.links {
            let up = machine.carrier[link];
            queue.push_back(Pending::Link { link: LinkId::new(link).expect("few links"), up });
        }
        for (index, service) in machine.services.iter().enumerate() {
            queue.push_back(Pending::Able { group: Setup::group(index), able: service.able });
        }
        machine.engine = Some(Engine { cluster, queue, queued_frames: [0; LINKS_MAX], wake: None });
        self.wake_at(node, self.now + 1);
        self.judge_conditions();
    }

    /// Gives an operator's command; its number.
    pub fn command_sent(&mut self, node: usize, command: Command) -> u32 {
        self.commands += 1;
        let id = self.commands;
        self.enqueue(node, Pending::Command { id, command });
        id
    }

    /// The answer to a command.
    pub fn reply(&self, node: usize, id: u32) -> Option<Reply> {
        self.machines[node].replies.iter().find(|reply| reply.0 == id).map(|reply| reply.1)
    }

    /// Nodes from which clients of `group` are answered now.
    pub fn serving(&self, group: usize) -> Vec<usize> {
        let serves = |node: &usize| {
            let machine = &self.machines[*node];
            machine.on && machine.services[group].serves(self.now)
        };
        (0..self.machines.len()).filter(serves).collect()
    }

    /// What a node knows; `None` while its engine is not there.
    pub fn status(&self, node: usize) -> Option<Status> {
        self.machines[node].engine.as_ref().map(|engine| engine.cluster.status())
    }

    /// One group's resources on one machine.
    pub fn service(&mut self, node: usize, group: usize) -> &mut Service {
        &mut self.machines[node].services[group]
    }

    /// What a node told, with true times.
    pub fn events(&self, node: usize) -> &[(u64, Event)] {
        &self.machines[node].events
    }

    /// How often a node announced its addresses again.
    pub fn announced(&self, node: usize) -> u64 {
        self.machines[node].announced
    }

    /// Whether a node's daemon ended by itself.
    pub fn exited(&self, node: usize) -> bool {
        self.machines[node].exited
    }

    /// Gives a node other settings; they count from its next start.
    pub fn reconfigure(&mut self, node: usize, config: crate::core::Config) {
        self.machines[node].config = config;
    }

    /// The longest time that two nodes served one group, in all and in good conditions.
    pub fn longest_two(&self) -> (u64, u64) {
        (self.checker.longest_two, self.checker.longest_two_good)
    }

    pub(super) fn longest_delay(&mut self) -> u64 {
        self.network.wires().map(|wire| wire.delay + wire.jitter).max().unwrap_or(0)
    }

    pub(super) fn violation(&self, what: String) -> Violation {
        Violation { what, trace: self.trace.to_string() }
    }

    /// The trace so far, after a panic of the core.
    pub fn story(&self) -> String {
        self.trace.to_string()
    }
}
