//! What each kind of link costs, for docs/links.md and docs/performance.md, by hand: `cargo test
//! --release --features _sim --test links figures -- --ignored --nocapture --test-threads=1`.
use crate::scene::{Bare, link, toml};
use latido::config::{ETHERTYPE, Link, Medium, PORT};
use latido::core::limits::FRAME_MAX;
use latido::lab::process::usage;
use latido::link::{Port, Received, Sent};
use latido::platform::filter::HeaderFilter;
use latido::platform::packet;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

const PERIOD: Duration = Duration::from_secs(30);
/// `ETH_P_ALL`.
const EVERY_TYPE: u16 = 3;

/// Sizes of the frames that arrive at `laptop`'s crossover, each once.
fn sizes(bare: &Bare) -> Vec<usize> {
    let socket = bare.node("laptop").inside(|| {
        let socket = packet::Socket::sender().expect("a socket");
        let index = rustix::net::netdevice::name_to_index(&socket, "eth1").expect("eth1");
        socket.ignore_outgoing().expect("Linux 4.20");
        socket.listen(index, EVERY_TYPE).expect("listens");
        socket
    });
    let socket = socket.expect("it is on");
    let (mut buffer, mut sizes, end) = ([0; 2048], Vec::new(), Instant::now() + PERIOD / 10);
    while Instant::now() < end {
        match socket.receive(&mut buffer).expect("eth1 is on") {
            Some(frame) => sizes.push(frame.len()),
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// CPU time of `laptop`'s engine, and the heartbeats that it sent meanwhile.
fn cost(bare: &Bare) -> (Duration, u64) {
    let engine = bare.node("laptop").engine().expect("an engine").pid;
    let sent = || bare.status("laptop")["counters"]["sent"].as_u64().expect("a number");
    let (cpu, before) = (usage(engine).expect("its usage").cpu, sent());
    std::thread::sleep(PERIOD);
    (usage(engine).expect("its usage").cpu - cpu, sent() - before)
}

#[test]
#[ignore = "figures, not a verdict: takes minutes"]
fn figures_of_each_kind_of_link() {
    const UNICAST: &str = "udp = \"unicast\"\ninterface = \"eth1\"\n\
                           peers = [\"10.78.0.1\", \"10.78.0.2\"]";
    const SIX: &str = "udp = \"multicast\"\ninterface = \"eth1\"\ngroup = \"ff02::6:94\"";
    let (raw, tagged) = ("ethernet = \"eth1\"", "ethernet = \"eth1\"\nvlan = 42");
    let (raw, tagged) = (raw.to_owned(), tagged.to_owned());
    let kinds = [
        ("udp broadcast", "udp = \"broadcast\"\ninterface = \"eth1\"".to_owned()),
        ("udp unicast", UNICAST.to_owned()),
        ("udp multicast, IPv6", SIX.to_owned()),
        ("ethernet", raw.clone()),
        ("ethernet, vlan", tagged),
        ("serial", "serial = \"{serial}\"\nbaud = 115200".to_owned()),
        ("udp broadcast", "udp = \"broadcast\"\ninterface = \"eth1\"".to_owned()),
        ("ethernet", raw),
    ];
    for (name, lines) in kinds {
        let bare = Bare::new("");
        bare.toml(&toml(&link(&lines)).replace("\"50ms\"", "\"10ms\""));
        for (node, number) in [("pi", 1), ("laptop", 2)] {
            bare.ip(node, &format!("addr add 10.78.0.{number}/24 brd + dev eth1"));
            if name.contains("IPv6") {
                let write = || std::fs::write("/proc/sys/net/ipv6/conf/eth1/disable_ipv6", "0");
                bare.node(node).inside(write).expect("it is on").expect("IPv6");
                bare.ip(node, &format!("addr add fe80::{number}/64 dev eth1 nodad"));
            }
        }
        bare.start_all();
        bare.met();
        bare.settled(crate::scene::GROUP, "pi");
        let sizes = sizes(&bare);
        let (cpu, sent) = cost(&bare);
        println!(
            "{name}: {:.1} µs of CPU time for each heartbeat sent and received ({sent} in {} s), \
             frames on eth1 of {sizes:?} bytes",
            cpu.as_secs_f64() * 1e6 / sent as f64,
            PERIOD.as_secs()
        );
    }
}

/// CPU time of this thread, in microseconds.
fn spent() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
}

/// One thread sends a heartbeat at one node and takes it at the other: what both and the kernel
/// need for that, without the rest of the engine.
#[test]
#[ignore = "figures, not a verdict"]
fn figures_of_sending_and_receiving() {
    const FRAMES: u32 = 20_000;
    const TAG: u32 = 0x8A5C_1F03;
    let bare = Bare::new("");
    for (node, number) in [("pi", 1), ("laptop", 2)] {
        bare.ip(node, &format!("addr add 10.78.0.{number}/24 brd + dev eth1"));
    }
    let interface = || "eth1".to_owned();
    let ethernet = |vlan| Medium::Ethernet {
        interface: interface(),
        vlan,
        peers: vec![],
        ethertype: ETHERTYPE,
    };
    let peers = vec!["10.78.0.1".to_owned(), "10.78.0.2".to_owned()];
    let media = [
        ("udp broadcast", Medium::Broadcast { interface: interface(), port: PORT }),
        ("udp unicast", Medium::Unicast { interface: interface(), port: PORT, peers }),
        ("ethernet", ethernet(None)),
        ("ethernet, vlan", ethernet(Some(42))),
    ];
    let mut frame = vec![1, 1];
    frame.extend(TAG.to_le_bytes());
    frame.resize(91, 0x5A);
    for round in 0..3 {
        for (name, medium) in &media {
            let open = |node: &str| {
                let link = Link { name: (*name).to_owned(), medium: medium.clone() };
                let opened = move || Port::open(&link, &HeaderFilter::new(1, &[TAG]));
                bare.node(node).inside(opened).expect("it is on").expect("opens")
            };
            let (mut from, mut to) = (open("pi"), open("laptop"));
            let mut buffer = [0; FRAME_MAX];
            let begin = spent();
            let mut received = 0;
            for _ in 0..FRAMES {
                assert_eq!(from.send(&frame), Sent::Done);
                received += u32::from(matches!(to.receive(&mut buffer), Received::Frame(91)));
            }
            let each = (spent() - begin) / f64::from(FRAMES);
            println!("{round} {name}: {each:.2} µs for each of {FRAMES}, {received} at once");
        }
    }
}
