use super::*;
use std::net::UdpSocket;
use std::process::Command;
use std::sync::mpsc::{Sender, channel};

const PORT: u16 = 694;

/// A network namespace: a thread that lives in it and does what it is told. It ends, and the
/// namespace with it, when this is dropped.
pub(super) struct Node {
    jobs: Sender<Box<dyn FnOnce() + Send>>,
    thread: i32,
}

impl Node {
    pub(super) fn new() -> Self {
        let (jobs, todo) = channel::<Box<dyn FnOnce() + Send>>();
        let (send, receive) = channel();
        std::thread::spawn(move || {
            // Deprecated for what it does to descriptor tables; a network namespace is harmless.
            #[allow(deprecated)]
            let made = rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET);
            send.send(made.map(|()| rustix::thread::gettid().as_raw_nonzero().get()))
                .expect("the test waits");
            todo.into_iter().for_each(|job| job());
        });
        let thread = receive.recv().expect("the thread answers");
        let thread = thread.expect("a network namespace: these tests need root");
        let node = Node { jobs, thread };
        node.ip("link set lo up");
        node
    }

    /// Does `job` in the namespace.
    pub(super) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (send, receive) = channel();
        self.jobs.send(Box::new(move || drop(send.send(job())))).expect("the thread lives");
        receive.recv().expect("the job ends well")
    }

    pub(super) fn ip(&self, arguments: &str) {
        let arguments: Vec<String> = arguments.split(' ').map(String::from).collect();
        let shown = arguments.join(" ");
        let output = self.run(|| Command::new("ip").args(arguments).output()).expect("iproute2");
        assert!(output.status.success(), "ip {shown}: {output:?}");
    }

    pub(super) fn open(&self, link: &Link) -> Port {
        let link = link.clone();
        self.run(move || Port::open(&link, &FILTER)).expect("opens")
    }

    pub(super) fn opener(&self, links: Vec<Link>) -> Opener {
        self.run(move || Opener::new(links, FILTER)).expect("threads")
    }
}

/// Two nodes joined by a cable between their interfaces `eth0`.
pub(super) fn pair() -> (Node, Node) {
    let (one, two) = (Node::new(), Node::new());
    cable(&one, &two);
    (one, two)
}

pub(super) fn cable(one: &Node, two: &Node) {
    one.ip(&format!("link add eth0 type veth peer name eth0 netns {}", two.thread));
    for (node, number) in [(one, 1), (two, 2)] {
        node.ip(&format!("addr add 10.77.0.{number}/24 brd + dev eth0"));
        node.ip(&format!("addr add fd77::{number}/64 dev eth0 nodad"));
        node.ip("link set eth0 addrgenmode none");
        node.ip("link set eth0 up");
        node.ip(&format!("addr add fe80::{number}/64 dev eth0 nodad"));
    }
    for (from, to, address) in [
        (one, two, "10.77.0.2:9"),
        (two, one, "10.77.0.1:9"),
        (one, two, "[fd77::2]:9"),
        (two, one, "[fd77::1]:9"),
    ] {
        wait_until_heard(from, to, address);
    }
}

/// A cable carries nothing until the kernel has noticed that both its ends are plugged in.
fn wait_until_heard(from: &Node, to: &Node, address: &'static str) {
    let any = if address.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
    let listener = to.run(move || UdpSocket::bind(address)).expect("binds");
    let sender = from.run(move || UdpSocket::bind(any)).expect("binds");
    listener.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
    let end = Instant::now() + PATIENCE;
    loop {
        // Without a carrier there may be no route yet.
        let _ = sender.send_to(b"?", address);
        if listener.recv(&mut [0; 8]).is_ok() {
            return;
        }
        assert!(Instant::now() < end, "{address} hears nothing");
    }
}

pub(super) fn broadcast() -> Link {
    link("broadcast", Medium::Broadcast { interface: "eth0".into(), port: PORT })
}

