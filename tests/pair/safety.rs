//! What `status` says about safety: true only while everything it rests on works.
use crate::WEB;
use crate::world::{PROGRAM, Scene};
use latido::lab::plan::{self, Machine};
use latido::lab::{LAN, Plan};
use rustix::process::Signal;
use serde_json::Value;
use std::net::IpAddr;
use std::time::Instant;

const MAJORITY: &str = r#"
[cluster]
name = "test"
nodes = ["pi", "laptop", "tower"]
[timing]
interval = "50ms"
warn = "500ms"
dead = "2s"
initial_dead = "30s"
[quorum]
rule = "majority"
[keys]
file = "{dir}/keys"
[[link]]
udp = "broadcast"
interface = "eth0"
[[group]]
name = "web"
prefer = ["pi", "laptop", "tower"]
failback = "manual"
resources = [{ address = "10.77.0.100/24", interface = "eth0" }]
"#;

/// Three nodes on one LAN that run this configuration, `web` on `pi`.
fn three(config: &str) -> Scene {
    let scene = powered(config);
    scene.start_all();
    scene.met();
    scene.settled("web", "pi");
    scene
}

/// The same before the daemons run.
fn powered(config: &str) -> Scene {
    let mut plan = Plan::pair(PROGRAM, ["pi", "laptop"]);
    let port = plan::Port {
        network: LAN.into(),
        interface: "eth0".into(),
        addresses: vec![(IpAddr::from([10, 77, 0, 9]), 24)],
    };
    plan.nodes.push(Machine { name: "tower".into(), ports: vec![port] });
    let scene = Scene::new(&plan);
    scene.toml(config);
    scene.recorder("init.d", "httpd");
    scene
}

/// Starts a node's daemon without what it takes to load the lease gate.
fn start_without_gate(scene: &Scene, node: &str) {
    let machine = scene.lab.node(node);
    let mut command: Vec<String> =
        ["setpriv", "--bounding-set", "-bpf,-sys_admin,-perfmon", PROGRAM, "run"]
            .map(str::to_owned)
            .to_vec();
    command.extend(scene.config_args(node));
    command.extend(["--runtime-dir".to_owned(), machine.runtime_dir().display().to_string()]);
    command.extend(["--state-dir".to_owned(), machine.dir().join("state").display().to_string()]);
    machine.spawn("daemon", command).unwrap();
}

fn quorum(status: &Value) -> (bool, String) {
    let quorum = &status["quorum"];
    (quorum["safe"] == true, quorum["why"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn three_nodes_are_safe_until_one_is_not_heard() {
    let scene = three(MAJORITY);
    for node in ["pi", "laptop", "tower"] {
        let why = scene.wait_status(node, "it is safe", |status| {
            let (safe, why) = quorum(status);
            safe.then_some(why)
        });
        assert!(why.contains("all 3 voters are heard and agree"), "{why}");
        let (code, text) = scene.latido(node, &["status"]);
        assert!(code == 0 && text.contains("quorum majority: safe: one owner"), "{text}");
        assert!(!text.contains("PROBLEMS"), "all is well: {text}");
    }
    scene.lab.node("tower").power_cut().unwrap();
    let why = scene.wait_status("pi", "it is not safe any more", |status| {
        let (safe, why) = quorum(status);
        (!safe).then_some(why)
    });
    assert!(why.contains("2 of 3 voters are heard: tower is silent"), "{why}");
    let (_, text) = scene.latido("pi", &["status"]);
    assert!(text.contains("quorum majority: NOT safe: 2 of 3 voters"), "{text}");
    // Not safe is not gone: the majority goes on.
    assert_eq!(scene.holders(WEB), ["pi"]);
    scene.boot("tower");
    scene.wait_status("pi", "it is safe again", |status| quorum(status).0.then_some(()));
}

#[test]
fn services_and_another_configuration_are_named() {
    let service = MAJORITY.replace(
        "interface = \"eth0\" }]",
        "interface = \"eth0\" }, { service = \"httpd\", script_dirs = [\"{dir}/init.d\"], \
         stop_timeout = \"1s\" }]",
    );
    let scene = three(&service);
    let (safe, why) = quorum(&scene.status("pi"));
    assert!(!safe && why.contains("nothing ends httpd"), "{why}");
    // The address is the other node's now in another group: nobody could call that safe.
    scene.write("tower", "latido.toml", &service.replace("name = \"web\"", "name = \"www\""));
    let (code, text) = scene.latido("tower", &["reload"]);
    assert_eq!(code, 0, "{text}");
    scene.wait_status("pi", "tower has another configuration", |status| {
        let warnings = status["quorum"]["warnings"].as_array()?;
        let named = |one: &Value| {
            one.as_str().is_some_and(|text| text.contains("tower has another configuration"))
        };
        warnings.iter().any(named).then_some(())
    });
}

#[test]
fn without_the_gate_the_lease_waits_until_the_kernel_has_dropped_the_address() {
    let scene = powered(&MAJORITY.replace("\"2s\"", "\"700ms\""));
    // One of three suffices to see that leases of both kinds live together.
    start_without_gate(&scene, "pi");
    scene.start("laptop");
    scene.start("tower");
    scene.met();
    scene.settled("web", "pi");
    let status = scene.status("pi");
    assert_eq!(status["gate"]["active"], false, "{status:#}");
    let (safe, why) = quorum(&status);
    assert!(safe && why.contains("every lease waits"), "{why}");
    let begin = Instant::now();
    let daemon = scene.lab.node("pi").daemon().expect("a daemon").pid;
    scene.lab.node("pi").signal_family(daemon, Signal::STOP);
    scene.wait("another node to take over", || (scene.holders(WEB).first()? != "pi").then_some(()));
    let held = scene.lab.ownership().held(WEB, begin, Instant::now());
    assert!(held.both.is_zero(), "two kernels had the address: {held:?}");
}
