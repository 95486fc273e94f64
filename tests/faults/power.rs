//! Power cuts, killed and frozen daemons.
use crate::scene::{Pair, SOON, Setup, VIRTUAL, ms};
use latido::lab::wait;
use rustix::process::Signal;
use std::time::{Duration, Instant};

#[test]
fn a_power_cut_moves_the_group_to_the_other_node() {
    let pair = Pair::running(Setup::default());
    let mark = pair.mark("laptop");
    pair.clear_record();
    let cut = pair.node("pi").power_cut().unwrap();
    pair.owned("laptop");
    pair.answered_by("laptop");
    assert_eq!(pair.record(), ["laptop start"]);
    mark.wait("node pi is dead");
    // Not before the dead time: it is counted from the last heartbeat, at most one interval
    // (and a little for the wires) before the cut.
    let taken = pair.lab.ownership().of(VIRTUAL).last().unwrap().from - cut;
    assert!(taken > pair.setup.dead - pair.setup.interval - ms(30), "{taken:?}");
    assert!(taken < pair.setup.dead * 3, "{taken:?}");
    // The node returns, hears that its peer owns the group, and leaves it there.
    pair.boot("pi");
    pair.settled("laptop");
    assert_eq!(pair.record(), ["laptop start"]);
}

#[test]
fn a_killed_engine_is_no_failover() {
    let pair = Pair::running(Setup::default());
    let still = pair.still();
    let (ours, theirs) = (pair.mark("pi"), pair.mark("laptop"));
    let engine = pair.node("pi").engine().expect("an engine").pid;
    pair.kill("pi", engine);
    ours.wait("killed by signal 9");
    ours.wait("found running here and kept");
    // The kernel's lifetime of the address is renewed by the new engine: a second would show.
    still.for_as_long_as(ms(3000));
    pair.settled("pi");
    ours.never("stopping here");
    theirs.never("is dead");
    theirs.never("claimed by this node");
    assert_ne!(pair.node("pi").engine().expect("a new engine").pid, engine);
}

#[test]
fn a_killed_engine_is_no_failover_at_the_shortest_promised_dead_time() {
    // The promise begins at 200 ms, for a machine with nothing else to do.
    let setup = Setup { interval: ms(20), dead: ms(200), ..Setup::default() };
    let pair = Pair::running(setup);
    let still = pair.still();
    let ours = pair.mark("pi");
    pair.kill("pi", pair.node("pi").engine().expect("an engine").pid);
    ours.wait("found running here and kept");
    still.for_as_long_as(ms(1500));
}

#[test]
fn an_engine_killed_five_times_keeps_its_group() {
    let pair = Pair::running(Setup::default());
    let still = pair.still();
    for round in 0..5 {
        let ours = pair.mark("pi");
        pair.kill("pi", pair.node("pi").engine().expect("an engine").pid);
        ours.wait("found running here and kept");
        // Sometimes at once, sometimes after a while, never in the same moment of its life.
        still.for_as_long_as(ms(300 * round));
    }
    still.for_as_long_as(ms(2000));
}

#[test]
fn an_engine_killed_while_its_successor_looks_around_keeps_its_group() {
    let pair = Pair::running(Setup { dead: ms(2000), ..Setup::default() });
    // The successor's probe takes longer than the kernel keeps the address.
    pair.trouble("pi", "slow-status", true);
    let still = pair.still();
    let ours = pair.mark("pi");
    let first = pair.node("pi").engine().expect("an engine").pid;
    pair.kill("pi", first);
    let second = wait::until(SOON, "a second engine", || {
        // Its control socket answers: it is past its start, and probes.
        let status = pair.node("pi").status().ok()?;
        let local = status["groups"][0]["local"] == "unknown";
        pair.node("pi").engine().filter(|one| one.pid != first && local)
    });
    pair.kill("pi", second.unwrap().pid);
    ours.wait("found running here and kept");
    still.for_as_long_as(ms(1500));
}

#[test]
fn the_engine_goes_on_without_its_supervisor_and_says_so() {
    let pair = Pair::running(Setup::default());
    let still = pair.still();
    let ours = pair.mark("pi");
    let engine = pair.node("pi").engine().expect("an engine").pid;
    pair.kill("pi", pair.node("pi").daemon().expect("a supervisor").pid);
    ours.wait("the supervisor is gone");
    still.for_as_long_as(ms(3000));
    assert!(pair.node("pi").processes().iter().any(|one| one.pid == engine), "the engine ended");
    // It still ends in order.
    let (code, said) = pair.latido("pi", &["stop"]);
    assert_eq!(code, 0, "{said}");
    pair.owned("laptop");
}

#[test]
fn a_node_without_daemons_loses_its_address_by_itself() {
    let pair = Pair::running(Setup::default());
    let theirs = pair.mark("laptop");
    let supervisor = pair.node("pi").daemon().expect("a supervisor").pid;
    let engine = pair.node("pi").engine().expect("an engine").pid;
    pair.node("pi").signal(supervisor, Signal::KILL).unwrap();
    pair.node("pi").signal(engine, Signal::KILL).unwrap();
    let killed = Instant::now();
    pair.owned("laptop");
    pair.answered_by("laptop");
    theirs.wait("node pi is dead");
    let all = pair.lab.ownership().of(VIRTUAL);
    let old = all.iter().find(|held| held.node == "pi").expect("it was there");
    let until = old.until.expect("it has gone") - killed;
    assert!(until < Duration::from_secs(2), "the address was there for {until:?}");
}

#[test]
fn a_frozen_node_finds_itself_dead_and_lets_go_at_once() {
    let pair = Pair::running(Setup { dead: ms(700), ..Setup::default() });
    let (ours, theirs) = (pair.mark("pi"), pair.mark("laptop"));
    pair.clear_record();
    let frozen = pair.node("pi").freeze();
    wait::until(SOON, "the other node to take over", || {
        pair.holders().contains(&"laptop".to_owned()).then_some(())
    })
    .unwrap();
    while frozen.elapsed() < pair.setup.dead * 3 {
        std::thread::sleep(ms(10));
    }
    // The kernel took the address away from the frozen daemon: it was not renewed.
    assert_eq!(pair.holders(), ["laptop"]);
    let (thawed, arrivals) = (Instant::now(), pair.lab.ownership().of(VIRTUAL).len());
    pair.node("pi").thaw();
    ours.wait("this node stood still");
    ours.wait("stopped here and released");
    pair.settled("laptop");
    let held = pair.lab.ownership().held(VIRTUAL, thawed, Instant::now());
    assert_eq!((held.both, held.nobody), (ms(0), ms(0)), "{held:?}");
    assert_eq!(pair.lab.ownership().of(VIRTUAL).len(), arrivals, "the address moved again");
    assert_eq!(pair.record(), ["laptop start", "pi stop"]);
    ours.never("claimed by this node");
    // It doubts itself, not its peer.
    ours.never("node laptop is dead");
    theirs.never("stopping here");
    pair.answered_by("laptop");
}

#[test]
fn a_standby_node_that_wakes_from_a_long_pause_does_not_take_over() {
    let pair = Pair::running(Setup { dead: ms(700), ..Setup::default() });
    let still = pair.still();
    let theirs = pair.mark("laptop");
    // It heard nothing for three dead times; that was its own fault.
    let frozen = pair.node("laptop").freeze();
    while frozen.elapsed() < pair.setup.dead * 3 {
        std::thread::sleep(ms(10));
    }
    pair.node("laptop").thaw();
    theirs.wait("this node stood still");
    pair.settled("pi");
    still.check();
    theirs.never("node pi is dead");
    theirs.never("claimed by this node");
}
