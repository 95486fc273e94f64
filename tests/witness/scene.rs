//! Two nodes that may own an address, and a witness that has no network but a way to each of them.
//!
//! ```text
//!   client ──[lan]──┬───────────────┐
//!                  pi ──[pair]── laptop      heartbeats: pair, and each node's way to the witness
//!                   └─── pico ──────┘        (two networks of their own, or two null-modems)
//! ```
use crate::stalls::Stalls;
use crate::world::{self, PROGRAM, SOON, Scene};
use latido::lab::plan::{Cable, Machine, Network, Plan, Port, Switch};
use latido::lab::wait;
use rustix::process::Signal;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Deref;
use std::time::{Duration, Instant};

pub(crate) const VIRTUAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 100));
pub(crate) const GROUP: &str = "web";
pub(crate) const NODES: [&str; 2] = ["pi", "laptop"];
pub(crate) const WITNESS: &str = "pico";
/// A packet, a wake-up, the address itself, and the looking for it.
const ALLOWANCE: Duration = Duration::from_millis(100);

/// How the witness is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Udp,
    Serial,
}

/// All three at work.
pub(crate) struct Trio {
    scene: Scene,
    stalls: Stalls,
    way: Way,
    pub(crate) bound: Duration,
}

impl Deref for Trio {
    type Target = Scene;

    fn deref(&self) -> &Scene {
        &self.scene
    }
}

pub(crate) fn network(name: &str) -> Network {
    Network { name: name.into(), switch: Switch::Bridge }
}

pub(crate) fn port(network: &str, interface: &str, address: [u8; 4]) -> Port {
    Port {
        network: network.into(),
        interface: interface.into(),
        addresses: vec![(IpAddr::from(address), 24)],
    }
}

pub(crate) fn machine(name: &str, ports: Vec<Port>) -> Machine {
    Machine { name: name.into(), ports }
}

fn plan(way: Way) -> Plan {
    let node = |number: u8, name: &str, third: &str| {
        let mut ports = vec![
            port("lan", "eth0", [10, 77, 0, number]),
            port("pair", "eth1", [10, 78, 0, number]),
        ];
        if way == Way::Udp {
            ports.push(port(third, "eth2", [10, 78 + number, 0, number]));
        }
        machine(name, ports)
    };
    let mut networks = vec![network("lan"), network("pair")];
    let (mut ports, mut cables) = (Vec::new(), Vec::new());
    match way {
        Way::Udp => {
            networks.extend([network("left"), network("right")]);
            ports.push(port("left", "eth1", [10, 79, 0, 9]));
            ports.push(port("right", "eth2", [10, 80, 0, 9]));
        }
        Way::Serial => {
            let cable =
                |name: &str| Cable { between: [name.into(), WITNESS.into()], baud: Some(115_200) };
            cables.extend(NODES.map(cable));
        }
    }
    Plan {
        program: PROGRAM.into(),
        networks,
        trunks: Vec::new(),
        nodes: vec![node(1, "pi", "left"), node(2, "laptop", "right"), machine(WITNESS, ports)],
        clients: Vec::new(),
        cables,
    }
}

/// A cluster of two nodes and the witness; `links` in TOML.
pub(crate) fn text(
    cluster: &str,
    nodes: [&str; 2],
    group: &str,
    address: IpAddr,
    links: &str,
) -> String {
    format!(
        "[cluster]\nname = \"{cluster}\"\nnodes = [\"{}\", \"{}\"]\n\n[[witness]]\nname = \
         \"{WITNESS}\"\n\n[timing]\ninterval = \"50ms\"\ndead = \"500ms\"\ninitial_dead = \
         \"5s\"\n\n[quorum]\nrule = \"majority\"\n\n[keys]\nfile = \"keys\"\n\n{links}\n\
         [[group]]\nname = \"{group}\"\nprefer = [\"{}\", \"{}\"]\nfailback = \"manual\"\n\
         resources = [{{ address = \"{address}/24\", interface = \"eth0\", stop_timeout = \
         \"100ms\" }}]\n",
        nodes[0], nodes[1], nodes[0], nodes[1]
    )
}

pub(crate) fn udp(interface: &str) -> String {
    format!("[[link]]\nudp = \"broadcast\"\ninterface = \"{interface}\"\n")
}

impl Trio {
    /// All of them on, `pi` owning the group, and the witness's vote given to it.
    pub(crate) fn running(way: Way) -> Trio {
        let scene = Scene::new(&plan(way));
        let third = match way {
            Way::Udp => udp("eth2"),
            Way::Serial => "[[link]]\nserial = \"{serial}\"\nbaud = 115200\n".to_owned(),
        };
        scene.toml(&text("test", NODES, GROUP, VIRTUAL, &(udp("eth1") + &third)));
        let bound = bound(&scene);
        let trio = Trio { scene, stalls: Stalls::start(), way, bound };
        trio.start_witness();
        for node in NODES {
            trio.start(node);
        }
        trio.settled(GROUP, "pi");
        trio.votes(0);
        trio.witness_is("alive");
        trio
    }