fn multicast(group: &str) -> Link {
    let group = group.parse().expect("an address");
    let medium = Medium::Multicast { interface: "eth0".into(), port: PORT, group, ttl: 1 };
    link("multicast", medium)
}

fn unicast(peers: &[&str]) -> Link {
    let peers = peers.iter().map(|peer| peer.to_string()).collect();
    link("unicast", Medium::Unicast { interface: "eth0".into(), port: PORT, peers })
}

/// Sends on each of `from` in turn; only the port at the same place of `to` hears it.
pub(super) fn each_hears_its_own(from: &mut [Port], to: &mut [Port]) {
    for place in 0..from.len() {
        let sent = frame(place as u64, 100);
        assert_eq!(from[place].send(&sent), Sent::Done, "{:?}", from[place]);
        assert_eq!(await_frame(&mut to[place]), Ok(sent), "{:?}", to[place]);
        for (other, port) in to.iter_mut().enumerate() {
            assert!(drain(port).is_empty(), "{other} heard what was sent on {place}");
        }
        for port in from.iter_mut() {
            assert!(drain(port).is_empty(), "its own echo: {port:?}");
        }
    }
}

#[test]
fn three_links_on_one_port_do_not_mix() {
    let (one, two) = pair();
    // The same list on both nodes, as in Heartbeat's ha.cf: the own address is left out.
    let both = unicast(&["10.77.0.1", "10.77.0.2"]);
    let links = [broadcast(), multicast("225.0.0.1"), both];
    let mut here = links.each_ref().map(|link| one.open(link));
    let mut there = links.each_ref().map(|link| two.open(link));
    each_hears_its_own(&mut here, &mut there);
    each_hears_its_own(&mut there, &mut here);

    // The network's own broadcast address belongs to none of the three.
    let stranger = two.run(|| UdpSocket::bind("10.77.0.2:0")).expect("a socket");
    stranger.set_broadcast(true).expect("broadcast");
    stranger.send_to(&frame(9, 100), ("10.77.0.255", PORT)).expect("sent");
    each_hears_its_own(&mut there, &mut here);
}

#[test]
fn a_broadcast_that_was_made_a_unicast_below_ip_stays_a_broadcast() {
    let (one, two) = pair();
    // As Wi-Fi access points do: the frame goes to the receiver's own hardware address.
    two.ip("link set eth0 address 02:00:00:00:00:02");
    one.ip("link set eth0 broadcast 02:00:00:00:00:02");
    let mut here = [one.open(&broadcast())];
    let mut there = [two.open(&broadcast())];
    let mut other = two.open(&unicast(&["10.77.0.1"]));
    each_hears_its_own(&mut here, &mut there);
    assert!(drain(&mut other).is_empty(), "a broadcast on the unicast link");
}

#[test]
fn sockets_are_prepared_for_a_busy_machine_and_for_scripts() {
    let (one, _two) = pair();
    let links = [broadcast(), multicast("225.0.0.1"), multicast("ff02::1"), unicast(&["fd77::2"])];
    for port in links.iter().map(|link| one.open(link)) {
        let flags = rustix::io::fcntl_getfd(port.fd()).expect("flags");
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC), "scripts inherit nothing");
        let Kind::Udp(udp) = &port.kind else { panic!("{port:?}") };
        let socket = udp.socket();
        assert!(socket.nonblocking().expect("flags"));
        assert_eq!(socket.priority().expect("priority"), 6);
        // The kernel doubles what was asked for.
        assert_eq!(socket.recv_buffer_size().expect("size"), 2 << 20);
        let fixed = socket.detach_filter().expect_err("the filter is locked");
        assert_eq!(fixed.kind(), std::io::ErrorKind::PermissionDenied);
    }
    let link = Medium::Multicast {
        interface: "eth0".into(),
        port: PORT,
        group: "225.0.0.1".parse().expect("an address"),
        ttl: 7,
    };
    let port = one.open(&self::link("ttl", link));
    let Kind::Udp(udp) = &port.kind else { panic!("{port:?}") };
    assert_eq!(udp.socket().multicast_ttl_v4().expect("ttl"), 7);
}

