//! Three voters: two nodes that may own the address, a third that only votes, and two clients.
//!
//! ```text
//!    west ─┐                                   ┌─ east        clients
//!        [west]───trunk───[middle]───trunk───[east]           one LAN of three switches: eth0
//!      pi ─┘                 │                 └─ laptop
//!       │ └──────eth2─────witness─────eth3───────┘ │          a cable between each two of them
//!       └───────────────────eth1───────────────────┘
//! ```
//!
//! A cable has the same name at both ends: links are told apart by their place in the configuration,
//! which is the same on all three.
use crate::stalls::Stalls;
use crate::verdict::{changes_certain, changes_received};
use crate::world::{self, PORT, PROGRAM, SOON, Scene, group_of};
use latido::lab::plan::{Machine, Network, Plan, Port, Switch, Trunk};
use latido::lab::trunk::{Way, Wire};
use latido::lab::{Client, Node, Probe, Question, record::Answer, wait};
use latido::platform::bpf::{Direction, Program, attached};
use latido::platform::netlink::Socket;
use rustix::process::{Pid, Signal};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::time::{Duration, Instant};

pub(crate) const VIRTUAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 100));
pub(crate) const GROUP: &str = "web";
/// Those who may own it.
pub(crate) const NODES: [&str; 2] = ["pi", "laptop"];
/// The third vote.
pub(crate) const WITNESS: &str = "witness";
pub(crate) const CLIENTS: [&str; 2] = ["west", "east"];

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Who has the third vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Third {
    /// A node like the others, which no group prefers.
    Node,
    /// `latido witness`.
    Witness,
}

/// The times of the cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) interval: Duration,
    pub(crate) dead: Duration,
    pub(crate) stop: Duration,
}

/// What a packet, a wake-up and the address itself may take on top of the bound.
const ALLOWANCE: Duration = ms(20);

/// The shortest that are promised.
pub(crate) const FAST: Timing = Timing { interval: ms(10), dead: ms(30), stop: ms(10) };

/// Three voters at work, and the clients that ask.
pub(crate) struct Trio {
    // Dropped first: they ask nodes that are about to go.
    clients: Vec<Client>,
    scene: Scene,
    stalls: Stalls,
    third: Third,
    pub(crate) timing: Timing,
    /// From an owner's last sign of life until another node starts the group, as `check` says.
    pub(crate) bound: Duration,
}

impl Deref for Trio {
    type Target = Scene;

    fn deref(&self) -> &Scene {
        &self.scene
    }
}

/// The network of the picture above.
fn plan() -> Plan {
    let port = |network: &str, interface: &str, address: [u8; 4]| Port {
        network: network.into(),
        interface: interface.into(),
        addresses: vec![(IpAddr::from(address), 24)],
    };
    let machine = |name: &str, ports: Vec<Port>| Machine { name: name.into(), ports };
    let voter = |number: u8, name: &str, side: &str, cables: [(&str, u8); 2]| {
        let cable = |(network, index): (&str, u8)| {
            port(network, &format!("eth{index}"), [10, 77 + index, 0, number])
        };
        let mut ports = vec![port(side, "eth0", [10, 77, 0, number])];
        ports.extend(cables.map(cable));
        machine(name, ports)
    };
    let trunk = |one: &str, two: &str| Trunk {
        name: format!("{one}-{two}"),
        between: [one.into(), two.into()],
    };
    let networks = ["west", "middle", "east", "pi-laptop", "pi-witness", "laptop-witness"];
    Plan {
        program: PROGRAM.into(),
        networks: networks
            .map(|name| Network { name: name.into(), switch: Switch::Bridge })
            .to_vec(),
        trunks: vec![trunk("west", "middle"), trunk("middle", "east")],
        nodes: vec![
            voter(1, "pi", "west", [("pi-laptop", 1), ("pi-witness", 2)]),
            voter(2, "laptop", "east", [("pi-laptop", 1), ("laptop-witness", 3)]),
            voter(3, WITNESS, "middle", [("pi-witness", 2), ("laptop-witness", 3)]),
        ],
        clients: vec![
            machine("west", vec![port("west", "eth0", [10, 77, 0, 11])]),
            machine("east", vec![port("east", "eth0", [10, 77, 0, 12])]),
        ],
        cables: Vec::new(),
    }
}

/// A cable by its two ends: `pi`, `laptop` and `witness` are machines (their first cable leads to
/// the LAN), `west`, `middle` and `east` its switches.
pub(crate) fn wire(one: &str, two: &str) -> Wire {
    let port = |machine: &str, network: &str| Wire::Port {
        machine: machine.into(),
        network: network.into(),
    };
    let pair = format!("{one}-{two}");
    match (one, two) {
        ("west", "middle") | ("middle", "east") => Wire::Trunk(pair),
        ("pi" | "laptop", "laptop" | "witness") => port(one, &pair),
        _ => port(one, two),
    }
}

