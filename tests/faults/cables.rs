//! Cables pulled, broken and noisy.
use crate::scene::{Pair, Path, SOON, Setup, VIRTUAL, ms};
use latido::lab::cable::End;
use latido::lab::relay::Fate;
use latido::lab::{CROSSOVER, LAN, Switch, wait};
use std::time::{Duration, Instant};

#[test]
fn a_crossover_pulled_moves_nothing_and_is_told() {
    let pair = Pair::running(Setup::default());
    let still = pair.still();
    let (ours, theirs) = (pair.mark("pi"), pair.mark("laptop"));
    pair.lab.set_cables(CROSSOVER, false).unwrap();
    ours.wait("link eth1 broadcast is lost here");
    theirs.wait("link eth1 broadcast is lost here");
    still.for_as_long_as(pair.setup.dead * 3);
    theirs.never("node pi is");
    pair.lab.set_cables(CROSSOVER, true).unwrap();
    pair.settled("pi");
    still.check();
}

#[test]
fn one_silent_link_of_several_is_an_event_and_no_takeover() {
    // The carrier stays: only the silence tells.
    let pair = Pair::running(Setup { switch: Switch::Relay, ..Setup::default() });
    let still = pair.still();
    let (ours, theirs) = (pair.mark("pi"), pair.mark("laptop"));
    pair.lab.split(CROSSOVER, true).unwrap();
    ours.wait("link eth1 broadcast to laptop is silent");
    theirs.wait("link eth1 broadcast to pi is silent");
    still.for_as_long_as(pair.setup.dead * 3);
    theirs.never("node pi is");
    pair.lab.split(CROSSOVER, false).unwrap();
    theirs.wait("link eth1 broadcast to pi works both ways");
    pair.settled("pi");
}

#[test]
fn a_cut_serial_cable_is_an_event_and_no_takeover() {
    let pair = Pair::running(Setup::default());
    let still = pair.still();
    let theirs = pair.mark("laptop");
    let cable = pair.lab.cable(0).unwrap();
    cable.set(End::First, false);
    cable.set(End::Second, false);
    theirs.wait("ttyUSB0 to pi is silent");
    still.for_as_long_as(pair.setup.dead * 2);
    cable.set(End::First, true);
    cable.set(End::Second, true);
    pair.settled("pi");
    still.check();
}

#[test]
fn the_owners_lan_cable_pulled_moves_the_group_at_once() {
    // The peer is never dead: the crossover and the serial cable live. So the dead time may be as
    // long as it wants, and nothing of it is waited for.
    let pair =
        Pair::running(Setup { dead: ms(30_000), initial_dead: ms(60_000), ..Setup::default() });
    let (ours, theirs) = (pair.mark("pi"), pair.mark("laptop"));
    pair.clear_record();
    let pulled = Instant::now();
    pair.node("pi").set_cable(LAN, false).unwrap();
    pair.owned("laptop");
    pair.answered_by("laptop");
    let taken = pair.lab.ownership().of(VIRTUAL).last().unwrap().from - pulled;
    assert!(taken < pair.setup.dead / 6, "{taken:?}");
    assert_eq!(pair.record(), ["pi stop", "laptop start"]);
    ours.wait("stopped here and released");
    theirs.never("node pi is dead");
    let held = pair.lab.ownership().held(VIRTUAL, pulled, Instant::now());
    assert_eq!(held.both, Duration::ZERO, "{held:?}");
    // Plugged in again, it stays where it is: `failback = "manual"`.
    pair.node("pi").set_cable(LAN, true).unwrap();
    pair.settled("laptop");
}

