//! A pair whose power hangs on a strip of outlets that both nodes can ask.
use crate::world::{PROGRAM, Scene, node_of};
use latido::lab::cable::End;
use latido::lab::client::{Client, Probe};
use latido::lab::outlet::{Answer, Outlets};
use latido::lab::{CROSSOVER, LAN, Plan};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub(crate) const VIRTUAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 100));
pub(crate) const GROUP: &str = "web";

/// Two nodes, three paths, one group that prefers `pi`. A fence takes two seconds at most, so that
/// the node that shoots second waits for 3.1 s.
const CONFIG: &str = r#"
[cluster]
name = "test"
nodes = ["pi", "laptop"]
[timing]
interval = "50ms"
warn = "500ms"
dead = "1s"
initial_dead = "3s"
[quorum]
RULE
[keys]
file = "{dir}/keys"
[[link]]
udp = "broadcast"
interface = "eth0"
[[link]]
udp = "broadcast"
interface = "eth1"
[[link]]
serial = "{serial}"
baud = 115200
[[fence]]
nodes = ["pi", "laptop"]
command = ["PROGRAM", "lab-outlet", "SOCKET"]
timeout = "2s"
test_every = "200ms"
[self_fence]
command = ["PROGRAM", "lab-outlet", "SOCKET"]
[[group]]
name = "web"
prefer = ["pi", "laptop"]
failback = "manual"
resources = [
  { address = "10.77.0.100/24", interface = "eth0" },
  { service = "stubborn", script_dirs = ["{dir}/init.d"], stop_timeout = "500ms" },
]
"#;

/// A service that cannot be stopped while the node's file `stubborn` is there.
const STUBBORN: &str = r#"#!/bin/sh
case $1 in
start) : > {dir}/run/service;;
stop) if [ -e {dir}/run/stubborn ]; then echo "I stay"; exit 1; fi; rm -f {dir}/run/service;;
status) if [ -e {dir}/run/service ]; then echo running; else echo stopped; exit 3; fi;;
esac
"#;

/// What the strip and the test share.
pub(crate) struct Stage {
    scene: Scene,
    /// Every path between the nodes is cut, also for a node that starts.
    cut: AtomicBool,
    /// The strip obeys nobody.
    broken: AtomicBool,
    orders: Mutex<Vec<(Instant, String)>>,
}

/// The pair, its strip and a client.
pub(crate) struct Pair {
    // In this order: the client asks nodes, the strip switches them.
    client: Option<Client>,
    _outlets: Outlets,
    stage: Arc<Stage>,
    pub(crate) begun: Instant,
}

impl Deref for Pair {
    type Target = Scene;

    fn deref(&self) -> &Scene {
        &self.stage.scene
    }
}

impl Stage {
    /// What an outlet does: a power cut is one, and what is switched on starts its daemon. A machine
    /// that resets itself starts slowly: not before the test has it start.
    fn switch(&self, action: &str, name: &str) -> Answer {
        if self.broken.load(Ordering::Acquire) {
            return Err("the strip does not answer".to_owned());
        }
        if action != "monitor" {
            let order = format!("{action} {name}");
            self.orders.lock().unwrap().push((Instant::now(), order));
        }
        let node = self.scene.lab.node(name);
        let text = |why: latido::lab::Error| why.to_string();
        match action {
            "off" | "reset" if node.is_on() => {
                node.power_cut().map_err(text)?;
            }
            "off" | "on" | "monitor" | "reset" => {}
            other => return Err(format!("no action {other}")),
        }
        if action == "on" && !node.is_on() {
            node.power_on().map_err(text)?;
            // Its cables are as they were.
            self.apply_cut();
            self.scene.start(name);
        }
        Ok(if node.is_on() { "on" } else { "off" }.to_owned())
    }

    fn apply_cut(&self) {
        let cut = self.cut.load(Ordering::Acquire);
        for network in [LAN, CROSSOVER] {
            self.scene.lab.split(network, cut).unwrap();
        }
        for end in [End::First, End::Second] {
            self.scene.lab.cable(0).unwrap().set(end, !cut);
        }
    }
}

impl Pair {
    /// Both daemons running under the rule fencing, `pi` owning the group, every device tested, and
    /// a client asking.
    pub(crate) fn running() -> Pair {
        Pair::with("rule = \"fencing\"")
    }