/// Every cable that heartbeats use.
pub(crate) fn wires() -> Vec<Wire> {
    let ends = [
        ("pi", "west"),
        ("west", "middle"),
        ("witness", "middle"),
        ("middle", "east"),
        ("laptop", "east"),
        ("pi", "laptop"),
        ("pi", "witness"),
        ("laptop", "witness"),
    ];
    ends.map(|(one, two)| wire(one, two)).to_vec()
}

impl Trio {
    /// All of them on, one of the two owning the group, and both clients asking at this interval.
    pub(crate) fn running(third: Third, timing: Timing, asking: Duration) -> Trio {
        let scene = Scene::new(&plan());
        scene.serve(VIRTUAL);
        scene.toml(&text(third, timing));
        let bound = bound(&scene);
        let stalls = Stalls::start();
        let mut trio = Trio { clients: Vec::new(), scene, stalls, third, timing, bound };
        // From now on cables are cut at once.
        trio.set_cut(&wires(), false);
        trio.start_third();
        NODES.iter().for_each(|node| trio.start(node));
        trio.owner();
        for name in CLIENTS {
            let question = Question {
                interval: asking,
                ..Question::every_millisecond(Probe::Udp, SocketAddr::from((VIRTUAL, PORT)))
            };
            trio.clients.push(Client::start(trio.lab.client(name), question).unwrap());
        }
        // Whoever starts has no vote for a while; it takes its own to own anything.
        let first = trio.settle();
        trio.bring_to(Trio::peer_of(first));
        for node in NODES {
            let gate = &trio.status(node)["gate"];
            assert_eq!(gate["active"], true, "{gate}");
        }
        trio
    }

    pub(crate) fn node(&self, name: &str) -> &Node {
        self.lab.node(name)
    }

    /// The client of this name.
    pub(crate) fn client(&self, name: &str) -> &Client {
        let index = CLIENTS.iter().position(|known| *known == name).expect("a client");
        &self.clients[index]
    }

    fn start_third(&self) {
        if self.third == Third::Node {
            return self.start(WITNESS);
        }
        let keys = self.node(WITNESS).dir().join("keys");
        let mut command = vec![PROGRAM.to_owned(), "witness".into(), "--name".into()];
        command.extend([WITNESS.into(), "--cluster".into(), format!("test={}", keys.display())]);
        // A link has its place in the list: the same as in the nodes' configuration.
        command.extend(LINKS.iter().flat_map(|name| ["--udp".to_owned(), (*name).to_owned()]));
        self.node(WITNESS).spawn("daemon", command).unwrap();
    }

