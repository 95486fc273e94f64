//! The lease of a group, and where each part of it comes from (design §6, rule 8).
use super::{Config, Group};
use std::time::Duration;

impl Config {
    /// The longest time that a stop of `group` may take.
    pub fn stop_budget(&self, group: &Group) -> Duration {
        group.resources.iter().map(|resource| resource.stop_timeout).sum()
    }

    /// How long a grant of `group` binds a voter: dead, an interval, a round trip (taken for an
    /// interval) and the stop, and 2/98 more for two clocks that may each be off by 1 %.
    ///
    /// The same as [`crate::core::Config::lease`].
    pub fn lease(&self, group: &Group) -> Duration {
        let timing = &self.timing;
        let needed = timing.dead + timing.interval * 2 + self.stop_budget(group);
        needed.saturating_mul(98) / 96
    }

    /// The longest time from an owner's last sign of life until another node starts `group`, under
    /// `majority`: a voter's clock may be slow by 1 %, and the last grant travels for an interval.
    pub fn takeover(&self, group: &Group) -> Duration {
        self.lease(group).saturating_mul(100) / 99 + self.timing.interval
    }
}
