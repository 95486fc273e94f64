//! One machine: its clock, the engine's process, the kernel's gate, the scripts. The contract of
//! the engine with the core, as `src/sim` has it, made to be copied and compared.
use crate::setup::{QUICK, Setup};
use latido::core::id::{Incarnation, JobId, LinkId, NodeId, Term};
use latido::core::io::{Command, Event, Fenced, Input, Outcome, Output};
use latido::core::limits::{FRAME_MAX, GROUPS_MAX};
use latido::core::time::Instant;
use latido::core::wire::{Body, Header};
use latido::core::witness::{self, Witness};
use latido::core::{Cluster, Config, Identity, MEMORY_MAX, Rule, identify_body};
use latido::sim::clock::Clock;
use latido::sim::machine::Runs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// More outputs than this after one input is an endless loop.
const OUTPUTS_MAX: usize = 512;

/// A frame that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Arc<[u8]>,
    /// Stands for all of it but its count, which nobody decides by.
    pub(crate) identity: u64,
    /// What it says, for the story.
    pub(crate) said: Option<Arc<(Header, Body)>>,
}

/// What a script was started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Work {
    Probe,
    Start,
    Stop,
}

/// The group's resources on one machine.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) runs: Runs,
    /// The gate is closed from then on (true time).
    pub(crate) open_until: u64,
    /// Its engine was killed or stood still, and its lease was not renewed since.
    pub(crate) orphan: bool,
    /// The script under way, and when it ends (true time).
    pub(crate) work: Option<(Work, JobId, u64)>,
}

/// One machine of the cluster.
#[derive(Clone)]
pub(crate) struct Machine {
    pub(crate) node: usize,
    /// A witness has none.
    config: Option<Arc<Config>>,
    pub(crate) on: bool,
    pub(crate) frozen: bool,
    clock: Clock,
    booted: u64,
    pub(crate) engine: Option<Engine>,
    /// Counts the processes.
    process: u64,
    /// When the engine wakes by itself (true time).
    pub(crate) wake: u64,
    /// What waits for a process that stands still.
    inbox: Vec<Waiting>,
    /// The runtime directory; gone with the power.
    pub(crate) memory: Option<Arc<[u8]>>,
    /// It cannot be written.
    pub(crate) full: bool,
    held_until: Instant,
    pub(crate) service: Service,
    /// The last ownership that began here in this boot.
    term: Option<Term>,
    /// Stands for all of it.
    pub(crate) identity: u64,
}

/// The process that is observed.
#[derive(Clone)]
pub(crate) enum Engine {
    Node(Box<Cluster>),
    Witness(Box<Witness<1>>),
}

impl Engine {
    fn deadline(&self) -> Instant {
        match self {
            Engine::Node(cluster) => cluster.deadline().at,
            Engine::Witness(witness) => witness.deadline(),
        }
    }
}

#[derive(Clone, Debug)]
enum Waiting {
    Frame(Frame),
    Report(JobId, Outcome),
    Fenced(NodeId, JobId, Fenced),
}

/// A fence under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shot {
    pub(crate) by: usize,
    /// The process that asked for it.
    pub(crate) process: u64,
    pub(crate) target: usize,
    pub(crate) request: JobId,
    /// When the power goes off; it may have gone, or never do.
    pub(crate) strikes: Option<u64>,
    /// When the report comes.
    pub(crate) reports: u64,
    pub(crate) outcome: Fenced,
}

/// What one turn of the engine wants of the world.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    pub(crate) sent: Vec<Frame>,
    /// Whom to fence, and the number of the request.
    pub(crate) fences: Vec<(NodeId, JobId)>,
    pub(crate) told: Vec<String>,
    pub(crate) broken: Option<String>,
    /// Whether `told` and what frames say is wanted.
    pub(crate) tell: bool,
}

impl Turn {
    fn tell(&mut self, text: impl FnOnce() -> String) {
        if self.tell {
            self.told.push(text());
        }
    }
}

impl Machine {
    pub(crate) fn off(setup: &Setup, node: usize) -> Machine {
        Machine {
            node,
            config: (node < setup.nodes).then(|| Arc::new(setup.config(node))),
            on: false,
            frozen: false,
            clock: Clock::new(0, 0, 0),
            booted: 0,
            engine: None,
            process: 0,
            wake: u64::MAX,
            inbox: Vec::new(),
            memory: None,
            full: false,
            held_until: Instant::default(),
            service: Service { runs: Runs::Nothing, open_until: 0, orphan: false, work: None },
            term: None,
            identity: 0,
        }
    }

