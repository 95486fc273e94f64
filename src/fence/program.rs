//! How each kind of device is called, and what its answer means.
use super::relay::Relay;
use crate::config::{Device, DeviceKind, Method, Options, Parameters};
use crate::platform::process::End;
use std::cell::RefCell;
use std::process::Command;
use std::time::Duration;

/// Where programs are looked for besides the `PATH`.
const DIRS: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";

/// What is asked of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Switch the node off, and confirm it.
    Off,
    /// Switch it on.
    On,
    /// Off and on in one.
    Reset,
    /// Say whether it has power.
    Status,
    /// Say whether the device could be used.
    Monitor,
}

impl Action {
    pub(super) fn word(self) -> &'static str {
        match self {
            Action::Off => "off",
            Action::On => "on",
            Action::Reset => "reset",
            Action::Status => "status",
            Action::Monitor => "monitor",
        }
    }
}

/// A device, as seen from here: who shoots whom.
pub(super) struct Program {
    pub(super) device: Device,
    pub(super) me: String,
    pub(super) node: String,
    /// It is no program, but a relay of this machine's.
    pub(super) relay: Option<RefCell<Relay>>,
}

impl Program {
    /// The action that makes sure that the node runs nothing.
    pub(super) fn deadly(&self) -> Action {
        match self.device.method {
            Method::Off => Action::Off,
            Method::Reset => Action::Reset,
        }
    }

    /// Whether `off` is confirmed only by a `status` that says so: for agents, which may end
    /// with 0 as soon as the device has taken the order.
    pub(super) fn asks_status(&self) -> bool {
        let told = match &self.device.kind {
            DeviceKind::Agent { .. } => true,
            DeviceKind::Gpio(relay) => relay.sense.is_some(),
            DeviceKind::Command(_) | DeviceKind::Stonith { .. } => false,
        };
        told && self.device.method == Method::Off
    }

    /// The command for an action, and what it is told on its standard input.
    pub(super) fn command(&self, action: Action, limit: Duration) -> (Command, Vec<u8>) {
        let (mut command, told) = match &self.device.kind {
            DeviceKind::Command(words) => {
                let mut command = Command::new(words.first().map_or("", String::as_str));
                command.args(words.iter().skip(1)).args([action.word(), &self.node]);
                (command, Vec::new())
            }
            DeviceKind::Agent { agent, options } => {
                // Some of them know a reset by this name only.
                let word = if action == Action::Reset { "reboot" } else { action.word() };
                let mut told = format!("action={word}\n");
                for (name, value) in &options.0 {
                    told.push_str(&format!("{name}={}\n", value.replace("{node}", &self.node)));
                }
                (Command::new(agent), told.into_bytes())
            }
            DeviceKind::Stonith { plugin, parameters } => self.stonith(plugin, parameters, action),
            // Nothing to be run: the relay acts by itself.
            DeviceKind::Gpio(_) => (Command::new("false"), Vec::new()),
        };
        let path = std::env::var("PATH").map_or(DIRS.to_owned(), |path| format!("{path}:{DIRS}"));
        command
            .env("PATH", path)
            .env("LATIDO_ACTION", action.word())
            .env("LATIDO_NODE", &self.node)
            .env("LATIDO_FROM", &self.me)
            .env("LATIDO_TIMEOUT", limit.as_secs().max(1).to_string());
        (command, told)
    }

    /// Parameters go through the environment or standard input: others may see a command line.
    fn stonith(&self, plugin: &str, from: &Parameters, action: Action) -> (Command, Vec<u8>) {
        let mut command = Command::new("stonith");
        command.args(["-t", plugin]);
        let mut told = Vec::new();
        match from {
            Parameters::Options(Options(options)) => {
                command.arg("-E");
                for (name, value) in options {
                    command.env(name, value.replace("{node}", &self.node));
                }
            }
            Parameters::Line(line) => {
                command.args(["-F", "/dev/stdin"]);
                told = format!("{line}\n").into_bytes();
            }
            Parameters::File(path) => {
                command.arg("-F").arg(path);
            }
        }
        match action {
            Action::Monitor | Action::Status => command.arg("-lS"),
            Action::Off | Action::On | Action::Reset => {
                command.args(["-T", action.word(), &self.node])
            }
        };
        (command, told)
    }

    /// What an agent's `status` says of the power.
    pub(super) fn power(end: End) -> Option<bool> {
        match end {
            End::Exited(0) => Some(true),
            End::Exited(2) => Some(false),
            End::Exited(_) | End::Signalled(_) => None,
        }
    }

    /// What is wrong with a `monitor` that ended with 0: a plug-in that does not know the node.
    pub(super) fn unknown(&self, printed: &[u8]) -> Option<String> {
        if !matches!(self.device.kind, DeviceKind::Stonith { .. }) {
            return None;
        }
        let text = String::from_utf8_lossy(printed);
        let mut hosts = text.split_whitespace();
        let known = hosts.any(|word| word.eq_ignore_ascii_case(&self.node));
        (!known).then(|| {
            let hosts: Vec<&str> = text.split_whitespace().take(8).collect();
            format!("it does not switch {}; it named: {}", self.node, hosts.join(", "))
        })
    }
}
