use super::udp::{Node, cable, each_hears_its_own, pair};
use super::*;
use crate::config::{ETHERTYPE, Mac};
use crate::platform::packet;

const OTHER_TYPE: u16 = 0x88B6;

fn ethernet(vlan: Option<u16>, peers: &[Mac]) -> Link {
    on("eth0", vlan, peers)
}

fn on(interface: &str, vlan: Option<u16>, peers: &[Mac]) -> Link {
    let (interface, peers) = (interface.into(), peers.to_vec());
    link("ethernet", Medium::Ethernet { interface, vlan, peers, ethertype: ETHERTYPE })
}

fn broadcast() -> Link {
    ethernet(None, &[])
}

fn mac(text: &str) -> Mac {
    text.parse().expect("an Ethernet address")
}

/// Two nodes with a cable and no IP at all, and known Ethernet addresses.
fn bare_pair() -> (Node, Node, [Mac; 2]) {
    let (one, two) = pair();
    let macs = ["02:00:00:00:00:01", "02:00:00:00:00:02"];
    for (node, mac) in [&one, &two].into_iter().zip(macs) {
        node.ip("addr flush dev eth0");
        node.ip(&format!("link set eth0 address {mac}"));
    }
    (one, two, macs.map(mac))
}

/// What anybody on the cable may send.
struct Stranger {
    socket: packet::Socket,
    index: u32,
}

impl Stranger {
    fn on(node: &Node) -> Stranger {
        node.run(|| {
            let socket = packet::Socket::sender().expect("a socket");
            let index = rustix::net::netdevice::name_to_index(&socket, "eth0").expect("eth0");
            Stranger { socket, index }
        })
    }

    fn send(&self, parts: &[&[u8]]) {
        self.socket.send(self.index, &parts.concat()).expect("sent");
    }
}

/// Head of an Ethernet frame.
fn head(to: [u8; 6], ethertype: u16) -> Vec<u8> {
    [&to[..], &[2, 0, 0, 0, 0, 9], &ethertype.to_be_bytes()].concat()
}

/// A good frame behind our mark and its length.
fn body(mark: u64, len: usize) -> Vec<u8> {
    let length = u16::try_from(len).expect("short").to_be_bytes();
    [&[b'L', 1][..], &length, &frame(mark, len)].concat()
}

const EVERYBODY: [u8; 6] = [0xFF; 6];

#[test]
fn frames_of_every_length_arrive_as_they_were() {
    let (one, two, _) = bare_pair();
    for vlan in [None, Some(1), Some(4094)] {
        let link = ethernet(vlan, &[]);
        let (mut here, mut there) = (one.open(&link), two.open(&link));
        for len in [39, 40, 41, 42, 43, 100, 1279, 1280] {
            for _both_ways in 0..2 {
                assert_eq!(here.send(&frame(7, len)), Sent::Done, "{here:?}");
                assert_eq!(await_frame(&mut there), Ok(frame(7, len)), "{len} bytes, {here:?}");
                std::mem::swap(&mut here, &mut there);
            }
        }
        assert!(drain(&mut here).is_empty() && drain(&mut there).is_empty(), "no echo");
        assert_eq!((here.tally().received, here.tally().sent), (8, 8));
    }
}

#[test]
fn vlans_types_and_udp_on_one_interface_do_not_mix() {
    let (one, two, _) = bare_pair();
    let other = Medium::Ethernet {
        interface: "eth0".into(),
        vlan: Some(42),
        peers: Vec::new(),
        ethertype: OTHER_TYPE,
    };
    let links = [
        broadcast(),
        ethernet(Some(42), &[]),
        ethernet(Some(43), &[]),
        link("other", other),
        super::udp::broadcast(),
    ];
    one.ip("addr add 10.77.0.1/24 brd + dev eth0");
    two.ip("addr add 10.77.0.2/24 brd + dev eth0");
    let mut here = links.each_ref().map(|link| one.open(link));
    let mut there = links.each_ref().map(|link| two.open(link));
    each_hears_its_own(&mut here, &mut there);
    each_hears_its_own(&mut there, &mut here);
}

