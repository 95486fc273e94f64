//! From the checked configuration to the core's settings.
use crate::config::lease::Silencer;
use crate::config::{Config, Failback, Group, Resource, Rule, StopFailure};
use crate::core::id::NodeId;
use crate::core::seal::Keys;
use crate::core::time::Duration;
use crate::core::wire::NameHash;
use crate::core::{self, ConfigError, GroupSettings, Settings};

/// A voter that has lost its memory may have granted by a longer lease than its configuration says
/// now: it grants nothing for at least so long.
const BLACKOUT: Duration = Duration::from_millis(10_000);

/// A fence that failed is tried again after so long.
const FENCE_RETRY: Duration = Duration::from_millis(10_000);

/// The core's settings for this node. `in_force`: the list of voters was shown by every node.
/// `silencer`: what ends its addresses here; another node may have another, so every claim says how
/// long its lease is.
///
/// # Errors
/// What the configuration check should have refused.
pub(super) fn settings(
    config: &Config,
    me: usize,
    in_force: bool,
    silencer: Silencer,
) -> Result<crate::core::Config, String> {
    let node = |index: usize| NodeId::new(index).ok_or("more than 8 nodes".to_owned());
    let groups = config.groups.iter().map(|group| {
        Ok(GroupSettings {
            name: NameHash(name_hash(&group.name)),
            prefer: group.prefer.iter().map(|index| node(*index)).collect::<Result<_, String>>()?,
            failback: group.failback == Failback::Auto,
            stop_budget: span(config.stop_budget(group, silencer)),
            ask: config.probe && has_address(group),
            reset: config.reset_budget(group).is_some(),
        })
    });
    let timing = &config.timing;
    let settings = Settings {
        me: node(me)?,
        nodes: config.nodes.len(),
        witnesses: config.witnesses.iter().map(|name| NameHash(name_hash(name))).collect(),
        in_force,
        interval: span(timing.interval),
        warn: span(timing.warn),
        dead: span(timing.dead),
        initial_dead: span(timing.initial_dead),
        failback_delay: span(timing.failback_delay),
        rule: match config.rule {
            Rule::AssumeDead => crate::core::Rule::AssumeDead,
            Rule::Fencing => crate::core::Rule::Fencing,
            Rule::Majority => crate::core::Rule::Majority,
        },
        blackout: blackout(config),
        stop_failure: match config.stop_failure {
            StopFailure::Release => core::StopFailure::Release,
            StopFailure::Block => core::StopFailure::Block,
            StopFailure::Reset => core::StopFailure::Reset,
            StopFailure::Fence => core::StopFailure::Fence,
        },
        fence_delay: span(config.fencing.delay),
        fence_retry: FENCE_RETRY,
        reset_takes: config.reset_takes().map(span),
        watchdog: config.watchdog.as_ref().map(|watchdog| span(watchdog.timeout)),
        references: u8::try_from(config.references.hosts.len()).unwrap_or(u8::MAX),
        settle: config.references.settle.map(span),
        groups: groups.collect::<Result<_, String>>()?,
        every: config.links.iter().map(|link| config.every(link)).collect(),
        tag: config.cluster_tag(),
        digest: config.digest(),
        voters_digest: config.voters_digest(),
        keys: Keys::new(config.keys.active, &config.keys.keys)
            .ok_or("the active key is not among the keys")?,
    };
    crate::core::Config::new(settings).map_err(|error| {
        match error {
            ConfigError::Voters => {
                "rules assume-dead and fencing are for exactly two nodes, majority for three to \
                 eight voters"
            }
            ConfigError::Node => "a group prefers a node that is none",
            ConfigError::Times => "interval < warn < dead does not hold",
            ConfigError::Reset => "a reset is asked for, but nothing can reset this node",
            ConfigError::Link => "a link that never sends",
        }
        .to_owned()
    })
}

/// The lost memory may have been of a claim by a node without the lease gate, which waits longer
/// for its addresses than this one would.
fn blackout(config: &Config) -> Duration {
    let longer = config.groups.iter().filter_map(|group| {
        let lease = |silencer| config.lease(group, silencer).total;
        let (gated, ungated) = (lease(Silencer::Gate), lease(Silencer::Lifetime));
        (ungated > gated).then(|| span(ungated))
    });
    longer.fold(BLACKOUT, Duration::max)
}

/// Whether the LAN can be asked who has it.
fn has_address(group: &Group) -> bool {
    group.resources.iter().any(Resource::is_address)
}

pub(super) fn span(span: std::time::Duration) -> Duration {
    Duration::from_micros(u64::try_from(span.as_micros()).unwrap_or(u64::MAX))
}

fn name_hash(name: &str) -> u32 {
    crate::config::name_hash(name)
}
