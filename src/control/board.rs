//! What `status` says of a witness on a board of its own.
use crate::core::witness::health::Health;
use serde::{Deserialize, Serialize};

/// What a witness's board says of itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BoardReport {
    /// Version of its firmware.
    pub firmware: String,
    /// Seconds since its start.
    pub uptime_s: u32,
    /// How often it has started.
    pub starts: u32,
    /// Why it started last.
    pub cause: String,
    /// Its supply, where it can be measured.
    pub millivolts: Option<u16>,
}

impl From<Health> for BoardReport {
    fn from(health: Health) -> BoardReport {
        BoardReport {
            firmware: health.version.to_string(),
            uptime_s: health.uptime,
            starts: health.starts,
            cause: health.cause.words().to_owned(),
            millivolts: health.millivolts,
        }
    }
}
