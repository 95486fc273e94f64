//! A pair of real daemons in a laboratory, the service behind their address, and a client.
use super::client::{Client, Probe, Question};
use super::error::{Doing, Error, Result};
use super::ownership::Held;
use super::plan::{CLIENT, Plan, Switch};
use super::record::Missed;
use super::{Lab, Node, wait};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The group of a configuration made here.
pub const GROUP: &str = "web";
/// How long a busy machine may take for what should take no time.
const SLACK: Duration = Duration::from_secs(20);
/// A step's window begins so much before the deed, and ends so much after its effect.
const PRELUDE: Duration = Duration::from_millis(100);
const FINALE: Duration = Duration::from_millis(500);
/// After the client was answered again: what was asked before has its outcome then.
const SETTLE: Duration = Duration::from_millis(300);

/// What the pair's configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Names of the nodes; the first is preferred.
    pub nodes: [String; 2],
    /// Between two heartbeats.
    pub interval: Duration,
    /// Silence after which a node is dead.
    pub dead: Duration,
    /// How long a starting node waits for its peer.
    pub initial_dead: Duration,
    /// How long the preferred node must have been stable before the group returns to it; `None`:
    /// it does not return by itself.
    pub failback_delay: Option<Duration>,
    /// The heartbeat links.
    pub links: Vec<Link>,
    /// What joins the networks' cables.
    pub switch: Switch,
    /// How the client asks; `None`: there is none.
    pub probe: Option<Probe>,
    /// The virtual address, in 10.77.0.0/24.
    pub address: IpAddr,
    /// Further resources of the group after the address, as TOML tables.
    pub resources: Vec<String>,
    /// Further lines at the top level of the configuration (before any table).
    pub extra: String,
}

/// A heartbeat link of the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// UDP broadcast on the LAN.
    Lan,
    /// UDP broadcast on the crossover.
    Crossover,
    /// Raw Ethernet on the crossover, with a VLAN's tag or without.
    Ethernet(Option<u16>),
    /// The null-modem cable.
    Serial,
}

impl Default for Settings {
    /// All three links, 100 ms, 1 s, automatic failback after 1 s, a client over HTTP.
    fn default() -> Settings {
        Settings {
            nodes: ["pi".into(), "laptop".into()],
            interval: Duration::from_millis(100),
            dead: Duration::from_secs(1),
            initial_dead: Duration::from_secs(10),
            failback_delay: Some(Duration::from_secs(1)),
            links: vec![Link::Lan, Link::Crossover, Link::Serial],
            switch: Switch::Bridge,
            probe: Some(Probe::Http),
            address: IpAddr::from([10, 77, 0, 100]),
            resources: Vec::new(),
            extra: String::new(),
        }
    }
}

impl Settings {
    /// The configuration as `latido.toml`. `serial` is the nodes' serial device.
    pub fn toml(&self, keys: &Path, serial: &Path) -> String {
        let ms = |duration: Duration| format!("\"{}ms\"", duration.as_millis());
        let nodes = format!("[\"{}\", \"{}\"]", self.nodes[0], self.nodes[1]);
        let mut text = format!(
            "{}[cluster]\nname = \"laboratory\"\nnodes = {nodes}\n\n\
             [timing]\ninterval = {}\ndead = {}\ninitial_dead = {}\nfailback_delay = {}\n\n\
             [quorum]\nrule = \"assume-dead\"\n\n[keys]\nfile = \"{}\"\n",
            self.extra,
            ms(self.interval),
            ms(self.dead),
            ms(self.initial_dead),
            ms(self.failback_delay.unwrap_or_default()),
            keys.display(),
        );
        for link in &self.links {
            // Writing to a String cannot fail.
            let _ = match link {
                Link::Lan => {
                    write!(text, "\n[[link]]\nudp = \"broadcast\"\ninterface = \"eth0\"\n")
                }
                Link::Crossover => {
                    write!(text, "\n[[link]]\nudp = \"broadcast\"\ninterface = \"eth1\"\n")
                }
                Link::Ethernet(vlan) => {
                    let tag = vlan.map_or(String::new(), |vlan| format!("vlan = {vlan}\n"));
                    write!(text, "\n[[link]]\nethernet = \"eth1\"\n{tag}")
                }
                Link::Serial => {
                    write!(text, "\n[[link]]\nserial = \"{}\"\nbaud = 115200\n", serial.display())
                }
            };
        }
        let failback = if self.failback_delay.is_some() { "auto" } else { "manual" };
        let _ = write!(
            text,
            "\n[[group]]\nname = \"{GROUP}\"\nprefer = {nodes}\nfailback = \"{failback}\"\n\
             resources = [\n  {{ address = \"{}/24\", interface = \"eth0\" }},\n",
            self.address
        );
        for resource in &self.resources {
            let _ = writeln!(text, "  {resource},");
        }
        text.push_str("]\n");
        text
    }
}

