//! What a simulated cluster is made of.
use crate::core::id::{GroupId, NodeId};
use crate::core::seal::Keys;
use crate::core::time::Duration;
use crate::core::wire::NameHash;
use crate::core::{Config, GroupSettings, Rule, Settings, StopFailure};

/// The cluster's tag.
pub(super) const TAG: u32 = 0x5151;
/// Its key.
pub(super) const KEY: [u8; 32] = [42; 32];

/// The settings of a simulated cluster; times in µs.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Everything random follows from it.
    pub seed: u64,
    /// Machines.
    pub nodes: usize,
    /// Further machines that are copies of the first ones, names included; off until powered on.
    pub clones: usize,
    /// Machines that vote and own nothing; numbered after the copies.
    pub witnesses: usize,
    /// Links between them.
    pub links: usize,
    /// Groups; group 0 prefers node 0, group 1 prefers node 1, and so on in turn.
    pub groups: usize,
    /// Between two heartbeats.
    pub interval: u64,
    /// Silence after which a node is late.
    pub warn: u64,
    /// Silence after which a node is dead.
    pub dead: u64,
    /// How long a starting node waits for the others.
    pub initial_dead: u64,
    /// How long the preferred node must be stable.
    pub failback_delay: u64,
    /// Whether groups return on their own.
    pub failback: bool,
    /// What becomes of a group whose stop failed.
    pub stop_failure: StopFailure,
    /// Under `fencing`: how long the node that does not shoot first waits.
    pub fence_delay: u64,
    /// Timeout of each machine's watchdog, if they have one.
    pub watchdog: Option<u64>,
    /// How long a machine's reset of itself takes, if it can.
    pub reset_takes: Option<u64>,
    /// Who may own a group.
    pub rule: Rule,
    /// The longest time that a stop takes, as the core is told.
    pub stop_budget: u64,
    /// By odd versions of the configuration it is so many times longer.
    pub stretch: u64,
    /// A voter without memory grants nothing for at least so long.
    pub blackout: u64,
    /// Gain of each node's clock, in µs per second.
    pub drift: Vec<i64>,
    /// From an input to the engine's wake: at most so long, in µs.
    pub latency: u64,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            seed: 1,
            nodes: 2,
            clones: 0,
            witnesses: 0,
            links: 2,
            groups: 1,
            interval: 20_000,
            warn: 60_000,
            dead: 200_000,
            initial_dead: 3_000_000,
            failback_delay: 1_000_000,
            failback: false,
            stop_failure: StopFailure::Block,
            fence_delay: 0,
            watchdog: None,
            reset_takes: None,
            rule: Rule::AssumeDead,
            stop_budget: 200_000,
            stretch: 1,
            blackout: 0,
            drift: vec![0, 0],
            latency: 20,
        }
    }
}

impl Setup {
    /// From this version on the list of voters is shorter by one.
    pub const SHORTER: u32 = 2;

    /// The core's settings for one node.
    ///
    /// # Panics
    /// If the settings break the core's rules: the caller's mistake.
    pub fn config(&self, node: usize) -> Config {
        self.version(node, 0, true)
    }

    /// Another version of the cluster-wide configuration; a number from [`SHORTER`](Self::SHORTER)
    /// on lacks the last witness, too. `in_force`: all nodes were heard showing its voters.
    ///
    /// # Panics
    /// If the settings break the core's rules: the caller's mistake.
    pub fn version(&self, node: usize, version: u32, in_force: bool) -> Config {
        let shorter = version >= Setup::SHORTER;
        let id = |node: usize| NodeId::new(node % self.nodes).expect("nodes are few");
        let group = |index: usize| GroupSettings {
            name: NameHash(u32::try_from(index).expect("groups are few")),
            prefer: (0..self.nodes).map(|place| id(index + place)).collect(),
            failback: self.failback,
            stop_budget: Duration::from_micros(self.budget(version)),
            ask: false,
            reset: self.reset_takes.is_some(),
        };
        let settings = Settings {
            me: id(node),
            nodes: self.nodes,
            witnesses: (0..self.witnesses - usize::from(shorter))
                .map(super::World::witness_name)
                .collect(),
            in_force,
            interval: Duration::from_micros(self.interval),
            warn: Duration::from_micros(self.warn),
            dead: Duration::from_micros(self.dead),
            initial_dead: Duration::from_micros(self.initial_dead),
            failback_delay: Duration::from_micros(self.failback_delay),
            rule: self.rule,
            blackout: Duration::from_micros(self.blackout),
            stop_failure: self.stop_failure,
            fence_delay: Duration::from_micros(self.fence_delay),
            fence_retry: Duration::from_micros(10 * self.dead),
            reset_takes: self.reset_takes.map(Duration::from_micros),
            watchdog: self.watchdog.map(Duration::from_micros),
            references: 0,
            settle: None,
            groups: (0..self.groups).map(group).collect(),
            every: (0..self.links).map(|_| 1).collect(),
            tag: TAG,
            digest: 7 + version,
            voters_digest: 9 + u32::from(shorter),
            keys: Keys::new(1, &[(1, KEY)]).expect("one key"),
        };
        Config::new(settings).expect("valid settings")
    }

    /// What a stop may take by this version: odd ones have longer leases.
    fn budget(&self, version: u32) -> u64 {
        let longer = version % 2 == 1 && self.rule == Rule::Majority;
        if longer { self.stop_budget * self.stretch } else { self.stop_budget }
    }

    /// All machines.
    pub fn machines(&self) -> usize {
        self.nodes + self.clones + self.witnesses
    }

    /// Those that are copies.
    pub fn copies(&self) -> std::ops::Range<usize> {
        self.nodes..self.nodes + self.clones
    }

    /// Whether nothing but a stop or a reset ends what runs: no gate closes.
    pub fn is_strict(&self) -> bool {
        self.rule == Rule::Fencing || self.watchdog.is_some()
    }

    /// The lease that the core computes, in µs.
    pub fn lease(&self) -> u64 {
        self.config(0).lease(Setup::group(0)).micros()
    }

    /// The longest lease of all versions, in µs.
    pub fn longest_lease(&self) -> u64 {
        self.version(0, 1, true).lease(Setup::group(0)).micros()
    }

    /// The group of this index.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn group(index: usize) -> GroupId {
        GroupId::new(index).expect("a group of the table")
    }
}
