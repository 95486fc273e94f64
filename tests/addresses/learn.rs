//! A neighbour that ignores announcements reaches the new owner all the same.
use crate::scene::{Pair, Setup};
use latido::lab::wait;
use std::time::Duration;

/// A client that drops every gratuitous ARP.
const DEAF: [(&str, &str); 4] = [
    ("ipv4/conf/all/drop_gratuitous_arp", "1"),
    ("ipv4/conf/eth0/drop_gratuitous_arp", "1"),
    ("ipv4/conf/eth0/arp_accept", "0"),
    ("ipv4/neigh/eth0/locktime", "1000"),
];
/// What the client's kernel needs to doubt what it knows: the time that it believes it (at least
/// half of this), five seconds of delay, three questions.
const BELIEF: (&str, &str) = ("ipv4/neigh/eth0/base_reachable_time_ms", "120000");

/// From the new owner's taking the address until it answers the client, after a power cut.
pub(crate) fn outage(keys: &'static str, patience: Duration) -> Option<Duration> {
    let pair = Pair::running(Setup { keys, ..Setup::default() });
    pair.set_client(&DEAF);
    pair.set_client(&[BELIEF]);
    pair.answered_by("pi");
    pair.lab.node("pi").power_cut().unwrap();
    let taken = pair.wait("the other node to have the address", || {
        let all = pair.lab.ownership().of(pair.address);
        all.iter().find(|one| one.node == "laptop").map(|one| one.from)
    });
    let answered = wait::until(patience, "an answer", || {
        let answers = pair.client.answers(taken, std::time::Instant::now());
        answers.iter().find(|one| one.server == "laptop").map(|one| one.at)
    });
    if keys.contains("neighbours") {
        pair.logged("laptop", 0, &["10.77.0.3 has learnt where 10.77.0.100 lives now"]);
    }
    answered.ok().map(|at| at.saturating_duration_since(taken))
}

/// Without any of it the client would go on asking the dead machine for a minute.
const SOON_ENOUGH: Duration = Duration::from_secs(10);

#[test]
fn a_client_that_ignores_announcements_is_told_by_a_question() {
    let outage = outage(", neighbours = [\"10.77.0.3\"]", SOON_ENOUGH);
    println!("announce_check: answered {outage:?} after the takeover");
    outage.expect("the client has learnt");
}

#[test]
fn a_client_that_ignores_announcements_needs_to_learn_nothing_with_a_virtual_mac() {
    let outage = outage(", virtual_mac = true, announce_check = false", SOON_ENOUGH);
    println!("virtual MAC: answered {outage:?} after the takeover");
    outage.expect("the client has nothing to learn");
}

/// The figures of docs/addresses.md; takes a few minutes.
#[test]
#[ignore = "prints figures"]
fn figures_of_a_client_that_ignores_announcements() {
    for (name, keys, times) in [
        ("announce_check", ", neighbours = [\"10.77.0.3\"]", 5),
        ("virtual MAC", ", virtual_mac = true, announce_check = false", 5),
        ("announcements alone", ", announce_check = false", 1),
    ] {
        let outages: Vec<_> = (0..times).map(|_| outage(keys, Duration::from_secs(240))).collect();
        println!("{name}: {outages:?}");
    }
}
