//! Both at once: partitions that heal, and simultaneous starts.
use crate::scene::{Pair, Setup, VIRTUAL, ms};
use latido::lab::cable::End;
use latido::lab::{CROSSOVER, LAN};
use latido::platform::netlink::Socket;
use latido::platform::tap::{OFFLOAD_HEADER, Tap};
use std::net::IpAddr;
use std::time::Instant;

/// Every path between the nodes, the client's ways left alone.
fn split(pair: &Pair, split: bool) {
    let cable = pair.lab.cable(0).unwrap();
    for end in [End::First, End::Second] {
        cable.set(end, !split);
    }
    for network in [CROSSOVER, LAN] {
        pair.lab.split(network, split).unwrap();
    }
}

#[test]
fn when_a_partition_heals_one_lets_go_at_once_and_nobody_restarts() {
    let pair = Pair::running(Setup { dead: ms(700), ..Setup::default() });
    let (ours, theirs) = (pair.mark("pi"), pair.mark("laptop"));
    pair.clear_record();
    split(&pair, true);
    // As the rule says, and every page about it: both own the group now.
    pair.wait("both nodes to own the group", || (pair.holders().len() == 2).then_some(()));
    pair.wait_status("laptop", "it runs", |status| {
        (status["groups"][0]["local"] == "running").then_some(())
    });
    ours.wait("node laptop is dead");
    assert_eq!(pair.record(), ["laptop start"]);
    let healed = Instant::now();
    split(&pair, false);
    let alone = pair.wait("one owner", || {
        let all = pair.lab.ownership().of(VIRTUAL);
        all.iter().rev().find_map(|one| one.until).filter(|until| *until > healed)
    });
    pair.settled("laptop");
    // The budget is 100 ms on a quiet machine; the next heartbeat brings the news.
    assert!(alone - healed < ms(600), "two owners for {:?}", alone - healed);
    let held = pair.lab.ownership().held(VIRTUAL, healed, Instant::now());
    assert_eq!(held.nobody, ms(0), "{held:?}");
    // Only the loser's scripts are called, and only to stop.
    assert_eq!(pair.record(), ["laptop start", "pi stop"]);
    ours.wait("owned it at the same time as we did");
    ours.wait("stopped here and released");
    theirs.wait("owned it at the same time as we did");
    theirs.never("stopping here");
    // The client asked all the time and may have believed the loser: it ends with the winner.
    pair.answered_by("laptop");
    pair.still().for_as_long_as(ms(1500));
}

#[test]
fn a_client_misled_during_a_partition_is_led_back_when_it_heals() {
    let pair = Pair::running(Setup { dead: ms(700), ..Setup::default() });
    split(&pair, true);
    pair.wait("both nodes to own the group", || (pair.holders().len() == 2).then_some(()));
    pair.answered_by("laptop");
    // The new owner has announced itself for the last time, 5 s after it began. Then the other one
    // convinces the client, as it does whenever its cable is plugged in or the client asks anew.
    let begun = pair.lab.ownership().of(VIRTUAL).last().unwrap().from;
    while begun.elapsed() < ms(5500) {
        std::thread::sleep(ms(10));
    }
    announce(&pair, "pi");
    pair.answered_by("pi");
    let healed = Instant::now();
    split(&pair, false);
    pair.answered_by("laptop");
    // Left alone the client's kernel believes the loser for five seconds and more.
    assert!(healed.elapsed() < ms(3000), "led back after {:?}", healed.elapsed());
    pair.settled("laptop");
}

/// A gratuitous ARP request (RFC 5227) for the virtual address from a node.
fn announce(pair: &Pair, node: &str) {
    pair.node(node)
        .inside(|| {
            let link = Socket::open().unwrap().link("eth0").unwrap().unwrap();
            let (mac, IpAddr::V4(address)) = (link.mac.unwrap(), VIRTUAL) else { unreachable!() };
            let mut frame = vec![0; OFFLOAD_HEADER];
            frame.extend([0xff; 6]);
            frame.extend(mac);
            frame.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]);
            frame.extend(mac);
            frame.extend(address.octets());
            frame.extend([0; 6]);
            frame.extend(address.octets());
            Tap::open("eth0").unwrap().send(&frame).unwrap();
        })
        .unwrap();
}

#[test]
fn nodes_that_start_at_the_same_time_agree_on_one_owner() {
    for _ in 0..3 {
        let mut pair = Pair::powered(Setup::default());
        let begin = Instant::now();
        pair.start_all();
        pair.settled("pi");
        pair.ask();
        assert_eq!(pair.record(), ["pi start"]);
        let held = pair.lab.ownership().held(VIRTUAL, begin, Instant::now());
        assert_eq!((held.arrivals, held.both), (1, ms(0)), "{held:?}");
    }
}

#[test]
fn a_node_alone_waits_for_the_initial_dead_time_and_then_takes_over() {
    let mut pair = Pair::powered(Setup { initial_dead: ms(2000), ..Setup::default() });
    let begin = Instant::now();
    pair.start("laptop");
    pair.owned("laptop");
    let taken = pair.lab.ownership().of(VIRTUAL).last().unwrap().from - begin;
    assert!(taken >= pair.setup.initial_dead, "{taken:?}");
    pair.ask();
    // The other one comes later, sees the owner, and leaves it the group.
    let still = pair.still();
    pair.start("pi");
    pair.settled("laptop");
    still.check();
}
