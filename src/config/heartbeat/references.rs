//! `ping`, `ping6`, `ping_group`, `deadping`, and `respawn … ipfail`.
//!
//! Heartbeat's ping nodes did nothing of themselves; ipfail moved the groups by them. Here the
//! same references also hold back a takeover by a node that reaches fewer of them than its peer,
//! with or without ipfail.
use super::super::diagnostic::{At, Located, Report};
use super::super::references::{RawReferences, Settle};
use super::super::values;
use super::Word;
use super::hacf::time;
use std::time::Duration;

/// What `ha.cf` says about references.
#[derive(Default)]
pub(super) struct References {
    lists: Vec<Vec<Located<String>>>,
    at: Option<At>,
    dead: Option<Located<Duration>>,
    ipfail: Option<At>,
}

impl References {
    /// One of the lines that name references.
    pub(super) fn read(&mut self, name: Word, words: &[Word], report: &mut Report) {
        let group = name.text == "ping_group";
        // The first word of a ping_group is its name.
        let words = if group { words.get(1..).unwrap_or(&[]) } else { words };
        if words.is_empty() {
            let message = format!("{} names no address", name.text);
            let cure = "name one that both nodes should reach, such as the router";
            report.error(name.at, message, cure);
            return;
        }
        let mut hosts = Vec::new();
        for word in words {
            if self.lists.iter().flatten().chain(&hosts).any(|host| host.value == word.text) {
                let message = format!("{} is asked already", word.text);
                report.warning(word.at, message, "name it once");
                continue;
            }
            hosts.push(Located::new(word.text.to_string(), word.at));
        }
        // What is no address is reported with the other checks.
        if name.text == "ping6" {
            for host in hosts.iter().filter(|host| values::is_ipv4(&host.value)) {
                let message = format!("{} is no IPv6 address", host.value);
                report.error(host.at, message, "write `ping` instead of `ping6`");
            }
        }
        self.at.get_or_insert(name.at);
        if group {
            self.lists.extend((!hosts.is_empty()).then_some(hosts));
        } else {
            self.lists.extend(hosts.into_iter().map(|host| vec![host]));
        }
    }

    /// `deadping`.
    pub(super) fn read_dead(&mut self, name: Word, words: &[Word], report: &mut Report) {
        self.dead = time(name, words, report).or(self.dead.take());
    }

    /// `respawn` of ipfail; false: it is another program.
    pub(super) fn read_ipfail(&mut self, words: &[Word]) -> bool {
        let program = words.get(1).filter(|word| word.text.starts_with('/'));
        let found = program.filter(|word| word.text.rsplit('/').next() == Some("ipfail"));
        self.ipfail = found.map(|word| word.at).or(self.ipfail);
        found.is_some()
    }

    /// The whole, once the file is read.
    pub(super) fn finish(
        self,
        keepalive: Duration,
        deadtime: Duration,
        report: &mut Report,
    ) -> RawReferences {
        let Some(at) = self.at else {
            if let Some(at) = self.ipfail {
                let message = "ipfail without references: there is nothing to move the groups by";
                report.warning(at, message, "name some with `ping`, or remove the line");
            }
            if let Some(dead) = self.dead {
                let message = "deadping is not used: there are no references";
                report.warning(dead.at, message, "name some with `ping`, or remove the line");
            }
            return RawReferences::default();
        };
        let dead = self.dead.unwrap_or(Located::new(deadtime.max(Duration::from_secs(1)), at));
        // Heartbeat asked once in each keepalive.
        let interval = Located::new(keepalive.min(dead.value / 5), dead.at);
        RawReferences {
            at: Some(at),
            hosts: self.lists,
            interval: Some(interval),
            dead: Some(dead),
            settle: if self.ipfail.is_some() { Settle::Usual } else { Settle::Never },
        }
    }
}
