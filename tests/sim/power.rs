//! Rule `fencing`, and watchdogs: a group moves when it is certain that its owner is off.
use crate::scene::*;
use latido::core::io::{Command, Event, Phase, Proof};
use latido::core::{Rule, StopFailure};
use latido::sim::machine::{Fate, Runs};
use latido::sim::{Device, Fault, Setup, World};

fn fenced() -> Setup {
    Setup { rule: Rule::Fencing, fence_delay: 200 * MS, ..Setup::default() }
}

fn proven(event: &Event) -> bool {
    matches!(event, Event::Proven(_, Proof::Fence))
}

#[test]
fn a_power_cut_is_taken_over_once_the_fence_is_confirmed() {
    for seed in 0..20 {
        let mut world = pair(Setup { seed, ..fenced() });
        run(&mut world, seed * 1_313);
        let at = world.now;
        world.apply(Fault::Device(0, Device { dark: 3 * SECOND, ..Device::GOOD }));
        world.apply(Fault::PowerOff(0));
        run(&mut world, 2 * SECOND);
        // The owner of the group would have shot first.
        let shot = when(&world, 1, at, |event| matches!(event, Event::Fencing(_)));
        assert!(shot - at >= world.setup.dead - world.setup.interval + world.setup.fence_delay);
        assert!(when(&world, 1, at, starting) >= when(&world, 1, at, proven), "seed {seed}");
        assert_eq!(world.serving(0), [1]);
        // The device has switched it on again: it comes back, and nothing moves.
        run(&mut world, 10 * SECOND);
        assert_eq!((world.serving(0), world.moves), (vec![1], 2), "seed {seed}");
    }
}

#[test]
fn in_a_partition_the_owner_shoots_first_and_keeps_it() {
    for seed in 0..20 {
        let mut world = pair(Setup { seed, ..fenced() });
        run(&mut world, seed * 1_313);
        let at = world.now;
        for (from, to) in [(0, 1), (1, 0)] {
            cut(&mut world, from, to, true);
        }
        run(&mut world, 60 * SECOND);
        assert!(told(&world, 0, at, proven).is_some());
        assert_eq!((world.serving(0), world.moves), (vec![0], 1), "seed {seed}");
        // It has not seen its peer since its start: it shoots nobody.
        assert_eq!(told(&world, 1, at, |event| matches!(event, Event::Fencing(_))), None);
    }
}

#[test]
fn a_confirmation_that_comes_after_the_machine_is_back_proves_nothing() {
    let mut world = pair(fenced());
    let at = world.now;
    let late = Device { dark: 100 * MS, report_after: 300 * SECOND, ..Device::GOOD };
    world.apply(Fault::Device(0, late));
    assert_eq!(ask(&mut world, 1, Command::Fence(node(0))), Ok(()));
    world.apply(Fault::Device(0, Device::GOOD));
    run(&mut world, 320 * SECOND);
    assert!(told(&world, 1, at, |event| matches!(event, Event::FenceLate(_))).is_some());
    assert_eq!(world.serving(0).len(), 1);
}

#[test]
fn without_a_proof_nobody_takes_over_until_the_operator_vouches() {
    let mut world = pair(fenced());
    let at = world.now;
    world.apply(Fault::Device(0, Device { strikes: false, ..Device::GOOD }));
    world.apply(Fault::PowerOff(0));
    run(&mut world, 120 * SECOND);
    assert!(told(&world, 1, at, |event| matches!(event, Event::FenceFailed(_))).is_some());
    assert!(world.serving(0).is_empty());
    assert_eq!(ask(&mut world, 1, Command::ConfirmDead(node(0))), Ok(()));
    run(&mut world, SECOND);
    assert_eq!(world.serving(0), [1]);
}

#[test]
fn a_goodbye_is_a_proof() {
    let mut world = pair(fenced());
    let at = world.now;
    assert_eq!(ask(&mut world, 0, Command::Shutdown), Ok(()));
    run(&mut world, SECOND);
    assert_eq!((world.exited(0), world.serving(0)), (true, vec![1]));
    assert_eq!(told(&world, 1, at, |event| matches!(event, Event::Fencing(_))), None);
}

#[test]
fn who_cannot_stop_is_fenced() {
    let mut world = pair(Setup { stop_failure: StopFailure::Fence, ..fenced() });
    let at = world.now;
    world.service(0, 0).stop = Fate::Hangs;
    world.apply(Fault::Able(0, 0, false));
    run(&mut world, 2 * SECOND);
    assert!(told(&world, 1, at, proven).is_some(), "{}", world.story());
    assert_eq!(world.serving(0), [1]);
}

fn watched() -> World {
    let mut world = World::new(Setup {
        nodes: 3,
        rule: Rule::Majority,
        drift: vec![-10_000, 10_000, 10_000],
        watchdog: Some(SECOND),
        ..Setup::default()
    });
    for node in 0..3 {
        world.apply(Fault::PowerOn(node));
    }
    run(&mut world, 10 * SECOND);
    assert_eq!(world.serving(0), [0]);
    world
}

#[test]
fn a_frozen_owner_is_reset_before_anybody_takes_over() {
    for seed in 0..20 {
        let mut world = watched();
        run(&mut world, seed * 1_313);
        let at = world.now;
        world.apply(Fault::Freeze(0));
        run(&mut world, 10 * SECOND);
        // Two at once would have ended the run.
        assert_eq!(world.serving(0), [1], "seed {seed}\n{}", world.story());
        assert!(when(&world, 1, at, starting) - at > SECOND);
        assert_eq!(world.service(0, 0).runs, Runs::Nothing);
        assert_eq!(world.faults.get("reset"), Some(&1), "seed {seed}");
    }
}

#[test]
fn a_killed_engine_that_comes_back_in_time_is_not_reset() {
    let mut world = watched();
    for _ in 0..20 {
        world.apply(Fault::Kill(0));
        run(&mut world, 50 * MS);
        world.apply(Fault::Revive(0));
        run(&mut world, 3 * SECOND);
    }
    assert_eq!((world.serving(0), world.moves), (vec![0], 1));
    assert_eq!(world.faults.get("reset"), None);
}

#[test]
fn a_stop_that_hangs_ends_in_a_reset_within_the_lease() {
    let mut world = watched();
    let at = world.now;
    world.service(0, 0).stop = Fate::Hangs;
    world.service(0, 0).limit = 60 * SECOND;
    for other in [1, 2] {
        cut(&mut world, 0, other, true);
        cut(&mut world, other, 0, true);
    }
    run(&mut world, 10 * SECOND);
    assert_eq!(world.serving(0), [1], "{}", world.story());
    assert_eq!(world.faults.get("reset"), Some(&1));
    assert!(when(&world, 1, at, starting) > at);
    assert_ne!(world.status(0).unwrap().groups[0].local, Phase::Running);
}
