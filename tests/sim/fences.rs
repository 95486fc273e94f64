//! Under the rule fencing: what was off comes back in peace.
use crate::scene::{MS, SECOND, ask, cut, groups, node, pair, run, told};
use latido::core::io::{Command, Event, Proof};
use latido::core::{Rule, StopFailure};
use latido::sim::machine::Fate;
use latido::sim::{Device, Fault, Setup, World};

/// Two nodes whose devices leave the power off for 20 ms, much shorter than `dead`.
fn fencing() -> World {
    let setup = Setup {
        rule: Rule::Fencing,
        stop_failure: StopFailure::Fence,
        fence_delay: 100 * MS,
        ..Setup::default()
    };
    pair(setup)
}

/// How often node 1 has shot.
fn shots(world: &World) -> usize {
    let shot = |(_, event): &&(u64, Event)| *event == Event::Fencing(node(0));
    world.events(1).iter().filter(shot).count()
}

/// Node 1 shoots once and owns the group; node 0 is back and does not fight.
fn moved_in_peace(mut world: World, since: u64) {
    run(&mut world, 3 * SECOND);
    assert_eq!(world.serving(0), [1], "{}", world.story());
    let proven = |event: &Event| *event == Event::Proven(node(0), Proof::Fence);
    assert!(told(&world, 1, since, proven).is_some(), "{}", world.story());
    let back = |event: &Event| *event == Event::NodeAlive(node(1));
    assert!(told(&world, 0, since, back).is_some(), "{}", world.story());
    assert_eq!(shots(&world), 1, "{}", world.story());
    let rival = |event: &Event| matches!(event, Event::Rival(..));
    assert_eq!(told(&world, 1, since, rival), None, "what is off owns nothing");
}

#[test]
fn a_node_whose_power_fails_is_shot_once_and_returns() {
    let mut world = fencing();
    let since = world.now;
    world.apply(Fault::PowerOff(0));
    moved_in_peace(world, since);
}

#[test]
fn a_node_that_cannot_stop_a_group_is_shot_once_and_returns() {
    // It was heard until it was shot, and is back before it would count as dead: what it did
    // before is no reason to shoot what has just started.
    let mut world = fencing();
    let since = world.now;
    world.apply(Fault::Stops(0, 0, Fate::Fails));
    world.apply(Fault::Command(0, Command::Standby));
    moved_in_peace(world, since);
}

/// The second machine of node 0's name.
const TWIN: usize = 2;

/// A pair under `fencing` and a machine that could be switched on under node 0's name.
fn with_a_twin(owner: usize) -> World {
    let setup = Setup {
        rule: Rule::Fencing,
        stop_failure: StopFailure::Fence,
        fence_delay: 100 * MS,
        clones: 1,
        drift: vec![0; 3],
        ..Setup::default()
    };
    let mut world = pair(setup);
    if owner == 1 {
        assert_eq!(ask(&mut world, 0, Command::HandOver(groups(&[0]))), Ok(()));
        run(&mut world, SECOND);
    }
    assert_eq!(world.serving(0), [owner], "{}", world.story());
    world
}

#[test]
fn a_second_machine_of_the_name_makes_nobody_shoot() {
    for owner in [0, 1] {
        let mut world = with_a_twin(owner);
        let at = world.now;
        world.apply(Fault::PowerOn(TWIN));
        run(&mut world, 30 * SECOND);
        let told_of = |event: &Event| *event == Event::Namesake(node(0));
        let told_at = told(&world, 0, at, told_of).expect("told at once");
        assert!(told_at - at < SECOND, "after {} µs", told_at - at);
        assert!(told(&world, 1, at, |event| *event == Event::Twins(node(0))).is_some());
        assert_eq!(world.serving(0), [owner], "{}", world.story());
        // Once it has gone the one that was shut out is listened to again.
        world.apply(Fault::PowerOff(TWIN));
        let gone = world.now;
        run(&mut world, 30 * SECOND);
        let back = |event: &Event| *event == Event::NodeAlive(node(0));
        assert!(told(&world, 1, gone, back).is_some(), "{}", world.story());
        assert_eq!((world.serving(0), world.moves), (vec![owner], 1 + owner as u64));
        for shooter in 0..3 {
            let shot = |event: &Event| matches!(event, Event::Fencing(_));
            assert_eq!(told(&world, shooter, at, shot), None, "{}", world.story());
        }
    }
}

#[test]
fn a_device_that_lied_is_not_believed_until_it_has_switched_by_hand() {
    let mut world = fencing();
    world.apply(Fault::Device(1, Device { strikes: false, lies: true, ..Device::GOOD }));
    // What was not switched off would shoot back.
    world.apply(Fault::Device(0, Device { strikes: false, ..Device::GOOD }));
    let (at, shot) = (world.now, |event: &Event| *event == Event::Fencing(node(1)));
    let part = |world: &mut World, parted: bool| {
        for (from, to) in [(0, 1), (1, 0)] {
            cut(world, from, to, parted);
        }
    };
    part(&mut world, true);
    run(&mut world, SECOND);
    let proven = |event: &Event| *event == Event::Proven(node(1), Proof::Fence);
    assert!(told(&world, 0, at, proven).is_some());
    part(&mut world, false);
    run(&mut world, SECOND);
    let refuted = |event: &Event| *event == Event::Refuted(node(1), Proof::Fence);
    assert!(told(&world, 0, at, refuted).is_some(), "{}", world.story());
    assert!(world.status(0).expect("it runs").nodes[1].lied);
    // It is not asked again: nobody knows what it switches.
    let again = world.now;
    part(&mut world, true);
    run(&mut world, 10 * SECOND);
    assert_eq!(told(&world, 0, again, shot), None);
    // The operator has mended it, and shows that.
    world.apply(Fault::Device(1, Device::GOOD));
    assert_eq!(ask(&mut world, 0, Command::Fence(node(1))), Ok(()));
    run(&mut world, SECOND);
    assert!(told(&world, 0, again, proven).is_some(), "{}", world.story());
    assert!(!world.status(0).expect("it runs").nodes[1].lied);
}
