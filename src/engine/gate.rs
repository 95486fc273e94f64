//! The lease gate in front of this engine's addresses, or the reason why there is none.
use crate::config::lease::{KERNEL_LIFETIME, Silencer};
use crate::config::{Address, Config, Kind, Rule};
use crate::control::report::GateFact;
use crate::core::time::{Duration, Instant};
use crate::platform::gate::{Gate, Tag};
use crate::platform::netlink::{Link, Socket};
use crate::tell::{Level, Teller};
use std::net::IpAddr;
use std::path::Path;

/// The gate, if the kernel gives one. Without it the addresses' lifetimes stand alone.
pub(super) struct LeaseGate {
    gate: Option<Gate>,
    fact: GateFact,
    silencer: Silencer,
    /// So long before the end of a group's right its addresses are no longer renewed.
    lifetime: Duration,
}

impl LeaseGate {
    /// Opens the gate for the addresses of all groups, as the successor of the engine that ran on
    /// the same runtime directory. Nothing fails: what is not to be had is told and reported.
    pub(super) fn open(config: &Config, runtime_dir: &Path, teller: &Teller) -> Self {
        let groups: Vec<Vec<IpAddr>> = config.groups.iter().map(addresses).collect();
        let (gate, fact) = if groups.iter().all(Vec::is_empty) {
            (None, GateFact::Unneeded)
        } else {
            let tag = Tag::of_directory(runtime_dir);
            for place in crate::platform::gate::strangers(tag).unwrap_or_default() {
                let text = format!(
                    "another Latido's lease gate stands on {place}: if that daemon was killed, it \
                     silences its addresses for good; start it once more with its own \
                     --runtime-dir, and stop it in order"
                );
                teller.say(Level::Warning, text);
            }
            match Gate::open(tag, &groups) {
                Ok(gate) => {
                    let outside = outside(config);
                    for place in gate.ungated().list().iter().chain(&outside) {
                        teller.say(Level::Warning, format!("lease gate: not on {place}"));
                    }
                    let fact = GateFact::On { ungated: gate.ungated().clone(), outside };
                    (Some(gate), fact)
                }
                Err(why) => {
                    let text = format!(
                        "no lease gate: {why}. An address of a stopped daemon answers until its \
                         lifetime ends, about a second"
                    );
                    teller.say(Level::Warning, text);
                    (None, GateFact::Off(why.to_string()))
                }
            }
        };
        let silencer = match &fact {
            GateFact::Unneeded => Silencer::Gate,
            GateFact::On { ungated, outside }
                if ungated.list().is_empty() && outside.is_empty() =>
            {
                Silencer::Gate
            }
            GateFact::On { .. } | GateFact::Off(_) => Silencer::Lifetime,
        };
        // The other rules have no lease that could be made longer for it.
        let waits = silencer == Silencer::Lifetime && config.rule == Rule::Majority;
        let lifetime = if waits { super::settings::span(KERNEL_LIFETIME) } else { Duration::ZERO };
        LeaseGate { gate, fact, silencer, lifetime }
    }

    /// Lets the resources' threads wait for the gate where an interface has just come.
    pub(super) fn guard(&self, resources: &crate::resource::Resources) {
        if let Some(gate) = &self.gate {
            resources.wait_for(gate.cover());
        }
    }

    /// What ends the addresses when nobody vouches for them; the leases are counted by it until the
    /// engine ends.
    pub(super) fn silencer(&self) -> Silencer {
        self.silencer
    }

    /// Until when the addresses of a group may be renewed that may run here `until` then.
    pub(super) fn renewed_until(&self, until: Instant) -> Instant {
        until - self.lifetime
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
    group.resources.iter().filter_map(|one| address(one).map(|address| address.address)).collect()
}

fn address(resource: &crate::config::Resource) -> Option<&Address> {
    match &resource.kind {
        Kind::Address(address) => Some(address),
        Kind::Service { .. } | Kind::Script { .. } => None,
    }
}

/// Addresses that are served where the gate does not stand: through interfaces without Ethernet
/// addresses. (What is on the loopback is served through the other interfaces.)
fn outside(config: &Config) -> Vec<String> {
    let links = Socket::open().and_then(|mut socket| {
        let links = socket.links()?;
        Ok((socket, links))
    });
    let (mut socket, links) = match links {
        Ok(found) => found,
        Err(error) => return vec![format!("who knows: the interfaces cannot be listed: {error}")],
    };
    let resources = config.groups.iter().flat_map(|group| &group.resources);
    let mut outside = Vec::new();
    for wanted in resources.filter_map(address) {
        let link = place(&mut socket, &links, wanted);
        if let Some(link) = link.filter(|link| !link.loopback && link.mac.is_none()) {
            let place = format!("{} of {}: it has no Ethernet address", link.name, wanted.address);
            outside.push(place);
        }
    }
    outside
}

/// The interface of an address, as far as there is one now.
fn place<'a>(socket: &mut Socket, links: &'a [Link], wanted: &Address) -> Option<&'a Link> {
    if let Some(name) = &wanted.interface {
        return links.iter().find(|link| link.name == *name);
    }
    let index = match socket.route_to(wanted.address, None).ok()?? {
        route if !route.local => route.index,
        // While it is ours, the way to it ends here.
        _ => {
            let all = socket.addresses().ok()?;
            all.iter().find(|there| there.address == wanted.address)?.index
        }
    };
    links.iter().find(|link| link.index == index)
}