/// Where the daemons find their configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Files {
    /// One `latido.toml` for all.
    Toml(PathBuf),
    /// A directory of Heartbeat's files, which every node sees as its own.
    Heartbeat(PathBuf),
}

/// A pair at work.
#[derive(Debug)]
pub struct Pair {
    // Before the laboratory: it asks from a namespace of its.
    pub(super) client: Option<Client>,
    /// Its laboratory.
    pub lab: Lab,
    pub(super) names: [String; 2],
    pub(super) program: PathBuf,
    pub(super) files: Files,
    pub(super) address: IpAddr,
    pub(super) group: String,
    pub(super) dead: Duration,
    /// Where the service listens.
    pub(super) port: u16,
}

/// What happened in one step of an experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What was done.
    pub name: String,
    /// Owner before and after.
    pub owners: [Option<String>; 2],
    /// From the deed until the address was at its new owner, and nowhere else.
    pub moved_after: Option<Duration>,
    /// What the client missed.
    pub missed: Missed,
    /// How the address was held from the deed on.
    pub held: Held,
}

/// What must come of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// This node serves.
    Owner(String),
    /// Nothing moves for this long.
    Nothing(Duration),
}

impl Pair {
    /// Builds a laboratory and starts the service, the daemons and the client in it. The daemons
    /// have then been started, but own nothing yet: see [`Pair::ready`].
    ///
    /// # Errors
    /// When the laboratory cannot be had or a daemon does not start.
    pub fn start(program: &Path, settings: &Settings) -> Result<Pair> {
        let names = [settings.nodes[0].as_str(), settings.nodes[1].as_str()];
        let lab = Lab::new(&Plan::pair(program, names).with_switch(settings.switch))?;
        let keys = lab.dir().join("keys");
        write_keys(&keys)?;
        let file = lab.dir().join("latido.toml");
        fs::write(&file, settings.toml(&keys, &lab.serial_device(0)))
            .doing(format!("writing {}", file.display()))?;
        let mut pair = Pair {
            client: None,
            lab,
            names: settings.nodes.clone(),
            program: program.to_owned(),
            files: Files::Toml(file),
            address: settings.address,
            group: GROUP.into(),
            dead: settings.dead,
            port: 80,
        };
        for node in pair.lab.nodes() {
            node.power_on()?;
            pair.start_service(node)?;
        }
        if let Some(probe) = settings.probe {
            pair.ask(probe)?;
        }
        for node in pair.lab.nodes() {
            pair.start_daemon(node.name())?;
        }
        Ok(pair)
    }

    /// Lets the client ask the virtual address from now on.
    pub fn ask(&mut self, probe: Probe) -> Result<()> {
        let target = SocketAddr::new(self.address, self.port);
        let question = Question::every_millisecond(probe, target);
        self.client = Some(Client::start(self.lab.client(CLIENT), question)?);
        Ok(())
    }

    pub(super) fn start_service(&self, node: &Node) -> Result<()> {
        let program = self.program.display().to_string();
        let (port, address) = (self.port.to_string(), self.address.to_string());
        node.spawn("service", [program.as_str(), "lab-serve", node.name(), &port, &address])?;
        Ok(())
    }

    /// Starts a node's daemon.
    pub fn start_daemon(&self, name: &str) -> Result<i32> {
        let node = self.lab.node(name);
        let mut command = vec![self.program.display().to_string(), "run".into()];
        match &self.files {
            Files::Toml(path) => command.extend(["--config".into(), path.display().to_string()]),
            Files::Heartbeat(dir) => command.extend(["--ha-dir".into(), dir.display().to_string()]),
        }
        command.extend(["--node".into(), name.to_owned()]);
        command.extend(["--runtime-dir".into(), node.runtime_dir().display().to_string()]);
        command.extend(["--state-dir".into(), node.dir().join("state").display().to_string()]);
        node.spawn("daemon", command)
    }

    /// Waits until the address is at the preferred node, the client (if any) is answered by it,
    /// and both daemons agree about that. Returns the owner.
    ///
    /// # Errors
    /// After `limit`, with what the daemons last wrote.
    pub fn ready(&self, limit: Duration) -> Result<String> {
        let owner = self.names[0].clone();
        let at = Instant::now();
        self.await_owner(&owner, at, limit)?;
        for name in &self.names {
            wait::until(limit, format!("{name} to know that {owner} owns"), || {
                (self.lab.node(name).owner(&self.group).as_ref() == Some(&owner)).then_some(())
            })
            .map_err(|why| self.with_logs(&why))?;
        }
        Ok(owner)
    }

    /// The one node that has the address; `None`: none or several.
    pub fn owner(&self) -> Option<String> {
        let mut holders = self.lab.ownership().holders(self.address);
        holders.dedup();
        if holders.len() == 1 { holders.pop() } else { None }
    }

