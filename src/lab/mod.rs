//! A laboratory of network namespaces: nodes, a client, cables and faults on one machine.
//!
//! Both `latido demo` and the tests of the whole program work in it:
//!
//! ```text
//!    pi ──eth0──┐        ┌──eth0── laptop        each machine: its own network, processes,
//!     │ │      [lan]─────┘            │ │        mounts and host name
//!     │ └─eth1─[crossover]─────eth1───┘ │        each switch: a bridge, or one in user space
//!     └──────── null-modem ─────────────┘        client: asks an address every millisecond
//! ```
//!
//! Nothing of it has a name in the system. When the laboratory ends, in whatever way, the kernel
//! takes it all away; only its directory needs a sweeper, and has one.
//!
//! A thread or process of the laboratory is never needed to carry a frame over a
//! [`Switch::Bridge`]; a [`Switch::Relay`] adds some tens of microseconds.
pub mod cable;
pub mod client;
pub mod control;
pub mod error;
pub mod heartbeat;
pub mod init;
pub mod namespace;
mod network;
pub mod node;
pub mod outlet;
pub mod ownership;
pub mod pair;
pub mod permission;
pub mod plan;
pub mod process;
pub mod record;
pub mod relay;
pub mod serve;
mod sweeper;
pub mod trunk;
pub mod wait;

pub use client::{Client, Probe, Question};
pub use error::{Error, Result};
pub use node::{Exit, Node};
pub use pair::Pair;
pub use plan::{CLIENT, CROSSOVER, LAN, Plan, Switch};

use cable::{End, NullModem};
use error::Doing;
use namespace::Namespace;
use network::{Hub, Network, Plug, set_up_loopback};
use ownership::Ownership;
use relay::Relay;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use sweeper::Workplace;
use trunk::{Scissors, Trunk, Way, Wire};

/// A built laboratory. Dropping it ends and removes everything.
#[derive(Debug)]
pub struct Lab {
    // The order of dropping: processes before the cables they use, the directory last.
    nodes: Vec<Node>,
    clients: BTreeMap<String, Namespace>,
    cables: Vec<Arc<NullModem>>,
    networks: Vec<Arc<Network>>,
    trunks: Vec<Trunk>,
    hub: Arc<Hub>,
    scissors: OnceLock<Scissors>,
    ownership: Ownership,
    workplace: Workplace,
}

impl Lab {
    /// Builds what the plan says. All nodes are off.
    ///
    /// # Errors
    /// When the kernel refuses (see [`permission::acquire`]) or the plan is impossible.
    pub fn new(plan: &Plan) -> Result<Lab> {
        permission::acquire()?;
        let workplace = Workplace::new(&plan.program)?;
        for part in [node::DEV, node::ETC] {
            std::fs::create_dir(workplace.path().join(part)).doing("creating a directory")?;
        }
        let hub = Arc::new(Hub::new()?);
        let mut networks = Vec::new();
        for (number, network) in plan.networks.iter().enumerate() {
            networks.push(Arc::new(Network::new(&hub, number, &network.name, network.switch)?));
        }
        let trunks = trunks(plan, &hub, &networks)?;
        let mut cables = Vec::new();
        for (number, cable) in plan.cables.iter().enumerate() {
            let device = |node: &String| {
                let path = workplace.path().join(node).join(node::DEV).join(device_name(number));
                std::fs::create_dir_all(path.parent().unwrap_or(&path)).map(|()| path)
            };
            let paths = (|| Ok([device(&cable.between[0])?, device(&cable.between[1])?]))();
            let paths = paths.map_err(|why: std::io::Error| Error::new(why.to_string()))?;
            cables.push(Arc::new(NullModem::new(paths, cable.baud)?));
        }
        let ownership = Ownership::default();
        let mut nodes = Vec::new();
        for (number, machine) in plan.nodes.iter().enumerate() {
            nodes.push(Node::new(node::Parts {
                name: machine.name.clone(),
                number,
                program: plan.program.clone(),
                dir: workplace.path().join(&machine.name),
                plugs: plugs(machine, number, &networks)?,
                cables: ends(machine, plan, &cables),
                ownership: ownership.clone(),
            })?);
        }
        let mut clients = BTreeMap::new();
        for (number, machine) in (plan.nodes.len()..).zip(&plan.clients) {
            let namespace = Namespace::new(&machine.name)?;
            set_up_loopback(&namespace)?;
            for (network, plug) in plugs(machine, number, &networks)? {
                network.connect(&machine.name, number, &namespace, &plug)?;
            }
            clients.insert(machine.name.clone(), namespace);
        }
        let scissors = OnceLock::new();
        Ok(Lab { nodes, clients, cables, networks, trunks, hub, scissors, ownership, workplace })
    }