    /// The same with other lines in `[quorum]`.
    pub(crate) fn with(quorum: &str) -> Pair {
        let scene = Scene::new(&Plan::pair(PROGRAM, ["pi", "laptop"]));
        let socket = scene.lab.dir().join("outlets");
        let text = CONFIG
            .replace("RULE", quorum)
            .replace("PROGRAM", PROGRAM)
            .replace("SOCKET", &socket.display().to_string());
        scene.serve(VIRTUAL);
        scene.toml(&text);
        for node in ["pi", "laptop"] {
            scene.write(node, "init.d/stubborn", STUBBORN);
        }
        let stage = Arc::new(Stage {
            scene,
            cut: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            orders: Mutex::default(),
        });
        let shared = Arc::clone(&stage);
        let outlets = Outlets::serve(&socket, move |action, node| shared.switch(action, node));
        let outlets = outlets.unwrap();
        let mut pair = Pair { client: None, _outlets: outlets, stage, begun: Instant::now() };
        pair.start_all();
        pair.met();
        pair.settled(GROUP, "pi");
        for node in ["pi", "laptop"] {
            pair.wait_status(node, "the device is tested", |status| {
                let peer = status["nodes"].as_array()?.iter().find(|one| one["me"] == false)?;
                (peer["fence"]["devices"][0]["test"] == "passed").then_some(())
            });
        }
        pair.client = Some(pair.client(Probe::Udp, VIRTUAL));
        pair.served_by("pi");
        pair
    }

    /// Waits until the client is answered by `node`.
    pub(crate) fn served_by(&self, node: &str) {
        self.answered_by(self.client.as_ref().expect("a client was started"), node);
    }

    /// Waits until `owner` alone has the address and says that it runs the group.
    pub(crate) fn owned(&self, owner: &str) {
        self.wait_status(owner, format!("{owner} alone runs the group"), |status| {
            let group = &status["groups"][0];
            let owned = group["owner"] == owner && group["local"] == "running";
            (owned && self.holders(VIRTUAL) == [owner]).then_some(())
        });
        self.served_by(owner);
    }

    /// What the strip was told, self-tests left out.
    pub(crate) fn orders(&self) -> Vec<String> {
        self.stage.orders.lock().unwrap().iter().map(|(_, order)| order.clone()).collect()
    }

    /// When it was told so.
    pub(crate) fn ordered(&self, order: &str) -> Instant {
        let orders = self.stage.orders.lock().unwrap();
        let found = orders.iter().find(|(_, one)| one == order);
        found.unwrap_or_else(|| panic!("nobody said `{order}`: {orders:?}")).0
    }

    /// Makes the strip deaf, or not.
    pub(crate) fn break_strip(&self, broken: bool) {
        self.stage.broken.store(broken, Ordering::Release);
    }

    /// Cuts every path between the nodes, or joins them again. Clients reach both.
    pub(crate) fn cut_paths(&self, cut: bool) {
        self.stage.cut.store(cut, Ordering::Release);
        self.stage.apply_cut();
    }

    /// What a node says of another one's fencing.
    pub(crate) fn fence_of(&self, node: &str, other: &str) -> Value {
        node_of(&self.status(node), other).map_or(Value::Null, |node| node["fence"].clone())
    }

    /// Waits for a sentence among the problems of a node's status.
    pub(crate) fn problem(&self, node: &str, words: &[&str]) -> String {
        self.wait_status(node, format!("a problem with {words:?}"), |status| {
            let problems = status["problems"].as_array()?;
            let mut texts = problems.iter().filter_map(Value::as_str);
            texts.find(|text| words.iter().all(|word| text.contains(word))).map(str::to_owned)
        })
    }

    /// Never, not for a moment, did both nodes have the address since the beginning.
    pub(crate) fn never_both(&self) {
        let held = self.lab.ownership().held(VIRTUAL, self.begun, Instant::now());
        assert_eq!(held.both, Duration::ZERO, "{held:?}");
    }

    /// A node's service cannot be stopped from now on, until its power goes.
    pub(crate) fn make_stubborn(&self, node: &str) {
        std::fs::write(self.lab.node(node).runtime_dir().join("stubborn"), "").unwrap();
    }
}
