//! The program alone, run by the kernel on frames made by hand (`BPF_PROG_TEST_RUN`).
use super::super::program::{DROP, PASS};
use super::*;
use std::net::{Ipv4Addr, Ipv6Addr};

const OTHER_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const OTHER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

fn v4() -> Ipv4Addr {
    V4.parse().expect("an address")
}

fn v6() -> Ipv6Addr {
    V6.parse().expect("an address")
}

fn ethernet(tags: &[u16], kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    for tag in tags {
        frame.extend(tag.to_be_bytes());
        frame.extend([0, 5]);
    }
    frame.extend(kind.to_be_bytes());
    frame.extend(payload);
    frame
}

fn ipv4_packet(from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend([0; 8]);
    packet
}

fn ipv4(from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    ethernet(&[], 0x0800, &ipv4_packet(from, to))
}

fn arp(operation: u8, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, operation];
    packet.extend([2, 0, 0, 0, 0, 2]);
    packet.extend(sender.octets());
    packet.extend([0; 6]);
    packet.extend(target.octets());
    ethernet(&[], 0x0806, &packet)
}

/// `extensions`: kind and length in units of eight bytes beyond the first.
fn ipv6_packet(from: Ipv6Addr, to: Ipv6Addr, extensions: &[(u8, u8)], rest: &[u8]) -> Vec<u8> {
    let mut kinds = extensions.iter().map(|(kind, _)| *kind).chain([58]);
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, kinds.next().unwrap_or(58), 255];
    packet.extend(from.octets());
    packet.extend(to.octets());
    for (_, length) in extensions {
        packet.extend([kinds.next().unwrap_or(58), *length]);
        packet.extend(vec![0; 6 + 8 * usize::from(*length)]);
    }
    packet.extend(rest);
    packet
}

fn discovery(kind: u8, target: Ipv6Addr, extensions: &[(u8, u8)]) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    message.extend([1, 1, 2, 0, 0, 0, 0, 2]);
    let to = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0x20);
    ethernet(&[], 0x86dd, &ipv6_packet(OTHER_V6, to, extensions, &message))
}

struct Bench {
    maps: Maps,
    words: SharedWords,
    ingress: Program,
    egress: Program,
}

impl Bench {
    fn new() -> Bench {
        // Its own loopback, which forwards nothing: an address counts as this machine's own.
        new_network().expect("these tests need root: run them as root");
        let (maps, words) = make_maps(&groups()).expect("maps");
        let tag = Tag::of(b"bench");
        let ingress = load(tag, Direction::Ingress, &maps).expect("the verifier accepts it");
        let egress = load(tag, Direction::Egress, &maps).expect("the verifier accepts it");
        Bench { maps, words, ingress, egress }
    }

    fn set(&self, group: usize, (lower, upper): (u32, u32)) {
        self.words.set(2 * group, lower);
        self.words.set(2 * group + 1, upper);
    }

    fn open(&self, micros: u64) {
        self.set(1, deadline::words(in_micros(micros), clock::now(), 0));
    }

    fn close(&self) {
        self.set(1, deadline::CLOSED);
    }

    /// What becomes of a frame on its way in and out: true if it passes.
    fn passes(&self, frame: &[u8]) -> (bool, bool) {
        let one = |program: &Program| match program.run(frame, 1).expect("it runs").0 {
            PASS => true,
            DROP => false,
            other => panic!("verdict {other}"),
        };
        (one(&self.ingress), one(&self.egress))
    }
}

