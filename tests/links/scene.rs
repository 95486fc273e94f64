//! Two nodes without any IP address between them.
use crate::world::{PROGRAM, SOON, Scene, node_of};
use latido::lab::client::{Client, Probe};
use latido::lab::{Node, Plan};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Deref;
use std::time::Duration;

/// What clients ask, and what moves.
pub(crate) const SERVED: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 100));
pub(crate) const GROUP: &str = "web";
pub(crate) const DEAD: Duration = Duration::from_secs(1);

/// A pair whose nodes have no IP address but the one that moves; `pi` is preferred.
pub(crate) struct Bare {
    scene: Scene,
}

impl Deref for Bare {
    type Target = Scene;

    fn deref(&self) -> &Scene {
        &self.scene
    }
}

/// The configuration with these links.
pub(crate) fn toml(links: &str) -> String {
    format!(
        "[cluster]\nname = \"bare\"\nnodes = [\"pi\", \"laptop\"]\n\n[timing]\n\
         interval = \"50ms\"\ndead = \"{}ms\"\ninitial_dead = \"10s\"\n\n[quorum]\n\
         rule = \"assume-dead\"\n\n[keys]\nfile = \"{{dir}}/keys\"\n\n{links}\n\n[[group]]\n\
         name = \"{GROUP}\"\nfailback = \"manual\"\nresources = [ {{ address = \"{SERVED}/24\", \
         interface = \"eth0\" }} ]\n",
        DEAD.as_millis()
    )
}

/// `[[link]]` with these lines.
pub(crate) fn link(lines: &str) -> String {
    format!("[[link]]\n{lines}\n")
}

impl Bare {
    /// Switched on, with these links on both nodes; no daemon runs yet.
    pub(crate) fn new(links: &str) -> Bare {
        let plan = Plan::pair(PROGRAM, ["pi", "laptop"]).without_addresses();
        let bare = Bare { scene: Scene::new(&plan) };
        bare.toml(&toml(links));
        bare.serve(SERVED);
        for node in bare.lab.nodes() {
            forget_ip(node);
        }
        bare
    }

    /// The same, with both daemons, once they have met and `pi` serves.
    pub(crate) fn at_work(links: &str) -> Bare {
        let bare = Bare::new(links);
        bare.start_all();
        bare.met();
        bare.settled(GROUP, "pi");
        bare
    }

    pub(crate) fn ask(&self) -> Client {
        self.scene.client(Probe::Udp, SERVED)
    }

    pub(crate) fn node(&self, name: &str) -> &Node {
        self.lab.node(name)
    }

    /// Runs `ip` on a node.
    pub(crate) fn ip(&self, node: &str, words: &str) {
        let command = ["ip"].into_iter().chain(words.split(' '));
        match self.node(node).run(command, SOON) {
            Ok((latido::lab::Exit::Code(0), _)) => {}
            other => panic!("ip {words} on {node}: {other:?}"),
        }
    }

    /// How a node sees the link to a peer in this place: `up`, `one-way`, `down`.
    pub(crate) fn link_state(&self, node: &str, peer: &str, link: usize) -> String {
        let status = self.status(node);
        let links = node_of(&status, peer).and_then(|peer| peer["links"].as_array());
        let found = links.and_then(|links| links.get(link));
        found.and_then(|one| one["state"].as_str()).unwrap_or("none").to_owned()
    }

    pub(crate) fn wait_link(&self, node: &str, peer: &str, link: usize, state: &str) {
        self.wait(format!("{node} to see {peer} {state} on link {link}"), || {
            let seen = self.link_state(node, peer, link);
            std::thread::sleep(Duration::from_millis(5));
            (seen == state).then_some(())
        });
    }
}

/// No IPv6, hence no link-local address either; and that there is no address is made sure of.
pub(crate) fn forget_ip(node: &Node) {
    let left = node.inside(|| {
        for interface in ["all", "default", "eth0", "eth1"] {
            let file = format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6");
            // A kernel without IPv6 has no such file.
            if fs::exists(&file).unwrap_or(false) {
                fs::write(&file, "1").expect("IPv6 can be disabled");
            }
        }
        latido::platform::local::addresses()
    });
    let left = left.expect("it is on").expect("its addresses");
    assert!(left.iter().all(IpAddr::is_loopback), "{}: {left:?}", node.name());
}
