//! Two owners: for how long, with the guards and without; and what is told of it.
use crate::scene::{Pair, Setup, ms};
use latido::lab::wait;
use std::time::{Duration, Instant};

/// Where everything breaks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    /// The heartbeat links (crossover, serial), which are apart from the LAN.
    Heartbeats,
    /// The peer is cut off from everybody.
    Peer,
    /// The owner is cut off from everybody.
    Owner,
    /// The nodes are cut from each other; the client and the gateway reach both.
    Between,
}

/// How long a cut lasts.
const LASTS: Duration = Duration::from_secs(4);

/// For how long there were two owners, and for how long the client could have met both.
fn two_owners(cut: Cut, guards: bool) -> (Duration, usize) {
    let settle = guards.then_some(ms(1_500));
    let lan = cut != Cut::Heartbeats;
    let pair = Pair::running(Setup { lan, probe: guards, settle, ..Setup::default() });
    let begin = Instant::now();
    let apply = |on| match cut {
        Cut::Heartbeats => pair.cut_crossover_and_serial(on),
        Cut::Peer => pair.isolate("laptop", on),
        Cut::Owner => pair.isolate("pi", on),
        Cut::Between => pair.cut_nodes(on),
    };
    apply(true);
    wait::pass(LASTS).unwrap();
    apply(false);
    pair.met();
    pair.wait("one owner", || (pair.holders().len() == 1).then_some(()));
    let owner = pair.holders().remove(0);
    pair.settled("web", &owner);
    pair.answered_by(&owner);
    (pair.both_since(begin), pair.servers_since(begin).len())
}

#[test]
fn for_how_long_there_are_two_owners_before_and_with_the_guards() {
    let mut table = String::from("a cut of 4 s, dead 800 ms: two owners for\n");
    for cut in [Cut::Heartbeats, Cut::Peer, Cut::Owner, Cut::Between] {
        let (before, _) = two_owners(cut, false);
        let (with, served) = two_owners(cut, true);
        table.push_str(&format!("  {cut:?}: {before:?} without guards, {with:?} with them\n"));
        assert!(before > ms(1_000), "{cut:?}: the rule of old has two owners: {before:?}");
        match cut {
            Cut::Heartbeats | Cut::Peer => {
                assert_eq!((with, served), (Duration::ZERO, 1), "{cut:?}");
            }
            // Nobody can tell the owner that somebody else has taken over, but it has no clients.
            Cut::Owner => {}
            // Both are as good: what the guards see is the same on both sides.
            Cut::Between => {}
        }
    }
    println!("{table}");
}

#[test]
fn only_the_side_of_the_clients_serves_them() {
    let pair = Pair::running(Setup::default());
    pair.isolate("pi", true);
    pair.answered_by("laptop");
    let since = Instant::now();
    wait::pass(ms(1_500)).unwrap();
    assert_eq!(pair.servers_since(since), ["laptop".to_owned()].into());
}

#[test]
fn both_sides_tell_who_held_what_for_how_long() {
    let pair = Pair::running(Setup { settle: None, ..Setup::default() });
    let from = ["pi", "laptop"].map(|node| pair.end_of_log(node));
    let begin = Instant::now();
    pair.cut_nodes(true);
    pair.wait("two owners", || (pair.holders().len() == 2).then_some(()));
    wait::pass(ms(1_000)).unwrap();
    pair.cut_nodes(false);
    pair.owned("laptop");
    pair.met();
    let both = pair.both_since(begin);
    for (node, from, peer) in [("pi", from[0], "laptop"), ("laptop", from[1], "pi")] {
        let told = format!("node {peer} owned it at the same time as we did: it for ");
        let line = pair.logged(node, from, &["group web", &told, ", we for ", "wins"]);
        let rest = line.split(&told).nth(1).unwrap();
        let (theirs, rest) = rest.split_once(", we for ").unwrap();
        let ours = rest.split(';').next().unwrap();
        let spans = [seconds(theirs), seconds(ours)];
        // Each was an owner for as long as both were, at least; heartbeats tell it a little late.
        let least = both.saturating_sub(pair.setup.interval * 4).as_secs_f64();
        assert!(spans.iter().all(|span| *span >= least), "{line}: both for {both:?}");
    }
}

/// `1.25 s`, `980 ms`.
fn seconds(span: &str) -> f64 {
    let (number, unit) = span.trim().split_once(' ').unwrap_or_else(|| panic!("{span}"));
    let number: f64 = number.parse().unwrap_or_else(|why| panic!("{span}: {why}"));
    match unit {
        "s" => number,
        "ms" => number / 1e3,
        "min" => number * 60.0,
        other => panic!("{other}"),
    }
}
