//! Whatever takes an address away, it is back; but not where it has no right to be.
use crate::scene::{Pair, Setup};
use latido::lab::{LAN, wait};
use latido::platform::bpf::{Direction, attached};
use std::time::{Duration, Instant};

#[test]
fn an_address_that_is_deleted_five_times_a_second_is_hardly_missed() {
    let pair = Pair::running(Setup::default());
    let begin = Instant::now();
    let vandal = pair.vandal("pi", Duration::from_millis(200));
    std::thread::sleep(Duration::from_secs(10));
    let times = vandal.end();
    let end = Instant::now();
    assert!(times >= 30, "it was deleted {times} times only");
    pair.answered_by("pi");
    std::thread::sleep(Duration::from_millis(300)); // what is in the air is counted then
    let missed = pair.client.missed(begin, end);
    let held = pair.lab.ownership().of(pair.address);
    let mut gaps: Vec<Duration> = held
        .windows(2)
        .filter_map(|pair| pair[0].until.map(|until| pair[1].from.saturating_duration_since(until)))
        .collect();
    gaps.sort();
    println!("deleted {times} times in 10 s, back after {gaps:?}: {missed:?}");
    assert!(missed.unanswered * 50 < missed.asked, "2 % or more: {missed:?}");
    pair.logged("pi", 0, &["web/10.77.0.100: was taken away from eth0", "put back"]);
    assert_eq!(pair.holders(pair.address), ["pi"], "nothing moved for it");
}

#[test]
fn an_address_that_is_deleted_while_it_moves_does_not_come_back_behind_it() {
    let pair = Pair::running(Setup::default());
    for (from, to) in [("pi", "laptop"), ("laptop", "pi"), ("pi", "laptop")] {
        let vandal = pair.vandal(from, Duration::from_millis(1));
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(pair.latido(to, &["takeover", "--group", "web"]).0, 0);
        pair.settled("web", to);
        pair.answered_by(to);
        wait::never(Duration::from_millis(700), "the address on both", || {
            let places = pair.places(from);
            (!places.is_empty()).then_some(places)
        })
        .unwrap();
        vandal.end();
    }
}

#[test]
fn an_interface_that_is_exchanged_gets_its_address_back_behind_the_gate() {
    let pair = Pair::running(Setup::default());
    let before = pair.places("pi")[0].index;
    let from = pair.end_of_log("pi");
    pair.lab.node("pi").exchange_interface(LAN).unwrap();
    pair.wait("the address on the new interface, or on the other node", || {
        let here = pair.places("pi").first().is_some_and(|place| place.index != before);
        (here || pair.holders(pair.address) == ["laptop"]).then_some(())
    });
    // Without a carrier for a moment the group may have moved; then it is to come back.
    if pair.holders(pair.address) != ["pi"] {
        pair.settled("web", "laptop");
        pair.wait_status("pi", "it is able again", |status| {
            (status["groups"][0]["able"] != false).then_some(())
        });
        assert_eq!(pair.latido("pi", &["takeover", "--group", "web"]).0, 0);
        pair.settled("web", "pi");
    } else {
        pair.logged("pi", from, &["10.77.0.100: put back: its interface eth0"]);
    }
    pair.answered_by("pi");
    let index = pair.places("pi")[0].index;
    let gates =
        move || Direction::BOTH.map(|side| attached(index, side).map_or(0, |all| all.len()));
    assert_eq!(pair.lab.node("pi").inside(gates).unwrap(), [1, 1], "the gate stands there");
}

#[test]
fn an_ipv6_address_is_back_at_once_and_after_its_interface_was_off() {
    let pair = Pair::running(Setup { v6: true, ..Setup::default() });
    let from = pair.end_of_log("pi");
    let vandal = pair.vandal("pi", Duration::from_millis(200));
    pair.logged("pi", from, &["was taken away from eth0", "put back"]);
    vandal.end();
    pair.answered_by("pi");
    let heard = pair.listen();
    // The kernel drops the IPv6 addresses of an interface that is off.
    let bounce = || {
        let mut socket = latido::platform::netlink::Socket::open().expect("netlink");
        let index = socket.link("eth0").expect("asked").expect("there").index;
        socket.set_up(index, false).expect("off");
        socket.set_up(index, true).expect("on");
    };
    pair.lab.node("pi").inside(bounce).unwrap();
    let owner = pair.wait("the client to be answered again", || {
        let begin = Instant::now();
        std::thread::sleep(Duration::from_millis(20));
        pair.client.last_answer().filter(|(_, at)| *at > begin).map(|(owner, _)| owner)
    });
    let mac = pair.mac(&owner);
    pair.wait("an unsolicited advertisement of the owner", || {
        heard.heard().iter().any(|one| one.mac == mac).then_some(())
    });
}
