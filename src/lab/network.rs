//! A network of the laboratory: a switch in the hub's namespace and a cable to each machine.
use super::error::{Doing, Error, Result};
use super::namespace::Namespace;
use super::plan::Switch;
use super::relay::Relay;
use crate::platform::netlink::{self, Address, LinkKind, Socket};
use crate::platform::tap::Tap;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The namespace in which all switches are; no machine can look into it.
#[derive(Debug)]
pub(super) struct Hub {
    namespace: Namespace,
    netlink: Mutex<Netlink>,
}

/// A netlink socket that can be printed.
pub(super) struct Netlink(pub(super) Socket);

impl std::fmt::Debug for Netlink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Netlink")
    }
}

impl Hub {
    pub(super) fn new() -> Result<Hub> {
        let namespace = Namespace::new("hub")?;
        let netlink = Mutex::new(open_netlink(&namespace)?);
        Ok(Hub { namespace, netlink })
    }

    /// Runs `job` where the switches are.
    pub(super) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        self.namespace.run(job)
    }

    pub(super) fn netlink(&self) -> MutexGuard<'_, Netlink> {
        self.netlink.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A netlink socket of this namespace.
pub(super) fn open_netlink(namespace: &Namespace) -> Result<Netlink> {
    namespace.run(Socket::open).map(Netlink).doing("opening a netlink socket")
}

/// A machine's interface to be.
#[derive(Clone, Debug)]
pub(super) struct Plug {
    pub(super) interface: String,
    pub(super) mac: [u8; 6],
    pub(super) addresses: Vec<(IpAddr, u8)>,
}

/// A switch with its cables.
#[derive(Debug)]
pub(super) struct Network {
    name: String,
    number: usize,
    hub: Arc<Hub>,
    kind: Kind,
    ports: Mutex<BTreeMap<String, Port>>,
}

#[derive(Debug)]
enum Kind {
    Bridge { index: u32 },
    Relay(Relay),
}

#[derive(Debug)]
struct Port {
    index: u32,
    /// Counts the cables plugged in here, so that no two bear the same name.
    plugged: u32,
}