/// Every frame that matters, with what becomes of it (in, out) while the gate is closed.
fn cases() -> Vec<(&'static str, Vec<u8>, (bool, bool))> {
    let (v4, v6) = (v4(), v6());
    let zero = Ipv4Addr::UNSPECIFIED;
    let tagged = |tags: &[u16]| ethernet(tags, 0x0800, &ipv4_packet(v4, v4));
    let mut fragment = ipv4(v4, v4);
    fragment[20] = 0x20;
    fragment[21] = 0x80;
    let echo = [128, 0, 0, 0, 0, 0, 0, 0];
    let v6_frame = |from, to, extensions: &[(u8, u8)]| {
        ethernet(&[], 0x86dd, &ipv6_packet(from, to, extensions, &echo))
    };
    vec![
        ("ARP request for it", arp(1, OTHER_V4, v4), (false, true)),
        ("ARP probe for it", arp(1, zero, v4), (false, true)),
        ("ARP request by it", arp(1, v4, OTHER_V4), (true, false)),
        ("ARP reply by it", arp(2, v4, OTHER_V4), (true, false)),
        ("ARP reply to it", arp(2, OTHER_V4, v4), (true, true)),
        ("ARP announcement (request)", arp(1, v4, v4), (true, false)),
        ("ARP announcement (reply)", arp(2, v4, v4), (true, false)),
        ("ARP of others", arp(1, OTHER_V4, OTHER_V4), (true, true)),
        ("IPv4 from it", ipv4(v4, OTHER_V4), (true, false)),
        ("IPv4 to it", ipv4(OTHER_V4, v4), (false, true)),
        ("IPv4 of others", ipv4(OTHER_V4, OTHER_V4), (true, true)),
        ("IPv4 fragment", fragment, (false, false)),
        ("802.1Q", tagged(&[0x8100]), (false, false)),
        ("802.1ad and 802.1Q", tagged(&[0x88a8, 0x8100]), (false, false)),
        ("three tags", tagged(&[0x88a8, 0x8100, 0x8100]), (true, true)),
        ("IPv6 from it", v6_frame(v6, OTHER_V6, &[]), (true, false)),
        ("IPv6 to it", v6_frame(OTHER_V6, v6, &[]), (false, true)),
        ("IPv6 to it, options", v6_frame(OTHER_V6, v6, &[(0, 0), (60, 3)]), (false, true)),
        ("IPv6 to it, fragment", v6_frame(OTHER_V6, v6, &[(44, 0)]), (false, true)),
        ("IPv6 of others", v6_frame(OTHER_V6, OTHER_V6, &[]), (true, true)),
        ("NS for it", discovery(135, v6, &[]), (false, true)),
        ("NA of it", discovery(136, v6, &[]), (true, false)),
        ("NS for others", discovery(135, OTHER_V6, &[]), (true, true)),
        ("NS, one extension", discovery(135, v6, &[(0, 0)]), (false, true)),
        ("NA, long extension", discovery(136, v6, &[(60, 20)]), (true, false)),
        (
            "NS, four extensions",
            discovery(135, v6, &[(0, 0), (43, 1), (60, 0), (60, 2)]),
            (false, true),
        ),
        ("router advertisement", discovery(134, v6, &[]), (true, true)),
    ]
}

#[test]
fn closed_it_drops_what_is_for_or_from_the_address_and_nothing_else() {
    let bench = Bench::new();
    bench.close();
    for (what, frame, expected) in cases() {
        assert_eq!(bench.passes(&frame), expected, "{what} (in, out)");
    }
}

#[test]
fn open_it_passes_everything() {
    let bench = Bench::new();
    bench.open(60_000_000);
    for (what, frame, _) in cases() {
        assert_eq!(bench.passes(&frame), (true, true), "{what} (in, out)");
    }
}

#[test]
fn each_group_has_a_deadline_of_its_own() {
    let bench = Bench::new();
    bench.open(60_000_000);
    let first = ipv4("198.51.100.1".parse().expect("an address"), OTHER_V4);
    assert_eq!(bench.passes(&first), (true, false));
    bench.set(0, deadline::words(in_micros(60_000_000), clock::now(), 0));
    bench.close();
    assert_eq!(bench.passes(&first), (true, true));
    assert_eq!(bench.passes(&ipv4(v4(), OTHER_V4)), (true, false));
    assert_eq!(bench.maps.groups.get(&key(v4().into())).expect("asked"), Some(1));
}

