//! One machine: its clock, the engine's process, the kernel's addresses, the scripts.
use super::clock::Clock;
use crate::core::id::{GroupId, JobId, LinkId, NodeId};
use crate::core::io::{Command, Event, Fenced, Outcome, Reply};
use crate::core::limits::GROUPS_MAX;
use crate::core::time::{Duration, Instant};
use crate::core::{Cluster, Config};
use std::collections::VecDeque;
use std::rc::Rc;

/// Frames that a link's socket buffer holds for a process that does not read.
pub(super) const SOCKET_BUFFER: usize = 256;
/// An address outlives the last sign of life of its engine by so long, in µs.
pub(super) const ADDRESS_LIFETIME: u64 = 1_000_000;

/// What waits for the engine.
#[derive(Clone, Debug)]
pub(super) enum Pending {
    Frame { link: LinkId, bytes: Rc<[u8]> },
    Link { link: LinkId, up: bool },
    HungUp { link: LinkId },
    Able { group: GroupId, able: bool },
    Report { group: GroupId, job: JobId, outcome: Outcome },
    Fenced { node: NodeId, request: JobId, outcome: Fenced },
    Noted { number: JobId },
    Command { id: u32, command: Command },
    Beat { node: NodeId },
}

/// How a script behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It does what it should.
    Works,
    /// It ends with an error.
    Fails,
    /// It never ends: its time limit ends it.
    Hangs,
}

/// What really runs of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// Nothing.
    Nothing,
    /// Something, perhaps its address.
    Some,
    /// All of it.
    All,
}

/// What a script was started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Probe,
    Start,
    Stop,
}

/// One group's resources on one machine.
#[derive(Clone, Debug)]
pub struct Service {
    /// What runs.
    pub runs: Runs,
    /// Until when (true time) the kernel keeps the address without a sign of the engine.
    pub address_until: u64,
    /// Its engine was killed or stood still, and its lease was not renewed since: when that ends,
    /// the gate and the watchdog see to it that nothing of it is in use.
    pub orphan: bool,
    /// A stop failed: what is left is not the core's fault.
    pub stuck: bool,
    /// Whether it could serve its clients.
    pub able: bool,
    /// How long a start takes, in µs.
    pub start_takes: u64,
    /// How long a stop takes, in µs.
    pub stop_takes: u64,
    /// How long a probe takes, in µs.
    pub probe_takes: u64,
    /// Time limit of start and stop, in µs.
    pub limit: u64,
    /// How a start ends.
    pub start: Fate,
    /// How a stop ends.
    pub stop: Fate,
    pub(super) work: Option<(Work, JobId, u64)>,
}

impl Service {
    pub(super) fn new() -> Service {
        Service {
            runs: Runs::Nothing,
            address_until: 0,
            orphan: false,
            stuck: false,
            able: true,
            start_takes: 2_000,
            stop_takes: 2_000,
            probe_takes: 500,
            limit: 100_000,
            start: Fate::Works,
            stop: Fate::Works,
            work: None,
        }
    }

    /// Whether anything of it is in use at true time `now`, while a lease stands for it.
    pub(super) fn in_use(&self, now: u64) -> bool {
        let cut_off = self.orphan && now >= self.address_until;
        self.runs != Runs::Nothing && !self.stuck && !cut_off
    }

    /// Whether anything of it is there, gate or no gate.
    pub(super) fn is_there(&self) -> bool {
        self.runs != Runs::Nothing
    }

    /// Whether clients may be answered from here at true time `now`.
    pub fn serves(&self, now: u64) -> bool {
        self.runs != Runs::Nothing && now < self.address_until
    }
}

/// The engine's process.
#[derive(Clone)]
pub(super) struct Engine {
    pub(super) cluster: Cluster,
    pub(super) queue: VecDeque<Pending>,
    pub(super) queued_frames: [usize; crate::core::limits::LINKS_MAX],
    /// Due wake: true time and ticket; an older ticket is void.
    pub(super) wake: Option<(u64, u64)>,
}

/// One machine of the cluster.
pub struct Machine {
    pub(super) config: Config,
    pub(super) clock: Clock,
    /// The power is on.
    pub(super) on: bool,
    /// Counts the boots.
    pub(super) boot: u64,
    /// Counts the boots and the losses of its runtime directory.
    pub(super) life: u64,
    pub(super) engine: Option<Engine>,
    /// In its place on a witness.
    pub(super) voter: Option<super::witness::Voter>,
    /// Counts the processes.
    pub(super) process: u64,
    /// When its engine was started the last two times.
    pub(super) starts: [u64; 2],
    /// Every process stands still.
    pub(super) frozen: bool,
    /// The runtime directory; gone with the power.
    pub(super) memory: Option<Vec<u8>>,
    pub(super) held_until: [Instant; GROUPS_MAX],
    pub(super) carrier: Vec<bool>,
    pub(super) services: Vec<Service>,
    pub(super) events: Vec<(u64, Event)>,
    pub(super) replies: Vec<(u32, Reply)>,
    pub(super) announced: u64,
    pub(super) exited: bool,
    /// Ticks in the present simulated second.
    pub(super) ticks: (u64, u64),
    /// Its timers ring so late, in µs.
    pub(super) late: u64,
    /// It does not run at all, since then; true: and its clock stands still.
    pub(super) suspended: Option<(u64, bool)>,
    /// Its clock stood still: until then it may believe in a lease that is over.
    pub(super) excused_until: u64,
    /// Since when its engine has run without standing still.
    pub(super) awake_since: u64,
    /// Since when it is off.
    pub(super) off_since: u64,
    /// Its watchdog resets it then; `None`: it was never petted.
    pub(super) bites_at: Option<u64>,
    /// The version of its configuration.
    pub(super) version: u32,
    /// On its disk: the list of voters that is in force, the shorter one or not.
    pub(super) in_force: bool,
    /// On its disk: the longest leases, and the configuration they were noted under.
    pub(super) leases: ([Duration; GROUPS_MAX], u32),
    /// The runtime directory can be written to.
    pub(super) disk: bool,
    /// Scripts that would have ended while it did not run.
    pub(super) postponed: Vec<(usize, u64)>,
}

impl Machine {
    /// Whether anything happens on it.
    pub(super) fn runs(&self) -> bool {
        self.on && self.suspended.is_none()
    }
}
