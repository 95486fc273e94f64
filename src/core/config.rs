//! What the core is told at its birth, checked once.
use super::id::{GroupId, Incarnation, LinkSet, NodeId, NodeSet};
use super::limits::{GROUPS_MAX, LINKS_MAX, VOTERS_MAX};
use super::mutation::{Mutation, on};
use super::seal::Keys;
use super::time::{Duration, Instant};
use super::wire::NameHash;
use heapless::Vec;

/// The raw settings; [`Config::new`] checks them against each other.
#[derive(Clone)]
pub struct Settings {
    /// This node.
    pub me: NodeId,
    /// How many nodes there are, this one included: 2 to 8, numbered from 0.
    pub nodes: usize,
    /// The witnesses' names; they are numbered from the last voter downwards, so that a list with
    /// one node more or less calls them the same.
    pub witnesses: Vec<NameHash, VOTERS_MAX>,
    /// Every node was once heard showing this list of voters (`majority`): claims may be made.
    pub in_force: bool,
    /// Between two heartbeats.
    pub interval: Duration,
    /// Silence after which a node is late.
    pub warn: Duration,
    /// Silence after which a node is dead.
    pub dead: Duration,
    /// How long a starting node waits for the others.
    pub initial_dead: Duration,
    /// How long the preferred node must have been stable before a group returns to it.
    pub failback_delay: Duration,
    /// Who may own a group.
    pub rule: Rule,
    /// Under `majority`: a voter without memory of this boot grants nothing for at least so long,
    /// its own lease and the claim's if they are longer.
    pub blackout: Duration,
    /// What becomes of a group that could not be stopped.
    pub stop_failure: StopFailure,
    /// Under `fencing`: how long the node that does not shoot first waits.
    pub fence_delay: Duration,
    /// A fence that failed is tried again after so long.
    pub fence_retry: Duration,
    /// The longest time from [`Reset`](super::io::Watchdog::Reset) until nothing runs here any
    /// more; `None`: this node cannot reset itself.
    pub reset_takes: Option<Duration>,
    /// Timeout of the watchdog that is to be petted; `None`: there is none.
    pub watchdog: Option<Duration>,
    /// References that are configured, a group of them counting one.
    pub references: u8,
    /// How long a better connected node must be so before it gets the groups; `None`: references
    /// move nothing.
    pub settle: Option<Duration>,
    /// The groups.
    pub groups: Vec<GroupSettings, GROUPS_MAX>,
    /// For each link: it carries every n-th heartbeat (1: all of them). As many as there are links.
    pub every: Vec<u8, LINKS_MAX>,
    /// Hash of the cluster's name.
    pub tag: u32,
    /// Digest of the cluster-wide configuration.
    pub digest: u32,
    /// Digest of the list of voters.
    pub voters_digest: u32,
    /// Keys that seal the frames.
    pub keys: Keys,
}

/// The settings of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// Hash of the group's name: what it is called in frames and in memory.
    pub name: NameHash,
    /// Nodes that may own it, best first.
    pub prefer: Vec<NodeId, VOTERS_MAX>,
    /// Whether it returns to the best node on its own.
    pub failback: bool,
    /// The longest time its stop takes.
    pub stop_budget: Duration,
    /// Whether the LAN is asked for its addresses before it is taken from a silent node.
    pub ask: bool,
    /// Whether this node is to reset itself when the lease ends before the group is stopped.
    pub reset: bool,
}

/// What becomes of a group that could not be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum StopFailure {
    /// It is released all the same.
    Release,
    /// It stays claimed, and the stop is tried again.
    Block,
    /// This node resets itself.
    Reset,
    /// It stays claimed; the other node fences this one.
    Fence,
}

/// Who may own a group (design: quorum rules).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Rule {
    /// Exactly two nodes; a silent peer is assumed dead. Not safe in a partition.
    AssumeDead,
    /// Exactly two nodes; a group is taken from a silent peer only by a proof that it is off.
    Fencing,
    /// Three to eight voters; a group belongs to whom a majority grants it, for as long as it does.
    Majority,
}

/// Who this node is this time.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// 64 random bits, drawn at this start.
    pub incarnation: Incarnation,
    /// What an earlier incarnation of this boot remembered last, if anything.
    pub memory: Option<&'a [u8]>,
    /// Until when that incarnation's engine vouched for each group.
    pub held_until: [Instant; GROUPS_MAX],
    /// Seed of the back-off's randomness.
    pub seed: u64,
}

/// Why settings are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// `assume-dead` and `fencing` are for exactly two nodes, `majority` for three to eight voters.
    Voters,
    /// This node is not among the nodes, or a group prefers somebody who is not.
    Node,
    /// `stop_failure` or a group asks for a reset, which this node cannot do.
    Reset,
    /// interval < warn < dead ≤ an hour does not hold, or the interval is shorter than 1 ms.
    Times,
    /// A link that carries every zeroth heartbeat.
    Link,
}

/// Checked settings.
#[derive(Clone)]
pub struct Config(Settings);

