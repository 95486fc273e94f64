//! What a machine feels of itself, and what it does to its disk. Needs root.
#![cfg(target_os = "linux")]
mod health;
mod quiet;
#[path = "../world/mod.rs"]
mod world;

/// Two nodes, one path; `{extra}` is a table more.
const PAIR: &str = r#"
[cluster]
name = "test"
nodes = ["pi", "laptop"]
[timing]
interval = "50ms"
warn = "500ms"
dead = "2s"
initial_dead = "30s"
failback_delay = "1s"
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
[[group]]
name = "web"
prefer = ["pi", "laptop"]
failback = "auto"
resources = [{ address = "10.77.0.100/24", interface = "eth0" }]
"#;
