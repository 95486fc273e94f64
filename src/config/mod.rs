//! Files → `Raw` (with lines) → one checked [`Config`].
//!
//! Everything above reads only [`Config`]; it is the same whether it came from `latido.toml` or
//! from Heartbeat's `ha.cf`, `haresources` and `authkeys`.
mod announcing;
mod check;
mod compare;
mod diagnostic;
mod fence;
mod files;
mod health;
mod heartbeat;
mod identity;
mod keys;
mod latido;
pub mod lease;
pub mod line;
mod mac;
mod migrate;
mod panel;
mod raw;
mod references;
mod rotation;
mod suggest;
mod values;
mod watchdog;
mod witness;

pub use announcing::Announcing;
pub(crate) use compare::{describe, other_spelling, rule_name};
pub use compare::{differences, name_hash, tag_of};
pub(crate) use diagnostic::colours;
pub use diagnostic::{Diagnostic, Severity, log_all, print_all};
pub use fence::{
    Device, DeviceKind, Fencing, Method, Options, Parameters, Relay, SelfFence, TIMEOUT, TRIES,
};
pub use health::Health;
pub use identity::{HA_DIR, LATIDO_TOML};
pub use keys::{UNAUTHENTICATED_ID, UNAUTHENTICATED_KEY, derive, key_file};
pub use latido::{ETHERTYPE, PORT, link_of};
pub use line::{Bus, Direction, Flow, Line, Modem, Pace};
pub use mac::Mac;
pub use migrate::{KEYS_FILE, migrate, migrate_with_keys};
pub use panel::{Panel, Wire};
pub use references::References;
pub use rotation::KeyFile;
pub(crate) use rotation::source_of;
pub use values::format_duration;
pub use watchdog::Watchdog;
pub use witness::{CLUSTERS_MAX, Ward, WitnessConfig};

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A checked configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where it was read from.
    pub source: Source,
    /// The cluster's name; frames of another cluster are not ours.
    pub cluster: String,
    /// Names of the nodes, lower-case, sorted: a node's place is its `NodeId`.
    pub nodes: Vec<String>,
    /// Names of the witnesses, voters that own nothing, in the order of the file: their `NodeId`s
    /// go from the last one downwards.
    pub witnesses: Vec<String>,
    /// The times of the failure detector.
    pub timing: Timing,
    /// Who may own a group.
    pub rule: Rule,
    /// What happens when a resource cannot be stopped.
    pub stop_failure: StopFailure,
    /// Addresses are probed (RFC 5227) before they are taken from a silent node.
    pub probe: bool,
    /// What tells whether this node is connected.
    pub references: References,
    /// Devices that switch nodes off, and what this machine does to itself.
    pub fencing: Fencing,
    /// What resets this machine when the engine no longer vouches for it.
    pub watchdog: Option<Watchdog>,
    /// Heartbeat wires, between the two nodes of a pair.
    pub wires: Vec<Wire>,
    /// Lamps and a button.
    pub panel: Panel,
    /// When this machine is no longer fit.
    pub health: Option<Health>,
    /// Keys that seal the frames.
    pub keys: Keys,
    /// Heartbeat links, in the order of the file.
    pub links: Vec<Link>,
    /// Resource groups, in the order of the file.
    pub groups: Vec<Group>,
    /// Where the log goes besides stderr.
    pub log: Log,
    /// Real-time priority (SCHED_RR, 1 to 99) of the engine; `None`: ordinary scheduling.
    pub realtime: Option<u8>,
}

/// The files a configuration came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A `latido.toml`.
    Latido(PathBuf),
    /// A directory with `ha.cf`, `haresources` and `authkeys`.
    Heartbeat(PathBuf),
}

/// Times of the failure detector and of placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between two heartbeats (Heartbeat's `keepalive`).
    pub interval: Duration,
    /// Silence after which a node is late (`warntime`).
    pub warn: Duration,
    /// Silence after which a node is dead (`deadtime`).
    pub dead: Duration,
    /// How long a starting node waits for its peers before it claims anything (`initdead`).
    pub initial_dead: Duration,
    /// How long the preferred node must have been stable before a group returns to it.
    pub failback_delay: Duration,
}

/// Who may own a group (design §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Exactly two nodes; a silent peer is assumed dead. Not safe in a partition.
    AssumeDead,
    /// Exactly two nodes; nobody takes over from a silent peer before that is proven to be off.
    Fencing,
    /// Three to eight nodes; a group belongs to whom a majority grants it, for as long as it does.
    Majority,
}

/// What happens when a resource cannot be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopFailure {
    /// The group is released with an alert: the service matters more than the risk of two copies.
    Release,
    /// The group stays claimed and stopped until the operator has looked: no second copy.
    Block,
    /// This machine resets itself by its `self_fence`.
    Reset,
    /// The other node fences this one.
    Fence,
}

/// Keys that seal the frames.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// False for Heartbeat's `crc`: anybody can make frames; every status output says so.
    pub authenticated: bool,
    /// The key that sends; one of `keys`.
    pub active: u8,
    /// Number and derived 256-bit key of every accepted key; 1 to 16 of them.
    pub keys: Vec<(u8, [u8; 32])>,
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.keys.iter_mut().for_each(|key| key.1.fill(0));
        // The stores must not be left out because nobody reads them.
        std::hint::black_box(&self.keys);
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids: Vec<u8> = self.keys.iter().map(|key| key.0).collect();
        f.debug_struct("Keys")
            .field("authenticated", &self.authenticated)
            .field("active", &self.active)
            .field("ids", &ids)
            .finish()
    }
}

