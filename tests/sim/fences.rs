//! Under the rule fencing: what was off comes back in peace.
use crate::scene::{MS, SECOND, node, pair, run, told};
use latido::core::io::{Command, Event, Proof};
use latido::core::{Rule, StopFailure};
use latido::sim::machine::Fate;
use latido::sim::{Fault, Setup, World};

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