    pub(crate) fn power_on(&mut self, now: u64, setup: &Setup, turn: &mut Turn) {
        self.on = true;
        self.booted = now;
        // Not the same clock on all, and after a boot it shows what it showed once before.
        let shown = [1_000_000, 1_370_003, 2_110_007, 2_300_009][self.node];
        self.clock = Clock::new(now, shown, setup.drift[self.node]);
        self.revive(now, setup, turn);
    }

    pub(crate) fn power_off(&mut self) {
        self.kill();
        self.on = false;
        self.full = false;
        self.memory = None;
        self.held_until = Instant::default();
        self.term = None;
        self.service = Service { runs: Runs::Nothing, open_until: 0, orphan: false, work: None };
    }

    pub(crate) fn kill(&mut self) {
        self.engine = None;
        self.frozen = false;
        self.inbox.clear();
        self.wake = u64::MAX;
        // What was half started or half stopped stays so.
        self.service.work = None;
        self.service.orphan = true;
    }

    /// The runtime directory is lost, the machine runs on.
    pub(crate) fn forget(&mut self) {
        self.memory = None;
        self.held_until = Instant::default();
        self.term = None;
    }

    pub(crate) fn freeze(&mut self) {
        self.frozen = true;
        self.service.orphan = true;
        self.wake = u64::MAX;
    }

    pub(crate) fn thaw(&mut self, now: u64, setup: &Setup, turn: &mut Turn) {
        self.frozen = false;
        for waiting in std::mem::take(&mut self.inbox) {
            match waiting {
                Waiting::Frame(frame) => self.hear(now, setup, &frame, turn),
                Waiting::Report(job, outcome) => {
                    let group = Setup::group();
                    self.give(now, setup, Input::Report { group, job, outcome }, turn);
                }
                Waiting::Fenced(node, request, outcome) => {
                    self.give(now, setup, Input::Fenced { node, request, outcome }, turn);
                }
            }
        }
        self.sleep(now, setup, turn);
    }

    /// Starts the engine's process.
    pub(crate) fn revive(&mut self, now: u64, setup: &Setup, turn: &mut Turn) {
        self.process += 1;
        let mine = self.node as u64 + 1; // lossless: nodes are few
        let mut held_until = [Instant::default(); GROUPS_MAX];
        held_until[Setup::group().index()] = self.held_until;
        let identity = Identity {
            incarnation: Incarnation(mine * 1_000 + self.process),
            memory: self.memory.as_deref(),
            held_until,
            seed: mine * 77,
        };
        let local = self.clock.local(now);
        self.engine = Some(match &self.config {
            Some(config) => {
                Engine::Node(Box::new(Cluster::new((**config).clone(), &identity, local)))
            }
            None => Engine::Witness(Box::new(Setup::new_witness(identity.incarnation, local))),
        });
        let link = LinkId::new(0).expect("one link");
        self.give(now, setup, Input::Link { link, up: true }, turn);
        self.sleep(now, setup, turn);
    }

    /// A frame arrives.
    pub(crate) fn arrive(&mut self, now: u64, setup: &Setup, frame: &Frame, turn: &mut Turn) {
        if self.frozen {
            self.inbox.push(Waiting::Frame(frame.clone()));
        } else if self.engine.is_some() {
            self.hear(now, setup, frame, turn);
            self.sleep(now, setup, turn);
        }
    }

    fn hear(&mut self, now: u64, setup: &Setup, frame: &Frame, turn: &mut Turn) {
        let link = LinkId::new(0).expect("one link");
        self.give(now, setup, Input::Frame { link, bytes: &frame.bytes }, turn);
    }

    /// The process that asked for a fence hears what became of it, if it is still there.
    pub(crate) fn fenced(&mut self, now: u64, setup: &Setup, shot: &Shot, turn: &mut Turn) {
        let Shot { target, request, outcome, process, .. } = *shot;
        let node = NodeId::new(target).expect("nodes are few");
        if self.engine.is_none() || process != self.process {
            return;
        }
        turn.tell(|| format!("the fence of n{target}: {outcome:?}"));
        if self.frozen {
            self.inbox.push(Waiting::Fenced(node, request, outcome));
        } else {
            self.give(now, setup, Input::Fenced { node, request, outcome }, turn);
            self.sleep(now, setup, turn);
        }
    }

    /// The node, if it is one and its engine runs.
    pub(crate) fn core(&self) -> Option<&Cluster> {
        match &self.engine {
            Some(Engine::Node(cluster)) => Some(cluster),
            _ => None,
        }
    }

    /// The number of the present process.
    pub(crate) fn process(&self) -> u64 {
        self.process
    }

    /// Its deadline has come.
    pub(crate) fn tick(&mut self, now: u64, setup: &Setup, turn: &mut Turn) {
        self.sleep(now, setup, turn);
    }

