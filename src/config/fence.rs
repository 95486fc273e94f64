//! Fencing: devices that switch a node's power off, and what a machine does to itself.
use super::diagnostic::{At, Located, Report};
use super::raw::Raw;
use super::suggest::did_you_mean;
use super::{Config, Rule, StopFailure, format_duration};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How long one try may take unless something else is written.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// How often a device is tried unless something else is written.
pub const TRIES: u32 = 1;
/// Between two self-tests unless something else is written.
pub(super) const TEST_EVERY: Duration = Duration::from_secs(600);
/// How long the self-fence command takes at most unless something else is written.
pub(super) const TAKES: Duration = Duration::from_secs(1);
/// How long what is stored in a node keeps it running unless something else is written.
pub(super) const SETTLE: Duration = Duration::from_secs(1);
/// Devices of one configuration.
const DEVICES_MAX: usize = 32;

/// Agents of fence-agents that leave the machine running, and what they do instead.
const NOT_POWER: [(&str, &str); 9] = [
    ("fence_ifmib", "cuts a network"),
    ("fence_brocade", "cuts a storage network"),
    ("fence_cisco_mds", "cuts a storage network"),
    ("fence_sanbox2", "cuts a storage network"),
    ("fence_scsi", "takes disks away"),
    ("fence_mpath", "takes disks away"),
    ("fence_kdump", "only waits for a crash"),
    ("fence_heuristics_ping", "only asks"),
    ("fence_ack_manual", "only asks: that is `latido confirm-dead`"),
];
/// Devices that answer "done" although nothing is proven.
const NO_PROOF: [(&str, &str); 7] = [
    ("fence_dummy", "switches nothing: it is made for tests"),
    ("null", "switches nothing: it is made for tests"),
    ("meatware", "asks a person: use `latido confirm-dead`"),
    ("ssh", "asks a machine that may not answer any more to restart itself"),
    ("external/ssh", "asks a machine that may not answer any more to restart itself"),
    ("external/kdumpcheck", "only waits for a crash"),
    ("suicide", "restarts the machine that runs it, not the other one"),
];

/// Everything about fencing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fencing {
    /// The devices, in the order in which they are tried.
    pub devices: Vec<Device>,
    /// How long the node that is not the first to shoot waits (design §8).
    pub delay: Duration,
    /// How this machine ends itself when a resource cannot be stopped.
    pub own: Option<SelfFence>,
}

/// Something that switches the power of nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Whose power: indices into [`Config::nodes`].
    pub nodes: Vec<usize>,
    /// What it is.
    pub kind: DeviceKind,
    /// How it makes sure that a node runs nothing.
    pub method: Method,
    /// How long one try may take: switching off and the confirmation.
    pub timeout: Duration,
    /// How often it is tried before the next device is.
    pub tries: u32,
    /// Between two self-tests.
    pub test_every: Duration,
    /// Whether the node is switched on again.
    pub on: bool,
}

/// What is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// An external command (docs/fencing.md).
    Command(Vec<String>),
    /// A program of fence-agents: options on its standard input.
    Agent {
        /// Name or path.
        agent: String,
        /// Its options.
        options: Options,
    },
    /// A plug-in of cluster-glue's `stonith`.
    Stonith {
        /// Its type, such as `external/ipmi`.
        plugin: String,
        /// How it is configured.
        parameters: Parameters,
    },
    /// A relay on a pin of this machine.
    Gpio(Relay),
}

/// A relay in a node's power line: active cuts the power.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// The pin that drives it.
    pub pin: String,
    /// The power comes back by itself after so long; `None`: it is held off until it is to come.
    pub pulse: Option<Duration>,
    /// The pin that reads active while the node has power.
    pub sense: Option<String>,
    /// What is stored in the node keeps it running for so long.
    pub settle: Duration,
}

/// How a device makes sure that a node runs nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// Off, confirmed, then on.
    #[default]
    Off,
    /// One action that does all of it, for devices that know no other.
    Reset,
}

