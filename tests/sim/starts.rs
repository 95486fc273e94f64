//! Starting, leaving, coming back.
use crate::scene::*;
use latido::core::io::{Command, Event, NodeState, Reason, StopReason};
use latido::sim::{Fault, Setup, World};

#[test]
fn simultaneous_start_gives_each_group_to_its_preferred_node_once() {
    for seed in 0..40 {
        let mut world = World::new(Setup { seed, groups: 2, ..Setup::default() });
        world.apply(Fault::PowerOn((seed % 2) as usize));
        run(&mut world, seed * 37);
        world.apply(Fault::PowerOn(1 - (seed % 2) as usize));
        run(&mut world, 100 * MS);
        assert_eq!((world.serving(0), world.serving(1)), (vec![0], vec![1]), "seed {seed}");
        run(&mut world, 10 * SECOND);
        assert_eq!(world.moves, 2, "seed {seed}: {}", world.story());
    }
}

#[test]
fn both_start_within_milliseconds_of_hearing_each_other() {
    let mut world = World::new(Setup::default());
    world.apply(Fault::PowerOn(0));
    run(&mut world, 500 * MS);
    assert!(world.serving(0).is_empty(), "nothing before initial dead without the peer");
    let at = world.now;
    world.apply(Fault::PowerOn(1));
    run(&mut world, 100 * MS);
    let started = when(&world, 0, at, starting);
    assert!(started - at < 5 * MS, "{} µs", started - at);
}

#[test]
fn a_lone_node_waits_for_initial_dead() {
    let mut world = World::new(Setup::default());
    world.apply(Fault::PowerOn(1));
    run(&mut world, 2_999 * MS);
    assert_eq!(told(&world, 1, 0, starting), None);
    run(&mut world, 10 * MS);
    assert_eq!(world.serving(0), [1]);
    assert!(told(&world, 1, 0, |event| matches!(event, Event::Ready)).is_some());
}

#[test]
fn graceful_shutdown_hands_over_without_waiting() {
    let mut world = pair(Setup::default());
    let at = world.now;
    assert_eq!(ask(&mut world, 0, Command::Shutdown), Ok(()));
    run(&mut world, 30 * MS);
    let stopped = when(&world, 0, at, |event| matches!(event, Event::Released(_)));
    let started = when(&world, 1, at, starting);
    // Release, claim, grant: three network delays of at most 150 µs and the engines' latencies.
    assert!(started - stopped < 700, "{} µs", started - stopped);
    assert_eq!(world.serving(0), [1]);
    assert_eq!(told(&world, 1, at, |event| matches!(event, Event::NodeDead(..))), None);
    assert!(world.exited(0));
    run(&mut world, SECOND);
    let state = world.status(1).unwrap().nodes[0].state;
    assert_eq!(state, NodeState::Left);
    assert_eq!(world.longest_two(), (0, 0));
}

#[test]
fn goodbye_lets_the_other_start_new_claims_at_once() {
    let mut world = pair(Setup::default());
    assert_eq!(ask(&mut world, 1, Command::Shutdown), Ok(()));
    run(&mut world, SECOND);
    assert!(world.exited(1));
    // The owner stands still for so long that it must start anew: it asks nobody.
    world.apply(Fault::Freeze(0));
    run(&mut world, SECOND);
    world.apply(Fault::Thaw(0));
    run(&mut world, SECOND);
    assert_eq!(world.serving(0), [0]);
}

#[test]
fn return_fails_back_after_the_delay_if_automatic() {
    let mut world = pair(Setup { failback: true, ..Setup::default() });
    world.apply(Fault::PowerOff(0));
    run(&mut world, SECOND);
    assert_eq!(world.serving(0), [1]);
    let at = world.now;
    world.apply(Fault::PowerOn(0));
    run(&mut world, 3 * SECOND);
    let alive = when(&world, 1, at, |event| matches!(event, Event::NodeAlive(_)));
    let stop = when(&world, 1, at, stopping(StopReason::HandOver));
    let delay = world.setup.failback_delay;
    assert!((delay..delay + 25 * MS).contains(&(stop - alive)), "{} µs", stop - alive);
    let released = when(&world, 1, stop, |event| matches!(event, Event::Released(_)));
    assert!(when(&world, 0, stop, starting) - released < 700);
    assert_eq!(world.serving(0), [0]);
    assert!(told(&world, 0, at, claims(Reason::HandedOver)).is_some());
}

#[test]
fn return_changes_nothing_if_manual() {
    let mut world = pair(Setup::default());
    world.apply(Fault::PowerOff(0));
    run(&mut world, SECOND);
    world.apply(Fault::PowerOn(0));
    run(&mut world, 60 * SECOND);
    assert_eq!((world.serving(0), world.moves), (vec![1], 2));
}

#[test]
fn failbacks_that_do_not_last_wait_longer() {
    let mut world = pair(Setup { failback: true, ..Setup::default() });
    let mut waits = Vec::new();
    for _ in 0..3 {
        world.apply(Fault::PowerOff(0));
        run(&mut world, SECOND);
        let at = world.now;
        world.apply(Fault::PowerOn(0));
        run(&mut world, 8 * SECOND);
        waits.push((when(&world, 0, at, starting) - at) / SECOND);
        assert_eq!(world.serving(0), [0]);
    }
    assert_eq!(waits, [1, 2, 4]);
}

#[test]
fn rival_claims_of_the_same_moment_have_one_winner() {
    for seed in 0..40 {
        let mut world = World::new(Setup { seed, ..Setup::default() });
        for node in [0, 1] {
            world.service(node, 0).able = false;
            world.apply(Fault::PowerOn(node));
        }
        run(&mut world, SECOND);
        assert_eq!(world.moves, 0);
        // Each believes that the other cannot, and claims.
        let at = world.now;
        world.apply(Fault::Able((seed % 2) as usize, 0, true));
        world.apply(Fault::Able(1 - (seed % 2) as usize, 0, true));
        run(&mut world, SECOND);
        let withdrawn = |event: &Event| matches!(event, Event::ClaimWithdrawn(_));
        let claims = |node| told(&world, node, at, claims(Reason::Free)).is_some();
        assert!(claims(0) && claims(1), "{}", world.story());
        assert!(told(&world, 1, at, withdrawn).is_some());
        assert_eq!((world.serving(0), world.moves), (vec![0], 1), "{}", world.story());
        assert!(when(&world, 0, at, starting) - at < MS);
    }
}