    /// The laboratory's directory.
    pub fn dir(&self) -> &Path {
        self.workplace.path()
    }

    /// All nodes, in the order of the plan.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node of this name.
    ///
    /// # Panics
    /// When the plan has no such node.
    pub fn node(&self, name: &str) -> &Node {
        let found = self.nodes.iter().find(|node| node.name() == name);
        found.unwrap_or_else(|| panic!("the laboratory has no node {name}"))
    }

    /// The names of all networks, the clients' first as in the plan.
    pub fn networks(&self) -> Vec<&str> {
        self.networks.iter().map(|network| network.name()).collect()
    }

    /// The namespace of a client machine.
    ///
    /// # Panics
    /// When the plan has no such client.
    pub fn client(&self, name: &str) -> &Namespace {
        self.clients.get(name).unwrap_or_else(|| panic!("the laboratory has no client {name}"))
    }

    /// A network's switch in user space, to lose, record and repeat frames.
    ///
    /// # Errors
    /// When there is no such network or it has the kernel's bridge.
    pub fn relay(&self, network: &str) -> Result<&Relay> {
        self.network(network)?.relay()
    }

    /// Separates the nodes from each other in a network, or joins them again. Clients still reach
    /// all of them, and no carrier is lost.
    ///
    /// # Errors
    /// When there is no such network.
    pub fn split(&self, network: &str, split: bool) -> Result<()> {
        let names: Vec<String> = self.nodes.iter().map(|node| node.name().to_owned()).collect();
        self.network(network)?.split(&names, split)
    }

    /// Pulls the cables of all nodes in a network, or plugs them in: a crossover that is cut.
    ///
    /// # Errors
    /// When there is no such network.
    pub fn set_cables(&self, network: &str, plugged: bool) -> Result<()> {
        self.nodes
            .iter()
            .filter(|node| node.is_on())
            .try_for_each(|node| node.set_cable(network, plugged))
    }

    /// Cuts one direction of a cable, or mends it. No carrier is lost: only silence tells. It is
    /// done at once, except for the first time, which takes some milliseconds.
    ///
    /// # Errors
    /// When there is no such cable, or the kernel refuses (it must be Linux 6.6 or newer).
    pub fn set_cut(&self, wire: &Wire, way: Way, cut: bool) -> Result<()> {
        let end = match wire {
            Wire::Port { machine, network } => {
                trunk::port_end(self.network(network)?, machine, way)?
            }
            Wire::Trunk(name) => {
                let found = self.trunks.iter().find(|trunk| trunk.name() == name);
                found.ok_or_else(|| Error::new(format!("there is no trunk {name}")))?.end(way)
            }
        };
        let scissors = match self.scissors.get() {
            Some(scissors) => scissors,
            None => {
                let new = Scissors::new()?;
                self.scissors.get_or_init(|| new)
            }
        };
        scissors.set(&self.hub, end, cut)
    }

    /// The serial cable of this number, from 0, as in the plan.
    pub fn cable(&self, number: usize) -> Option<&NullModem> {
        self.cables.get(number).map(|cable| &**cable)
    }