/// Names and values; among them are passwords, so that they never show.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Options(pub Vec<(String, String)>);

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// How a `stonith` plug-in is configured.
#[derive(Clone, PartialEq, Eq)]
pub enum Parameters {
    /// By names and values.
    Options(Options),
    /// By values in the plug-in's order.
    Line(String),
    /// By a file with such a line.
    File(PathBuf),
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Parameters::Options(options) => options.fmt(f),
            Parameters::Line(_) => f.write_str("Line"),
            Parameters::File(path) => path.fmt(f),
        }
    }
}

/// How this machine ends itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelfFence {
    /// Full path and arguments.
    pub command: Vec<String>,
    /// The machine runs nothing any more so long after the command began.
    pub takes: Duration,
}

/// What was written about fencing.
pub(super) struct RawFencing {
    pub(super) devices: Vec<RawDevice>,
    /// There are more that could not be read, which has been reported.
    pub(super) unread: bool,
    pub(super) delay: Option<Located<Duration>>,
    pub(super) own: Option<SelfFence>,
    /// Where `stop_failure` or the rule stands.
    pub(super) stop_failure_at: At,
    pub(super) rule_at: At,
}

impl RawFencing {
    /// None at all.
    pub(super) fn none(at: At) -> Self {
        RawFencing {
            devices: Vec::new(),
            unread: false,
            delay: None,
            own: None,
            stop_failure_at: at,
            rule_at: at,
        }
    }
}

/// A device as written.
pub(super) struct RawDevice {
    pub(super) at: At,
    pub(super) nodes: Vec<Located<String>>,
    /// The indices stand for nothing yet.
    pub(super) device: Device,
}

/// What stands for itself: what the rule promises, by what there is to keep it.
pub(super) fn default_stop_failure(rule: Rule, self_fence: bool) -> StopFailure {
    match rule {
        Rule::AssumeDead => StopFailure::Release,
        Rule::Fencing => StopFailure::Fence,
        Rule::Majority if self_fence => StopFailure::Reset,
        Rule::Majority => StopFailure::Block,
    }
}

impl Device {
    /// How people call it; without anything secret.
    pub fn name(&self) -> String {
        match &self.kind {
            DeviceKind::Command(command) => command.first().cloned().unwrap_or_default(),
            DeviceKind::Agent { agent, options } => {
                let place = |(name, _): &&(String, String)| {
                    matches!(name.as_str(), "ip" | "ipaddr" | "ipport" | "device" | "host")
                };
                let plug = |(name, _): &&(String, String)| matches!(name.as_str(), "plug" | "port");
                let mut text = agent.rsplit('/').next().unwrap_or(agent).to_owned();
                let (place, plug) = (options.0.iter().find(place), options.0.iter().find(plug));
                for (_, value) in place.into_iter().chain(plug) {
                    text.push(' ');
                    text.push_str(value);
                }
                text
            }
            DeviceKind::Stonith { plugin, .. } => format!("stonith {plugin}"),
            DeviceKind::Gpio(relay) => format!("relay {}", relay.pin),
        }
    }

    /// Why its word proves nothing, if it is a device of that kind.
    pub fn proves_nothing(&self) -> Option<&'static str> {
        let name = match &self.kind {
            DeviceKind::Agent { agent, .. } => agent.rsplit('/').next().unwrap_or(agent),
            DeviceKind::Stonith { plugin, .. } => plugin,
            DeviceKind::Command(_) | DeviceKind::Gpio(_) => return None,
        };
        NO_PROOF.iter().find(|(known, _)| *known == name).map(|(_, what)| *what)
    }

    /// The longest time until it has confirmed or failed for good.
    pub fn longest(&self) -> Duration {
        self.timeout.saturating_mul(self.tries)
    }
}

impl Config {
    /// The devices that switch `node`, in their order.
    pub fn devices_of(&self, node: usize) -> impl Iterator<Item = &Device> {
        self.fencing.devices.iter().filter(move |device| device.nodes.contains(&node))
    }