    /// The other node.
    pub fn peer_of(&self, name: &str) -> String {
        self.names[usize::from(self.names[0] == name)].clone()
    }

    /// Waits until `name` alone has the address and the client was answered by it after `since`.
    /// Returns when the address had arrived.
    ///
    /// # Errors
    /// After `limit`, with what the daemons last wrote.
    pub fn await_owner(&self, name: &str, since: Instant, limit: Duration) -> Result<Instant> {
        let what = format!("{} to be at {name} and nowhere else", self.address);
        let arrived =
            wait::until(limit, what, || (self.owner().as_deref() == Some(name)).then(Instant::now))
                .map_err(|why| self.with_logs(&why))?;
        if let Some(client) = &self.client {
            wait::until(limit, format!("an answer of {name}"), || {
                client.last_answer().filter(|(server, at)| server == name && *at > since)
            })
            .map_err(|why| self.with_logs(&why))?;
        }
        Ok(arrived)
    }

    /// Does something and watches what comes of it.
    ///
    /// # Errors
    /// When it cannot be done, or when what is expected does not come in time; the message then
    /// has the ends of the daemons' logs.
    pub fn step(
        &self,
        name: &str,
        expect: &Expect,
        deed: impl FnOnce(&Pair) -> Result<()>,
    ) -> Result<Step> {
        let before = self.owner();
        let begin = Instant::now();
        std::thread::sleep(PRELUDE);
        let deed_at = Instant::now();
        deed(self)?;
        let mut moved_after = None;
        match expect {
            Expect::Owner(owner) => {
                let arrived = self.await_owner(owner, deed_at, self.dead * 10 + SLACK)?;
                if before.as_ref() != Some(owner) {
                    moved_after = Some(arrived.saturating_duration_since(deed_at));
                }
                // A wrong neighbour entry or a relapse shows soon after.
                std::thread::sleep(FINALE);
            }
            Expect::Nothing(period) => {
                let moved = || {
                    let holders = self.lab.ownership().holders(self.address);
                    (self.owner() != before).then_some(holders)
                };
                let what = format!("{name} must move nothing, but the address has moved; owners");
                wait::never(*period, what, moved).map_err(|why| self.with_logs(&why))?;
            }
        }
        let end = Instant::now();
        let missed = self.missed(begin, end);
        let held = self.lab.ownership().held(self.address, deed_at, end);
        let owners = [before, self.owner()];
        Ok(Step { name: name.to_owned(), owners, moved_after, missed, held })
    }

    /// What the client missed; waits until the outcome of everything asked before `to` is known.
    pub fn missed(&self, from: Instant, to: Instant) -> Missed {
        let Some(client) = &self.client else { return Missed::default() };
        std::thread::sleep(SETTLE.saturating_sub(to.elapsed()));
        client.missed(from, to)
    }

    /// Gives a command to a node's daemon and waits for its outcome.
    ///
    /// # Errors
    /// When it is refused; with the daemon's reason.
    pub fn command(&self, node: &str, command: &str) -> Result<Value> {
        let request = json!({ "command": command, "groups": [self.group] });
        let reply = self.lab.node(node).ask(&request)?;
        if reply.get("ok") == Some(&Value::Bool(true)) {
            return Ok(reply);
        }
        Err(Error::new(format!("{node} refuses `{command}`: {reply}")))
    }

    /// Switches a node on again, with its service and its daemon.
    pub fn power_on(&self, name: &str) -> Result<()> {
        let node = self.lab.node(name);
        node.power_on()?;
        self.start_service(node)?;
        self.start_daemon(name)?;
        Ok(())
    }

    /// The virtual address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The name of the group with the address.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The nodes' names; the first is preferred.
    pub fn names(&self) -> &[String; 2] {
        &self.names
    }

    /// The client.
    pub fn client(&self) -> Option<&Client> {
        self.client.as_ref()
    }

    /// The end of a node's daemon's log.
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.lab.node(name).log("daemon")).unwrap_or_default()
    }

    fn with_logs(&self, why: &Error) -> Error {
        let mut text = why.to_string();
        for name in &self.names {
            let log = self.log(name);
            let lines: Vec<&str> = log.lines().collect();
            let _ = write!(text, "\n  the daemon of {name} last wrote:");
            for line in lines.iter().skip(lines.len().saturating_sub(12)) {
                let _ = write!(text, "\n    {line}");
            }
        }
        Error::new(text)
    }
}

/// A key file with a new random key, readable by its owner only.
pub fn write_keys(path: &Path) -> Result<()> {
    let mut key = [0; 32];
    rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty())
        .doing("drawing a key")?;
    let hex = key.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| writeln!(file, "use 1\n1 {hex}"))
        .doing(format!("writing {}", path.display()))
}