#[test]
fn it_closes_by_itself_when_the_deadline_has_come() {
    let bench = Bench::new();
    let frame = ipv4(v4(), OTHER_V4);
    for _ in 0..20 {
        let until = in_micros(5_000);
        bench.set(1, deadline::words(until, clock::now(), 0));
        let mut last_open = clock::now();
        loop {
            let before = clock::now();
            if !bench.passes(&frame).1 {
                break;
            }
            last_open = before;
            assert!(before < until, "still open {:?} after its end", before.since(until));
        }
        // It may have stood still in between, so only a bound that is always right.
        assert!(last_open <= until);
    }
}

#[test]
fn a_deadline_of_another_era_or_far_away_is_none() {
    let bench = Bench::new();
    let frame = ipv4(v4(), OTHER_V4);
    let (lower, upper) = deadline::words(in_micros(60_000_000), clock::now(), 0);
    for (what, words, open) in [
        ("as it is", (lower, upper), true),
        ("256 eras ago", (lower, upper.wrapping_sub(256)), false),
        ("two eras ahead", (lower, upper.wrapping_add(2)), false),
        ("further than any", (lower.wrapping_add(deadline::AHEAD_MAX), upper), false),
        ("past", (lower.wrapping_sub(1 << 21), upper), false),
    ] {
        bench.set(1, words);
        assert_eq!(bench.passes(&frame).1, open, "{what}");
    }
}

#[test]
fn what_is_cut_short_passes() {
    let bench = Bench::new();
    for (_, frame, _) in cases() {
        for length in 14..frame.len() {
            // The kernel runs no program on an IP packet that is shorter than its header.
            for program in [&bench.ingress, &bench.egress] {
                let verdict = program.run(&frame[..length], 1).map_or(PASS, |(verdict, _)| verdict);
                assert!([PASS, DROP].contains(&verdict), "{verdict}");
            }
        }
    }
    for (frame, whole) in [
        (ethernet(&[0x8100], 0x0800, &ipv4_packet(v4(), v4())), 38),
        (arp(1, OTHER_V4, v4()), 42),
        (discovery(135, v6(), &[(0, 0)]), 14 + 40 + 8 + 24),
    ] {
        assert_eq!(bench.passes(&frame[..whole - 1]), (true, true));
        assert!(!bench.passes(&frame[..whole]).0);
    }
}

/// Not a test of anything: `cargo test --lib figures_of_the_gate -- --ignored --nocapture`.
#[test]
#[ignore = "prints figures for docs/gate.md"]
fn figures_of_the_gate() {
    let bench = Bench::new();
    let echo = [128, 0, 0, 0, 0, 0, 0, 0];
    let v6_frame = |from, to| ethernet(&[], 0x86dd, &ipv6_packet(from, to, &[], &echo));
    let frames = [
        ("IPv4, other address", ipv4(OTHER_V4, OTHER_V4)),
        ("IPv4, gated address, open", ipv4(v4(), v4())),
        (
            "IPv4, gated, one tag in the frame",
            ethernet(&[0x8100], 0x0800, &ipv4_packet(v4(), v4())),
        ),
        ("IPv6, other address", v6_frame(OTHER_V6, OTHER_V6)),
        ("IPv6, gated address, open", v6_frame(v6(), v6())),
        ("ARP request, gated address, open", arp(1, OTHER_V4, v4())),
        ("NS, gated address, open", discovery(135, v6(), &[])),
        ("neither IP nor ARP", ethernet(&[], 0x88cc, &[0; 46])),
    ];
    bench.open(250_000_000);
    for (what, frame) in &frames {
        let best = |program: &Program| {
            let run = |_| program.run(frame, 1_000_000).expect("it runs").1;
            (0..5).map(run).min().expect("five")
        };
        println!("{what:40} in {:4} ns, out {:4} ns", best(&bench.ingress), best(&bench.egress));
    }
}