#[test]
fn ipv6_links_do_not_mix_either() {
    let (one, two) = pair();
    let groups = [multicast("ff02::4c41"), multicast("ff05::4c41")];
    let mut here = [one.open(&groups[0]), one.open(&groups[1]), one.open(&unicast(&["fd77::2"]))];
    let mut there = [two.open(&groups[0]), two.open(&groups[1]), two.open(&unicast(&["fd77::1"]))];
    each_hears_its_own(&mut here, &mut there);
    each_hears_its_own(&mut there, &mut here);
    // The same unicast ports by their link-local addresses.
    drop((here, there));
    // A datagram may be lost while neighbours find each other, which is not our subject.
    wait_until_heard(&one, &two, "[fe80::2%2]:9");
    wait_until_heard(&two, &one, "[fe80::1%2]:9");
    let mut here = [one.open(&unicast(&["fe80::2%eth0"]))];
    let mut there = [two.open(&unicast(&["fe80::1", "fe80::2"]))];
    each_hears_its_own(&mut here, &mut there);
    each_hears_its_own(&mut there, &mut here);
}

#[test]
fn a_link_reaches_peers_of_both_families() {
    let (one, two) = pair();
    let mut here = one.open(&unicast(&["10.77.0.2", "fd77::2"]));
    for address in ["10.77.0.1", "fd77::1"] {
        let mut there = two.open(&unicast(&[address]));
        assert_eq!(here.send(&frame(1, 100)), Sent::Done);
        assert_eq!(await_frame(&mut there), Ok(frame(1, 100)));
        assert_eq!(there.send(&frame(2, 100)), Sent::Done);
        assert_eq!(await_frame(&mut here), Ok(frame(2, 100)), "from {address}");
    }
}

#[test]
fn only_frames_of_this_cluster_arrive_and_junk_crowds_nobody_out() {
    let (one, two) = pair();
    let mut port = one.open(&unicast(&["10.77.0.2"]));
    let stranger = two.run(|| UdpSocket::bind("10.77.0.2:0")).expect("a socket");
    stranger.connect(("10.77.0.1", PORT)).expect("connects");
    let good: Vec<_> = [39, 40, 128, 1279, 1280].map(|len| frame(len as u64, len)).into();
    let junk: Vec<Vec<u8>> = vec![
        vec![],
        vec![0],
        frame(1, 38),
        frame(2, 1281),
        frame(3, 1400),
        [&[2][..], &frame(4, 100)[1..]].concat(),
        [&frame(5, 100)[..2], &[0; 4], &frame(5, 100)[6..]].concat(),
        [&frame(6, 100)[..5], &[frame(6, 100)[5] ^ 1], &frame(6, 100)[6..]].concat(),
        vec![0xFF; 1000],
    ];
    // Nobody reads meanwhile: unfiltered, 18,000 datagrams would overflow any buffer.
    for round in 0..2000 {
        for datagram in &junk {
            // A full queue at the sender is not what is tested here.
            let _ = stranger.send(datagram);
        }
        if round % 40 == 0 {
            for frame in &good {
                stranger.send(frame).expect("sent");
            }
        }
    }
    let expected: Vec<_> = std::iter::repeat_n(good, 50).flatten().collect();
    let mut found = Vec::new();
    while found.len() < expected.len() {
        found.push(await_frame(&mut port).expect("no loss"));
    }
    assert!(found == expected, "all good frames, in order");
    assert!(drain(&mut port).is_empty(), "and nothing else");
    assert_eq!(port.tally().damaged, 0);
}

