//! Neighbours are asked until they have learnt, and not for ever.
use super::super::address::resolve;
use super::super::learn::{Check, Learnt};
use super::*;
use crate::platform::packet;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    EthernetRepr,
};
use std::net::Ipv4Addr;

const OURS: Ipv4Addr = Ipv4Addr::new(192, 168, 7, 20);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 7, 254);
const NAMED: Ipv4Addr = Ipv4Addr::new(192, 168, 7, 9);
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];
/// Longer than all waiting together, in microseconds.
const LONG: u64 = 20_000_000;

/// The far end of the cable: what was asked, and a neighbour that answers ARP.
struct Neighbour {
    arp: packet::Socket,
    pings: packet::Socket,
    index: u32,
}

/// A question: for whom, and whether it was sent to everybody.
type Asked = (Ipv4Addr, bool);

impl Neighbour {
    fn of(lab: &Lab) -> Neighbour {
        let open = |ethertype| packet::Socket::receiver(lab.peer, ethertype).expect("a socket");
        Neighbour { arp: open(0x0806), pings: open(0x0800), index: lab.peer }
    }

    /// Reads the questions since the last call; answers those for `answers`.
    fn hear(&self, answers: &[Ipv4Addr]) -> Vec<Asked> {
        let mut asked = Vec::new();
        let mut buffer = [0; 2048];
        while let Some(bytes) = self.arp.receive(&mut buffer).expect("received") {
            let frame = EthernetFrame::new_checked(bytes).expect("a frame");
            let packet = ArpPacket::new_checked(frame.payload()).expect("ARP");
            let Ok(ArpRepr::EthernetIpv4 {
                operation: ArpOperation::Request,
                source_hardware_addr,
                source_protocol_addr: OURS,
                target_protocol_addr,
                ..
            }) = ArpRepr::parse(&packet)
            else {
                continue;
            };
            asked.push((target_protocol_addr, frame.dst_addr().is_broadcast()));
            if answers.contains(&target_protocol_addr) {
                self.answer(target_protocol_addr, source_hardware_addr);
            }
        }
        asked
    }

    fn answer(&self, address: Ipv4Addr, to: EthernetAddress) {
        let repr = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Reply,
            source_hardware_addr: EthernetAddress(MAC),
            source_protocol_addr: address,
            target_hardware_addr: to,
            target_protocol_addr: OURS,
        };
        let mut bytes = vec![0; 14 + repr.buffer_len()];
        let mut frame = EthernetFrame::new_unchecked(&mut bytes);
        let ethertype = EthernetProtocol::Arp;
        EthernetRepr { src_addr: EthernetAddress(MAC), dst_addr: to, ethertype }.emit(&mut frame);
        repr.emit(&mut ArpPacket::new_unchecked(frame.payload_mut()));
        self.arp.send(self.index, &bytes).expect("sent");
    }

    /// How many pings came.
    fn pings(&self) -> usize {
        let mut buffer = [0; 2048];
        let mut count = 0;
        while let Some(frame) = self.pings.receive(&mut buffer).expect("received") {
            // ICMP to the neighbour's own Ethernet address.
            count += usize::from(frame[..6] == MAC && frame[23] == 1 && frame[34] == 8);
        }
        count
    }
}

fn begin(lab: &mut Lab, neighbours: &[Ipv4Addr], now: u64) -> Option<Check> {
    let Kind::Address(mut wanted) = address("192.168.7.20").kind else { panic!("an address") };
    wanted.announcing.neighbours = neighbours.to_vec();
    let plan = resolve(&mut lab.socket, &wanted, &[]).expect("a plan");
    let mac = plan.link.mac.expect("Ethernet");
    Check::begin(&mut lab.socket, &plan, mac, now).expect("sockets")
}

/// Lets a check run to its end, attempt by attempt; what came of it, and all questions.
fn run(check: &mut Check, far: &Neighbour, answers: &[Ipv4Addr]) -> (Vec<Learnt>, Vec<Asked>) {
    let packets = packet::Socket::sender().expect("a socket");
    let (mut results, mut asked) = (Vec::new(), Vec::new());
    let mut turns = 0;
    while !check.is_over() {
        let now = check.next();
        results.extend(check.turn(&packets, now));
        asked.extend(far.hear(answers));
        turns += 1;
        assert!(turns < 100, "it has an end");
    }
    (results, asked)
}

#[test]
fn without_a_gateway_and_neighbours_nobody_is_asked() {
    let mut lab = Lab::new("nobody");
    assert!(begin(&mut lab, &[], 0).is_none());
    // Neither is who is not on this network, nor we ourselves.
    assert!(begin(&mut lab, &["10.9.9.9".parse().expect("one"), OURS], 0).is_none());
}

#[test]
fn the_gateway_and_the_named_are_asked_a_few_times_and_then_given_up() {
    let mut lab = Lab::new("silent");
    lab.socket.add_default_route(GATEWAY.into(), lab.veth).expect("a route");
    let far = Neighbour::of(&lab);
    let mut check = begin(&mut lab, &[NAMED], 1_000).expect("somebody");
    let (results, asked) = run(&mut check, &far, &[]);
    assert_eq!(results.len(), 2);
    for who in [GATEWAY, NAMED] {
        assert!(results.contains(&Learnt::Silent(who)), "{results:?}");
        let questions = asked.iter().filter(|one| one.0 == who);
        assert!((4..=12).contains(&questions.clone().count()), "{asked:?}");
        assert!(questions.clone().all(|one| one.1), "to everybody, as nobody knows where it is");
    }
    assert_eq!(far.pings(), 0);
    let (warning, text) = results[0].told(OURS.into());
    assert!(warning && text.contains("does not answer"), "{text}");
}

#[test]
fn who_answers_arp_but_no_ping_is_told_alone_and_remains_unknown() {
    let mut lab = Lab::new("pingless");
    let far = Neighbour::of(&lab);
    let mut check = begin(&mut lab, &[NAMED], 1_000).expect("somebody");
    let (results, asked) = run(&mut check, &far, &[NAMED]);
    assert_eq!(results, [Learnt::Unknown(NAMED)]);
    assert!(asked[0].1 && asked[1..].iter().all(|one| !one.1), "then to it alone: {asked:?}");
    assert!(far.pings() >= 4);
    let (warning, text) = results[0].told(OURS.into());
    assert!(warning && text.contains("announce_check = false"), "{text}");
}

#[test]
fn the_questions_come_to_an_end_within_a_quarter_of_a_minute() {
    let mut lab = Lab::new("end");
    let packets = packet::Socket::sender().expect("a socket");
    let mut check = begin(&mut lab, &[NAMED], 0).expect("somebody");
    let mut last = 0;
    while !check.is_over() {
        last = check.next();
        assert!(last < LONG, "at {last} µs");
        check.turn(&packets, last);
    }
    assert!(last > 1_000_000, "given up after {last} µs");
}
