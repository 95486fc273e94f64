//! Keys of running daemons: rotated, refused, and another cluster's name told from a wrong key.
#![cfg(target_os = "linux")]
mod names;
mod refusals;
mod rotation;
#[path = "../world/mod.rs"]
mod world;

use std::net::{IpAddr, Ipv4Addr};
use world::Scene;

const WEB: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 100));

const CONFIG: &str = r#"
[cluster]
name = "Home"
nodes = ["pi", "laptop"]
[timing]
interval = "10ms"
warn = "400ms"
dead = "2s"
initial_dead = "30s"
[quorum]
rule = "assume-dead"
probe = false
[keys]
file = "{dir}/keys"
[[link]]
udp = "broadcast"
interface = "eth0"
[[link]]
udp = "broadcast"
interface = "eth1"
[[group]]
name = "web"
prefer = ["pi", "laptop"]
failback = "auto"
resources = [{ address = "10.77.0.100/24", interface = "eth0" }]
"#;

/// Both nodes run, and the group is on `pi`.
fn pair() -> Scene {
    let scene = Scene::pair();
    scene.serve(WEB);
    scene.toml(CONFIG);
    scene.start_all();
    scene.met();
    scene.settled("web", "pi");
    scene
}

/// A `latido key` command that is done.
fn key(scene: &Scene, node: &str, args: &[&str]) -> String {
    let (code, text) = scene.latido(node, &[&["key"], args].concat());
    assert_eq!(code, 0, "{node} {args:?}: {text}");
    text
}

/// One that is refused; in one line, whatever the terminal's width.
fn refused(scene: &Scene, node: &str, args: &[&str]) -> String {
    let (code, text) = scene.latido(node, &[&["key"], args].concat());
    assert_eq!(code, 1, "{node} {args:?}: {text}");
    text
}

/// A node's key file.
fn keys_of(scene: &Scene, node: &str) -> String {
    std::fs::read_to_string(scene.lab.node(node).dir().join("keys")).expect("a key file")
}