#[test]
fn frames_go_to_the_machines_named_and_to_no_other() {
    let (one, two, macs) = bare_pair();
    // The same list on both nodes; each leaves itself out.
    let named = ethernet(None, &macs);
    let (mut here, mut there) = (one.open(&named), two.open(&named));
    each_hears_its_own(std::slice::from_mut(&mut here), std::slice::from_mut(&mut there));
    // The one end names, the other does not.
    let mut there = two.open(&broadcast());
    each_hears_its_own(std::slice::from_mut(&mut here), std::slice::from_mut(&mut there));
    each_hears_its_own(std::slice::from_mut(&mut there), std::slice::from_mut(&mut here));
    // A switch that does not know the address yet gives such a frame to everybody.
    let mut elsewhere = one.open(&ethernet(None, &[mac("02:00:00:00:00:77")]));
    assert_eq!(elsewhere.send(&frame(1, 100)), Sent::Done);
    assert_eq!(here.send(&frame(2, 100)), Sent::Done);
    assert_eq!(await_frame(&mut there), Ok(frame(2, 100)), "the other was not for us");
    // Nobody but ourselves in the list: it listens.
    let mut alone = one.open(&ethernet(None, &macs[..1]));
    assert_eq!(alone.send(&frame(3, 100)), Sent::Done);
    assert!(drain(&mut there).is_empty());
}

#[test]
fn only_frames_of_this_cluster_arrive_and_junk_crowds_nobody_out() {
    let (one, two, _) = bare_pair();
    let mut port = one.open(&broadcast());
    let stranger = Stranger::on(&two);
    let ours = head(EVERYBODY, ETHERTYPE);
    let good: Vec<_> = [39, 40, 128, 1279, 1280].map(|len| (len as u64, len)).into();
    let tagged = [&head(EVERYBODY, 0x8100)[..], &[0, 42], &ETHERTYPE.to_be_bytes()].concat();
    let twice = [&head(EVERYBODY, 0x88A8)[..], &[0, 42, 0x81, 0, 0, 43, 0x88, 0xB5]].concat();
    let good_body = body(9, 100);
    let junk: Vec<Vec<u8>> = vec![
        ours.clone(),
        [&ours[..], &body(1, 38)].concat(),
        [&ours[..], &[b'L', 2], &good_body[2..]].concat(),
        [&ours[..], &[b'M', 1], &good_body[2..]].concat(),
        [&ours[..], &good_body[..4], &[2], &good_body[5..]].concat(),
        [&ours[..], &good_body[..6], &[0; 4], &good_body[10..]].concat(),
        [&ours[..], &[0xFF; 1000]].concat(),
        [&head([2, 0, 0, 0, 0, 0x77], ETHERTYPE)[..], &good_body].concat(),
        [&head([1, 0, 0x5E, 0, 0, 1], ETHERTYPE)[..], &good_body].concat(),
        [&head(EVERYBODY, OTHER_TYPE)[..], &good_body].concat(),
        [&head(EVERYBODY, 0x0800)[..], &[0x45; 1400]].concat(),
        [&tagged[..], &good_body].concat(),
        [&twice[..], &good_body].concat(),
    ];
    // Nobody reads meanwhile: unfiltered, 26,000 frames would overflow any buffer.
    for round in 0..2000 {
        for junk in &junk {
            // A full queue at the sender is not what is tested here.
            let _ = stranger.socket.send(stranger.index, junk);
        }
        if round % 40 == 0 {
            good.iter().for_each(|(mark, len)| stranger.send(&[&ours, &body(*mark, *len)]));
        }
    }
    let good = good.into_iter().map(|(mark, len)| frame(mark, len)).collect::<Vec<_>>();
    let expected: Vec<_> = std::iter::repeat_n(good, 50).flatten().collect();
    let mut found = Vec::new();
    while found.len() < expected.len() {
        found.push(await_frame(&mut port).expect("no loss"));
    }
    assert!(found == expected, "all good frames, in order");
    assert!(drain(&mut port).is_empty(), "and nothing else");
    assert!(!readable(port.fd(), Duration::ZERO), "nothing to wake up for");
    assert_eq!(port.tally().damaged, 0, "the kernel dropped them");

    // What no filter can tell: a length that is not there.
    let (mut lying, len) = (body(9, 100), 101u16.to_be_bytes());
    lying[2..4].copy_from_slice(&len);
    stranger.send(&[&ours, &lying]);
    assert!(readable(port.fd(), PATIENCE));
    assert!(drain(&mut port).is_empty());
    assert_eq!(port.tally().damaged, 1);
}