impl Config {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ConfigError`] names the first rule that they break.
    pub fn new(settings: Settings) -> Result<Config, ConfigError> {
        let known = |node: &NodeId| node.index() < settings.nodes;
        let voters = settings.nodes + settings.witnesses.len();
        let right = match settings.rule {
            Rule::AssumeDead | Rule::Fencing => settings.nodes == 2 && voters == 2,
            Rule::Majority => settings.nodes >= 2 && (3..=VOTERS_MAX).contains(&voters),
        };
        if !right {
            return Err(ConfigError::Voters);
        }
        let resets = settings.stop_failure == StopFailure::Reset
            || settings.groups.iter().any(|group| group.reset);
        if resets && settings.reset_takes.is_none() {
            return Err(ConfigError::Reset);
        }
        let preferred = settings.groups.iter().flat_map(|group| group.prefer.iter());
        if !known(&settings.me) || !preferred.into_iter().all(known) {
            return Err(ConfigError::Node);
        }
        let hour = Duration::from_millis(3_600_000);
        let ordered = settings.interval < settings.warn && settings.warn < settings.dead;
        if !ordered || settings.dead > hour || settings.interval < Duration::from_millis(1) {
            return Err(ConfigError::Times);
        }
        if settings.every.contains(&0) {
            return Err(ConfigError::Link);
        }
        Ok(Config(settings))
    }

    /// Other keys from now on.
    pub(super) fn rekey(&mut self, keys: Keys) {
        self.0.keys = keys;
    }

    #[cfg(test)]
    pub(super) fn set_voters_digest(&mut self, digest: u32) {
        self.0.voters_digest = digest;
    }

    /// All the nodes but this one.
    pub fn others(&self) -> impl Iterator<Item = NodeId> + use<> {
        let (nodes, me) = (self.0.nodes, self.0.me);
        NodeId::all().take(nodes).filter(move |node| *node != me)
    }

    /// All the voters but this node.
    pub fn voters(&self) -> impl Iterator<Item = NodeId> + use<> {
        let me = self.0.me;
        self.members().iter().filter(move |node| *node != me)
    }

    /// All the voters.
    pub fn members(&self) -> NodeSet {
        let witnesses = NodeId::all().skip(VOTERS_MAX - self.0.witnesses.len().min(VOTERS_MAX));
        witnesses.fold(NodeSet::first(self.0.nodes), NodeSet::with)
    }

    /// The number of the witness at `place` of the list of witnesses.
    pub fn witness(place: usize) -> Option<NodeId> {
        NodeId::new((VOTERS_MAX - 1).checked_sub(place)?)
    }

    /// The groups' names, in order.
    pub fn names(&self) -> impl Iterator<Item = NameHash> + Clone + '_ {
        self.0.groups.iter().map(|group| group.name)
    }

    /// The groups' numbers.
    pub fn group_ids(&self) -> impl Iterator<Item = GroupId> + use<> {
        GroupId::all().take(self.0.groups.len())
    }

    /// All the links.
    pub fn links(&self) -> LinkSet {
        LinkSet::first(self.0.every.len())
    }

    /// Nodes that may own `group`, best first.
    pub fn prefer(&self, group: GroupId) -> &[NodeId] {
        self.0.groups.get(group.index()).map_or(&[], |group| &group.prefer)
    }

    /// The lease of `group`: detection, one interval and a round trip, and the stop, or the
    /// watchdog if that takes longer; longer by what [`counted`](Self::counted) takes away.
    pub fn lease(&self, group: GroupId) -> Duration {
        let round_trip = self.0.interval;
        let last = self.stop_budget(group).max(self.0.watchdog.unwrap_or_default());
        let needed = self.0.dead + self.0.interval + round_trip + last;
        needed.ratio(98, 96)
    }

    /// What its owner counts of the lease: each of two clocks may be off by 1 %, so that the
    /// voter's view never ends first.
    pub fn counted(&self, group: GroupId) -> Duration {
        let lease = self.lease(group);
        if on(Mutation::NoDrift) { lease } else { lease - lease.ratio(2, 98) }
    }

    /// The longest time that a stop of `group` takes, and the reset after one that hangs: it begins
    /// so long before the lease ends.
    pub fn stop_budget(&self, group: GroupId) -> Duration {
        let Some(group) = self.0.groups.get(group.index()) else { return Duration::ZERO };
        group.stop_budget + self.reset_budget(group)
    }

    /// How long before the lease's end this node resets itself if `group` is not stopped then.
    fn reset_budget(&self, group: &GroupSettings) -> Duration {
        self.0.reset_takes.filter(|_| group.reset).unwrap_or_default()
    }

    /// When this node must reset itself if `group` is not stopped and its lease ends at `end`.
    pub(super) fn reset_at(&self, group: GroupId, end: Instant) -> Option<Instant> {
        let group = self.0.groups.get(group.index()).filter(|group| group.reset)?;
        Some(end - self.reset_budget(group))
    }

    /// How long the LAN is asked for a silent node's addresses: without an answer for so long it is
    /// believed.
    pub fn ask_window(&self) -> Duration {
        self.0.dead.ratio(1, 4).max(Duration::from_millis(5)).min(Duration::from_millis(1000))
    }

    /// How many other voters make a majority together with this one.
    pub fn others_needed(&self) -> usize {
        let voters = self.0.nodes + self.0.witnesses.len();
        if on(Mutation::HalfIsEnough) { (voters - 1) / 2 } else { voters / 2 }
    }
}

impl ::core::ops::Deref for Config {
    type Target = Settings;
    fn deref(&self) -> &Settings {
        &self.0
    }
}
