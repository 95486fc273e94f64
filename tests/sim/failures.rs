//! Power cuts, crashes, pauses, scripts that fail.
use crate::scene::*;
use latido::core::io::{Event, Phase, Reason, StopReason};
use latido::sim::machine::{Fate, Runs};
use latido::sim::{Fault, Setup};

#[test]
fn power_cut_is_taken_over_at_dead() {
    for seed in 0..40 {
        let mut world = pair(Setup { seed, ..Setup::default() });
        run(&mut world, seed * 1_313);
        let at = world.now;
        world.apply(Fault::PowerOff(0));
        run(&mut world, SECOND);
        let took = when(&world, 1, at, starting) - at;
        let (dead, interval) = (world.setup.dead, world.setup.interval);
        assert!((dead - interval..=dead + interval).contains(&took), "seed {seed}: {took} µs");
        assert!(told(&world, 1, at, claims(Reason::OwnerDead(node(0)))).is_some());
        assert_eq!(world.serving(0), [1]);
    }
}

#[test]
fn restarted_engine_adopts_and_nobody_notices() {
    let mut world = pair(Setup::default());
    let (before, at) = (term(&world, 0), world.now);
    world.apply(Fault::Kill(0));
    run(&mut world, 20 * MS);
    world.apply(Fault::Revive(0));
    run(&mut world, 5 * SECOND);
    assert!(told(&world, 0, at, |event| matches!(event, Event::Adopted(..))).is_some());
    assert_eq!(term(&world, 0), before);
    assert_eq!((world.serving(0), world.moves), (vec![0], 1));
    assert_eq!(told(&world, 0, at, |event| matches!(event, Event::Stopping(..))), None);
    assert!(told(&world, 1, at, |event| matches!(event, Event::NodeRestarted(_))).is_some());
    assert_eq!(told(&world, 1, at, |event| matches!(event, Event::NodeDead(..))), None);
}

#[test]
fn killed_twice_before_the_probe_has_ended_it_still_adopts() {
    let mut world = pair(Setup::default());
    let before = term(&world, 0);
    world.service(0, 0).probe_takes = 30 * MS;
    for _ in 0..3 {
        world.apply(Fault::Kill(0));
        run(&mut world, 10 * MS);
        world.apply(Fault::Revive(0));
        run(&mut world, 10 * MS);
    }
    run(&mut world, SECOND);
    assert_eq!((world.serving(0), world.moves, term(&world, 0)), (vec![0], 1, before));
}

#[test]
fn crash_of_the_address_too_starts_anew() {
    let mut world = pair(Setup::default());
    world.apply(Fault::Kill(0));
    run(&mut world, 20 * MS);
    world.service(0, 0).address_until = 0;
    let at = world.now;
    world.apply(Fault::Revive(0));
    run(&mut world, SECOND);
    assert!(told(&world, 0, at, stopping(StopReason::Leftover)).is_some());
    assert_eq!(world.serving(0).len(), 1, "{}", world.story());
}

#[test]
fn an_engine_that_stays_away_is_taken_over_and_adopts_nothing() {
    let mut world = pair(Setup::default());
    world.apply(Fault::Kill(0));
    run(&mut world, 400 * MS);
    let took = when(&world, 1, SECOND, starting) - SECOND;
    assert!(took <= world.setup.dead + world.setup.interval, "{took} µs");
    world.apply(Fault::Revive(0));
    run(&mut world, SECOND);
    assert_eq!(world.serving(0), [1]);
    assert_eq!(world.service(0, 0).runs, Runs::Nothing);
    assert_eq!(told(&world, 0, SECOND, |event| matches!(event, Event::Adopted(..))), None);
}

#[test]
fn a_long_freeze_ends_in_letting_go_at_once() {
    for seed in 0..40 {
        let mut world = pair(Setup { seed, ..Setup::default() });
        run(&mut world, seed * 977);
        world.apply(Fault::Freeze(0));
        run(&mut world, 600 * MS);
        assert_eq!(world.serving(0).last(), Some(&1));
        let at = world.now;
        world.apply(Fault::Thaw(0));
        run(&mut world, 5 * SECOND);
        let stop = when(&world, 0, at, |event| matches!(event, Event::Stopping(..)));
        assert_eq!(stop, at, "seed {seed}");
        assert!(told(&world, 0, at, |event| matches!(event, Event::Stalled(_))).is_some());
        assert_eq!(told(&world, 0, at, starting), None, "seed {seed}");
        assert_eq!(told(&world, 0, at, |event| matches!(event, Event::NodeDead(..))), None);
        assert_eq!((world.serving(0), world.moves), (vec![1], 2), "seed {seed}");
    }
}

#[test]
fn a_long_freeze_ends_in_letting_go_even_if_nobody_is_heard() {
    let mut world = pair(Setup::default());
    cut(&mut world, 1, 0, true);
    cut(&mut world, 0, 1, true);
    run(&mut world, MS);
    world.apply(Fault::Freeze(0));
    run(&mut world, 600 * MS);
    let at = world.now;
    world.apply(Fault::Thaw(0));
    run(&mut world, 100 * MS);
    assert_eq!(when(&world, 0, at, stopping(StopReason::LeaseOver)), at);
    assert_eq!(world.serving(0), [1]);
    // It gives the peer as long to be heard as if it had just spoken.
    cut(&mut world, 1, 0, false);
    cut(&mut world, 0, 1, false);
    run(&mut world, 5 * SECOND);
    assert_eq!((world.serving(0), world.moves), (vec![1], 2));
}

