//! What was written, with its places; both readers fill it, `check` makes a `Config` of it.
use super::diagnostic::{At, Located};
use super::fence::RawFencing;
use super::references::RawReferences;
use super::watchdog::RawWatchdog;
use super::{Failback, Health, Keys, Kind, Log, Medium, Panel, Rule, Source, StopFailure, Wire};
use std::time::Duration;

/// A configuration whose values are well-formed but not yet compared with each other.
pub(super) struct Raw {
    pub(super) source: Source,
    /// Where to point at when something is missing.
    pub(super) whole: At,
    pub(super) cluster: String,
    /// As written, lower-case, without repetitions.
    pub(super) nodes: Vec<Located<String>>,
    pub(super) witnesses: Vec<Located<String>>,
    pub(super) timing: RawTiming,
    pub(super) rule: Rule,
    pub(super) stop_failure: StopFailure,
    /// A takeover must not take longer.
    pub(super) takeover_max: Option<Located<Duration>>,
    pub(super) probe: bool,
    pub(super) references: RawReferences,
    pub(super) fencing: RawFencing,
    pub(super) watchdog: Option<RawWatchdog>,
    pub(super) wires: Vec<Located<Wire>>,
    pub(super) panel: Panel,
    pub(super) health: Option<Health>,
    /// `None`: they could not be read, which has been reported.
    pub(super) keys: Option<Keys>,
    pub(super) links: Vec<Located<Medium>>,
    /// There are more that could not be read, which has been reported.
    pub(super) links_unread: bool,
    pub(super) groups: Vec<RawGroup>,
    pub(super) log: Log,
    pub(super) realtime: Option<u8>,
}

/// Times, each with the place to point at; defaults are filled in.
pub(super) struct RawTiming {
    /// No default stands for a time that could not be read: they can be compared.
    pub(super) readable: bool,
    pub(super) interval: Located<Duration>,
    pub(super) warn: Located<Duration>,
    pub(super) dead: Located<Duration>,
    pub(super) initial_dead: Located<Duration>,
    pub(super) failback_delay: Located<Duration>,
}

/// A group as written.
pub(super) struct RawGroup {
    pub(super) name: Located<String>,
    pub(super) prefer: Vec<Located<String>>,
    pub(super) failback: Failback,
    pub(super) resources: Vec<RawResource>,
}

/// A resource as written.
pub(super) struct RawResource {
    pub(super) at: At,
    pub(super) kind: Kind,
    pub(super) start_timeout: Option<Duration>,
    pub(super) stop_timeout: Option<Duration>,
}
