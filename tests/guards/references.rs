//! References: a node that lost its own connection neither keeps nor takes a group.
use crate::scene::{GATEWAY, Pair, Setup, ms};
use latido::lab::{CLIENT, wait};
use std::time::{Duration, Instant};

#[test]
fn a_group_goes_once_to_the_node_that_reaches_the_reference() {
    let pair = Pair::running(Setup::default());
    let (begin, from) = (Instant::now(), pair.end_of_log("pi"));
    // The owner's way to its clients is gone; the nodes hear each other on every path.
    for other in [CLIENT, GATEWAY] {
        pair.cut("pi", other, true);
    }
    pair.owned("laptop");
    pair.answered_by("laptop");
    let moved = pair.lab.ownership().of(crate::scene::VIRTUAL).last().unwrap().from - begin;
    assert!(moved >= ms(1_500), "{moved:?}: not before it has settled");
    pair.logged("pi", from, &["web", "it goes to a better connected node"]);
    pair.wait_status("pi", "that it is us", |status| {
        let mut problems = status["problems"].as_array()?.iter().filter_map(|one| one.as_str());
        problems.find(|one| one.contains("this node reaches 0 of 1 references: it is us")).map(drop)
    });
    // It is as good as the other again: nothing moves back by that.
    for other in [CLIENT, GATEWAY] {
        pair.cut("pi", other, false);
    }
    pair.reaches("pi", 1);
    wait::never(ms(3_000), "another move", || {
        let holders = pair.holders();
        (holders != ["laptop"]).then_some(holders)
    })
    .unwrap();
    assert_eq!((pair.arrivals_since(begin), pair.both_since(begin)), (1, Duration::ZERO));
}

#[test]
fn a_reference_that_comes_and_goes_moves_nothing() {
    let pair = Pair::running(Setup::default());
    let begin = Instant::now();
    for _ in 0..4 {
        pair.cut("pi", GATEWAY, true);
        pair.reaches("pi", 0);
        pair.cut("pi", GATEWAY, false);
        pair.reaches("pi", 1);
    }
    // And one that is gone for both.
    for node in ["pi", "laptop"] {
        pair.cut(node, GATEWAY, true);
    }
    pair.reaches("pi", 0);
    pair.reaches("laptop", 0);
    pair.wait_status("pi", "which reference is silent", |status| {
        let mut problems = status["problems"].as_array()?.iter().filter_map(|one| one.as_str());
        problems.find(|one| one.contains("references that do not answer: 10.77.0.254")).map(drop)
    });
    wait::never(ms(3_000), "a move", || {
        let holders = pair.holders();
        (holders != ["pi"]).then_some(holders)
    })
    .unwrap();
    assert_eq!(pair.arrivals_since(begin), 0);
}

#[test]
fn an_isolated_node_takes_nothing_over() {
    let pair = Pair::running(Setup::default());
    let (begin, from) = (Instant::now(), pair.end_of_log("laptop"));
    pair.isolate("laptop", true);
    pair.logged("laptop", from, &["this node reaches 0 references", "it is us; not taken over"]);
    wait::never(pair.setup.dead * 5, "another owner", || {
        let holders = pair.holders();
        (holders != ["pi"]).then_some(holders)
    })
    .unwrap();
    pair.isolate("laptop", false);
    pair.met();
    pair.settled("web", "pi");
    pair.answered_by("pi");
    assert_eq!(pair.arrivals_since(begin), 0);
    assert_eq!(pair.servers_since(begin), ["pi".to_owned()].into());
}

#[test]
fn a_takeover_after_a_power_cut_is_not_held_back_by_references() {
    let pair = Pair::running(Setup::default());
    pair.lab.node("pi").power_cut().unwrap();
    pair.owned("laptop");
    pair.answered_by("laptop");
}