#[test]
fn a_frozen_standby_does_not_believe_its_peer_dead() {
    let mut world = pair(Setup::default());
    world.apply(Fault::Freeze(1));
    run(&mut world, 5 * SECOND);
    world.apply(Fault::Thaw(1));
    run(&mut world, 5 * SECOND);
    assert_eq!((world.serving(0), world.moves), (vec![0], 1));
    assert_eq!(told(&world, 1, 0, |event| matches!(event, Event::NodeDead(..))), None);
}

#[test]
fn a_short_pause_is_nothing() {
    let mut world = pair(Setup::default());
    for _ in 0..20 {
        world.apply(Fault::Freeze(0));
        run(&mut world, 150 * MS);
        world.apply(Fault::Thaw(0));
        run(&mut world, 333 * MS);
    }
    assert_eq!((world.serving(0), world.moves), (vec![0], 1));
    assert_eq!(told(&world, 1, 0, |event| matches!(event, Event::NodeDead(..))), None);
}

#[test]
fn failed_start_goes_to_the_peer() {
    for fate in [Fate::Fails, Fate::Hangs] {
        let mut world = pair(Setup::default());
        world.service(1, 0).start = fate;
        world.apply(Fault::PowerOff(0));
        run(&mut world, 100 * MS);
        world.apply(Fault::PowerOn(0));
        run(&mut world, 2 * SECOND);
        assert_eq!(world.serving(0), [0], "{}", world.story());
        assert_eq!(world.service(1, 0).runs, Runs::Nothing);
        let failed = told(&world, 1, 0, |event| matches!(event, Event::StartFailed(_)));
        assert_eq!(failed.is_some(), told(&world, 1, SECOND, starting).is_some());
    }
    // The preferred node fails: the other has it, and there it stays.
    let mut world = latido::sim::World::new(Setup { failback: true, ..Setup::default() });
    world.service(0, 0).start = Fate::Fails;
    world.apply(Fault::PowerOn(0));
    world.apply(Fault::PowerOn(1));
    run(&mut world, 60 * SECOND);
    assert!(told(&world, 0, 0, |event| matches!(event, Event::StartFailed(_))).is_some());
    assert_eq!((world.serving(0), world.moves), (vec![1], 2));
}

#[test]
fn a_group_that_nobody_can_start_is_told_and_tried_again_later() {
    let mut world = latido::sim::World::new(Setup::default());
    world.service(0, 0).start = Fate::Fails;
    world.service(1, 0).start = Fate::Hangs;
    world.apply(Fault::PowerOn(0));
    world.apply(Fault::PowerOn(1));
    run(&mut world, 60 * SECOND);
    assert_eq!((world.serving(0).len(), world.moves), (0, 2), "no ping-pong");
    for node in [0, 1] {
        let nobody = |event: &Event| matches!(event, Event::NobodyAble(_));
        assert!(told(&world, node, 0, nobody).is_some());
    }
    world.service(0, 0).start = Fate::Works;
    run(&mut world, 300 * SECOND);
    assert_eq!(world.serving(0), [0]);
    assert!(world.moves <= 4);
}

#[test]
fn failed_stop_blocks_or_releases() {
    let mut world = pair(Setup::default());
    world.service(0, 0).stop = Fate::Hangs;
    world.apply(Fault::Able(0, 0, false));
    run(&mut world, 5 * SECOND);
    assert_eq!(world.status(0).unwrap().groups[0].local, Phase::Blocked);
    assert_eq!(told(&world, 1, 0, starting), None, "a blocked group is nobody else's");
    world.service(0, 0).stop = Fate::Works;
    run(&mut world, 31 * SECOND);
    assert_eq!(world.serving(0), [1]);

    let mut world =
        pair(Setup { stop_failure: latido::core::StopFailure::Release, ..Setup::default() });
    world.service(0, 0).stop = Fate::Fails;
    world.apply(Fault::Able(0, 0, false));
    run(&mut world, SECOND);
    assert!(told(&world, 0, 0, |event| matches!(event, Event::StopFailed(_, true))).is_some());
    assert_eq!(world.serving(0).last(), Some(&1));
}

#[test]
fn a_lost_carrier_moves_the_group_at_once() {
    let mut world = pair(Setup { failback: true, ..Setup::default() });
    let at = world.now;
    world.apply(Fault::Able(0, 0, false));
    run(&mut world, 50 * MS);
    assert!(when(&world, 1, at, starting) - at < 4 * MS);
    assert_eq!(world.serving(0), [1]);
    // Both unable: it stays where it is.
    world.apply(Fault::Able(1, 0, false));
    run(&mut world, 5 * SECOND);
    assert_eq!((world.serving(0), world.moves), (vec![1], 2));
    // The preferred node's carrier is back, stable from now on: not before the delay.
    world.apply(Fault::Able(1, 0, true));
    run(&mut world, SECOND);
    let at = world.now;
    world.apply(Fault::Able(0, 0, true));
    run(&mut world, 3 * SECOND);
    let back = when(&world, 0, at, starting) - at;
    assert!((SECOND..SECOND + 30 * MS).contains(&back), "{back} µs");
}
