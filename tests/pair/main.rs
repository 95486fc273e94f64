//! The real daemon in pairs of nodes: configurations that people really wrote, and the commands.
#![cfg(target_os = "linux")]
mod commands;
mod fixtures;
mod reload;
mod safety;
#[path = "../world/mod.rs"]
mod world;
mod wrong;

use std::net::{IpAddr, Ipv4Addr};
use world::Scene;

/// Addresses of the groups of [`two_groups`].
const WEB: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 100));
const MAIL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 101));

/// Two groups: `web` prefers `pi`, `mail` prefers `laptop`; three links.
const TWO_GROUPS: &str = r#"
[cluster]
name = "test"
nodes = ["pi", "laptop"]
[timing]
interval = "50ms"
warn = "500ms"
dead = "DEAD"
initial_dead = "30s"
failback_delay = "200ms"
[quorum]
rule = "assume-dead"
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
[[group]]
name = "web"
prefer = ["pi", "laptop"]
failback = "auto"
resources = [
  { address = "10.77.0.100/24", interface = "eth0" },
  { service = "httpd", script_dirs = ["{dir}/init.d"] },
]
[[group]]
name = "mail"
prefer = ["laptop", "pi"]
failback = "auto"
resources = [{ address = "10.77.0.101/24", interface = "eth0" }]
"#;

fn config(dead: &str) -> String {
    TWO_GROUPS.replace("DEAD", dead)
}

/// A pair that runs [`TWO_GROUPS`], each group on its preferred node.
fn two_groups(dead: &str) -> Scene {
    let scene = Scene::pair();
    scene.serve(WEB);
    scene.toml(&config(dead));
    scene.recorder("init.d", "httpd");
    scene.start_all();
    scene.met();
    scene.settled("web", "pi");
    scene.settled("mail", "laptop");
    scene
}
