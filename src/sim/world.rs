//! The machines, what happens next, and the engine's contract with the core.
use super::checker::Checker;
use super::clock::Clock;
use super::fault::Fault;
use super::machine::{Machine, Pending, SOCKET_BUFFER, Service};
use super::network::Network;
use super::power::Device;
use super::random::Random;
use super::setup::Setup;
use super::trace::Trace;
use crate::core::id::{JobId, LinkId, NodeId};
use crate::core::io::{Command, Event, Fenced, Reply, Status};
use crate::core::limits::GROUPS_MAX;
use crate::core::time::Instant;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::fmt;
use std::rc::Rc;

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
pub(super) enum Happening {
    Arrive {
        node: usize,
        link: LinkId,
        bytes: Rc<[u8]>,
    },
    Wake {
        node: usize,
        ticket: u64,
    },
    Done {
        node: usize,
        group: usize,
        ticket: u64,
    },
    Fault(Fault),
    /// A fence device switches a machine off.
    Strike {
        target: usize,
        dark: u64,
    },
    /// It answers.
    Verdict {
        node: usize,
        process: u64,
        target: NodeId,
        request: JobId,
        outcome: Fenced,
    },
    /// The watchdog's time is over, unless it was petted.
    Bite {
        node: usize,
        boot: u64,
    },
    /// A machine resets itself.
    Reset {
        node: usize,
        boot: u64,
    },
    /// A witness reads its mail.
    Listen {
        node: usize,
    },
    /// A machine has been off long enough for everybody to know, if it still is.
    Buried {
        node: usize,
        since: u64,
    },
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
    /// What switches each machine.
    pub(super) devices: Vec<Device>,
    /// Fences on their way.
    pub(super) striking: u64,
    pub(super) random: Random,
    pub(super) trace: Trace,
    pub(super) checker: Checker,
    /// When, the ticket (what was scheduled first happens first), and its place in `happenings`.
    agenda: BinaryHeap<Reverse<(u64, u64, usize)>>,
    happenings: Vec<Option<Happening>>,
    /// Places in `happenings` that are free.
    free: Vec<usize>,
    /// A queue that waits for its next use.
    pub(super) spare: VecDeque<super::machine::Pending>,
    pub(super) tickets: u64,
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
            life: 0,
            engine: None,
            voter: None,
            process: 0,
            starts: [0; 2],
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
            late: 0,
            suspended: None,
            excused_until: 0,
            awake_since: 0,
            off_since: 0,
            postponed: Vec::new(),
            bites_at: None,
            version: 0,
            in_force: false,
            leases: Default::default(),
            disk: true,
        };
        World {
            now: 0,
            network: Network::new(setup.machines(), setup.links),
            moves: 0,
            handled: 0,
            faults: BTreeMap::new(),
            capture: None,
            machines: (0..setup.machines()).map(machine).collect(),
            devices: vec![Device::GOOD; setup.machines()],
            striking: 0,
            random: Random::new(setup.seed),
            trace: Trace::default(),
            checker: Checker::default(),
            agenda: BinaryHeap::new(),
            happenings: Vec::new(),
            free: Vec::new(),
            spare: VecDeque::new(),
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
        while let Some(Reverse((at, _, place))) = self.agenda.peek().copied() {
            if at > end {
                break;
            }
            self.agenda.pop();
            let Some(happening) = self.happenings[place].take() else { continue };
            self.free.push(place);
            self.now = self.now.max(at);
            self.happen(happening)?;
            self.check()?;
        }
        self.now = self.now.max(end);
        Ok(())
    }

    pub(super) fn schedule(&mut self, at: u64, happening: Happening) {
        self.tickets += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.happenings.push(None);
            self.happenings.len() - 1
        });
        self.happenings[place] = Some(happening);
        self.agenda.push(Reverse((at, self.tickets, place)));
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
            Happening::Strike { target, dark } => {
                self.strike(target, dark);
                Ok(())
            }
            Happening::Verdict { node, process, target, request, outcome } => {
                self.verdict((node, process), target, request, outcome);
                Ok(())
            }
            Happening::Bite { node, boot } => {
                self.bite(node, boot);
                Ok(())
            }
            Happening::Reset { node, boot } => {
                self.reset(node, boot);
                Ok(())
            }
            Happening::Listen { node } => {
                self.listen(node);
                Ok(())
            }
            Happening::Buried { node, since } => self.check_buried(node, since),
        }
    }

    /// Bytes reach a machine's socket.
    pub(super) fn arrive(&mut self, node: usize, link: LinkId, bytes: Rc<[u8]>) {
        let machine = &mut self.machines[node];
        // What is asleep receives nothing; what waits for a hypervisor finds it all later.
        if !machine.carrier[link.index()] || machine.suspended.is_some_and(|(_, stands)| !stands) {
            return;
        }
        if machine.voter.is_some() {
            return self.mail(node, link, bytes);
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

    /// Lets a node see the heartbeat wire of another change.
    pub fn beat(&mut self, node: usize, of: NodeId) {
        self.enqueue(node, Pending::Beat { node: of });
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
            machine.runs() && machine.services[group].serves(self.now)
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
