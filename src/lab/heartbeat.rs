//! Somebody's Heartbeat files in the laboratory: a copy of them, with networks to match.
//!
//! Interfaces keep their names and addresses their values, since the laboratory can be built after
//! them. Only what would reach out of it is changed in the copy: serial devices, log files, and
//! scripts, which are recorded instead of run.
use super::client::Probe;
use super::error::{Doing, Error, Result};
use super::node::ETC;
use super::pair::{Files, Link, Pair};
use super::plan::{CLIENT, CROSSOVER, Cable, LAN, Machine, Network, Plan, Port, Switch};
use super::{Lab, Node};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const FILES: [&str; 3] = ["ha.cf", "haresources", "authkeys"];
/// Bytes of the longest file read.
const FILE_MAX: u64 = 1 << 20;
/// Where the scripts of a node are recorded, below its directory.
const RECORD: &str = "record";

/// Heartbeat files that were read and understood as far as the laboratory needs.
#[derive(Clone, Debug)]
pub struct Copy {
    /// For each node: the texts of [`FILES`].
    texts: [[String; 3]; 2],
    nodes: [String; 2],
    /// Interface with the address first, then those of heartbeats alone.
    interfaces: Vec<String>,
    address: (Ipv4Addr, u8),
    own: [Ipv4Addr; 2],
    client: Ipv4Addr,
    baud: Option<u32>,
    scripts: Vec<String>,
    dead: Duration,
    failback: bool,
    fast: bool,
    notes: Vec<String>,
}

impl Copy {
    /// Reads `dir`, or two directories in it that have an `ha.cf` each: one for each node.
    /// `fast` replaces the times: 100 ms, dead after 1 s.
    ///
    /// # Errors
    /// When the files cannot be read, or name no two nodes or no IPv4 address.
    pub fn of(dir: &Path, fast: bool) -> Result<Copy> {
        let texts = read(dir)?;
        let hacf = Words::of(&texts[0][0]);
        let nodes: Vec<String> = hacf.all("node").flatten().map(str::to_owned).collect();
        let nodes: [String; 2] = nodes.try_into().map_err(|nodes: Vec<String>| {
            let count = nodes.len();
            Error::new(format!("{}: {count} nodes; the demo has two machines", dir.display()))
        })?;
        let texts = for_nodes(texts, &nodes);
        let (hacf, resources) = (Words::of(&texts[0][0]), Words::of(&texts[0][1]));
        let found = address(&resources).ok_or_else(|| {
            Error::new(format!("{}: haresources names no IPv4 address", dir.display()))
        })?;
        let interfaces = interfaces(&hacf, found.interface.as_deref());
        let address = (found.address, found.prefix.unwrap_or(24));
        let (own, client) = own_addresses(&texts, address);
        let dead = if fast { Some(Duration::from_secs(1)) } else { hacf.time("deadtime") };
        let failback = !matches!(hacf.first("auto_failback"), Some("off" | "no" | "false" | "0"));
        let has_serial = hacf.all("serial").next().is_some();
        let speed = hacf.first("baud").and_then(|word| word.parse().ok()).unwrap_or(19_200);
        let mut notes = vec![format!(
            "{} is the LAN, with {} and {}; the address {}/{} moves.",
            interfaces[0], own[0], own[1], address.0, address.1
        )];
        if interfaces.len() > 1 {
            notes.push(format!("Cables of the nodes' own: {}.", interfaces[1..].join(", ")));
        }
        let scripts = scripts(&resources);
        if !scripts.is_empty() {
            notes.push(format!("Recorded instead of run: {}.", scripts.join(", ")));
        }
        Ok(Copy {
            texts,
            nodes,
            interfaces,
            address,
            own,
            client,
            baud: has_serial.then_some(speed),
            scripts,
            dead: dead.unwrap_or(Duration::from_secs(30)),
            failback,
            fast,
            notes,
        })
    }

    /// The same with the first node's haresources on both: what Heartbeat demanded.
    #[must_use]
    pub fn with_agreed_resources(mut self) -> Copy {
        self.texts[1][1] = self.texts[0][1].clone();
        self
    }

    /// What the laboratory made of the files, in sentences.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The nodes' names, the preferred one first.
    pub fn nodes(&self) -> [String; 2] {
        self.preferred_first()
    }

