//! Addresses: added, announced, renewed, guarded, withdrawn, adopted.
use super::*;
use crate::platform::{clock, packet};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetFrame, EthernetProtocol, Icmpv6Packet, Icmpv6Repr,
    Ipv6Packet, NdiscNeighborFlags, NdiscRepr,
};

/// ARP operations heard so far for an address, with the sender's Ethernet address.
fn heard_arp(socket: &packet::Socket, wanted: &str) -> Vec<ArpOperation> {
    let mut heard = Vec::new();
    let mut buffer = [0; 2048];
    while let Some(bytes) = socket.receive(&mut buffer).expect("received") {
        let frame = EthernetFrame::new_checked(bytes).expect("a frame");
        assert_eq!(frame.ethertype(), EthernetProtocol::Arp);
        let packet = ArpPacket::new_checked(frame.payload()).expect("ARP");
        let ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr,
            source_protocol_addr,
            target_protocol_addr,
            ..
        } = ArpRepr::parse(&packet).expect("ARP")
        else {
            continue;
        };
        if IpAddr::V4(source_protocol_addr) == ip(wanted) {
            assert_eq!(source_protocol_addr, target_protocol_addr, "gratuitous");
            assert_eq!(source_hardware_addr, frame.src_addr());
            assert!(frame.dst_addr().is_broadcast());
            heard.push(operation);
        }
    }
    heard
}

#[test]
fn an_address_is_added_announced_renewed_and_removed() {
    let mut lab = Lab::new("address");
    let ears = packet::Socket::receiver(lab.peer, 0x0806).expect("a packet socket");
    let mut wanted = address("192.168.7.20");
    if let Kind::Address(address) = &mut wanted.kind {
        address.label = Some("veth0:0".into());
    }
    lab.run(vec![wanted]);
    assert_eq!(lab.probe(), Outcome::Stopped);
    let begin = Instant::now();
    assert_eq!(lab.start(), Outcome::Running);
    let took = begin.elapsed();
    assert!(took < Duration::from_millis(50), "{took:?} on the path of a takeover");
    // At the time of the report it is on the wire already.
    assert_eq!(heard_arp(&ears, "192.168.7.20"), [ArpOperation::Request, ArpOperation::Reply]);
    let found = lab.find("192.168.7.20").expect("there");
    assert_eq!((found.index, found.prefix), (lab.veth, 24), "found from the routing table");
    assert_eq!(found.label.as_deref(), Some("veth0:0"));
    assert_eq!(found.broadcast, Some(ip("192.168.7.255")));
    assert_eq!(found.lifetime.valid, 1);
    assert_eq!(lab.probe(), Outcome::Running);
    let mut later = Vec::new();
    while begin.elapsed() < Duration::from_millis(1500) {
        assert!(lab.find("192.168.7.20").is_some(), "renewed in time");
        later.extend(heard_arp(&ears, "192.168.7.20"));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(later.len(), 4, "again after 0.1 and 1 s: {later:?}");
    lab.ask(|resources, group, _| resources.announce(group));
    wait_until("it is announced on demand", || !heard_arp(&ears, "192.168.7.20").is_empty());
    assert_eq!(lab.stop(), Outcome::Stopped);
    assert!(lab.find("192.168.7.20").is_none());
    assert!(lab.find("192.168.7.1").is_some(), "the machine's own address stays");
    heard_arp(&ears, "192.168.7.20");
    std::thread::sleep(Duration::from_millis(300));
    assert!(lab.find("192.168.7.20").is_none() && heard_arp(&ears, "192.168.7.20").is_empty());
    assert_eq!(lab.stop(), Outcome::Stopped, "a second stop is no error");
}

#[test]
fn an_ipv6_address_is_usable_at_once_and_overrides_neighbours() {
    let mut lab = Lab::new("ipv6");
    let ears = packet::Socket::receiver(lab.peer, 0x86dd).expect("a packet socket");
    lab.run(vec![address("fd00:7::20")]);
    assert_eq!(lab.start(), Outcome::Running);
    let found = lab.find("fd00:7::20").expect("there");
    assert_eq!((found.index, found.prefix), (lab.veth, 64));
    assert!(!found.flags.contains(netlink::Flags::TENTATIVE));
    assert!(found.flags.contains(netlink::Flags::DEPRECATED), "no source of new connections");
    let mac = lab.socket.link("veth0").expect("asked").expect("there").mac.expect("Ethernet");
    let mut seen = false;
    let mut buffer = [0; 2048];
    while let Some(bytes) = ears.receive(&mut buffer).expect("received") {
        let frame = EthernetFrame::new_checked(bytes).expect("a frame");
        let ip_packet = Ipv6Packet::new_checked(frame.payload()).expect("IPv6");
        if IpAddr::V6(ip_packet.src_addr()) != ip("fd00:7::20") {
            continue;
        }
        let icmp = Icmpv6Packet::new_checked(ip_packet.payload()).expect("ICMPv6");
        let repr = Icmpv6Repr::parse(
            &ip_packet.src_addr(),
            &ip_packet.dst_addr(),
            &icmp,
            &ChecksumCapabilities::default(),
        );
        if let Ok(Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert { flags, target_addr, lladdr })) =
            repr
        {
            assert_eq!(flags, NdiscNeighborFlags::OVERRIDE);
            assert_eq!(IpAddr::V6(target_addr), ip("fd00:7::20"));
            assert_eq!(lladdr.expect("given").as_bytes(), mac);
            assert_eq!(ip_packet.hop_limit(), 255);
            seen = true;
        }
    }
    assert!(seen, "announced by the time of the report");
    assert_eq!(lab.stop(), Outcome::Stopped);
    assert!(lab.find("fd00:7::20").is_none());
}

