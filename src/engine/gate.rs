//! The lease gate in front of this engine's addresses, or the reason why there is none.
use crate::config::{Config, Kind};
use crate::control::report::GateFact;
use crate::core::time::Instant;
use crate::platform::gate::{Gate, Tag};
use crate::tell::{Level, Teller};
use std::net::IpAddr;
use std::path::Path;

/// The gate, if the kernel gives one. Without it the addresses' lifetimes stand alone.
pub(super) struct LeaseGate {
    gate: Option<Gate>,
    fact: GateFact,
}

impl LeaseGate {
    /// Opens the gate for the addresses of all groups, as the successor of the engine that ran on
    /// the same runtime directory. Nothing fails: what is not to be had is told and reported.
    pub(super) fn open(config: &Config, runtime_dir: &Path, teller: &Teller) -> Self {
        let groups: Vec<Vec<IpAddr>> = config.groups.iter().map(addresses).collect();
        if groups.iter().all(Vec::is_empty) {
            return LeaseGate { gate: None, fact: GateFact::Unneeded };
        }
        match Gate::open(Tag::of_directory(runtime_dir), &groups) {
            Ok(gate) => {
                for place in gate.ungated().list() {
                    teller.say(Level::Warning, format!("lease gate: not on {place}"));
                }
                let fact = GateFact::On(gate.ungated().clone());
                LeaseGate { gate: Some(gate), fact }
            }
            Err(why) => {
                let text = format!(
                    "no lease gate: {why}. An address of a stopped daemon answers until its \
                     lifetime ends, about a second"
                );
                teller.say(Level::Warning, text);
                LeaseGate { gate: None, fact: GateFact::Off(why.to_string()) }
            }
        }
    }

    /// For the status report.
    pub(super) fn fact(&self) -> GateFact {
        self.fact.clone()
    }

    /// Lets a group's addresses speak until then; `None`: they are silent from now on.
    pub(super) fn vouch(&self, group: usize, until: Option<Instant>) {
        match (&self.gate, until) {
            (Some(gate), Some(until)) => gate.vouch(group, until),
            (Some(gate), None) => gate.close(group),
            (None, _) => {}
        }
    }

    /// The end of the engine. An orderly one takes the gate away, after any other it stays for the
    /// next engine, and closes in time.
    pub(super) fn end(self, orderly: bool, teller: &Teller) {
        if let Some(gate) = self.gate.filter(|_| orderly)
            && let Err(error) = gate.remove()
        {
            teller.say(Level::Warning, format!("the lease gate was not removed: {error}"));
        }
    }
}

fn addresses(group: &crate::config::Group) -> Vec<IpAddr> {
    let address = |resource: &crate::config::Resource| match &resource.kind {
        Kind::Address(address) => Some(address.address),
        Kind::Service { .. } | Kind::Script { .. } => None,
    };
    group.resources.iter().filter_map(address).collect()
}
