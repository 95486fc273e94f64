//! Somebody else says to have the address.
use crate::scene::{CLIENT_V6, Pair, Setup};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, Icmpv6Packet, Icmpv6Repr,
    IpProtocol, Ipv6Packet, Ipv6Repr, NdiscNeighborFlags, NdiscRepr,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

const STRANGER: [u8; 6] = [0x02, 0xbe, 0xef, 0, 0, 0x66];
const CLAIM: &str = "conflict: 02:be:ef:00:00:66 on eth0 says that it has";

/// A gratuitous ARP reply of a stranger.
fn arp(address: Ipv4Addr) -> Vec<u8> {
    let ip = address.octets();
    [&[0xff; 6][..], &STRANGER, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2], &STRANGER, &ip, &[0xff; 6], &ip]
        .concat()
}

/// A neighbour advertisement of a stranger, to all nodes.
fn advertisement(address: Ipv6Addr) -> Vec<u8> {
    let icmp = Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert {
        flags: NdiscNeighborFlags::OVERRIDE,
        target_addr: address,
        lladdr: Some(EthernetAddress(STRANGER).into()),
    });
    let ip = Ipv6Repr {
        src_addr: CLIENT_V6,
        dst_addr: Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
        next_header: IpProtocol::Icmpv6,
        payload_len: icmp.buffer_len(),
        hop_limit: 255,
    };
    let mut bytes = vec![0; 14 + ip.buffer_len() + icmp.buffer_len()];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    EthernetRepr {
        src_addr: EthernetAddress(STRANGER),
        dst_addr: EthernetAddress([0x33, 0x33, 0, 0, 0, 1]),
        ethertype: EthernetProtocol::Ipv6,
    }
    .emit(&mut frame);
    let mut packet = Ipv6Packet::new_unchecked(frame.payload_mut());
    ip.emit(&mut packet);
    let sums = ChecksumCapabilities::default();
    let mut body = Icmpv6Packet::new_unchecked(packet.payload_mut());
    icmp.emit(&ip.src_addr, &ip.dst_addr, &mut body, &sums);
    bytes
}

fn claim(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => arp(v4),
        IpAddr::V6(v6) => advertisement(v6),
    }
}

/// Claims ten times a second for two seconds; how many lines the owner wrote of it, and how often
/// it said that the address is its own.
fn contest(pair: &Pair) -> (usize, usize) {
    // The announcements after the takeover come at set times; the last one after five seconds.
    std::thread::sleep(Duration::from_millis(5_500));
    let (from, listener, mac) = (pair.end_of_log("pi"), pair.listen(), pair.mac("pi"));
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(2) {
        pair.send(claim(pair.address));
        std::thread::sleep(Duration::from_millis(100));
    }
    pair.logged("pi", from, &[CLAIM, "the rule assume-dead cannot tell"]);
    let lines = pair.log("pi")[from..].matches(CLAIM).count();
    (lines, listener.heard().iter().filter(|one| one.mac == mac).count())
}

#[test]
fn a_stranger_who_claims_the_address_is_named_and_answered_no_more_than_rfc_5227_permits() {
    let pair = Pair::running(Setup::default());
    let (lines, defended) = contest(&pair);
    assert_eq!(lines, 1, "one line in ten seconds");
    // An announcement is a request and a reply; besides, the owner's kernel may ask the client.
    assert!((1..=6).contains(&defended), "{defended} frames name the owner");
    // The client believed the last claim, which came too soon to be answered at once.
    let from = pair.end_of_log("pi");
    pair.logged("pi", from, &[CLAIM, "times or more"]);
    pair.answered_by("pi");
    assert_eq!(pair.holders(pair.address), ["pi"], "it stays");
}

#[test]
fn a_stranger_who_advertises_an_ipv6_address_is_named_and_answered() {
    let pair = Pair::running(Setup { v6: true, ..Setup::default() });
    let (lines, defended) = contest(&pair);
    assert_eq!(lines, 1, "one line in ten seconds");
    assert!(defended >= 1, "it was advertised again");
    pair.answered_by("pi");
}

#[test]
fn an_address_that_stays_is_announced_again_and_again() {
    let pair = Pair::running(Setup { keys: ", reannounce = \"1s\"", ..Setup::default() });
    let (listener, mac) = (pair.listen(), pair.mac("pi"));
    let mut heard = 0;
    // After a takeover four times two frames are sent; the rest is `reannounce`.
    pair.wait("more than the announcements after a takeover", || {
        heard += listener.heard().iter().filter(|one| one.mac == mac).count();
        (heard >= 16).then_some(())
    });
}