    /// Waits until all voters hear each other on every link, agree on an owner, and both clients
    /// were answered by it, asked from now on. It may move meanwhile: on a machine that stands still
    /// for a moment that is as it should be.
    pub(crate) fn settle(&self) -> &'static str {
        let since = Instant::now();
        let answered = |owner: &str| {
            let by_owner = |client: &Client| {
                let last = client.last_answer();
                last.is_some_and(|(server, at)| server == owner && at > since)
            };
            self.clients.iter().all(by_owner)
        };
        self.wait("one owner, all voters and links in order, both clients answered", || {
            let told: Option<Vec<&str>> = self
                .lab
                .nodes()
                .iter()
                .filter(|node| node.daemon().is_some())
                .map(|node| in_order(&self.status(node.name())))
                .collect();
            let told = told?;
            let owner = told.first().copied()?;
            (told.iter().all(|one| *one == owner) && answered(owner)).then_some(owner)
        })
    }

    /// Lets a node own the group, and settles.
    pub(crate) fn bring_to(&self, node: &str) {
        self.wait(format!("{node} to own the group"), || {
            let there = self.settle() == node;
            if !there {
                self.latido(node, &["takeover"]);
            }
            there.then_some(())
        });
    }

    /// Who owns the group: the one of the two that says so of itself.
    pub(crate) fn owner(&self) -> &'static str {
        self.wait("one owner", || {
            let owns = |node: &&str| {
                let status = self.status(node);
                group_of(&status, GROUP)
                    .is_some_and(|group| group["owner"] == **node && group["local"] == "running")
            };
            match NODES.into_iter().filter(owns).collect::<Vec<_>>()[..] {
                [one] => Some(one),
                _ => None,
            }
        })
    }

    /// Cuts or mends both directions of these cables.
    pub(crate) fn set_cut(&self, wires: &[Wire], cut: bool) {
        for wire in wires {
            for way in Way::BOTH {
                self.lab.set_cut(wire, way, cut).unwrap();
            }
        }
    }

    /// Sends a signal to all of Latido's processes on a node within microseconds, and returns when.
    pub(crate) fn strike(&self, node: &str, signal: Signal) -> Instant {
        let pids = self.daemons(node);
        assert!(pids.len() >= 2, "supervisor and engine of {node}: {pids:?}");
        let at = Instant::now();
        for pid in pids {
            rustix::process::kill_process(pid, signal).unwrap();
        }
        at
    }

    /// Takes the lease gate off all interfaces of a node, as nobody should.
    pub(crate) fn strip(&self, node: &str) {
        let taken = self.node(node).inside(|| {
            let links = Socket::open().expect("netlink").links().expect("a list");
            let mut taken = 0;
            for (link, side) in
                links.iter().flat_map(|link| Direction::BOTH.map(|side| (link, side)))
            {
                for id in attached(link.index, side).expect("Linux 6.6") {
                    let program = Program::find(id).expect("root").expect("it is loaded");
                    program.detach(link.index, side).expect("detached");
                    taken += 1;
                }
            }
            taken
        });
        assert!(taken.unwrap() >= 6, "three interfaces, two sides");
    }

    /// The processes of a node's daemon, the supervisor first.
    fn daemons(&self, node: &str) -> Vec<Pid> {
        let all = self.node(node).processes();
        let ours = all
            .iter()
            .filter(|one| one.state != 'Z' && !one.command.iter().any(|word| word == "lab-serve"));
        ours.filter_map(|one| Pid::from_raw(one.pid)).collect()
    }

    /// Waits until no daemon is left on a node.
    pub(crate) fn gone(&self, node: &str) {
        wait::until(SOON, "the killed daemon to go", || {
            self.daemons(node).is_empty().then_some(())
        })
        .unwrap();
    }

    /// The other of the two nodes.
    pub(crate) fn peer_of(node: &str) -> &'static str {
        NODES[usize::from(NODES[0] == node)]
    }

    /// Never two owners, from `from` until `to`.
    pub(crate) fn never_two(&self, what: &str, from: Instant, to: Instant) {
        if let Err(why) = self.judge(from, to) {
            panic!("{what}: {why}");
        }
    }

    /// Whoever answered, the answers changed hands no more often than the address was put
    /// somewhere; else what was seen instead.
    pub(crate) fn judge(&self, from: Instant, to: Instant) -> Result<(), String> {
        let moves = self.lab.ownership().held(VIRTUAL, from, to).arrivals;
        let verdict = |who: &str, changes: usize, answers: &[Answer]| {
            if changes <= moves {
                return Ok(());
            }
            let story = story(from, answers);
            Err(format!("{who} saw {changes} changes of the owner, there were {moves}: {story}"))
        };
        let mut all: Vec<Answer> = Vec::new();
        for (name, client) in CLIENTS.iter().zip(&self.clients) {
            let answers = client.answers(from, to);
            let changes = changes_received(answers.iter().map(|one| one.server.as_str()));
            verdict(name, changes, &answers)?;
            all.extend(answers);
        }
        all.sort_by_key(|answer| answer.at);
        verdict("both clients together", changes_certain(all.clone()), &all)
    }

    /// Waits until a client was answered by `node`, asked after `since`; when it was, for the first
    /// time.
    pub(crate) fn first_answer(&self, node: &str, since: Instant) -> Instant {
        self.wait(format!("an answer of {node}"), || {
            let now = Instant::now();
            let answers = self.clients.iter().flat_map(|client| client.answers(since, now));
            answers.filter(|one| one.server == node && one.asked > since).map(|one| one.at).min()
        })
    }

    /// When `node` last answered a client.
    pub(crate) fn last_answer(&self, node: &str, since: Instant) -> Instant {
        let now = Instant::now();
        let answers = self.clients.iter().flat_map(|client| client.answers(since, now));
        answers.filter(|one| one.server == node).map(|one| one.at).max().unwrap_or(since)
    }

    /// The longest time for which this machine stood still in a period.
    pub(crate) fn stalled(&self, from: Instant, to: Instant) -> Duration {
        self.stalls.worst(from, to)
    }

    /// Within microseconds no frame leaves or reaches a node, and all its daemons are killed. Its
    /// interfaces are taken down later, in [`Trio::reboot`]: that holds a lock of the kernel which
    /// the other nodes need to set the address, and which no other machine would wait for.
    pub(crate) fn power_cut(&self, node: &str) -> Instant {
        let ours = |wire: &Wire| match wire {
            Wire::Port { machine, network } => machine == node || network.contains(node),
            Wire::Trunk(_) => false,
        };
        let at = Instant::now();
        self.set_cut(&wires().into_iter().filter(ours).collect::<Vec<_>>(), true);
        self.strike(node, Signal::KILL);
        at
    }

    /// Switches a node on again whose power was cut.
    pub(crate) fn reboot(&self, node: &str) {
        self.node(node).power_cut().unwrap();
        self.boot(node);
        // Of the others' cables to it; its own are new.
        self.set_cut(&wires(), false);
    }

    /// Makes sure that what began at `since` took no longer than `check` says. What this machine
    /// stood still meanwhile is not the daemons' doing: it is added, once for each side.
    pub(crate) fn within_bound(&self, what: &str, took: Duration, since: Instant) {
        let stalled = self.stalls.worst(since, since + took);
        let allowed = self.bound + stalled * 2 + ALLOWANCE;
        let bound = self.bound;
        assert!(took <= allowed, "{what} after {took:?}; bound {bound:?}, stalled {stalled:?}");
    }
}