    /// Starts the witness program; `false` in its log is what it wrote before.
    pub(crate) fn start_witness(&self) {
        let dir = self.lab.node(WITNESS).dir();
        let mut command = vec![PROGRAM.to_owned(), "witness".into(), "--name".into()];
        command.extend([WITNESS.to_owned(), "-v".into(), "--cluster".into()]);
        command.push(format!("test={}", dir.join("keys").display()));
        for number in 0..2 {
            command.extend(match self.way {
                Way::Udp => ["--udp".to_owned(), format!("eth{}", number + 1)],
                Way::Serial => {
                    ["--serial".to_owned(), self.lab.serial_device(number).display().to_string()]
                }
            });
        }
        self.lab.node(WITNESS).spawn("daemon", command).unwrap();
    }

    /// Ends the witness program, killed.
    pub(crate) fn kill_witness(&self) {
        let node = self.lab.node(WITNESS);
        let ours = |command: &[String]| command.iter().any(|word| word == "witness");
        let running = || node.processes().into_iter().find(|one| ours(&one.command));
        node.signal(running().expect("a witness").pid, Signal::KILL).unwrap();
        self.wait("the end of the witness", || {
            running().is_none_or(|one| one.state == 'Z').then_some(())
        });
    }

    /// Bytes that the witness has logged.
    pub(crate) fn told(&self) -> usize {
        self.log(WITNESS).len()
    }

    /// Waits until the witness gives its vote to somebody, told after `from` bytes of its log.
    pub(crate) fn votes(&self, from: usize) {
        self.logged(WITNESS, from, &["has the vote for group"]);
    }

    /// Waits until the nodes that are on say this of the witness.
    pub(crate) fn witness_is(&self, state: &str) {
        for node in NODES.into_iter().filter(|node| self.lab.node(node).is_on()) {
            self.wait_status(node, format!("the witness is {state}"), |status| {
                let witness = status["witnesses"].as_array()?.first()?;
                (witness["name"] == WITNESS && witness["state"] == state).then_some(())
            });
        }
    }

    /// Waits until only `node` has the address; when it was seen.
    pub(crate) fn taken_by(&self, node: &str) -> Instant {
        self.wait(format!("{node} to have the address"), || {
            (self.holders(VIRTUAL) == [node]).then(Instant::now)
        })
    }

    /// Makes sure that what began at `since` took no longer than `check` says. What this machine
    /// stood still meanwhile is not the daemons' doing: it is added, once for each side.
    pub(crate) fn within_bound(&self, what: &str, since: Instant, took: Instant) {
        let stalled = self.stalls.worst(since, took);
        let (took, bound) = (took - since, self.bound);
        let allowed = bound + stalled * 2 + ALLOWANCE;
        assert!(took <= allowed, "{what} after {took:?}; bound {bound:?}, stalled {stalled:?}");
    }

    /// Makes sure that for a while nobody but `owner` has the address, and that it never moves.
    pub(crate) fn stays(&self, owner: Option<&str>, period: Duration) {
        wait::never(period, "the address has moved", || {
            let holders = self.holders(VIRTUAL);
            (holders.iter().map(String::as_str).ne(owner)).then_some(holders)
        })
        .unwrap();
    }

    /// Never two nodes had the address at once.
    pub(crate) fn never_two(&self) {
        let held = self.lab.ownership().held(VIRTUAL, self.begun, Instant::now());
        assert_eq!(held.both, Duration::ZERO, "{held:?}");
    }

    /// The plug of a node pulled; when.
    pub(crate) fn cut(&self, node: &str) -> Instant {
        self.lab.node(node).power_cut().unwrap()
    }
}

/// The longest takeover that `latido check` computes.
pub(crate) fn bound(scene: &Scene) -> Duration {
    let [option, path] = scene.config_args("pi");
    let (code, out, err) = world::run(&["check", "--json", &option, &path]);
    let value: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{code} {out} {err}"));
    let summary = &value["configurations"][0]["summary"];
    assert_eq!(summary["witnesses"][0], WITNESS, "{out}");
    let micros = summary["groups"][0]["takeover_us_max"].as_u64();
    Duration::from_micros(micros.unwrap_or_else(|| panic!("no bound in {out}")))
}

/// Long enough for everything that could go wrong within leases and blackouts.
pub(crate) const LONG: Duration = Duration::from_secs(15);
const _: () = assert!(LONG.as_secs() < SOON.as_secs(), "what ends a blackout is waited for");
