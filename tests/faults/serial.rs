//! Serial lines that are full, slow, absent, or unplugged.
use crate::scene::{Pair, Path, Setup, ms};
use latido::lab::cable::End;
use rustix::process::Signal;

/// Waits until `node` sees its serial link to the peer in this state.
fn serial_is(pair: &Pair, node: &str, state: &str) {
    pair.wait_status(node, format!("the serial link is {state}"), |status| {
        let peer = status["nodes"].as_array()?.iter().find(|one| one["me"] == false)?;
        let links = peer["links"].as_array()?;
        let serial = links.iter().find(|link| link["name"].to_string().contains("ttyUSB0"))?;
        (serial["state"] == state).then_some(())
    });
}

#[test]
fn an_unplugged_adapter_is_told_and_comes_back() {
    let pair = Pair::running(Setup::default());
    let still = pair.still();
    let (ours, theirs) = (pair.mark("pi"), pair.mark("laptop"));
    let cable = pair.lab.cable(0).unwrap();
    cable.unplug(End::First);
    serial_is(&pair, "pi", "down");
    serial_is(&pair, "laptop", "down");
    ours.wait("ttyUSB0 is lost here");
    still.for_as_long_as(pair.setup.dead);
    cable.plug(End::First).unwrap();
    ours.wait("ttyUSB0 is open");
    theirs.wait("ttyUSB0 to pi works both ways");
    pair.settled("pi");
    still.check();
    theirs.never("node pi is");
}

#[test]
fn a_device_missing_at_the_start_may_come_later() {
    let mut pair = Pair::powered(Setup::default());
    let cable = pair.lab.cable(0).unwrap();
    cable.unplug(End::First);
    let ours = pair.mark("pi");
    pair.start_all();
    // The pair does its work without it, and the owner says what is missing.
    pair.owned("pi");
    ours.wait("ttyUSB0");
    serial_is(&pair, "pi", "down");
    drop(ours);
    pair.ask();
    let still = pair.still();
    pair.lab.cable(0).unwrap().plug(End::First).unwrap();
    serial_is(&pair, "pi", "up");
    serial_is(&pair, "laptop", "up");
    still.check();
}

#[test]
fn a_line_that_nobody_reads_fills_up_and_holds_up_nothing() {
    // The peer's program stands still: its end is open, but nobody takes the bytes. The owner's
    // line and buffers fill up; its other links and the group must not notice.
    let setup = Setup { interval: ms(20), dead: ms(1000), ..Setup::default() };
    let pair = Pair::running(setup);
    let ours = pair.mark("pi");
    let peer = pair.node("laptop").engine().expect("an engine").pid;
    pair.node("laptop").signal(peer, Signal::STOP).unwrap();
    ours.wait("node laptop is dead");
    let still = pair.still();
    // At 50 frames a second of 100 bytes: enough for a pseudo-terminal's 4 KiB several times.
    let sent = || pair.status("pi")["counters"]["sent"].as_u64().expect("a counter");
    let before = sent();
    still.for_as_long_as(ms(4000));
    let sent = sent() - before;
    assert!(sent > 100, "only {sent} frames in four seconds");
    pair.node("laptop").signal(peer, Signal::CONT).unwrap();
    pair.settled("pi");
    still.check();
}

#[test]
fn a_line_too_slow_for_every_heartbeat_carries_some_of_them() {
    // A frame takes most of half a second here: at 20 a second only every tenth or so can go.
    let pair = Pair::running(Setup { baud: 2400, dead: ms(3000), ..Setup::default() });
    let still = pair.still();
    let marks = [pair.mark("pi"), pair.mark("laptop")];
    still.for_as_long_as(ms(6000));
    for mark in &marks {
        mark.never("ttyUSB0");
    }
    serial_is(&pair, "pi", "up");
    serial_is(&pair, "laptop", "up");
}

#[test]
fn a_serial_line_alone_keeps_a_pair_together() {
    let mut setup = Setup { paths: &[Path::Serial], interval: ms(200), ..Setup::default() };
    setup.dead = ms(2000);
    let pair = Pair::running(setup);
    let still = pair.still();
    still.for_as_long_as(ms(1000));
    let theirs = pair.mark("laptop");
    pair.node("pi").power_cut().unwrap();
    theirs.wait("node pi is dead");
    pair.owned("laptop");
}