/// The owner, if this status shows that all is well.
fn in_order(status: &Value) -> Option<&'static str> {
    let up = |link: &Value| link["state"] == "up";
    let fine = |voter: &Value| {
        let links = voter["links"].as_array().map_or(&[][..], Vec::as_slice);
        // The LAN, and a cable to it; that of the other two is not theirs.
        let heard = voter["state"] == "alive" && links.iter().filter(|link| up(link)).count() == 2;
        voter["me"] == true || heard && voter["config_differs"] == false
    };
    let witnesses = status["witnesses"].as_array();
    let nodes = status["nodes"].as_array()?.iter();
    let all: Vec<&Value> = nodes.chain(witnesses.into_iter().flatten()).collect();
    let group = group_of(status, GROUP)?;
    let well = status["ready"] == true && all.len() == 3 && group["state"] == "running";
    let owner = NODES.into_iter().find(|node| group["owner"] == **node)?;
    (well && all.into_iter().all(fine)).then_some(owner)
}

/// Who answered from when to when, in milliseconds, in the order given; the first of it.
fn story(from: Instant, answers: &[Answer]) -> String {
    let mut runs: Vec<(&str, Instant, Instant)> = Vec::new();
    for answer in answers {
        match runs.last_mut() {
            Some(run) if run.0 == answer.server => run.2 = answer.at,
            _ => runs.push((&answer.server, answer.at, answer.at)),
        }
    }
    let show = |at: Instant| (at - from).as_secs_f64() * 1000.0;
    let runs = runs
        .iter()
        .map(|(server, first, last)| format!("{server} {:.3}–{:.3}", show(*first), show(*last)));
    runs.take(20).collect::<Vec<_>>().join(", ")
}

/// The interfaces that heartbeats use. Not every machine has all of them.
const LINKS: [&str; 4] = ["eth0", "eth1", "eth2", "eth3"];

/// The configuration, the same for all.
fn text(third: Third, timing: Timing) -> String {
    let voters = match third {
        Third::Node => format!("nodes = [\"pi\", \"laptop\", \"{WITNESS}\"]"),
        Third::Witness => {
            format!("nodes = [\"pi\", \"laptop\"]\n\n[[witness]]\nname = \"{WITNESS}\"")
        }
    };
    let mut text = format!(
        "[cluster]\nname = \"test\"\n{voters}\n\n\
         [timing]\ninterval = \"{}ms\"\ndead = \"{}ms\"\ninitial_dead = \"5s\"\n\n\
         [quorum]\nrule = \"majority\"\n\n[keys]\nfile = \"keys\"\n\n",
        timing.interval.as_millis(),
        timing.dead.as_millis(),
    );
    for interface in LINKS {
        text.push_str(&format!("[[link]]\nudp = \"broadcast\"\ninterface = \"{interface}\"\n\n"));
    }
    text.push_str(&format!(
        "[[group]]\nname = \"{GROUP}\"\nprefer = [\"pi\", \"laptop\"]\nfailback = \"manual\"\n\
         resources = [\n  {{ address = \"{VIRTUAL}/24\", interface = \"eth0\", \
         stop_timeout = \"{}ms\" }},\n]\n",
        timing.stop.as_millis()
    ));
    text
}

/// The longest takeover that `latido check` computes.
fn bound(scene: &Scene) -> Duration {
    let [option, path] = scene.config_args("pi");
    let (code, out, err) = world::run(&["check", "--json", &option, &path]);
    let value: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{code} {out} {err}"));
    let summary = &value["configurations"][0]["summary"];
    let micros = summary["groups"][0]["takeover_us_max"].as_u64();
    Duration::from_micros(micros.unwrap_or_else(|| panic!("no bound in {out}")))
}