    /// The longest time that fencing `node` takes, all devices failing but the last.
    pub fn fence_time(&self, node: usize) -> Duration {
        self.devices_of(node).map(Device::longest).sum()
    }

    /// The same for the node that takes longest.
    pub fn longest_fence(&self) -> Duration {
        (0..self.nodes.len()).map(|node| self.fence_time(node)).max().unwrap_or_default()
    }
}

/// Checks what was written.
pub(super) fn check(raw: &Raw, report: &mut Report) {
    let fencing = &raw.fencing;
    let known: Vec<&str> = raw.nodes.iter().map(|node| node.value.as_str()).collect();
    if let Some(extra) = fencing.devices.get(DEVICES_MAX) {
        let message = format!("{} devices: at most {DEVICES_MAX}", fencing.devices.len());
        report.error(extra.at, message, "remove some");
    }
    let before = report.errors();
    for device in &fencing.devices {
        check_device(device, &known, report);
    }
    let errors = fencing.unread || report.errors() > before;
    let without = |node: &&&str| !fencing.devices.iter().any(|device| device.switches(node));
    let without: Vec<&str> = known.iter().filter(without).copied().collect();
    let cure = "add a [[fence]] table with its `node` (docs/fencing.md)";
    match raw.rule {
        Rule::Fencing if !errors => {
            for node in &without {
                let message = format!("nothing can switch {node} off: no device names it");
                report.error(fencing.rule_at, message, cure);
            }
            if without.is_empty() {
                check_delay(raw, report);
            }
        }
        Rule::Fencing => {}
        Rule::AssumeDead | Rule::Majority => {
            if let Some(delay) = &fencing.delay {
                let message = "`fence_delay` means nothing without the rule fencing";
                report.error(delay.at, message, "remove it, or write `rule = \"fencing\"`");
            }
        }
    }
    if let (Rule::AssumeDead, Some(first)) = (raw.rule, fencing.devices.first()) {
        let message = "under assume-dead nobody is fenced before a takeover: this device is used \
                       only by hand, with `latido fence`";
        report.warning(first.at, message, "write `rule = \"fencing\"` to be safe in a partition");
    }
    match raw.stop_failure {
        StopFailure::Reset if fencing.own.is_none() && raw.watchdog.is_none() => {
            let message = "stop_failure = \"reset\", but nothing says how this machine resets";
            let cure = "add `[watchdog]`, or `[self_fence]` with a command such as \
                        `[\"/sbin/reboot\", \"-f\", \"-n\"]`";
            report.error(fencing.stop_failure_at, message, cure);
        }
        StopFailure::Fence if raw.rule != Rule::Fencing => {
            let message = "stop_failure = \"fence\" needs the rule fencing: under this one nobody \
                           shoots";
            let cure = "write \"reset\" (this machine resets itself) or \"block\"";
            report.error(fencing.stop_failure_at, message, cure);
        }
        _ => {}
    }
}

impl RawDevice {
    fn switches(&self, node: &str) -> bool {
        self.nodes.iter().any(|one| one.value == node)
    }
}

fn check_device(raw: &RawDevice, known: &[&str], report: &mut Report) {
    for (index, node) in raw.nodes.iter().enumerate() {
        if !known.contains(&node.value.as_str()) {
            let all = format!("write one of the nodes: {}", known.join(", "));
            let cure = did_you_mean(&node.value, known, &all);
            report.error(node.at, format!("there is no node {}", node.value), cure);
        }
        if raw.nodes[..index].iter().any(|other| other.value == node.value) {
            report.error(node.at, format!("{} is there twice", node.value), "name it once");
        }
    }
    let name = match &raw.device.kind {
        DeviceKind::Command(_) => return,
        DeviceKind::Gpio(relay) => return check_relay(raw, relay, report),
        DeviceKind::Agent { agent, .. } => agent.rsplit('/').next().unwrap_or(agent),
        DeviceKind::Stonith { plugin, .. } => plugin,
    };
    let power = "a fence is power: use an outlet, a relay or a management board (docs/fencing.md)";
    if let Some((_, what)) = NOT_POWER.iter().find(|(known, _)| *known == name) {
        let message = format!("{name} {what}: the node would go on and believe");
        report.error(raw.at, message, power);
    }
    if let Some(what) = raw.device.proves_nothing() {
        report.warning(raw.at, format!("{name} proves nothing: it {what}"), power);
    }
}