    /// The serial device of this number, from 0, as every node sees its own.
    pub fn serial_device(&self, number: usize) -> PathBuf {
        self.dir().join(node::DEV).join(device_name(number))
    }

    /// Which node had which address when.
    pub fn ownership(&self) -> &Ownership {
        &self.ownership
    }

    fn network(&self, name: &str) -> Result<&Network> {
        let found = self.networks.iter().find(|network| network.name() == name);
        found
            .map(|network| &**network)
            .ok_or_else(|| Error::new(format!("the laboratory has no network {name}")))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.workplace.show_logs();
        }
        for node in self.nodes.iter().filter(|node| node.is_on()) {
            let _ = node.power_cut();
        }
    }
}

/// Real-time priority of what would not share a processor with the daemons in reality: client,
/// service, switches and cables. Below the daemons', which must not wait for their measurement.
const PRIORITY: u8 = 1;

/// Lets the calling thread measure the pair instead of the processor's other work. Where that is
/// not permitted, the client's own pauses say how far its figures can be trusted.
fn machine_of_its_own() {
    let _ = crate::platform::sched::realtime(PRIORITY);
}

fn device_name(number: usize) -> String {
    format!("ttyUSB{number}")
}

/// The interfaces of a machine, with Ethernet addresses that stay the same over reboots.
fn plugs(
    machine: &plan::Machine,
    number: usize,
    networks: &[Arc<Network>],
) -> Result<Vec<(Arc<Network>, Plug)>> {
    let byte = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
    let plug = |(index, port): (usize, &plan::Port)| {
        let network = networks.iter().find(|network| network.name() == port.network);
        let network = network.ok_or_else(|| {
            Error::new(format!("{}: there is no network {}", machine.name, port.network))
        })?;
        let plug = Plug {
            interface: port.interface.clone(),
            mac: [0x02, 0, 0x4c, 0x61, byte(number), byte(index)],
            addresses: port.addresses.clone(),
        };
        Ok((Arc::clone(network), plug))
    };
    machine.ports.iter().enumerate().map(plug).collect()
}

/// The cables between switches.
fn trunks(plan: &Plan, hub: &Hub, networks: &[Arc<Network>]) -> Result<Vec<Trunk>> {
    let find = |name: &String| {
        let found = networks.iter().find(|network| network.name() == name);
        found.ok_or_else(|| Error::new(format!("there is no network {name} for a trunk")))
    };
    let join = |(number, trunk): (usize, &plan::Trunk)| {
        let [one, two] = [find(&trunk.between[0])?, find(&trunk.between[1])?];
        Trunk::new(hub, number, trunk, [&**one, &**two])
    };
    plan.trunks.iter().enumerate().map(join).collect()
}

/// The serial cables that end at a node.
fn ends(
    machine: &plan::Machine,
    plan: &Plan,
    cables: &[Arc<NullModem>],
) -> Vec<(Arc<NullModem>, End)> {
    let mut ends = Vec::new();
    for (planned, cable) in plan.cables.iter().zip(cables) {
        for (end, name) in [End::First, End::Second].into_iter().zip(&planned.between) {
            if *name == machine.name {
                ends.push((Arc::clone(cable), end));
            }
        }
    }
    ends
}

/// Runs a hidden subcommand of the laboratory: `lab-init`, `lab-outlet`, `lab-serve`, `lab-sweep`
/// or `lab-root`. `None`: it is none of these. `args` are the program's, without its own name.
pub fn subcommand(args: &[String]) -> Option<ExitCode> {
    let (name, rest) = args.split_first()?;
    let rest = rest.iter().cloned();
    Some(match name.as_str() {
        "lab-init" => init::main(rest),
        "lab-outlet" => outlet::main(rest),
        "lab-serve" => serve::main(rest),
        "lab-sweep" => sweeper::main(rest),
        "lab-root" => permission::main(rest),
        _ => return None,
    })
}