#[test]
fn an_address_that_nobody_renews_vanishes_by_itself() {
    let mut lab = Lab::new("expiry");
    lab.run(vec![address("192.168.7.20"), address("fd00:7::20")]);
    assert_eq!(lab.start(), Outcome::Running);
    std::thread::sleep(Duration::from_millis(600));
    drop(lab.resources.take()); // as if the daemon was killed: nothing is stopped
    let begin = Instant::now();
    assert!(lab.find("192.168.7.20").is_some());
    wait_until("both are gone", || {
        lab.find("192.168.7.20").is_none() && lab.find("fd00:7::20").is_none()
    });
    assert!(begin.elapsed() < Duration::from_millis(1300), "{:?}", begin.elapsed());
    assert!(lab.find("192.168.7.1").is_some());
}

#[test]
fn an_address_is_withdrawn_at_once_when_nobody_vouches_and_returns_with_the_vouching() {
    let mut lab = Lab::new("vouch");
    lab.run(vec![address("192.168.7.20")]);
    let until = clock::now().micros() + 400_000;
    lab.vouch[0].store(until, Ordering::Relaxed);
    assert_eq!(lab.start(), Outcome::Running);
    wait_until("it is withdrawn", || lab.find("192.168.7.20").is_none());
    let late = clock::now().micros().saturating_sub(until);
    assert!(clock::now().micros() >= until && late < 100_000, "{late} µs late");
    let ears = packet::Socket::receiver(lab.peer, 0x0806).expect("a packet socket");
    lab.vouch[0].store(FOREVER, Ordering::Relaxed);
    wait_until("it is put back", || lab.find("192.168.7.20").is_some());
    wait_until("it is announced", || !heard_arp(&ears, "192.168.7.20").is_empty());
    lab.vouch[0].store(0, Ordering::Relaxed);
    wait_until("it is withdrawn", || lab.find("192.168.7.20").is_none());
    assert_eq!(lab.stop(), Outcome::Stopped);
}

#[test]
fn an_address_that_somebody_takes_away_is_put_back_and_announced() {
    let mut lab = Lab::new("guard");
    lab.run(vec![address("192.168.7.20")]);
    assert_eq!(lab.start(), Outcome::Running);
    let ears = packet::Socket::receiver(lab.peer, 0x0806).expect("a packet socket");
    let found = lab.find("192.168.7.20").expect("there");
    let begin = Instant::now();
    assert!(lab.socket.delete_address(&found).expect("removed"));
    wait_until("it is back", || lab.find("192.168.7.20").is_some());
    assert!(begin.elapsed() < Duration::from_millis(100), "{:?}", begin.elapsed());
    wait_until("it is announced", || !heard_arp(&ears, "192.168.7.20").is_empty());
    // A carrier that returns: neighbours may have learnt something else meanwhile.
    std::thread::sleep(Duration::from_millis(300));
    lab.socket.set_up(lab.peer, false).expect("the cable is pulled");
    std::thread::sleep(Duration::from_millis(50));
    lab.socket.set_up(lab.peer, true).expect("and plugged in again");
    let ears = packet::Socket::receiver(lab.peer, 0x0806).expect("a packet socket");
    wait_until("it is announced", || !heard_arp(&ears, "192.168.7.20").is_empty());
    assert_eq!(lab.stop(), Outcome::Stopped);
}

#[test]
fn an_address_left_by_a_crashed_daemon_is_adopted_without_a_gap() {
    let mut lab = Lab::new("adopt");
    let mut left = netlink::Address::new(lab.veth, ip("192.168.7.20"), 24);
    left.lifetime = netlink::Lifetime { preferred: 1, valid: 1 };
    lab.socket.add_address(&left).expect("added");
    let mut copy = netlink::Address::new(lab.peer, ip("192.168.7.20"), 32);
    copy.lifetime = netlink::Lifetime { preferred: 9, valid: 9 };
    lab.socket.add_address(&copy).expect("added");
    let mut monitor = netlink::Monitor::open().expect("a monitor");
    let mut wanted = address("192.168.7.20");
    if let Kind::Address(address) = &mut wanted.kind {
        address.interface = Some("veth0".into());
    }
    lab.run(vec![wanted]);
    assert_eq!(lab.probe(), Outcome::Running);
    std::thread::sleep(Duration::from_millis(1300)); // a slow probe of something else
    assert_eq!(lab.start(), Outcome::Running);
    std::thread::sleep(Duration::from_millis(1300));
    let veth = lab.veth;
    while let Some(change) = monitor.next() {
        if let netlink::Change::Address { index, address, added: false, .. } = change {
            assert!(index != veth || address != ip("192.168.7.20"), "there was a gap");
        }
    }
    let all = lab.socket.addresses().expect("a list");
    let places: Vec<_> = all.iter().filter(|a| a.address == ip("192.168.7.20")).collect();
    assert_eq!(places.len(), 1, "the second copy is removed: {places:?}");
    assert_eq!(lab.stop(), Outcome::Stopped);
}

#[test]
fn an_address_without_a_place_fails_with_a_reason() {
    let mut lab = Lab::new("noplace");
    lab.run(vec![address("10.99.0.1")]);
    assert_eq!(lab.start(), Outcome::Failed);
    assert_eq!(lab.stop(), Outcome::Stopped);
    let mut wanted = address("192.168.7.20");
    if let Kind::Address(address) = &mut wanted.kind {
        address.interface = Some("veth0".into());
    }
    lab.socket.set_up(lab.veth, false).expect("switched off");
    lab.run(vec![wanted]);
    assert_eq!(lab.start(), Outcome::Failed, "nobody could reach it there");
    assert!(lab.find("192.168.7.20").is_none());
}