impl Network {
    pub(super) fn new(
        hub: &Arc<Hub>,
        number: usize,
        name: &str,
        switch: Switch,
    ) -> Result<Network> {
        let kind = match switch {
            Switch::Bridge => {
                let mut netlink = hub.netlink();
                let index = netlink
                    .0
                    .add_link(&format!("bridge{number}"), LinkKind::Bridge)
                    .doing(format!("the switch {name}"))?;
                netlink.0.set_up(index, true).doing(format!("the switch {name}"))?;
                Kind::Bridge { index }
            }
            Switch::Relay => Kind::Relay(Relay::new()?),
        };
        let (name, hub) = (name.to_owned(), Arc::clone(hub));
        Ok(Network { name, number, hub, kind, ports: Mutex::default() })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Runs a cable from the switch to a machine and sets up the machine's end.
    pub(super) fn connect(
        &self,
        machine: &str,
        machine_number: usize,
        namespace: &Namespace,
        plug: &Plug,
    ) -> Result<()> {
        let doing = || format!("connecting {machine} to the network {}", self.name);
        let mut ports = self.ports();
        let old = ports.remove(machine);
        let mut hub = self.hub.netlink();
        let plugged = old.as_ref().map_or(0, |port| port.plugged) + 1;
        if let Some(port) = old {
            // It may have vanished with the machine's namespace.
            let _ = hub.0.delete_link(port.index);
        }
        let name = format!("port{machine_number}n{}p{plugged}", self.number);
        let peer = LinkKind::Veth {
            peer: &plug.interface,
            peer_namespace: Some(netlink::Namespace::Fd(namespace.as_fd())),
        };
        let index = hub.0.add_link(&name, peer).doing(doing())?;
        if let Kind::Bridge { index: bridge } = &self.kind {
            hub.0.set_master(index, Some(*bridge)).doing(doing())?;
        }
        set_up_machine(namespace, plug).doing(doing())?;
        hub.0.set_up(index, true).doing(doing())?;
        drop(hub);
        if let Kind::Relay(relay) = &self.kind {
            let tap = self.hub.run(move || Tap::open(&name)).doing(doing())?;
            relay.connect(machine, tap)?;
        }
        ports.insert(machine.to_owned(), Port { index, plugged });
        Ok(())
    }

    /// Pulls a machine's cable (its interface loses the carrier), or plugs it in.
    pub(super) fn set_cable(&self, machine: &str, plugged: bool) -> Result<()> {
        let index = self.port(machine)?;
        self.hub
            .netlink()
            .0
            .set_up(index, plugged)
            .doing(format!("the cable of {machine} in {}", self.name))
    }

    /// Separates machines from each other while all others still reach every one of them and no
    /// carrier is lost: a split as a bad switch makes it.
    pub(super) fn split(&self, machines: &[String], split: bool) -> Result<()> {
        match &self.kind {
            Kind::Bridge { .. } => {
                for machine in machines {
                    let index = self.port(machine)?;
                    self.hub
                        .netlink()
                        .0
                        .set_isolated(index, split)
                        .doing(format!("splitting {}", self.name))?;
                }
            }
            Kind::Relay(relay) => {
                let fate = if split { super::relay::Fate::LOST } else { Default::default() };
                for one in machines {
                    for other in machines.iter().filter(|other| *other != one) {
                        relay.set(one, other, fate);
                    }
                }
            }
        }
        Ok(())
    }

    /// The switch in user space.
    pub(super) fn relay(&self) -> Result<&Relay> {
        match &self.kind {
            Kind::Relay(relay) => Ok(relay),
            Kind::Bridge { .. } => Err(Error::new(format!(
                "the network {} has the kernel's bridge, which loses nothing: plan it with \
                 Switch::Relay",
                self.name
            ))),
        }
    }

    /// The kernel's bridge.
    pub(super) fn bridge(&self) -> Result<u32> {
        match &self.kind {
            Kind::Bridge { index } => Ok(*index),
            Kind::Relay(_) => Err(Error::new(format!(
                "the network {} has a switch in user space, which no trunk can join",
                self.name
            ))),
        }
    }

    /// The switch's end of a machine's cable.
    pub(super) fn port(&self, machine: &str) -> Result<u32> {
        let unknown = || Error::new(format!("{machine} has no cable in the network {}", self.name));
        self.ports().get(machine).map(|port| port.index).ok_or_else(unknown)
    }

    fn ports(&self) -> MutexGuard<'_, BTreeMap<String, Port>> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names, addresses and switches on the machine's end of a new cable.
fn set_up_machine(namespace: &Namespace, plug: &Plug) -> Result<()> {
    let mut netlink = open_netlink(namespace)?;
    let found = netlink.0.link(&plug.interface).doing("its interface")?;
    let index = found.ok_or_else(|| Error::new("its interface has not arrived"))?.index;
    netlink.0.set_mac(index, plug.mac).doing("its interface")?;
    for (address, prefix) in &plug.addresses {
        let mut address = Address::new(index, *address, *prefix);
        if address.address.is_ipv6() {
            address.flags = netlink::Flags::NODAD;
        }
        if let (IpAddr::V4(v4), 1..=30) = (address.address, *prefix) {
            let host_bits = u32::MAX >> prefix;
            address.broadcast = Some(IpAddr::from((u32::from(v4) | host_bits).to_be_bytes()));
        }
        netlink.0.add_address(&address).doing("its address")?;
    }
    netlink.0.set_up(index, true).doing("its interface")
}

/// Switches on the loopback interface of a new namespace.
pub(super) fn set_up_loopback(namespace: &Namespace) -> Result<()> {
    let mut netlink = open_netlink(namespace)?;
    let found = netlink.0.link("lo").doing("the loopback interface")?;
    let index = found.ok_or_else(|| Error::new("no loopback interface"))?.index;
    netlink.0.set_up(index, true).doing("the loopback interface")
}