#[test]
fn an_interface_may_come_later() {
    let (one, two) = (Node::new(), Node::new());
    let mut opener = one.opener(vec![broadcast(), multicast("225.0.0.1"), unicast(&["10.77.0.2"])]);
    for _ in 0..3 {
        let (_, result) = await_opened(&mut opener);
        let error = result.expect_err("there is no interface").to_string();
        assert!(error.contains("no interface eth0") && error.contains("ip link"), "{error}");
    }
    cable(&one, &two);
    let mut ports = [None, None, None];
    while ports.iter().any(Option::is_none) {
        let (id, result) = await_opened(&mut opener);
        ports[id.index()] = Some(result.expect("each reason is reported once"));
    }
    let mut here = ports.map(|port| port.expect("open"));
    let links = [broadcast(), multicast("225.0.0.1"), unicast(&["10.77.0.1"])];
    let mut there = links.each_ref().map(|link| two.open(link));
    each_hears_its_own(&mut here, &mut there);
}

#[test]
fn an_interface_that_is_replaced_heals() {
    let (one, two) = pair();
    let links = [broadcast(), multicast("225.0.0.1"), multicast("ff02::4c41")];
    let mut opener = one.opener(links.to_vec());
    let open = |opener: &mut Opener| {
        let mut ports = [None, None, None];
        while ports.iter().any(Option::is_none) {
            let (id, result) = await_opened(opener);
            // Between the two cables there is no interface, which is said once.
            ports[id.index()] = result.ok();
        }
        ports.map(|port| port.expect("open"))
    };
    let mut here = open(&mut opener);
    each_hears_its_own(&mut here, &mut links.each_ref().map(|link| two.open(link)));

    one.ip("link del eth0");
    cable(&one, &two);
    for port in &mut here {
        assert!(!port.still_valid(), "another interface of the same name: {port:?}");
        assert_eq!(port.send(&frame(1, 100)), Sent::Lost(Loss::Interface), "{port:?}");
    }
    for (id, port) in (0..).map_while(LinkId::new).zip(here) {
        opener.reopen(id, port);
    }
    let mut here = open(&mut opener);
    assert!(here.iter().all(Port::still_valid));
    each_hears_its_own(&mut here, &mut links.each_ref().map(|link| two.open(link)));
}

#[test]
fn what_may_pass_is_no_loss() {
    let (one, two) = pair();
    let links = [broadcast(), multicast("225.0.0.1"), unicast(&["10.77.0.2", "10.77.0.99"])];
    let mut here = links.each_ref().map(|link| one.open(link));
    // Nobody listens at the peer's port, and there is no 10.77.0.99 at all.
    for port in &mut here {
        for mark in 0..50 {
            assert_eq!(port.send(&frame(mark, 100)), Sent::Done, "{port:?}");
        }
    }
    for (down, up) in [
        ("link set eth0 down", "link set eth0 up"),
        ("addr flush dev eth0 scope global", "addr add 10.77.0.1/24 brd + dev eth0"),
        ("route add prohibit 10.77.0.2", "route del prohibit 10.77.0.2"),
    ] {
        one.ip(down);
        for port in &mut here {
            let sent = port.send(&frame(1, 100));
            assert!(!matches!(sent, Sent::Lost(_)), "{down}: {sent:?} on {port:?}");
            assert!(port.still_valid());
        }
        one.ip(up);
    }
    let links = [broadcast(), multicast("225.0.0.1"), unicast(&["10.77.0.1"])];
    let mut there = links.each_ref().map(|link| two.open(link));
    each_hears_its_own(&mut here, &mut there);
    assert!(here[2].tally().refusal.is_some(), "why it did not go out is known");
}

#[test]
fn a_name_without_an_address_is_reported_and_the_rest_of_the_list_works() {
    let (one, two) = pair();
    let names = ["no-such-host.invalid"];
    let (link, filter) = (unicast(&names), FILTER);
    let error = one.run(move || Port::open(&link, &filter)).expect_err("no address").to_string();
    assert!(error.contains(names[0]) && error.contains("/etc/hosts"), "{error}");
    let mut here = [one.open(&unicast(&[names[0], "10.77.0.2"]))];
    let mut there = [two.open(&unicast(&["10.77.0.1"]))];
    each_hears_its_own(&mut here, &mut there);
}
