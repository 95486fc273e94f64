//! A pair that serves one address, and a client of it.
use crate::world::{PROGRAM, Scene};
use latido::lab::client::{Client, Probe};
use latido::lab::{CLIENT, Plan};
use latido::platform::neighbour::{ETHERTYPE_ARP, ETHERTYPE_IPV6, Holder, holder};
use latido::platform::netlink::{Address, Link, Socket};
use latido::platform::packet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Deref;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub(crate) const VIRTUAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 100));
pub(crate) const VIRTUAL_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, 0x100));
pub(crate) const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, 3);
const GROUP: &str = "web";

/// What a pair is like. `..Setup::default()` for the rest.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setup {
    /// The address is the IPv6 one.
    pub(crate) v6: bool,
    /// Further keys of the address.
    pub(crate) keys: &'static str,
}

/// `pi` owns the group, `laptop` is its peer, a client asks.
pub(crate) struct Pair {
    // Dropped first: it asks nodes that are about to go.
    pub(crate) client: Client,
    scene: Scene,
    pub(crate) address: IpAddr,
}

impl Deref for Pair {
    type Target = Scene;

    fn deref(&self) -> &Scene {
        &self.scene
    }
}

impl Pair {
    pub(crate) fn running(setup: Setup) -> Pair {
        let mut plan = Plan::pair(PROGRAM, ["pi", "laptop"]);
        let machines = plan.nodes.iter_mut().chain(&mut plan.clients);
        for (number, machine) in (1..).zip(machines) {
            let own = Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, number);
            machine.ports[0].addresses.push((own.into(), 64));
        }
        let scene = Scene::new(&plan);
        let (address, bits) = if setup.v6 { (VIRTUAL_V6, 64) } else { (VIRTUAL, 24) };
        scene.serve(address);
        scene.toml(&format!(
            "[cluster]\nname = \"test\"\nnodes = [\"pi\", \"laptop\"]\n\n[timing]\n\
             interval = \"50ms\"\ndead = \"600ms\"\ninitial_dead = \"10s\"\n\n[quorum]\n\
             rule = \"assume-dead\"\n\n[keys]\nfile = \"keys\"\n\n[[link]]\nudp = \"broadcast\"\n\
             interface = \"eth1\"\n\n[[link]]\nserial = \"{{serial}}\"\nbaud = 115200\n\n\
             [[group]]\nname = \"{GROUP}\"\nfailback = \"manual\"\nresources = \
             [{{ address = \"{address}/{bits}\", interface = \"eth0\"{} }}]\n",
            setup.keys
        ));
        scene.start_all();
        scene.met();
        scene.settled(GROUP, "pi");
        let client = scene.client(Probe::Udp, address);
        let pair = Pair { client, scene, address };
        pair.answered_by("pi");
        pair
    }

    pub(crate) fn answered_by(&self, node: &str) -> Instant {
        self.scene.answered_by(&self.client, node)
    }

    /// Where a log ends now.
    pub(crate) fn end_of_log(&self, node: &str) -> usize {
        self.log(node).len()
    }

    /// Every place of the address on a node now.
    pub(crate) fn places(&self, node: &str) -> Vec<Address> {
        places(self, node, self.address)
    }

    /// The interfaces of a node now.
    pub(crate) fn links(&self, node: &str) -> Vec<Link> {
        let list = || Socket::open().expect("netlink").links().expect("a list");
        self.lab.node(node).inside(list).expect("it is on")
    }

    /// Begins to take the address away from a node as often as said, until told to stop.
    pub(crate) fn vandal(&self, node: &str, every: Duration) -> Vandal {
        let (stop, stopped) = channel::<()>();
        let address = self.address;
        // A socket stays where it was opened.
        let open = || Socket::open().expect("netlink");
        let mut socket = self.lab.node(node).inside(open).expect("it is on");
        let thread = std::thread::spawn(move || {
            let mut times = 0;
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                for place in socket.addresses().expect("a list") {
                    if place.address == address {
                        times += u32::from(socket.delete_address(&place).expect("removed"));
                    }
                }
            }
            times
        });
        Vandal { stop, thread }
    }

    /// What the client's machine hears of who has the address: begins to listen.
    pub(crate) fn listen(&self) -> Listener {
        let v6 = self.address.is_ipv6();
        let open = move || {
            let index = eth0();
            let ethertype = if v6 { ETHERTYPE_IPV6 } else { ETHERTYPE_ARP };
            packet::Socket::receiver(index, ethertype).expect("a packet socket")
        };
        Listener { socket: self.lab.client(CLIENT).run(open), address: self.address }
    }

    /// Sends a frame from the client's machine.
    pub(crate) fn send(&self, frame: Vec<u8>) {
        self.lab.client(CLIENT).run(move || {
            let socket = packet::Socket::sender().expect("a packet socket");
            socket.send(eth0(), &frame).expect("sent");
        });
    }

    /// The Ethernet address of a node's `eth0`.
    pub(crate) fn mac(&self, node: &str) -> [u8; 6] {
        let links = self.links(node);
        links.iter().find(|link| link.name == "eth0").and_then(|link| link.mac).expect("Ethernet")
    }

    /// Writes settings of the client's machine, below `/proc/sys/net`.
    pub(crate) fn set_client(&self, settings: &'static [(&'static str, &'static str)]) {
        self.lab.client(CLIENT).run(move || {
            for (file, value) in settings {
                std::fs::write(format!("/proc/sys/net/{file}"), value).expect("set");
            }
        });
    }
}

fn eth0() -> u32 {
    let mut socket = Socket::open().expect("netlink");
    socket.link("eth0").expect("asked").expect("there").index
}

fn places(pair: &Pair, node: &str, wanted: IpAddr) -> Vec<Address> {
    let list = move || {
        let mut all = Socket::open().expect("netlink").addresses().expect("a list");
        all.retain(|address| address.address == wanted);
        all
    };
    pair.lab.node(node).inside(list).expect("it is on")
}

/// Somebody who takes an address away again and again.
pub(crate) struct Vandal {
    stop: Sender<()>,
    thread: JoinHandle<u32>,
}

impl Vandal {
    /// Ends; how often there was something to take away.
    pub(crate) fn end(self) -> u32 {
        drop(self.stop);
        self.thread.join().expect("no panic")
    }
}

/// Hears claims of an address on the LAN.
pub(crate) struct Listener {
    socket: packet::Socket,
    address: IpAddr,
}

impl Listener {
    /// What was heard since the last call.
    pub(crate) fn heard(&self) -> Vec<Holder> {
        let mut heard = Vec::new();
        let mut buffer = [0; 2048];
        // An error tells once that the interface was off; the rest is for the next call.
        while let Ok(Some(frame)) = self.socket.receive(&mut buffer) {
            heard.extend(holder(frame).filter(|one| one.address == self.address));
        }
        heard
    }
}