fn check_relay(raw: &RawDevice, relay: &Relay, report: &mut Report) {
    let takes = relay.settle + relay.pulse.unwrap_or_default();
    if raw.device.timeout <= takes {
        let message = format!(
            "the time limit ({}) ends before the relay has done its work ({})",
            format_duration(raw.device.timeout),
            format_duration(takes)
        );
        report.error(raw.at, message, "a longer `timeout`, or a shorter `settle` or `pulse`");
    }
    if relay.sense.is_none() {
        let message = "nothing tells whether this relay has cut the power: that it was switched \
                       counts as the proof";
        let cure = "wire the node's power to a pin and name it as `sense`";
        report.warning(raw.at, message, cure);
    }
}

/// Two that shoot each other leave nobody.
fn check_delay(raw: &Raw, report: &mut Report) {
    let Some(delay) = &raw.fencing.delay else { return };
    if !raw.timing.readable {
        return;
    }
    let (least, sum) = least_delay(raw);
    let dead = raw.timing.dead.value;
    let show = format_duration;
    let cure = format!("{} or more, or leave it out", show(least + dead));
    if delay.value <= least {
        let message = format!(
            "fence_delay ({}) must exceed the longest fence and two intervals, {sum} = {}, or the \
             nodes may shoot each other",
            show(delay.value),
            show(least)
        );
        report.error(delay.at, message, cure);
    } else if delay.value < least + dead {
        let message = format!(
            "fence_delay ({}) is shorter than the longest fence, two intervals and dead ({} + {}): \
             a node that notices late may be shot by the one that it is about to shoot",
            show(delay.value),
            show(least),
            show(dead)
        );
        report.warning(delay.at, message, cure);
    }
}

/// What the delay must exceed, and the sum in words.
fn least_delay(raw: &Raw) -> (Duration, String) {
    let of = |node: &Located<String>| {
        let devices: Vec<&Device> = raw
            .fencing
            .devices
            .iter()
            .filter(|device| device.switches(&node.value))
            .map(|device| &device.device)
            .collect();
        let time: Duration = devices.iter().map(|device| device.longest()).sum();
        let words: Vec<String> = devices
            .iter()
            .map(|one| format!("{} x {} ({})", one.tries, format_duration(one.timeout), one.name()))
            .collect();
        (time, words.join(" + "))
    };
    let longest = raw.nodes.iter().map(of).max_by_key(|(time, _)| *time);
    let (time, words) = longest.unwrap_or_default();
    let interval = raw.timing.interval.value;
    (time + interval * 2, format!("{words} + 2 x {}", format_duration(interval)))
}

/// The checked fencing. `nodes` are sorted.
pub(super) fn make(raw: &Raw, nodes: &[String]) -> Fencing {
    let delay = match (&raw.fencing.delay, raw.rule) {
        (Some(delay), _) => delay.value,
        (None, Rule::Fencing) => least_delay(raw).0 + raw.timing.dead.value,
        (None, Rule::AssumeDead | Rule::Majority) => Duration::ZERO,
    };
    let device = |device: &RawDevice| {
        let place = |node: &Located<String>| nodes.iter().position(|one| *one == node.value);
        Device { nodes: device.nodes.iter().filter_map(place).collect(), ..device.device.clone() }
    };
    Fencing {
        devices: raw.fencing.devices.iter().map(device).collect(),
        delay,
        own: raw.fencing.own.clone(),
    }
}