/// One heartbeat link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// How people call it: `eth0 broadcast`, `/dev/ttyUSB0`; unique within the configuration.
    pub name: String,
    /// What it is.
    pub medium: Medium,
}

/// The medium of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Medium {
    /// UDP to the IPv4 broadcast address of an interface.
    Broadcast {
        /// Interface name; the socket is bound to it.
        interface: String,
        /// UDP port.
        port: u16,
    },
    /// UDP to a multicast group, IPv4 or IPv6.
    Multicast {
        /// Interface name; the socket is bound to it.
        interface: String,
        /// UDP port.
        port: u16,
        /// The group's address.
        group: IpAddr,
        /// Time to live, or hop limit.
        ttl: u8,
    },
    /// UDP to named peers, IPv4 or IPv6.
    Unicast {
        /// Interface name; the socket is bound to it.
        interface: String,
        /// UDP port.
        port: u16,
        /// Addresses or host names of the peers; an address of this machine among them is skipped.
        peers: Vec<String>,
    },
    /// Raw Ethernet: no IP at all.
    Ethernet {
        /// Interface name; it needs no address.
        interface: String,
        /// The VLAN whose tag the frames bear; `None`: none.
        vlan: Option<u16>,
        /// Whom the frames go to, this machine's own address among them; empty: everybody.
        peers: Vec<Mac>,
        /// The frames' EtherType.
        ethertype: u16,
    },
    /// A serial line.
    Serial {
        /// Device path.
        device: PathBuf,
        /// Speed in baud.
        baud: u32,
        /// How it is wired and used.
        line: Line,
    },
}

/// The network interface of a link; `None`: it is on none.
pub fn interface_of(medium: &Medium) -> Option<&str> {
    match medium {
        Medium::Broadcast { interface, .. }
        | Medium::Multicast { interface, .. }
        | Medium::Unicast { interface, .. }
        | Medium::Ethernet { interface, .. } => Some(interface),
        Medium::Serial { .. } => None,
    }
}

/// Resources that move together.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Its name, unique.
    pub name: String,
    /// Nodes that may own it, best first: indices into [`Config::nodes`].
    pub prefer: Vec<usize>,
    /// Whether it returns to the best node on its own.
    pub failback: Failback,
    /// Started first to last, stopped last to first.
    pub resources: Vec<Resource>,
}

/// Whether a group returns to its preferred node on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failback {
    /// It returns once that node has been stable for `failback_delay`.
    Auto,
    /// It stays where it is until somebody says so.
    Manual,
}

/// Something that is started and stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// How people call it: `192.168.0.20/24`, `vsftpd`, `Filesystem::/dev/drbd0::/data`.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Longest time a start may take.
    pub start_timeout: Duration,
    /// Longest time a stop may take, all its attempts together.
    pub stop_timeout: Duration,
}

/// The kinds of resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An IP address on an interface.
    Address(Address),
    /// A service by its name: systemd unit, `resource.d` or `/etc/init.d` script.
    Service {
        /// Unit or script name, without `.service`.
        name: String,
        /// Directories searched for a script of that name before the unit (Heartbeat's order).
        script_dirs: Vec<PathBuf>,
    },
    /// A script called as `script args… start|stop|status`.
    Script {
        /// A path, or a name to be found in `script_dirs`.
        script: PathBuf,
        /// Arguments before the action.
        args: Vec<String>,
        /// Directories searched for a bare name.
        script_dirs: Vec<PathBuf>,
    },
}

/// An IP address that moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// Prefix length; `None`: that of the route to it, else 32 or 128.
    pub prefix: Option<u8>,
    /// Interface; `None`: that of the route to it.
    pub interface: Option<String>,
    /// Label of an IPv4 address, such as `eth0:0`.
    pub label: Option<String>,
    /// Broadcast address, when it is not the usual one.
    pub broadcast: Option<IpAddr>,
    /// How its neighbours are told where it lives.
    pub announcing: Announcing,
    /// The Ethernet address that moves with it; `None`: it answers with its interface's.
    pub virtual_mac: Option<[u8; 6]>,
}

impl Address {
    /// An address of which nothing else is said.
    pub fn new(address: IpAddr) -> Self {
        Address {
            address,
            prefix: None,
            interface: None,
            label: None,
            broadcast: None,
            announcing: Announcing::default(),
            virtual_mac: None,
        }
    }
}

/// Where the log goes besides stderr.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// Heartbeat's `logfile`: information and worse.
    pub file: Option<PathBuf>,
    /// Heartbeat's `debugfile`: everything, and the output of scripts.
    pub debug_file: Option<PathBuf>,
    /// Syslog facility by name, `None`: no syslog.
    pub syslog: Option<String>,
    /// Most detailed level written: 0 normal, 1 debug, 2 and more trace.
    pub debug: u8,
}

/// What came of reading a configuration.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration; `None` if there are errors.
    pub config: Option<Config>,
    /// All errors and warnings: file by file, errors first, in the order of the lines.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads and checks a configuration: all of it, whatever is wrong with a part.
pub fn load(source: &Source) -> Loaded {
    let mut report = diagnostic::Report::default();
    let raw = match source {
        Source::Latido(path) => latido::read(path, &mut report),
        Source::Heartbeat(dir) => heartbeat::read(dir, &mut report),
    };
    let config = raw.and_then(|raw| check::check(raw, &mut report));
    Loaded { config, diagnostics: report.finish() }
}
