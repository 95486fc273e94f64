//! The commands: real outcomes, and refusals with their reason.
use crate::world::Scene;

/// Two groups: `web` prefers `pi`, `mail` prefers `laptop`.
const TWO_GROUPS: &str = r#"
[cluster]
name = "test"
nodes = ["pi", "laptop"]
[timing]
interval = "50ms"
warn = "500ms"
dead = "10s"
initial_dead = "20s"
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
[[group]]
name = "web"
prefer = ["pi", "laptop"]
failback = "auto"
resources = [{ address = "10.77.0.100/24", interface = "eth0" }]
[[group]]
name = "mail"
prefer = ["laptop", "pi"]
failback = "auto"
resources = [{ address = "10.77.0.101/24", interface = "eth0" }]
"#;

fn two_groups() -> Scene {
    let scene = Scene::pair();
    scene.toml(TWO_GROUPS);
    scene.start_all();
    scene.met();
    scene.settled("web", "pi");
    scene.settled("mail", "laptop");
    scene
}

#[test]
fn standby_hands_over_what_it_has_and_failback_returns_it() {
    let scene = two_groups();
    let (code, text) = scene.latido("pi", &["standby"]);
    assert_eq!(code, 0, "{text}");
    scene.settled("web", "laptop");
}