#[test]
fn the_other_nodes_lan_cable_pulled_moves_nothing() {
    let pair = Pair::running(Setup::default());
    let still = pair.still();
    pair.node("laptop").set_cable(LAN, false).unwrap();
    still.for_as_long_as(pair.setup.dead * 2);
    // It cannot serve now, and does not even try when the owner is gone.
    pair.wait_status("laptop", "not able", |status| {
        (status["groups"][0]["able"] == false).then_some(())
    });
    pair.node("pi").power_cut().unwrap();
    let theirs = pair.mark("laptop");
    theirs.wait("node pi is dead");
    wait::never(pair.setup.dead * 2, "a takeover without a LAN", || {
        Some(pair.holders()).filter(|holders| !holders.is_empty())
    })
    .unwrap();
    pair.node("laptop").set_cable(LAN, true).unwrap();
    pair.owned("laptop");
}

#[test]
fn one_way_on_one_of_several_links_moves_nothing_and_is_told() {
    let pair = Pair::running(Setup { switch: Switch::Relay, ..Setup::default() });
    let still = pair.still();
    let marks = [pair.mark("pi"), pair.mark("laptop")];
    pair.lab.relay(CROSSOVER).unwrap().set("pi", "laptop", Fate::LOST);
    for mark in &marks {
        mark.wait("works one way only");
    }
    still.for_as_long_as(pair.setup.dead * 3);
    marks[1].never("node pi is");
    pair.lab.relay(CROSSOVER).unwrap().heal();
    pair.settled("pi");
    still.check();
}

/// The only link works in one direction only; in the end exactly one node owns the group.
fn one_way_on_the_only_link(from: &str, to: &str) {
    let setup = Setup { switch: Switch::Relay, paths: &[Path::Lan], ..Setup::default() };
    let pair = Pair::running(setup);
    let relay = pair.lab.relay(LAN).unwrap();
    relay.set(from, to, Fate::LOST);
    // Both are told: one hears nothing, the other hears that it is not heard.
    let dead = pair.mark(to);
    dead.wait(&format!("node {from} is dead"));
    // While nothing changes, things come to rest with one owner.
    let one = wait::until(SOON, "one owner that lasts", || {
        let holders = pair.holders();
        let since = Instant::now();
        while holders.len() == 1 && since.elapsed() < pair.setup.dead * 3 {
            if pair.holders() != holders {
                return None;
            }
            std::thread::sleep(ms(5));
        }
        (holders.len() == 1).then_some(holders)
    });
    let one = one.unwrap();
    pair.answered_by(&one[0]);
    relay.heal();
    pair.settled(&one[0]);
}

#[test]
fn the_only_link_deaf_towards_the_owner_ends_with_one_owner() {
    one_way_on_the_only_link("laptop", "pi");
}

#[test]
fn the_only_link_deaf_towards_the_other_ends_with_one_owner() {
    one_way_on_the_only_link("pi", "laptop");
}

/// Seconds of the test of loss: a minute where time is no matter (`LATIDO_LONG_TESTS=1`, as CI
/// does), else less.
fn loss_period() -> Duration {
    let long = std::env::var_os("LATIDO_LONG_TESTS").is_some_and(|value| value != "0");
    Duration::from_secs(if long { 60 } else { 15 })
}

#[test]
fn a_fifth_of_all_frames_lost_on_every_link_is_no_takeover() {
    // Ten intervals are the dead time; two links, the worst case of the budgets' figures.
    let setup = Setup {
        interval: ms(100),
        dead: ms(1000),
        switch: Switch::Relay,
        paths: &[Path::Lan, Path::Crossover],
        ..Setup::default()
    };
    let pair = Pair::running(setup);
    let still = pair.still();
    let marks = [pair.mark("pi"), pair.mark("laptop")];
    let fate = Fate::loss(0.2);
    for network in [LAN, CROSSOVER] {
        // The client's own frames are spared: `still` asks through them.
        pair.lab.relay(network).unwrap().set("pi", "laptop", fate);
        pair.lab.relay(network).unwrap().set("laptop", "pi", fate);
    }
    still.for_as_long_as(loss_period());
    for mark in &marks {
        mark.never("is dead");
        mark.never("claimed by this node");
        mark.never("stopping here");
    }
}