    pub(crate) fn command(&mut self, now: u64, setup: &Setup, command: Command, turn: &mut Turn) {
        self.give(now, setup, Input::Command { id: 1, command }, turn);
        self.sleep(now, setup, turn);
    }

    /// The script under way has ended.
    pub(crate) fn work_ends(&mut self, now: u64, setup: &Setup, turn: &mut Turn) {
        let Some((work, job, _)) = self.service.work.take() else { return };
        let outcome = match work {
            Work::Probe => match self.service.runs {
                Runs::Nothing => Outcome::Stopped,
                Runs::All if setup.rule != Rule::Majority || now < self.service.open_until => {
                    Outcome::Running
                }
                Runs::All | Runs::Some => Outcome::Partial,
            },
            Work::Start => {
                self.service.runs = Runs::All;
                Outcome::Running
            }
            Work::Stop => {
                self.service.runs = Runs::Nothing;
                self.service.orphan = false;
                Outcome::Stopped
            }
        };
        turn.tell(|| format!("{work:?} ends: {outcome:?}"));
        if self.frozen {
            self.inbox.push(Waiting::Report(job, outcome));
        } else {
            self.give(now, setup, Input::Report { group: Setup::group(), job, outcome }, turn);
            self.sleep(now, setup, turn);
        }
    }

    /// The end of the engine's turn: the timers decide, it vouches for what runs, and sleeps.
    fn sleep(&mut self, now: u64, setup: &Setup, turn: &mut Turn) {
        let local = self.clock.local(now);
        let due = self.engine.as_ref().map(Engine::deadline);
        if due.is_some_and(|due| local >= due) {
            self.give(now, setup, Input::Tick, turn);
        }
        let Some(engine) = &self.engine else { return };
        self.wake = self.clock.when(engine.deadline()).max(now + 1);
        let Engine::Node(cluster) = engine else { return };
        let held = cluster.vouched_until(Setup::group());
        self.held_until = held.unwrap_or_default();
        let until = held.map_or(0, |held| self.clock.when(held));
        if until > self.service.open_until {
            self.service.open_until = until;
            self.service.orphan &= until <= now;
        }
    }

    fn give(&mut self, now: u64, setup: &Setup, input: Input<'_>, turn: &mut Turn) {
        let local = self.clock.local(now);
        match &mut self.engine {
            Some(Engine::Node(cluster)) => cluster.handle(local, input),
            Some(Engine::Witness(witness)) => witness.handle(local, for_witness(input)),
            None => return,
        }
        let mut frame = [0; FRAME_MAX];
        for _ in 0..OUTPUTS_MAX {
            match &mut self.engine {
                Some(Engine::Node(cluster)) => match cluster.poll(&mut frame) {
                    Some(output) => self.carry_out(now, setup, output, &frame, turn),
                    None => return,
                },
                Some(Engine::Witness(witness)) => match witness.poll(&mut frame) {
                    Some(witness::Output::Transmit { len, .. }) => {
                        turn.sent.push(frame_of(setup, &frame[..usize::from(len)], turn.tell));
                    }
                    Some(witness::Output::Event(note)) => {
                        turn.tell(|| format!("{:?}", note.event));
                    }
                    Some(witness::Output::Restart) => {
                        self.kill();
                        self.revive(now, setup, turn);
                    }
                    None => return,
                },
                None => return,
            }
        }
        turn.broken = Some(format!("n{}: an endless loop of outputs", self.node));
    }

    fn carry_out(
        &mut self,
        now: u64,
        setup: &Setup,
        output: Output,
        frame: &[u8],
        turn: &mut Turn,
    ) {
        match output {
            Output::Remember => self.remember(now, turn),
            Output::Stop { job, .. } => self.order(now, setup, job, Work::Stop),
            Output::Probe { job, .. } => self.order(now, setup, job, Work::Probe),
            Output::Start { job, .. } => self.order(now, setup, job, Work::Start),
            Output::Transmit { len, .. } => {
                turn.sent.push(frame_of(setup, &frame[..usize::from(len)], turn.tell));
            }
            Output::Announce { .. } | Output::Reply { .. } | Output::InForce => {}
            // All have the same leases.
            Output::Note { .. } => {}
            Output::Fence { node, request } => turn.fences.push((node, request)),
            Output::Ask { .. } | Output::Watchdog(_) => {}
            Output::Event(event) => self.event(event, turn),
            Output::Restart => {
                turn.tell(|| "starts anew: a clone".to_owned());
                self.memory = None;
                self.kill();
                self.revive(now, setup, turn);
            }
            Output::Renew => {
                self.kill();
                self.revive(now, setup, turn);
            }
            Output::Exit => {
                turn.tell(|| "the daemon ends".to_owned());
                self.kill();
            }
        }
    }

