//! What a laboratory consists of, before it is built.
use std::net::IpAddr;
use std::path::PathBuf;

/// The plan of a laboratory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The `latido` program: nodes are run by its hidden subcommands.
    pub program: PathBuf,
    /// The networks.
    pub networks: Vec<Network>,
    /// Cables between their switches: what they join is one network. No rings.
    pub trunks: Vec<Trunk>,
    /// Machines that have processes and can lose power.
    pub nodes: Vec<Machine>,
    /// Machines for sockets of the laboratory's own: clients, strangers.
    pub clients: Vec<Machine>,
    /// Serial cables.
    pub cables: Vec<Cable>,
}

/// A network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// What joins its cables.
    pub switch: Switch,
}

/// A cable between the switches of two networks; both have the kernel's bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trunk {
    /// Its name.
    pub name: String,
    /// The networks that it joins.
    pub between: [String; 2],
}

/// What joins the cables of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// The kernel's bridge: fastest, loses nothing. For measuring.
    Bridge,
    /// A switch in user space: loses, delays, doubles, records and repeats frames. For faults.
    Relay,
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its host name.
    pub name: String,
    /// Its interfaces.
    pub ports: Vec<Port>,
}

/// An interface of a machine, with a cable to a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The network.
    pub network: String,
    /// How the machine calls its interface: at most 15 bytes.
    pub interface: String,
    /// Its addresses with prefix lengths.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// A null-modem cable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cable {
    /// The nodes that it joins.
    pub between: [String; 2],
    /// Its speed; `None`: as fast as bytes come.
    pub baud: Option<u32>,
}

impl Plan {
    /// Two nodes with a LAN on `eth0` (10.77.0.1 and 10.77.0.2 of /24), a crossover on `eth1`
    /// (10.78.0.1 and .2) and a null-modem cable of 115200 baud; on the LAN also a client `client`
    /// with 10.77.0.3.
    pub fn pair(program: impl Into<PathBuf>, nodes: [&str; 2]) -> Plan {
        let network = |name: &str| Network { name: name.into(), switch: Switch::Bridge };
        let port = |network: &str, interface: &str, address: [u8; 4]| Port {
            network: network.into(),
            interface: interface.into(),
            addresses: vec![(IpAddr::from(address), 24)],
        };
        let node = |(number, name): (u8, &str)| Machine {
            name: name.into(),
            ports: vec![
                port(LAN, "eth0", [10, 77, 0, number]),
                port(CROSSOVER, "eth1", [10, 78, 0, number]),
            ],
        };
        let client =
            Machine { name: CLIENT.into(), ports: vec![port(LAN, "eth0", [10, 77, 0, 3])] };
        Plan {
            program: program.into(),
            networks: vec![network(LAN), network(CROSSOVER)],
            trunks: Vec::new(),
            nodes: (1..).zip(nodes).map(node).collect(),
            clients: vec![client],
            cables: vec![Cable { between: nodes.map(str::to_owned), baud: Some(115_200) }],
        }
    }

    /// The same with no address on any node's interface.
    #[must_use]
    pub fn without_addresses(mut self) -> Plan {
        let ports = self.nodes.iter_mut().flat_map(|node| &mut node.ports);
        ports.for_each(|port| port.addresses.clear());
        self
    }

    /// The same with this switch in every network.
    #[must_use]
    pub fn with_switch(mut self, switch: Switch) -> Plan {
        self.networks.iter_mut().for_each(|network| network.switch = switch);
        self
    }
}

/// The pair's network with clients.
pub const LAN: &str = "lan";
/// The pair's network of its own.
pub const CROSSOVER: &str = "crossover";
/// The pair's client.
pub const CLIENT: &str = "client";
