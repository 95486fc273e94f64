//! From the checked configuration to the core's settings.
use crate::config::{Config, Failback, Link, Medium, Rule, StopFailure};
use crate::core::id::NodeId;
use crate::core::seal::Keys;
use crate::core::time::Duration;
use crate::core::{ConfigError, GroupSettings, Settings};

/// Bytes of a usual frame on a serial line, framing included: decides how often it can be sent.
const SERIAL_FRAME: u64 = 150;
/// Bits on the line for each byte: start, eight, stop.
const BITS: u64 = 10;

/// The core's settings for this node.
///
/// # Errors
/// What the configuration check should have refused.
pub(super) fn settings(config: &Config, me: usize) -> Result<crate::core::Config, String> {
    let node = |index: usize| NodeId::new(index).ok_or("more than 8 nodes".to_owned());
    let groups = config.groups.iter().map(|group| {
        let stop = group.resources.iter().map(|resource| resource.stop_timeout).sum();
        Ok(GroupSettings {
            name: name_hash(&group.name),
            prefer: group.prefer.iter().map(|index| node(*index)).collect::<Result<_, String>>()?,
            failback: group.failback == Failback::Auto,
            stop_budget: span(stop),
        })
    });
    let timing = &config.timing;
    let settings = Settings {
        me: node(me)?,
        voters: config.nodes.len(),
        interval: span(timing.interval),
        warn: span(timing.warn),
        dead: span(timing.dead),
        initial_dead: span(timing.initial_dead),
        failback_delay: span(timing.failback_delay),
        rule: match config.rule {
            Rule::AssumeDead => crate::core::Rule::AssumeDead,
        },
        release_on_stop_failure: config.stop_failure == StopFailure::Release,
        groups: groups.collect::<Result<_, String>>()?,
        every: config.links.iter().map(|link| every(link, timing.interval)).collect(),
        tag: config.cluster_tag(),
        digest: config.digest(),
        voters_digest: config.voters_digest(),
        keys: Keys::new(config.keys.active, &config.keys.keys)
            .ok_or("the active key is not among the keys")?,
    };
    crate::core::Config::new(settings).map_err(|error| {
        match error {
            ConfigError::Voters => "rule assume-dead is for exactly two nodes",
            ConfigError::Node => "a group prefers a node that is none",
            ConfigError::Times => "interval < warn < dead does not hold",
            ConfigError::Link => "a link that never sends",
        }
        .to_owned()
    })
}

/// A link carries every n-th heartbeat if it is too slow for all of them.
fn every(link: &Link, interval: std::time::Duration) -> u8 {
    let Medium::Serial { baud, .. } = link.medium else { return 1 };
    let frame_us = SERIAL_FRAME * BITS * 1_000_000 / u64::from(baud.max(1));
    let interval_us = span(interval).micros().max(1);
    // A fifth of the line's time stays free for frames out of turn.
    u8::try_from((frame_us * 5 / 4).div_ceil(interval_us).max(1)).unwrap_or(u8::MAX)
}

pub(super) fn span(span: std::time::Duration) -> Duration {
    Duration::from_micros(u64::try_from(span.as_micros()).unwrap_or(u64::MAX))
}

fn name_hash(name: &str) -> u32 {
    crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration as Span;

    #[test]
    fn slow_serial_lines_carry_every_nth_heartbeat() {
        let line = |baud| Link {
            name: "serial".into(),
            medium: Medium::Serial { device: "/dev/ttyS0".into(), baud },
        };
        assert_eq!(every(&line(115_200), Span::from_millis(100)), 1);
        assert_eq!(every(&line(9600), Span::from_millis(200)), 1);
        assert_eq!(every(&line(9600), Span::from_millis(100)), 2);
        assert_eq!(every(&line(9600), Span::from_millis(10)), 20);
    }
}
