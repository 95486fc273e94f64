//! The answer to `advise`: what was measured, and by which times.
use super::report::{Facts, SCHEMA};
use crate::core::time::Instant;
use crate::quality::{Measured, Now};
use serde::{Deserialize, Serialize};

/// Everything that an advice needs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MeasuredReport {
    /// True; false stands in an [`Answer`](super::Answer) instead.
    pub ok: bool,
    /// The version of this format.
    pub schema: u32,
    /// Who has measured.
    pub node: String,
    /// File or directory of the configuration.
    pub source: String,
    /// It is Heartbeat's.
    pub heartbeat: bool,
    /// The times in force.
    pub times: Now,
    /// What was measured.
    pub measured: Measured,
}

pub(super) fn report(facts: &Facts, now: Instant) -> MeasuredReport {
    MeasuredReport {
        ok: true,
        schema: SCHEMA,
        node: facts.node.clone(),
        source: facts.source.clone(),
        heartbeat: facts.heartbeat,
        times: facts.times,
        measured: facts.gaps.look(now),
    }
}