#[test]
fn what_this_machine_sends_wakes_nobody() {
    let (one, _two, _) = bare_pair();
    let links = [broadcast(), ethernet(Some(42), &[])];
    let (ports, stranger) = (links.each_ref().map(|link| one.open(link)), Stranger::on(&one));
    let tag = [&head(EVERYBODY, 0x8100)[..], &[0, 42], &ETHERTYPE.to_be_bytes()].concat();
    for mut port in ports {
        for mark in 0..50 {
            assert_eq!(port.send(&frame(mark, 100)), Sent::Done);
            stranger.send(&[&tag, &body(mark, 100)]);
            stranger.send(&[&head(EVERYBODY, ETHERTYPE), &body(mark, 100)]);
        }
        assert!(!readable(port.fd(), Duration::ZERO), "{port:?}");
    }
}

#[test]
fn an_interface_that_is_replaced_heals() {
    let (one, two, _) = bare_pair();
    let links = [broadcast(), ethernet(Some(42), &[])];
    let mut opener = one.opener(links.to_vec());
    let open = |opener: &mut Opener| {
        let mut ports = [None, None];
        while ports.iter().any(Option::is_none) {
            let (id, result) = await_opened(opener);
            ports[id.index()] = result.ok();
        }
        ports.map(|port| port.expect("open"))
    };
    let mut here = open(&mut opener);
    each_hears_its_own(&mut here, &mut links.each_ref().map(|link| two.open(link)));

    one.ip("link del eth0");
    let mut buffer = [0; FRAME_MAX];
    for port in &mut here {
        assert_eq!(port.receive(&mut buffer), Received::Lost(Loss::Interface), "{port:?}");
        assert_eq!(port.send(&frame(1, 100)), Sent::Lost(Loss::Interface), "{port:?}");
    }
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
    let (one, two, _) = bare_pair();
    let links = [broadcast(), ethernet(Some(42), &[])];
    let mut here = links.each_ref().map(|link| one.open(link));
    one.ip("link set eth0 down");
    let mut buffer = [0; FRAME_MAX];
    for port in &mut here {
        assert_eq!(port.receive(&mut buffer), Received::Nothing, "{port:?}");
        assert_eq!(port.send(&frame(1, 100)), Sent::Busy, "{port:?}");
        assert_eq!(port.tally().refusal, Some(Errno::NETDOWN));
        assert!(port.still_valid());
        assert!(!readable(port.fd(), Duration::ZERO), "told once: {port:?}");
    }
    one.ip("link set eth0 up");
    let mut there = links.each_ref().map(|link| two.open(link));
    await_carrier(&mut here[0], &mut there[0]);
    each_hears_its_own(&mut here, &mut there);
    each_hears_its_own(&mut there, &mut here);
}

/// Sends until something arrives, and takes all that came.
fn await_carrier(from: &mut Port, to: &mut Port) {
    let end = Instant::now() + PATIENCE;
    while !readable(to.fd(), Duration::from_millis(20)) {
        assert!(Instant::now() < end, "no carrier");
        let _ = from.send(&frame(99, 39));
    }
    drain(to);
}

#[test]
fn another_name_or_address_is_another_link() {
    let (one, _two, _) = bare_pair();
    let port = one.open(&broadcast());
    assert!(port.still_valid());
    one.ip("link set eth0 address 02:00:00:00:00:11");
    assert!(!port.still_valid(), "our frames would bear the old address");
    let port = one.open(&broadcast());
    one.ip("link set eth0 down");
    one.ip("link set eth0 name lan0");
    one.ip("link set lan0 up");
    assert!(!port.still_valid(), "renamed");
}

#[test]
fn what_cannot_carry_frames_is_named_with_the_cure() {
    let (one, _two, _) = bare_pair();
    let refused = |interface: &str| {
        let link = on(interface, None, &[]);
        one.run(move || Port::open(&link, &FILTER)).expect_err("refused").to_string()
    };
    let why = refused("eth7");
    assert!(why.contains("no interface eth7") && why.contains("ip link"), "{why}");
    let why = refused("lo");
    assert!(why.contains("lo is no Ethernet") && why.contains("link/ether"), "{why}");
    one.ip("link set eth0 mtu 1283");
    let why = refused("eth0");
    assert!(why.contains("1283 bytes (its MTU)") && why.contains("1284"), "{why}");
    assert!(why.contains("`ip link set eth0 mtu 1500`"), "{why}");
    one.ip("link set eth0 mtu 1284");
    one.open(&broadcast());
    one.ip("link add br0 type bridge");
    one.ip("link set eth0 master br0");
    let why = refused("eth0");
    assert!(why.contains("port of br0") && why.contains("ethernet = \"br0\""), "{why}");
}

