//! Raw Ethernet beside another link: tags, addresses, interfaces that go, and other traffic.
use crate::scene::{Bare, DEAD, GROUP, link};
use crate::world::node_of;
use latido::platform::netlink::{LinkKind, Namespace, Socket as Netlink};
use latido::platform::packet;
use std::fs::{self, File};
use std::time::{Duration, Instant};

const ETHERTYPE: u16 = 0x88B5;
const EVERYBODY: [u8; 6] = [0xFF; 6];

fn serial() -> String {
    link("serial = \"{serial}\"\nbaud = 115200")
}

fn ethernet(lines: &str) -> String {
    link(&format!("ethernet = {lines}"))
}

fn mac_of(bare: &Bare, node: &str) -> [u8; 6] {
    let found = bare.node(node).inside(|| {
        let mut netlink = Netlink::open().expect("netlink");
        netlink.link("eth1").expect("an answer").expect("eth1").mac.expect("an Ethernet")
    });
    found.expect("it is on")
}

fn written(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Hears every frame of our EtherType on a node's interface.
fn listen(bare: &Bare, node: &str) -> packet::Socket {
    let socket = bare.node(node).inside(|| {
        let socket = packet::Socket::sender().expect("a socket");
        let index = rustix::net::netdevice::name_to_index(&socket, "eth1").expect("eth1");
        socket.listen(index, ETHERTYPE).expect("listens");
        socket
    });
    socket.expect("it is on")
}

/// The next frame that a listener hears.
fn hear(bare: &Bare, socket: &packet::Socket) -> Vec<u8> {
    let mut buffer = [0; 2048];
    bare.wait("a frame on the cable", || {
        socket.receive(&mut buffer).expect("eth1 is on").map(<[u8]>::to_vec)
    })
}

#[test]
fn a_tagged_link_ignores_frames_of_another_vlan() {
    let links = |vlan: u16| ethernet(&format!("\"eth1\"\nvlan = {vlan}")) + &serial();
    let bare = Bare::new(&links(42));
    bare.write("laptop", "latido.toml", &crate::scene::toml(&links(43)));
    bare.start_all();
    bare.met();
    bare.settled(GROUP, "pi");
    for (node, peer) in [("pi", "laptop"), ("laptop", "pi")] {
        bare.wait_link(node, peer, 1, "up");
        // They arrive, and are not ours.
        let heard = listen(&bare, node);
        (0..40).for_each(|_| drop(hear(&bare, &heard)));
        assert_eq!(bare.link_state(node, peer, 0), "down", "{node}");
    }
    // The same VLAN, once somebody has corrected the file.
    bare.write("laptop", "latido.toml", &crate::scene::toml(&links(42)));
    bare.signal("laptop", rustix::process::Signal::HUP);
    bare.wait_link("laptop", "pi", 0, "up");
    bare.wait_link("pi", "laptop", 0, "up");
    bare.settled(GROUP, "pi");
}

#[test]
fn a_pair_that_names_its_machines_sends_to_nobody_else() {
    let bare = Bare::new(&serial());
    let macs = ["pi", "laptop"].map(|node| mac_of(&bare, node));
    let peers = macs.map(|mac| format!("\"{}\"", written(mac))).join(", ");
    bare.toml(&crate::scene::toml(&ethernet(&format!("\"eth1\"\npeers = [{peers}]"))));
    bare.start_all();
    bare.met();
    bare.settled(GROUP, "pi");
    for (place, node) in ["pi", "laptop"].into_iter().enumerate() {
        let heard = listen(&bare, node);
        for _ in 0..20 {
            let frame = hear(&bare, &heard);
            assert_eq!(frame[..6], macs[place], "to {node}");
            assert_eq!(frame[6..12], macs[1 - place], "from its peer");
        }
    }
    let client = bare.ask();
    bare.answered_by(&client, "pi");
    bare.node("pi").power_cut().expect("it was on");
    bare.answered_by(&client, "laptop");
}

/// A cable of its own between the nodes' interfaces `eth2`.
fn plug_in(bare: &Bare) {
    let far = bare.node("laptop").inside(|| File::open("/proc/thread-self/ns/net"));
    let far = far.expect("it is on").expect("its namespace");
    let near = move || {
        use std::os::fd::AsFd;
        let mut netlink = Netlink::open().expect("netlink");
        let peer_namespace = Some(Namespace::Fd(far.as_fd()));
        netlink.add_link("eth2", LinkKind::Veth { peer: "eth2", peer_namespace }).expect("a cable");
    };
    bare.node("pi").inside(near).expect("it is on");
    for node in ["pi", "laptop"] {
        bare.ip(node, "link set eth2 up");
    }
}

#[test]
fn an_interface_that_is_deleted_and_made_again_carries_on() {
    let bare = Bare::new(&(ethernet("\"eth2\"") + &serial()));
    plug_in(&bare);
    bare.start_all();
    bare.met();
    bare.settled(GROUP, "pi");
    let both = |state| {
        bare.wait_link("pi", "laptop", 0, state);
        bare.wait_link("laptop", "pi", 0, state);
    };
    both("up");
    let from = bare.log("pi").len();
    for _ in 0..3 {
        bare.ip("pi", "link del eth2");
        both("down");
        plug_in(&bare);
        both("up");
    }
    bare.logged("pi", from, &["link eth2 ethernet is lost here"]);
    // Another one that is given the name while the old one lives on under its new one.
    bare.ip("pi", "link set eth2 down");
    bare.ip("pi", "link set eth2 name old2");
    bare.ip("laptop", "link set eth2 down");
    bare.ip("laptop", "link set eth2 name old2");
    both("down");
    plug_in(&bare);
    both("up");
    bare.settled(GROUP, "pi");
    // And it is good for what it is there for.
    bare.lab.cable(0).expect("the serial cable").unplug(latido::lab::cable::End::First);
    bare.wait_link("laptop", "pi", 1, "down");
    std::thread::sleep(DEAD * 2);
    bare.settled(GROUP, "pi");
    bare.node("pi").power_cut().expect("it was on");
    bare.settled(GROUP, "laptop");
}

/// How often a node's engine has gone to sleep: once for each time that it was woken.
fn naps(bare: &Bare, node: &str) -> u64 {
    let engine = bare.node(node).engine().expect("an engine").pid;
    let status = fs::read_to_string(format!("/proc/{engine}/status")).expect("its status");
    let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"));
    let number = line.and_then(|line| line.split_whitespace().nth(1)).expect("a number");
    number.parse().expect("a number")
}

fn counter(bare: &Bare, node: &str, name: &str) -> u64 {
    bare.status(node)["counters"][name].as_u64().unwrap_or_else(|| panic!("no counter {name}"))
}

#[test]
fn other_traffic_on_the_interface_costs_the_daemon_nothing() {
    const FRAMES: u64 = 60_000;
    let bare =
        Bare::at_work(&(ethernet("\"eth1\"") + &ethernet("\"eth1\"\nvlan = 42") + &serial()));
    for place in 0..3 {
        bare.wait_link("laptop", "pi", place, "up");
    }
    // A heartbeat as it is on the cable: all that follows is like it but for one thing.
    let good = hear(&bare, &listen(&bare, "laptop"));
    let changed = |at: usize, bytes: &[u8]| {
        let mut frame = good.clone();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    };
    let junk = [
        changed(0, &[2, 0, 0, 0, 0, 0x77]),
        changed(12, &[0x08, 0x00]),
        changed(12, &[0x08, 0x06]),
        changed(12, &[0x86, 0xDD]),
        changed(12, &[0x88, 0xB6]),
        changed(14, b"M"),
        changed(15, &[9]),
        changed(18, &[9]),
        [&good[..12], &[0x81, 0, 0, 43], &good[12..]].concat(),
        [&good[..12], &[0x08, 0x00], &[0x45; 1400]].concat(),
    ];
    let flood = |frames: Vec<Vec<u8>>, count: u64| {
        let sent = bare.node("pi").inside(move || {
            let socket = packet::Socket::sender().expect("a socket");
            let index = rustix::net::netdevice::name_to_index(&socket, "eth1").expect("eth1");
            let send = |frame: &Vec<u8>| socket.send(index, frame).is_ok();
            let frames = frames.iter().cycle().take(count as usize);
            frames.filter(|frame| send(frame)).count()
        });
        assert_eq!(sent.expect("it is on") as u64, count, "the cable takes them all");
    };
    // Of another cluster's frames some are let in, so that it can be told: not counted here.
    let names = ["malformed", "foreign", "unsealed", "unreadable", "own", "replaced"];
    let before = names.map(|name| counter(&bare, "laptop", name));
    let (begin, slept) = (Instant::now(), naps(&bare, "laptop"));
    flood(junk.to_vec(), FRAMES);
    let (took, woken) = (begin.elapsed(), naps(&bare, "laptop") - slept);
    assert_eq!(names.map(|name| counter(&bare, "laptop", name)), before, "none was received");
    // As often as in as much time without the flood; the test's own questions wake it too.
    let (begin, slept) = (Instant::now(), naps(&bare, "laptop"));
    std::thread::sleep(took.max(Duration::from_secs(1)));
    let usual = (naps(&bare, "laptop") - slept) as f64 / begin.elapsed().as_secs_f64();
    let expected = usual * took.as_secs_f64();
    println!("{woken} times woken during {FRAMES} frames in {took:?}, {expected:.0} are usual");
    assert!((woken as f64) < expected * 1.5 + 100.0, "{woken} times, {expected:.0} are usual");
    // The measure has teeth: of frames that pass the filter each is received and counted.
    let unsealed = counter(&bare, "laptop", "unsealed");
    let end = good.len() - 1;
    flood(vec![changed(end, &[good[end] ^ 1])], 1000);
    bare.wait_status("laptop", "1000 forged frames", |status| {
        (status["counters"]["unsealed"].as_u64()? >= unsealed + 1000).then_some(())
    });
    let alive = node_of(&bare.status("laptop"), "pi").map(|pi| pi["state"].clone());
    assert_eq!(alive, Some("alive".into()));
    bare.settled(GROUP, "pi");
    assert_eq!(EVERYBODY, good[..6], "nobody was named");
}