    fn remember(&mut self, now: u64, turn: &mut Turn) {
        let mut bytes = [0; MEMORY_MAX];
        let Some(Engine::Node(cluster)) = &mut self.engine else { return };
        if self.full {
            turn.tell(|| "cannot write its memory".to_owned());
            cluster.handle(self.clock.local(now), Input::NotRemembered);
            return;
        }
        let len = cluster.memory(&mut bytes).expect("the memory fits");
        self.memory = Some(bytes[..len].into());
    }

    fn order(&mut self, now: u64, setup: &Setup, job: JobId, work: Work) {
        let service = &mut self.service;
        let takes = match work {
            Work::Probe => QUICK,
            Work::Start => {
                if service.runs == Runs::Nothing {
                    service.runs = Runs::Some;
                }
                QUICK
            }
            Work::Stop => {
                if service.runs != Runs::Nothing {
                    service.runs = Runs::Some;
                }
                setup.stop_takes
            }
        };
        // The time limit is measured by the machine's own clock.
        let end = Instant::from_micros(self.clock.local(now).micros() + takes);
        service.work = Some((work, job, self.clock.when(end)));
    }

    /// A term names one ownership, for ever.
    fn event(&mut self, event: Event, turn: &mut Turn) {
        turn.tell(|| format!("{event:?}"));
        let Event::Starting(_, term) = event else { return };
        if term.node.index() != self.node {
            turn.broken = Some(format!("n{} starts by another's {term:?}", self.node));
        } else if self.term.is_some_and(|last| term <= last) {
            turn.broken =
                Some(format!("n{} owned by {:?}, and now by {term:?}", self.node, self.term));
        }
        self.term = Some(term);
    }

    /// Whether anything of the group is in use here at true time `now`.
    pub(crate) fn in_use(&self, setup: &Setup, now: u64) -> bool {
        let service = &self.service;
        let gated = setup.rule == Rule::Majority;
        let cut_off = gated && service.orphan && now >= service.open_until;
        self.on && service.runs != Runs::Nothing && !cut_off
    }

    /// What the engine's clock shows.
    pub(crate) fn local(&self, now: u64) -> Instant {
        self.clock.local(now)
    }

    /// Notes what all of it stands for; to be called when it has changed.
    pub(crate) fn identify(&mut self) {
        let mut hasher = DefaultHasher::new();
        let hash = &mut hasher;
        (self.on, self.frozen, self.full, self.process, &self.memory, self.held_until, self.term)
            .hash(hash);
        // Where its clock stands against the true time.
        self.on.then_some(self.booted).hash(hash);
        let Service { runs, open_until, orphan, work } = &self.service;
        (*runs as u8, open_until, orphan).hash(hash); // cast: a name
        // What is under way is what the core asked for last: its number says no more.
        work.map(|(work, _, at)| (work, at)).hash(hash);
        for waiting in &self.inbox {
            match waiting {
                Waiting::Frame(frame) => frame.identity.hash(hash),
                Waiting::Report(_, outcome) => (*outcome as u8).hash(hash), // cast: a name
                Waiting::Fenced(node, _, outcome) => {
                    (node, *outcome == Fenced::Confirmed).hash(hash);
                }
            }
        }
        self.engine.is_some().hash(hash);
        match &self.engine {
            Some(Engine::Node(cluster)) => cluster.identify(hash),
            Some(Engine::Witness(witness)) => witness.identify(hash),
            None => {}
        }
        self.identity = hasher.finish();
    }
}

/// What a witness takes of what a node takes.
fn for_witness(input: Input<'_>) -> witness::Input<'_> {
    match input {
        Input::Frame { link, bytes } => witness::Input::Frame { link, bytes },
        Input::Link { link, up } => witness::Input::Link { link, up },
        _ => witness::Input::Tick,
    }
}

fn frame_of(setup: &Setup, bytes: &[u8], tell: bool) -> Frame {
    let mut clear = [0; FRAME_MAX];
    let header = Header::decode(bytes).expect("our own frame");
    let text = setup.keys.open(&header, bytes, &mut clear).expect("our own key");
    let body = Body::decode(text).expect("our own body");
    let mut hasher = DefaultHasher::new();
    (u8::from(header.node), header.incarnation, header.sequence).hash(&mut hasher);
    identify_body(&body, &mut hasher);
    let said = tell.then(|| Arc::new((header, body)));
    Frame { bytes: bytes.into(), identity: hasher.finish(), said }
}
