//! An Ethernet address that moves with the address.
use crate::scene::{Pair, Setup};
use latido::platform::bpf::{Direction, attached};
use latido::platform::netlink::Link;
use latido::platform::virtual_mac::is_ours;
use std::time::{Duration, Instant};

const KEYS: &str = ", virtual_mac = true";

/// The interfaces of a node that were made for virtual MACs.
fn made(pair: &Pair, node: &str) -> Vec<Link> {
    pair.links(node).into_iter().filter(is_ours).collect()
}

fn setting(pair: &Pair, node: &str, name: &'static str) -> String {
    let read = move || std::fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{name}"));
    pair.lab.node(node).inside(read).unwrap().unwrap().trim().to_owned()
}

#[test]
fn it_answers_alone_moves_with_the_address_and_leaves_nothing_behind() {
    let pair = Pair::running(Setup { keys: KEYS, ..Setup::default() });
    let [link] = &made(&pair, "pi")[..] else { panic!("one interface") };
    let mac = link.mac.unwrap();
    assert_eq!(mac[0], 0x02);
    assert_eq!(pair.places("pi")[0].index, link.index);
    let index = link.index;
    let gates =
        move || Direction::BOTH.map(|side| attached(index, side).map_or(0, |all| all.len()));
    assert_eq!(pair.lab.node("pi").inside(gates).unwrap(), [1, 1], "the gate stands there");
    assert_eq!(setting(&pair, "pi", "eth0/arp_ignore"), "1");
    // The client is made to ask again and again: nobody else ever answers for the address.
    let listener = pair.listen();
    let begin = Instant::now();
    let mut heard = Vec::new();
    while begin.elapsed() < Duration::from_secs(2) {
        pair.lab.client(latido::lab::CLIENT).run(|| {
            let mut socket = latido::platform::netlink::Socket::open().expect("netlink");
            let index = socket.link("eth0").expect("asked").expect("there").index;
            // Switched off and on, an interface forgets its neighbours.
            socket.set_up(index, false).expect("off");
            socket.set_up(index, true).expect("on");
        });
        pair.answered_by("pi");
        heard.extend(listener.heard());
    }
    heard.extend(listener.heard());
    assert!(!heard.is_empty(), "the client asked and was answered");
    assert!(heard.iter().all(|one| one.mac == mac), "{heard:?}");

    assert_eq!(pair.latido("laptop", &["takeover", "--group", "web"]).0, 0);
    pair.settled("web", "laptop");
    pair.answered_by("laptop");
    assert_eq!(made(&pair, "laptop")[0].mac, Some(mac), "the same on both nodes");
    assert!(made(&pair, "pi").is_empty(), "it has moved");
    assert_eq!(setting(&pair, "pi", "eth0/arp_ignore"), "0", "as it was before");
    assert_eq!(setting(&pair, "pi", "eth0/arp_announce"), "0");

    let daemon = pair.lab.node("laptop").daemon().unwrap();
    pair.lab.node("laptop").signal(daemon.pid, rustix::process::Signal::TERM).unwrap();
    pair.wait_for_end("laptop");
    assert!(made(&pair, "laptop").is_empty(), "nothing is left after a stop");
    assert_eq!(setting(&pair, "laptop", "eth0/arp_ignore"), "0");
    pair.answered_by("pi");
}

#[test]
fn it_is_made_anew_when_somebody_deletes_it() {
    let pair = Pair::running(Setup { keys: KEYS, ..Setup::default() });
    let before = made(&pair, "pi").remove(0);
    let from = pair.end_of_log("pi");
    let index = before.index;
    let delete = move || {
        let mut socket = latido::platform::netlink::Socket::open().expect("netlink");
        socket.delete_link(index).expect("deleted");
    };
    pair.lab.node("pi").inside(delete).unwrap();
    pair.logged("pi", from, &["put back", "virtual MAC", "had gone and has returned"]);
    pair.answered_by("pi");
    let after = made(&pair, "pi").remove(0);
    assert_eq!(after.mac, before.mac);
    assert_eq!(pair.holders(pair.address), ["pi"]);
}

#[test]
fn a_killed_daemon_leaves_no_virtual_mac_once_another_has_looked() {
    let pair = Pair::running(Setup { keys: KEYS, ..Setup::default() });
    let daemon = pair.lab.node("pi").daemon().unwrap();
    pair.lab.node("pi").signal_family(daemon.pid, rustix::process::Signal::KILL);
    pair.wait_for_end("pi");
    pair.answered_by("laptop");
    assert_eq!(made(&pair, "pi").len(), 1, "nobody was there to remove it");
    pair.start("pi");
    pair.met();
    pair.wait("what was left to be removed", || made(&pair, "pi").is_empty().then_some(()));
    pair.answered_by("laptop");
}

#[test]
fn an_ipv6_address_has_one_as_well() {
    let pair = Pair::running(Setup { keys: KEYS, v6: true });
    let mac = made(&pair, "pi")[0].mac;
    assert_eq!(pair.latido("laptop", &["takeover", "--group", "web"]).0, 0);
    pair.answered_by("laptop");
    let link = made(&pair, "laptop").remove(0);
    assert_eq!(link.mac, mac);
    let index = link.index;
    let list = move || {
        let all = latido::platform::netlink::Socket::open().unwrap().addresses().unwrap();
        all.iter().filter(|one| one.index == index).map(|one| one.address).collect::<Vec<_>>()
    };
    let there = pair.lab.node("laptop").inside(list).unwrap();
    assert_eq!(there, [pair.address], "and no other address");
}
