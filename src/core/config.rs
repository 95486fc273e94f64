//! What the core is told at its birth, checked once.
use super::id::{GroupId, Incarnation, LinkSet, NodeId};
use super::limits::{GROUPS_MAX, LINKS_MAX, VOTERS_MAX};
use super::mutation::{Mutation, on};
use super::seal::Keys;
use super::time::{Duration, Instant};
use heapless::Vec;

/// The raw settings; [`Config::new`] checks them against each other.
#[derive(Clone)]
pub struct Settings {
    /// This node.
    pub me: NodeId,
    /// How many voters there are, this node included: 2 to 8.
    pub voters: usize,
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
    /// Whether a group that could not be stopped is released all the same.
    pub release_on_stop_failure: bool,
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
    /// Hash of the group's name: how a restarted daemon finds it in its memory.
    pub name: u32,
    /// Nodes that may own it, best first.
    pub prefer: Vec<NodeId, VOTERS_MAX>,
    /// Whether it returns to the best node on its own.
    pub failback: bool,
    /// The longest time its stop takes.
    pub stop_budget: Duration,
}

/// Who may own a group (design: quorum rules).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Rule {
    /// Exactly two nodes; a silent peer is assumed dead. Not safe in a partition.
    AssumeDead,
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
    /// `assume-dead` is for exactly two nodes, `majority` for three to eight voters.
    Voters,
    /// This node is not among the voters, or a group prefers somebody who is not.
    Node,
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
        let known = |node: &NodeId| node.index() < settings.voters;
        match settings.rule {
            Rule::AssumeDead if settings.voters != 2 => return Err(ConfigError::Voters),
            Rule::Majority if !(3..=VOTERS_MAX).contains(&settings.voters) => {
                return Err(ConfigError::Voters);
            }
            Rule::AssumeDead | Rule::Majority => {}
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

    /// All the voters but this node.
    pub fn others(&self) -> impl Iterator<Item = NodeId> + use<> {
        let (voters, me) = (self.0.voters, self.0.me);
        NodeId::all().take(voters).filter(move |node| *node != me)
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

    /// Digest of the list of groups (FNV-1a over their names' hashes, in order).
    pub fn names(&self) -> u32 {
        let bytes = self.0.groups.iter().flat_map(|group| group.name.to_le_bytes());
        bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
    }

    /// The lease of `group`: detection, one interval and a round trip, and the stop; longer by what
    /// [`counted`](Self::counted) takes away.
    pub fn lease(&self, group: GroupId) -> Duration {
        let round_trip = self.0.interval;
        let needed = self.0.dead + self.0.interval + round_trip + self.stop_budget(group);
        needed.ratio(98, 96)
    }

    /// What its owner counts of the lease: each of two clocks may be off by 1 %, so that the
    /// voter's view never ends first.
    pub fn counted(&self, group: GroupId) -> Duration {
        let lease = self.lease(group);
        if on(Mutation::NoDrift) { lease } else { lease - lease.ratio(2, 98) }
    }

    /// The longest time that a stop of `group` takes: it begins so long before the lease ends.
    pub fn stop_budget(&self, group: GroupId) -> Duration {
        self.0.groups.get(group.index()).map_or(Duration::ZERO, |group| group.stop_budget)
    }

    /// How many other voters make a majority together with this one.
    pub fn others_needed(&self) -> usize {
        if on(Mutation::HalfIsEnough) { (self.0.voters - 1) / 2 } else { self.0.voters / 2 }
    }
}

impl ::core::ops::Deref for Config {
    type Target = Settings;
    fn deref(&self) -> &Settings {
        &self.0
    }
}
