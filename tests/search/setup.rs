//! What is searched: a cluster, how long, and how much may go wrong. Times in µs.
use latido::core::id::{GroupId, Incarnation, NodeId};
use latido::core::seal::Keys;
use latido::core::time::{Duration, Instant};
use latido::core::wire::NameHash;
use latido::core::witness::{Key, Witness};
use latido::core::{Config, GroupSettings, Rule, Settings, StopFailure};

/// Between two heartbeats.
pub(crate) const INTERVAL: u64 = 1_000_000;
/// How long a prompt frame takes.
pub(crate) const PROMPT: u64 = 10_000;
/// How long a start, a probe and a quick stop take.
pub(crate) const QUICK: u64 = 100_000;
/// How long a slow fence takes, and a late report of one.
pub(crate) const SLOW: u64 = 4 * INTERVAL;
/// The longest time that a stop takes.
pub(crate) const STOP_BUDGET: u64 = 500_000;

const TAG: u32 = 0x5151;
const KEY: [u8; 32] = [42; 32];
const WITNESS: NameHash = NameHash(99);

/// How much may go wrong in one run. Ends of faults (mend, revive, thaw, power on) cost nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Faults {
    /// In all.
    pub(crate) all: u8,
    /// Frames lost, late or doubled.
    pub(crate) frames: u8,
    /// Daemons killed.
    pub(crate) kills: u8,
    /// Power cuts.
    pub(crate) cuts: u8,
    /// Machines whose processes stand still.
    pub(crate) freezes: u8,
    /// Cables cut, one pair or one machine, one way or both.
    pub(crate) cables: u8,
    /// Commands by the operator.
    pub(crate) commands: u8,
    /// Fences that fail or take long, or whose confirmation does.
    pub(crate) shots: u8,
    /// Runtime directories that cannot be written.
    pub(crate) writes: u8,
}

impl Faults {
    pub(crate) const NONE: Faults = Faults::any(0);

    /// Anything, but no more than `all`.
    pub(crate) const fn any(all: u8) -> Faults {
        Faults {
            all,
            frames: all,
            kills: all,
            cuts: all,
            freezes: all,
            cables: all,
            commands: all,
            shots: all,
            writes: all,
        }
    }
}

/// Where the search begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// All machines have been on for long, and node 0 owns the group.
    Steady,
    /// The machines are switched on.
    Boot,
}

/// A search.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) name: &'static str,
    pub(crate) rule: Rule,
    pub(crate) nodes: usize,
    /// Voters that own nothing, numbered behind the nodes.
    pub(crate) witnesses: usize,
    /// Nodes that may own the group; the others only vote.
    pub(crate) owners: usize,
    pub(crate) dead: u64,
    pub(crate) initial_dead: u64,
    /// Gain of each node's clock, in µs per second.
    pub(crate) drift: Vec<i64>,
    /// How late a late frame is.
    pub(crate) late: Vec<u64>,
    /// A stop takes so long.
    pub(crate) stop_takes: u64,
    /// Under `fencing`: how long the node that does not shoot first waits.
    pub(crate) fence_delay: u64,
    pub(crate) begin: Begin,
    /// Faults happen at multiples of this.
    pub(crate) grid: u64,
    /// How long the search looks ahead.
    pub(crate) horizon: u64,
    pub(crate) faults: Faults,
    pub(crate) keys: Keys,
}

impl Setup {
    /// Three nodes under `majority`; two of them may own the group.
    pub(crate) fn majority() -> Setup {
        Setup {
            name: "3 nodes, majority",
            rule: Rule::Majority,
            nodes: 3,
            witnesses: 0,
            owners: 2,
            dead: 3 * INTERVAL,
            initial_dead: 3 * INTERVAL,
            drift: vec![-10_000, 10_000, 10_000],
            late: vec![INTERVAL + INTERVAL / 2, 3 * INTERVAL - 2 * PROMPT],
            stop_takes: STOP_BUDGET,
            fence_delay: 0,
            begin: Begin::Steady,
            grid: INTERVAL / 2,
            horizon: 14 * INTERVAL,
            faults: Faults::any(2),
            keys: Keys::new(1, &[(1, KEY)]).expect("one key"),
        }
    }

    /// Two nodes and a witness under `majority`.
    pub(crate) fn witness() -> Setup {
        Setup {
            name: "2 nodes and a witness, majority",
            nodes: 2,
            witnesses: 1,
            ..Setup::majority()
        }
    }

    /// Two nodes under `fencing`.
    pub(crate) fn fencing() -> Setup {
        Setup {
            name: "2 nodes, fencing",
            rule: Rule::Fencing,
            nodes: 2,
            owners: 2,
            drift: vec![-10_000, 10_000],
            // Longer than a prompt fence takes, shorter than a slow one: both may shoot.
            fence_delay: 3 * INTERVAL,
            grid: INTERVAL,
            horizon: 20 * INTERVAL,
            ..Setup::majority()
        }
    }

    /// The core's settings for one node.
    pub(crate) fn config(&self, node: usize) -> Config {
        let id = |node: usize| NodeId::new(node).expect("nodes are few");
        let group = GroupSettings {
            name: NameHash(77),
            prefer: (0..self.owners).map(id).collect(),
            failback: false,
            stop_budget: Duration::from_micros(STOP_BUDGET),
            ask: false,
            reset: false,
        };
        let settings = Settings {
            me: id(node),
            nodes: self.nodes,
            witnesses: (0..self.witnesses).map(|_| WITNESS).collect(),
            in_force: true,
            interval: Duration::from_micros(INTERVAL),
            warn: Duration::from_micros(2 * INTERVAL),
            dead: Duration::from_micros(self.dead),
            initial_dead: Duration::from_micros(self.initial_dead),
            failback_delay: Duration::from_micros(self.dead),
            rule: self.rule,
            blackout: Duration::ZERO,
            stop_failure: StopFailure::Block,
            fence_delay: Duration::from_micros(self.fence_delay),
            fence_retry: Duration::from_micros(2 * INTERVAL),
            reset_takes: None,
            watchdog: None,
            references: 0,
            settle: None,
            groups: [group].into_iter().collect(),
            every: [1].into_iter().collect(),
            tag: TAG,
            digest: 7,
            voters_digest: 9,
            keys: self.keys.clone(),
        };
        Config::new(settings).expect("valid settings")
    }

    /// All machines.
    pub(crate) fn machines(&self) -> usize {
        self.nodes + self.witnesses
    }

    /// The number of a machine among the voters.
    pub(crate) fn voter(&self, machine: usize) -> NodeId {
        let id = if machine < self.nodes {
            NodeId::new(machine)
        } else {
            Config::witness(machine - self.nodes)
        };
        id.expect("machines are few")
    }

    /// A witness that starts now.
    pub(crate) fn new_witness(incarnation: Incarnation, now: Instant) -> Witness<1> {
        let key = Key { tag: TAG, number: 1, key: KEY };
        Witness::new(WITNESS, &[key], incarnation, now).expect("one key")
    }

    /// The one group.
    pub(crate) fn group() -> GroupId {
        GroupId::new(0).expect("one group")
    }
}
