//! A pair whose LAN has a client and a gateway; the gateway is the reference.
use crate::world::{PROGRAM, Scene};
use latido::lab::cable::End;
use latido::lab::client::{Client, Probe};
use latido::lab::relay::{Fate, Relay};
use latido::lab::{CLIENT, CROSSOVER, LAN, Plan, Switch, plan};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Deref;
use std::time::{Duration, Instant};

pub(crate) const VIRTUAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 100));
pub(crate) const GATEWAY: &str = "gateway";
const GROUP: &str = "web";

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What a pair is like. `..Setup::default()` for the rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) interval: Duration,
    pub(crate) dead: Duration,
    /// Heartbeats go over the LAN, too, not only over the crossover and the serial cable.
    pub(crate) lan: bool,
    pub(crate) probe: bool,
    /// How long a better connected node must be so; `None`: there are no references.
    pub(crate) settle: Option<Duration>,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup { interval: ms(50), dead: ms(800), lan: true, probe: true, settle: Some(ms(1_500)) }
    }
}

/// `pi` owns the group, `laptop` is its peer, a client asks.
pub(crate) struct Pair {
    // Dropped first: it asks nodes that are about to go.
    client: Client,
    scene: Scene,
    pub(crate) setup: Setup,
}

impl Deref for Pair {
    type Target = Scene;

    fn deref(&self) -> &Scene {
        &self.scene
    }
}

impl Pair {
    pub(crate) fn running(setup: Setup) -> Pair {
        let mut plan = Plan::pair(PROGRAM, ["pi", "laptop"]).with_switch(Switch::Relay);
        let port = plan::Port {
            network: LAN.into(),
            interface: "eth0".into(),
            addresses: vec![(IpAddr::from([10, 77, 0, 254]), 24)],
        };
        plan.clients.push(plan::Machine { name: GATEWAY.into(), ports: vec![port] });
        let scene = Scene::new(&plan);
        scene.serve(VIRTUAL);
        scene.toml(&text(&setup));
        scene.start_all();
        scene.met();
        scene.settled(GROUP, "pi");
        let client = scene.client(Probe::Udp, VIRTUAL);
        let pair = Pair { client, scene, setup };
        pair.answered_by("pi");
        for node in ["pi", "laptop"] {
            let wanted = usize::from(setup.settle.is_some());
            pair.reaches(node, wanted);
        }
        pair
    }

    pub(crate) fn lan(&self) -> &Relay {
        self.lab.relay(LAN).expect("a relay")
    }

    /// Cuts two machines from each other on the LAN, both ways, without a lost carrier; or not.
    pub(crate) fn cut(&self, one: &str, other: &str, cut: bool) {
        let fate = if cut { Fate::LOST } else { Fate::default() };
        self.lan().set(one, other, fate);
        self.lan().set(other, one, fate);
    }

    /// Cuts the crossover and the null-modem cable; no carrier is lost.
    pub(crate) fn cut_crossover_and_serial(&self, cut: bool) {
        self.lab.split(CROSSOVER, cut).expect("a network");
        let cable = self.lab.cable(0).expect("a cable");
        for end in [End::First, End::Second] {
            cable.set(end, !cut);
        }
    }

    /// Cuts every path between the nodes.
    pub(crate) fn cut_nodes(&self, cut: bool) {
        self.cut_crossover_and_serial(cut);
        self.cut("pi", "laptop", cut);
    }

    /// Cuts a node from everybody.
    pub(crate) fn isolate(&self, node: &str, cut: bool) {
        self.cut_nodes(cut);
        for other in [CLIENT, GATEWAY] {
            self.cut(node, other, cut);
        }
    }

    pub(crate) fn answered_by(&self, node: &str) -> Instant {
        self.scene.answered_by(&self.client, node)
    }

    /// Waits until a node says that so many references answer.
    pub(crate) fn reaches(&self, node: &str, count: usize) {
        self.wait_status(node, format!("{count} references answer"), |status| {
            let all = status["references"].as_array()?;
            let reached = all.iter().filter(|one| one["reached"] == true).count();
            (reached == count && all.iter().all(|one| one["reached"] != Value::Null)).then_some(())
        });
    }

    pub(crate) fn holders(&self) -> Vec<String> {
        self.scene.holders(VIRTUAL)
    }

    /// Waits until this node alone has the address and says that it runs the group.
    pub(crate) fn owned(&self, owner: &str) {
        self.wait(format!("{owner} alone to own the group"), || {
            let group = &self.status(owner)["groups"][0];
            let owned = group["owner"] == owner && group["local"] == "running";
            (owned && self.holders() == [owner]).then_some(())
        });
    }

    /// Who served the client of those asked since, whatever became of the others.
    pub(crate) fn servers_since(&self, since: Instant) -> BTreeSet<String> {
        let answers = self.client.answers(since, Instant::now());
        answers.into_iter().filter(|one| one.asked >= since).map(|one| one.server).collect()
    }

    /// For how long both nodes had the address since.
    pub(crate) fn both_since(&self, since: Instant) -> Duration {
        self.lab.ownership().held(VIRTUAL, since, Instant::now()).both
    }

    /// How often the address has arrived anywhere since.
    pub(crate) fn arrivals_since(&self, since: Instant) -> usize {
        self.lab.ownership().held(VIRTUAL, since, Instant::now()).arrivals
    }

    /// Where a log ends now.
    pub(crate) fn end_of_log(&self, node: &str) -> usize {
        self.log(node).len()
    }

    pub(crate) fn log_since(&self, node: &str, from: usize) -> String {
        self.log(node).get(from..).unwrap_or_default().to_owned()
    }
}

fn text(setup: &Setup) -> String {
    let udp =
        |interface: &str| format!("[[link]]\nudp = \"broadcast\"\ninterface = \"{interface}\"\n\n");
    let references = setup.settle.map_or(String::new(), |settle| {
        format!(
            "[references]\nhosts = [\"10.77.0.254\"]\ninterval = \"100ms\"\ndead = \"500ms\"\n\
             settle = \"{}ms\"\n\n",
            settle.as_millis()
        )
    });
    let timing = format!(
        "[timing]\ninterval = \"{}ms\"\ndead = \"{}ms\"\ninitial_dead = \"10s\"\n\n",
        setup.interval.as_millis(),
        setup.dead.as_millis()
    );
    let lan = if setup.lan { udp("eth0") } else { String::new() };
    let crossover = udp("eth1");
    let probe = setup.probe;
    format!(
        "[cluster]\nname = \"test\"\nnodes = [\"pi\", \"laptop\"]\n\n{timing}[quorum]\n\
         rule = \"assume-dead\"\nprobe = {probe}\n\n{references}[keys]\nfile = \"keys\"\n\n\
         {lan}{crossover}[[link]]\nserial = \"{{serial}}\"\nbaud = 115200\n\n[[group]]\n\
         name = \"{GROUP}\"\nfailback = \"manual\"\nresources = \
         [{{ address = \"{VIRTUAL}/24\", interface = \"eth0\" }}]\n"
    )
}
