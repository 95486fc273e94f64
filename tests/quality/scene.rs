//! Two nodes, and a gateway on their LAN that is their reference.
use crate::world::{PROGRAM, Scene};
use latido::lab::{LAN, Plan, Switch, plan};
use std::net::IpAddr;

/// Which links carry heartbeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    /// Only the LAN.
    Lan,
    /// LAN, crossover and null-modem cable.
    All,
}

/// Both daemons run and have met.
pub(crate) fn running(switch: Switch, links: Links, interval_ms: u64) -> Scene {
    let mut plan = Plan::pair(PROGRAM, ["pi", "laptop"]).with_switch(switch);
    let port = plan::Port {
        network: LAN.into(),
        interface: "eth0".into(),
        addresses: vec![(IpAddr::from([10, 77, 0, 254]), 24)],
    };
    plan.clients.push(plan::Machine { name: "gateway".into(), ports: vec![port] });
    let scene = Scene::new(&plan);
    let udp =
        |interface: &str| format!("[[link]]\nudp = \"broadcast\"\ninterface = \"{interface}\"\n");
    let more = match links {
        Links::Lan => String::new(),
        Links::All => format!("{}[[link]]\nserial = \"{{serial}}\"\nbaud = 115200\n", udp("eth1")),
    };
    scene.toml(&format!(
        "[cluster]\nname = \"test\"\nnodes = [\"pi\", \"laptop\"]\n\n[timing]\n\
         interval = \"{interval_ms}ms\"\ndead = \"1s\"\ninitial_dead = \"10s\"\n\n\
         [references]\nhosts = [\"10.77.0.254\"]\ninterval = \"200ms\"\ndead = \"1s\"\n\n\
         [quorum]\nrule = \"assume-dead\"\n\n[keys]\nfile = \"keys\"\n\n{}{more}",
        udp("eth0")
    ));
    scene.start_all();
    scene.met();
    scene
}
