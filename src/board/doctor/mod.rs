//! Looks at the machine that it runs on: what would keep a node from doing its duty, and the cure.
//!
//! Everything is read below a root directory, so that a mounted card can be looked at, and tests
//! can show any machine. Nothing is changed, and nothing is opened that could disturb a device.
mod line;
mod machine;
mod network;
mod storage;

use super::{Profile, detect, read};
use crate::config::{Config, Medium};
use std::fs;
use std::path::Path;

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// Will cost availability some day.
    Warning,
    /// Does not work.
    Fault,
}

impl Level {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            Level::Good => "good",
            Level::Note => "note",
            Level::Warning => "warning",
            Level::Fault => "fault",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about, in one word.
    pub topic: &'static str,
    /// How grave.
    pub level: Level,
    /// What was seen.
    pub what: String,
    /// What to do about it; empty if nothing.
    pub cure: String,
}

/// The machine, and what is wanted of it.
struct Patient<'a> {
    root: &'a Path,
    profile: Option<&'a Profile>,
    config: Option<&'a Config>,
    found: Vec<Finding>,
}

/// Looks at everything below `root`. `config`: what this node is to run, if it is known.
pub fn look(root: &Path, profile: Option<&Profile>, config: Option<&Config>) -> Vec<Finding> {
    let mut patient = Patient { root, profile, config, found: Vec::new() };
    patient.board();
    line::look(&mut patient);
    machine::look(&mut patient);
    network::look(&mut patient);
    storage::look(&mut patient);
    patient.found
}

impl Patient<'_> {
    fn say(
        &mut self,
        topic: &'static str,
        level: Level,
        what: impl Into<String>,
        cure: impl Into<String>,
    ) {
        self.found.push(Finding { topic, level, what: what.into(), cure: cure.into() });
    }

    fn good(&mut self, topic: &'static str, what: impl Into<String>) {
        self.say(topic, Level::Good, what, "");
    }

    fn read(&self, path: &str) -> Option<String> {
        read(self.root, path)
    }

    /// The same without blanks at its ends.
    fn word(&self, path: &str) -> Option<String> {
        Some(self.read(path)?.trim().to_owned())
    }

    fn exists(&self, path: &str) -> bool {
        self.root.join(path.trim_start_matches('/')).exists()
    }

    /// Names in a directory, sorted; none if it is not there.
    fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.root.join(path)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Whether this is the running machine, which can be asked more than files.
    fn running(&self) -> bool {
        self.root == Path::new("/")
    }

    fn board(&mut self) {
        let (model, found) = detect(self.root);
        let said = model.unwrap_or_else(|| "this machine does not say what it is".into());
        match (self.profile, found) {
            (Some(wanted), Some(found)) if wanted.name != found.name => self.say(
                "board",
                Level::Warning,
                format!("{said}: taken for {}, not for {}", found.name, wanted.name),
                "leave --board away, or name the right one",
            ),
            (Some(profile), _) => self.good("board", format!("{said}: {}", profile.title)),
            (None, _) => self.say(
                "board",
                Level::Note,
                format!("{said}: no profile"),
                "what holds for every machine is looked at; --board NAME takes a similar one",
            ),
        }
    }

    /// Serial devices that matter: those of the configuration, else the board's own.
    fn serial_devices(&self) -> Vec<String> {
        match (self.config, self.profile) {
            (Some(config), _) => {
                let devices = config.links.iter().filter_map(|link| match &link.medium {
                    Medium::Serial { device, .. } => Some(device.display().to_string()),
                    _ => None,
                });
                devices.collect()
            }
            (None, Some(profile)) => vec![profile.uart.device.clone()],
            (None, None) => Vec::new(),
        }
    }

    /// Processes that have `device` open: number and name.
    fn holders(&self, device: &str) -> Vec<(u32, String)> {
        let path = self.root.join(device.trim_start_matches('/'));
        let Ok(real) = fs::canonicalize(path) else { return Vec::new() };
        let mut holders = Vec::new();
        for pid in self.names("proc").iter().filter_map(|name| name.parse::<u32>().ok()) {
            let fds = fs::read_dir(self.root.join(format!("proc/{pid}/fd")));
            let held = fds
                .into_iter()
                .flatten()
                .flatten()
                .any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == real));
            if held {
                let name = self.word(&format!("proc/{pid}/comm")).unwrap_or_default();
                holders.push((pid, name));
            }
        }
        holders
    }
}

#[cfg(test)]
mod tests;