#[test]
fn without_the_capability_it_says_which_is_missing() {
    let (one, _two, _) = bare_pair();
    let why = one.run(|| {
        let mut sets = rustix::thread::capabilities(None).expect("capabilities");
        let needed = rustix::thread::CapabilitySet::NET_RAW;
        sets.effective.remove(needed);
        rustix::thread::set_capabilities(None, sets).expect("given up");
        let outcome = Port::open(&broadcast(), &FILTER).map(drop);
        sets.effective.insert(needed);
        rustix::thread::set_capabilities(None, sets).expect("taken back");
        outcome.expect_err("not permitted").to_string()
    });
    assert!(why.contains("not permitted") && why.contains("CAP_NET_RAW"), "{why}");
}

#[test]
fn sockets_are_prepared_for_a_busy_machine_and_for_scripts() {
    let (one, _two, _) = bare_pair();
    let port = one.open(&broadcast());
    let flags = rustix::io::fcntl_getfd(port.fd()).expect("flags");
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC), "scripts inherit nothing");
    let fd = port.fd();
    let socket = socket2::SockRef::from(&fd);
    assert!(socket.nonblocking().expect("flags"));
    assert_eq!(socket.priority().expect("priority"), 6);
    // The kernel doubles what was asked for.
    assert_eq!(socket.recv_buffer_size().expect("size"), 2 << 20);
    let fixed = socket.detach_filter().expect_err("the filter is locked");
    assert_eq!(fixed.kind(), std::io::ErrorKind::PermissionDenied);
}

#[test]
fn a_macvlan_hears_the_network_but_not_the_card_below_it() {
    let (one, two, _) = bare_pair();
    one.ip("link add mv0 link eth0 type macvlan mode bridge");
    one.ip("link set mv0 up");
    for vlan in [None, Some(42)] {
        let mut above = one.open(&on("mv0", vlan, &[]));
        let (mut below, mut there) =
            (one.open(&ethernet(vlan, &[])), two.open(&ethernet(vlan, &[])));
        assert_eq!(there.send(&frame(1, 100)), Sent::Done);
        assert_eq!(await_frame(&mut below), Ok(frame(1, 100)));
        assert_eq!(await_frame(&mut above), Ok(frame(1, 100)));
        assert_eq!(above.send(&frame(2, 100)), Sent::Done);
        assert_eq!(await_frame(&mut there), Ok(frame(2, 100)));
        assert!(drain(&mut below).is_empty() && drain(&mut above).is_empty());
    }
}

/// By hand, where there are these modules: `cargo test --features _sim --lib modules -- --ignored`.
#[test]
#[ignore = "needs the kernel modules 8021q and bonding"]
fn vlans_with_an_interface_of_their_own_and_bonds_work_as_well_with_modules() {
    let (one, two, _) = bare_pair();
    one.ip("link add link eth0 name eth0.42 type vlan id 42");
    one.ip("link set eth0.42 up");
    let (plain, tagged, own) =
        (ethernet(None, &[]), ethernet(Some(42), &[]), on("eth0.42", None, &[]));
    // The interface of the VLAN is given the frames; whoever asks for the tag hears them too.
    let mut own = [one.open(&plain), one.open(&own)];
    let mut there = [two.open(&plain), two.open(&tagged)];
    each_hears_its_own(&mut own, &mut there);
    each_hears_its_own(&mut there, &mut own);
    let mut here = [one.open(&plain), one.open(&tagged)];
    each_hears_its_own(&mut here, &mut there);
    each_hears_its_own(&mut there, &mut here);

    two.ip("link add bond0 type bond mode active-backup");
    two.ip("link set eth0 down");
    two.ip("link set eth0 master bond0");
    two.ip("link set bond0 up");
    let links = [on("bond0", None, &[]), on("bond0", Some(42), &[])];
    let mut bonded = links.each_ref().map(|link| two.open(link));
    await_carrier(&mut here[0], &mut bonded[0]);
    each_hears_its_own(&mut here, &mut bonded);
    each_hears_its_own(&mut bonded, &mut here);
    let link = ethernet(None, &[]);
    let why = two.run(move || Port::open(&link, &FILTER)).expect_err("a port of it").to_string();
    assert!(why.contains("port of bond0") && why.contains("ethernet = \"bond0\""), "{why}");
}
