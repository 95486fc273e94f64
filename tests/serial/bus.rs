//! Three nodes on one RS-485 bus, and nothing else.
use crate::hub::Hub;
use crate::world::{PROGRAM, Scene, node_of};
use latido::lab::plan::{Machine, Plan};
use std::sync::atomic::Ordering;
use std::time::Duration;

const NODES: [&str; 3] = ["pi", "laptop", "shed"];

const CONFIG: &str = r#"
[cluster]
name = "bus"
nodes = ["pi", "laptop", "shed"]
[timing]
interval = "150ms"
warn = "700ms"
dead = "2s"
initial_dead = "20s"
[quorum]
rule = "majority"
[keys]
file = "keys"
[[link]]
serial = "{dir}/bus"
baud = 115200
mode = "rs485"
[[group]]
name = "web"
prefer = ["pi", "laptop", "shed"]
failback = "manual"
resources = [{ service = "mark", script_dirs = ["{dir}/init.d"], stop_timeout = "1s" }]
"#;

struct Bus {
    scene: Scene,
    // After the daemons that use it.
    hub: Hub,
}

fn started(echo: bool) -> Bus {
    let mut plan = Plan::pair(PROGRAM, ["pi", "laptop"]);
    plan.networks.clear();
    plan.clients.clear();
    plan.cables.clear();
    plan.nodes =
        NODES.map(|name| Machine { name: name.into(), ports: Vec::new() }).into_iter().collect();
    let scene = Scene::new(&plan);
    let paths = NODES.map(|name| scene.lab.node(name).dir().join("bus"));
    let hub = Hub::new(&paths, 115_200, echo);
    scene.toml(CONFIG);
    scene.recorder("init.d", "mark");
    scene.start_all();
    Bus { scene, hub }
}

impl Bus {
    /// Waits until these nodes see each other alive, and the others not.
    fn alive(&self, on: &[&str]) {
        for node in on {
            self.scene.wait_status(node, format!("exactly {on:?} are alive"), |status| {
                let right = |other: &&&str| {
                    let state = node_of(status, other).map(|one| one["state"].clone());
                    let alive = state.is_some_and(|state| state == "alive" || state == "late");
                    alive == on.contains(*other)
                };
                NODES.iter().all(|other| right(&other)).then_some(())
            });
        }
    }
}

#[test]
fn three_nodes_live_on_a_bus_and_survive_the_loss_of_each() {
    for echo in [false, true] {
        let bus = started(echo);
        let scene = &bus.scene;
        bus.alive(&NODES);
        scene.settled("web", "pi");
        for gone in ["shed", "laptop", "pi"] {
            let rest: Vec<&str> = NODES.into_iter().filter(|node| *node != gone).collect();
            let marks: Vec<usize> = rest.iter().map(|node| scene.log(node).len()).collect();
            scene.lab.node(gone).power_cut().unwrap();
            bus.alive(&rest);
            scene.boot(gone);
            bus.alive(&NODES);
            for (node, from) in rest.iter().zip(marks) {
                let log = scene.log(node);
                let other = rest.iter().find(|other| *other != node).unwrap();
                let dead = format!("node {other} is dead");
                assert!(!log[from..].contains(&dead), "{node} lost {other} with {gone}:\n{log}");
            }
        }
        // The owner was the last that was cut: another node has it, and all agree on which.
        let owner = |node: &str| {
            let status = scene.status(node);
            let group = &status["groups"][0];
            let owner = group["owner"].as_str().filter(|_| group["state"] == "running");
            owner.map(str::to_owned)
        };
        scene.wait("one owner that everybody knows", || {
            let first = owner(NODES[0])?;
            NODES.iter().all(|node| owner(node).as_deref() == Some(&first)).then_some(())
        });
        let count = |what: &std::sync::atomic::AtomicU64| what.load(Ordering::Relaxed);
        let (whole, damaged) = (count(&bus.hub.passed.whole), count(&bus.hub.passed.damaged));
        println!("echo {echo}: {whole} bytes, and {damaged} that collided");
        assert!(damaged * 4 < whole, "{damaged} of {whole} bytes collided");
    }
}

#[test]
fn a_bus_that_is_left_alone_keeps_its_owner() {
    let bus = started(false);
    bus.alive(&NODES);
    bus.scene.settled("web", "pi");
    let calls = bus.scene.calls().len();
    let from = NODES.map(|node| bus.scene.log(node).len());
    latido::lab::wait::never(Duration::from_secs(10), "another call of the script", || {
        (bus.scene.calls().len() != calls).then(|| bus.scene.calls())
    })
    .unwrap();
    for (node, from) in NODES.iter().zip(from) {
        let log = bus.scene.log(node);
        assert!(!log[from..].contains("is dead"), "{node}:\n{log}");
    }
}
