//! From the checked configuration to the core's settings.
use crate::config::lease::Silencer;
use crate::config::{Config, Failback, Rule, StopFailure};
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

/// The core's settings for this node. `silencer`: what ends its addresses here; another node may
/// have another, so every claim says how long its lease is.
///
/// # Errors
/// What the configuration check should have refused.
pub(super) fn settings(
    config: &Config,
    me: usize,
    silencer: Silencer,
) -> Result<crate::core::Config, String> {
    let node = |index: usize| NodeId::new(index).ok_or("more than 8 nodes".to_owned());
    let groups = config.groups.iter().map(|group| {
        Ok(GroupSettings {
            name: NameHash(name_hash(&group.name)),
            prefer: group.prefer.iter().map(|index| node(*index)).collect::<Result<_, String>>()?,
            failback: group.failback == Failback::Auto,
            stop_budget: span(config.stop_budget(group, silencer)),
            ask: false,
            reset: false,
        })
    });
    let timing = &config.timing;
    let settings = Settings {
        me: node(me)?,
        nodes: config.nodes.len(),
        witnesses: heapless::Vec::new(),
        in_force: true,
        interval: span(timing.interval),
        warn: span(timing.warn),
        dead: span(timing.dead),
        initial_dead: span(timing.initial_dead),
        failback_delay: span(timing.failback_delay),
        rule: match config.rule {
            Rule::AssumeDead => crate::core::Rule::AssumeDead,
            Rule::Majority => crate::core::Rule::Majority,
        },
        blackout: blackout(config),
        stop_failure: match config.stop_failure {
            StopFailure::Release => core::StopFailure::Release,
            StopFailure::Block => core::StopFailure::Block,
        },
        fence_delay: Duration::ZERO,
        fence_retry: FENCE_RETRY,
        reset_takes: None,
        watchdog: None,
        references: 0,
        settle: None,
        groups: groups.collect::<Result<_, String>>()?,
        every: config.links.iter().map(|link| link.medium.every(timing.interval)).collect(),
        tag: config.cluster_tag(),
        digest: config.digest(),
        voters_digest: config.voters_digest(),
        keys: Keys::new(config.keys.active, &config.keys.keys)
            .ok_or("the active key is not among the keys")?,
    };
    crate::core::Config::new(settings).map_err(|error| {
        match error {
            ConfigError::Voters => {
                "rule assume-dead is for exactly two nodes, majority for three to eight"
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

pub(super) fn span(span: std::time::Duration) -> Duration {
    Duration::from_micros(u64::try_from(span.as_micros()).unwrap_or(u64::MAX))
}

fn name_hash(name: &str) -> u32 {
    crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(name.as_bytes())
}