    /// Each way between the nodes, the LAN first: its name, and whether heartbeats use it.
    pub fn paths(&self) -> Vec<(Link, String, bool)> {
        let heard = heartbeat_interfaces(&Words::of(&self.texts[0][0]));
        let networks = self.interfaces.iter().enumerate().map(|(index, interface)| {
            let (link, kind) =
                if index == 0 { (Link::Lan, "LAN") } else { (Link::Crossover, "cable") };
            (link, format!("{kind} ({interface})"), heard.contains(interface))
        });
        let serial = self.baud.map(|_| (Link::Serial, "null-modem".to_owned(), true));
        networks.chain(serial).collect()
    }

    /// Silence after which a node is dead.
    pub fn dead(&self) -> Duration {
        self.dead
    }

    /// Whether the group returns to its node by itself.
    pub fn failback(&self) -> bool {
        self.failback
    }

    /// Builds a laboratory after the files and starts the pair in it, as [`Pair::start`] does.
    ///
    /// # Errors
    /// When the laboratory cannot be had or a daemon does not start.
    pub fn start(&self, program: &Path, switch: Switch, probe: Option<Probe>) -> Result<Pair> {
        let mut pair = self.build(program, switch)?;
        for node in pair.lab.nodes() {
            node.power_on()?;
            pair.start_service(node)?;
        }
        if let Some(probe) = probe {
            pair.ask(probe)?;
        }
        for node in pair.lab.nodes() {
            pair.start_daemon(node.name())?;
        }
        Ok(pair)
    }

    /// Builds the laboratory with the copied files in it; nothing is switched on yet.
    ///
    /// # Errors
    /// As [`Copy::start`].
    pub fn build(&self, program: &Path, switch: Switch) -> Result<Pair> {
        let lab = Lab::new(&self.plan(program, switch))?;
        for (name, texts) in self.nodes.iter().zip(&self.texts) {
            self.write(lab.node(name), texts, &lab.serial_device(0))?;
        }
        let dir = lab.dir().join(ETC).join("ha.d");
        Ok(Pair {
            client: None,
            lab,
            names: self.preferred_first(),
            program: program.to_owned(),
            files: Files::Heartbeat(dir),
            address: IpAddr::V4(self.address.0),
            // A group of haresources is called after its address.
            group: self.address.0.to_string(),
            dead: self.dead,
            port: 80,
        })
    }

    /// The node that haresources names first, and the other.
    fn preferred_first(&self) -> [String; 2] {
        let resources = Words::of(&self.texts[0][1]);
        let preferred = resources.lines.first().and_then(|line| line.first());
        let [one, two] = self.nodes.clone();
        if preferred.is_some_and(|name| name.eq_ignore_ascii_case(&two)) {
            return [two, one];
        }
        [one, two]
    }

    fn plan(&self, program: &Path, switch: Switch) -> Plan {
        let names = self.preferred_first();
        let network = |index: usize| match index {
            0 => LAN.to_owned(),
            1 => CROSSOVER.to_owned(),
            more => format!("{CROSSOVER}{more}"),
        };
        let lan = |address: Ipv4Addr| vec![(IpAddr::V4(address), self.address.1)];
        let node = |(number, name): (usize, &String)| {
            let own = self.own[usize::from(*name == self.nodes[1])];
            let ports = self.interfaces.iter().enumerate().map(|(index, interface)| {
                let byte = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
                let private = Ipv4Addr::new(172, 31, byte(index), byte(number + 1));
                Port {
                    network: network(index),
                    interface: interface.clone(),
                    addresses: if index == 0 { lan(own) } else { vec![(private.into(), 24)] },
                }
            });
            Machine { name: name.clone(), ports: ports.collect() }
        };
        let port = |address| Port {
            network: LAN.into(),
            interface: "eth0".into(),
            addresses: lan(address),
        };
        Plan {
            program: program.to_owned(),
            networks: (0..self.interfaces.len())
                .map(|index| Network { name: network(index), switch })
                .collect(),
            trunks: Vec::new(),
            nodes: names.iter().enumerate().map(node).collect(),
            clients: vec![Machine { name: CLIENT.into(), ports: vec![port(self.client)] }],
            cables: self
                .baud
                .map(|baud| Cable { between: names.clone(), baud: Some(baud) })
                .into_iter()
                .collect(),
        }
    }

    /// Writes a node's copy of the files.
    fn write(&self, node: &Node, texts: &[String; 3], serial: &Path) -> Result<()> {
        let dir = node.dir().join(ETC).join("ha.d");
        let scripts = dir.join("resource.d");
        fs::create_dir_all(&scripts).doing(format!("creating {}", scripts.display()))?;
        for (name, text) in FILES.iter().zip(texts) {
            let text = if *name == "ha.cf" {
                mapped(text, serial, &node.dir().join("log"), self.fast)
            } else {
                text.clone()
            };
            write_file(&dir.join(name), &text, 0o600)?;
        }
        for script in &self.scripts {
            let text = recording(script, &node.dir().join(RECORD), &node.runtime_dir());
            write_file(&scripts.join(script), &text, 0o755)?;
        }
        Ok(())
    }
}

impl Pair {
    /// What scripts were called for at a node, in order: `NAME ARGUMENTS… ACTION`.
    pub fn recorded(&self, node: &str) -> Vec<String> {
        let text = fs::read_to_string(self.lab.node(node).dir().join(RECORD)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// A node's Heartbeat files as seen from outside, if it has them.
    pub fn ha_dir(&self, node: &str) -> Option<PathBuf> {
        let dir = self.lab.node(node).dir().join(ETC).join("ha.d");
        dir.is_dir().then_some(dir)
    }
}

fn write_file(path: &Path, text: &str, mode: u32) -> Result<()> {
    fs::File::options()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .doing(format!("writing {}", path.display()))
}

/// The texts of [`FILES`] in `dir`, or in each of its two directories.
fn read(dir: &Path) -> Result<[[String; 3]; 2]> {
    let read_one = |dir: &Path| -> Result<[String; 3]> {
        let mut texts: [String; 3] = Default::default();
        for (text, name) in texts.iter_mut().zip(FILES) {
            let path = dir.join(name);
            let size = fs::metadata(&path).doing(format!("reading {}", path.display()))?.len();
            if size > FILE_MAX {
                return Err(Error::new(format!("{} is too long", path.display())));
            }
            let bytes = fs::read(&path).doing(format!("reading {}", path.display()))?;
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
        Ok(texts)
    };
    let dirs = directories(dir)?;
    match dirs.as_slice() {
        [one, two] => Ok([read_one(one)?, read_one(two)?]),
        _ => read_one(dir).map(|texts| [texts.clone(), texts]),
    }
}

/// The directories with an `ha.cf`: `dir` itself, or two in it, one for each node.
///
/// # Errors
/// When it is neither.
pub fn directories(dir: &Path) -> Result<Vec<PathBuf>> {
    if dir.join("ha.cf").exists() {
        return Ok(vec![dir.to_path_buf()]);
    }
    let entries = fs::read_dir(dir).doing(format!("reading {}", dir.display()))?;
    let mut inner: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    inner.retain(|path| path.join("ha.cf").exists());
    inner.sort();
    if inner.len() != 2 {
        let message = format!("{} has no ha.cf, nor two directories with one each", dir.display());
        return Err(Error::new(message));
    }
    Ok(inner)
}

/// Puts the texts in the nodes' order: a directory whose haresources names the other node first
/// is that node's, when the two differ.
fn for_nodes(texts: [[String; 3]; 2], nodes: &[String; 2]) -> [[String; 3]; 2] {
    let names = texts
        .each_ref()
        .map(|texts| Words::of(&texts[1]).lines.first().and_then(|line| line.first().cloned()));
    let swapped = names[0] != names[1] && names[0].as_ref() == Some(&nodes[1]);
    let [one, two] = texts;
    if swapped { [two, one] } else { [one, two] }
}

/// The words of a file's lines, without comments.
struct Words {
    lines: Vec<Vec<String>>,
}

impl Words {
    fn of(text: &str) -> Words {
        let words = |line: &str| {
            let line = line.split('#').next().unwrap_or_default();
            line.split_whitespace().map(str::to_owned).collect::<Vec<String>>()
        };
        Words { lines: text.lines().map(words).filter(|words| !words.is_empty()).collect() }
    }

    /// The arguments of every line with this directive.
    fn all(&self, directive: &str) -> impl Iterator<Item = impl Iterator<Item = &str>> {
        self.lines
            .iter()
            .filter(move |line| line.first().is_some_and(|word| word == directive))
            .map(|line| line.iter().skip(1).map(String::as_str))
    }

    fn first(&self, directive: &str) -> Option<&str> {
        self.all(directive).next()?.next()
    }

    /// A time: seconds, or `ms`.
    fn time(&self, directive: &str) -> Option<Duration> {
        let word = self.first(directive)?;
        match word.strip_suffix("ms") {
            Some(ms) => ms.parse().ok().map(Duration::from_millis),
            None => word.trim_end_matches('s').parse().ok().map(Duration::from_secs_f64),
        }
    }
}

struct Found {
    address: Ipv4Addr,
    prefix: Option<u8>,
    interface: Option<String>,
}

/// The first address in haresources: alone, or as `IPaddr::ADDRESS/PREFIX/INTERFACE/BROADCAST`.
fn address(resources: &Words) -> Option<Found> {
    resources.lines.iter().flatten().find_map(|word| {
        let word = word.rsplit("::").find(|part| part.contains('.'))?;
        let mut parts = word.split('/');
        let address = parts.next()?.parse().ok()?;
        let mut found = Found { address, prefix: None, interface: None };
        for part in parts {
            match part.parse() {
                Ok(prefix) if prefix <= 32 => found.prefix = Some(prefix),
                _ if part.parse::<Ipv4Addr>().is_ok() => {}
                // Without the label of `eth0:0`.
                _ => found.interface = part.split(':').next().map(str::to_owned),
            }
        }
        Some(found)
    })
}

/// The interfaces that the links name, in the order of the file.
fn heartbeat_interfaces(hacf: &Words) -> Vec<String> {
    let mut links: Vec<String> = Vec::new();
    let mut add = |interface: &str| {
        if !links.iter().any(|known| known == interface) {
            links.push(interface.to_owned());
        }
    };
    for (directive, all) in [("bcast", true), ("udp", true), ("mcast", false), ("ucast", false)] {
        for args in hacf.all(directive) {
            args.take(if all { usize::MAX } else { 1 }).for_each(&mut add);
        }
    }
    links
}

/// The interface of the clients' network first, then those of heartbeats alone.
fn interfaces(hacf: &Words, named: Option<&str>) -> Vec<String> {
    let mut links = heartbeat_interfaces(hacf);
    // Unnamed, it is one that heartbeats share with others (unicast, multicast) or the first of
    // the machine; a second interface with broadcast alone is a cable of the nodes' own.
    let shared = hacf.first("ucast").or(hacf.first("mcast"));
    let lan = named.or(shared).map(str::to_owned);
    let lan = lan.or_else(|| links.iter().find(|name| name.ends_with('0')).cloned());
    let lan = lan.unwrap_or_else(|| "eth0".into());
    links.retain(|name| *name != lan);
    links.insert(0, lan);
    links
}

/// Addresses of the two nodes and of the client, beside the virtual one. A node's unicast line
/// names the other node's address.
fn own_addresses(
    texts: &[[String; 3]; 2],
    virtual_address: (Ipv4Addr, u8),
) -> ([Ipv4Addr; 2], Ipv4Addr) {
    let peer_of = |texts: &[String; 3]| {
        let hacf = Words::of(&texts[0]);
        hacf.all("ucast").find_map(|args| args.last()?.parse::<Ipv4Addr>().ok())
    };
    let mask = u32::MAX.checked_shl(32 - u32::from(virtual_address.1)).unwrap_or(0);
    let network = u32::from(virtual_address.0) & mask;
    let inside = |address: &Ipv4Addr| u32::from(*address) & mask == network;
    let second = peer_of(&texts[0]).filter(inside);
    let first = peer_of(&texts[1]).filter(inside).filter(|address| Some(*address) != second);
    let mut taken = vec![virtual_address.0];
    taken.extend([first, second].into_iter().flatten());
    let mut free = move || {
        let mut candidates = (network + 1..).map(Ipv4Addr::from);
        let address = candidates.find(|address| !taken.contains(address));
        let address = address.unwrap_or(virtual_address.0);
        taken.push(address);
        address
    };
    let own = [first.unwrap_or_else(&mut free), second.unwrap_or_else(&mut free)];
    (own, free())
}

/// The names of all scripts in haresources: what is neither a node nor an address.
fn scripts(resources: &Words) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for word in resources.lines.iter().flat_map(|line| line.iter().skip(1)) {
        let name = word.split("::").next().unwrap_or(word);
        let address = name.split('/').next().is_some_and(|part| part.parse::<IpAddr>().is_ok());
        let built_in = matches!(name, "IPaddr" | "IPaddr2" | "IPv6addr");
        let plain = !name.contains('/') && !name.is_empty();
        if plain && !address && !built_in && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// `ha.cf` with everything inside the laboratory.
fn mapped(text: &str, serial: &Path, logs: &Path, fast: bool) -> String {
    const TIMES: [(&str, &str); 4] =
        [("keepalive", "100ms"), ("warntime", "300ms"), ("deadtime", "1"), ("initdead", "5")];
    let mut result = String::new();
    for line in text.lines() {
        let directive = line.split_whitespace().next().unwrap_or_default();
        let time = TIMES.iter().any(|(name, _)| *name == directive);
        // Writing to a String cannot fail.
        let _ = match directive {
            "serial" => writeln!(result, "serial {}", serial.display()),
            "logfile" => writeln!(result, "logfile {}", logs.join("ha-log").display()),
            "debugfile" => writeln!(result, "debugfile {}", logs.join("ha-debug").display()),
            _ if fast && time => Ok(()),
            _ => writeln!(result, "{line}"),
        };
    }
    if fast {
        for (name, value) in TIMES {
            let _ = writeln!(result, "{name} {value}");
        }
    }
    result
}

/// A script that writes down what it is called for, and remembers until the power goes whether it
/// was started.
fn recording(name: &str, record: &Path, run: &Path) -> String {
    format!(
        "#!/bin/sh\n\
         # Stands in for {name}: records what it is called for.\n\
         for action; do :; done\n\
         state='{}/recorded-{name}'\n\
         case \"$action\" in\n\
         start) : > \"$state\" ;;\n\
         stop) rm -f \"$state\" ;;\n\
         status|monitor)\n\
           if [ -e \"$state\" ]; then echo running; exit 0; else echo stopped; exit 3; fi ;;\n\
         esac\n\
         echo {name} \"$@\" >> '{}'\n",
        run.display(),
        record.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(word: &str) -> (Ipv4Addr, Option<u8>, Option<String>) {
        let found = address(&Words::of(&format!("node {word} service"))).unwrap();
        (found.address, found.prefix, found.interface)
    }

    #[test]
    fn addresses_are_found_in_every_form() {
        let ip = Ipv4Addr::new(192, 168, 2, 10);
        assert_eq!(found("192.168.2.10"), (ip, None, None));
        assert_eq!(found("IPaddr::192.168.2.10/24/eth0"), (ip, Some(24), Some("eth0".into())));
        assert_eq!(found("IPaddr2::192.168.2.10/28/eth0:0"), (ip, Some(28), Some("eth0".into())));
        assert_eq!(found("IPaddr::192.168.2.10/24/192.168.2.255"), (ip, Some(24), None));
    }

    #[test]
    fn the_lan_is_the_interface_that_clients_can_use() {
        let of = |text: &str, named| interfaces(&Words::of(text), named);
        // web-mail-dns: a serial cable and a private Ethernet; the address finds its own way.
        assert_eq!(of("serial /dev/ttyS0\nbcast eth1\n", None), ["eth0", "eth1"]);
        // web-two-routers: two devices on one line, the address names one.
        assert_eq!(of("bcast eth0 eth2 # both\n", Some("eth0")), ["eth0", "eth2"]);
        // web-two-vms: one interface for everything.
        let one = "bcast ens18\nmcast ens18 225.0.0.1 694 1 0\nucast ens18 10.0.0.2\nudp ens18\n";
        assert_eq!(of(one, None), ["ens18"]);
    }

    #[test]
    fn nodes_have_the_addresses_that_unicast_lines_name() {
        let texts = |peer: &str| [format!("ucast ens18 {peer}\n"), String::new(), String::new()];
        let both = [texts("172.23.19.47"), texts("172.23.19.46")];
        let (own, client) = own_addresses(&both, (Ipv4Addr::new(172, 23, 19, 48), 24));
        let ip = |last| Ipv4Addr::new(172, 23, 19, last);
        assert_eq!((own, client), ([ip(46), ip(47)], ip(1)));
        // One file for both: it names the second node; the first gets a free address.
        let same = [texts("192.168.0.21"), texts("192.168.0.21")];
        let (own, _) = own_addresses(&same, (Ipv4Addr::new(192, 168, 0, 20), 24));
        assert_eq!(own, [Ipv4Addr::new(192, 168, 0, 1), Ipv4Addr::new(192, 168, 0, 21)]);
    }

    #[test]
    fn nothing_of_the_copy_reaches_out() {
        let text = "keepalive 2\nserial /dev/ttyS0\nlogfile /var/log/ha-log # why\nnode a b\n";
        let mapped = mapped(text, Path::new("/lab/tty"), Path::new("/lab/log"), true);
        assert!(
            mapped.contains("serial /lab/tty\n") && mapped.contains("logfile /lab/log/ha-log\n")
        );
        assert!(mapped.contains("keepalive 100ms\n") && !mapped.contains("keepalive 2\n"));
        assert!(mapped.contains("node a b\n"));
    }

    #[test]
    fn scripts_are_what_is_neither_node_nor_address() {
        let words = Words::of(
            "corman IPaddr2::192.168.2.10/24/eth0:0 apache2 drbddisk::data \
             Filesystem::/dev/drbd0::/data::ext3 apache2\n",
        );
        assert_eq!(scripts(&words), ["apache2", "drbddisk", "Filesystem"]);
    }
}
