//! Copied machines, and machines whose clock stands still: what holds although an assumption does
//! not.
use crate::scene::*;
use latido::core::Rule;
use latido::core::io::Event;
use latido::sim::{Fault, Setup, World};

fn three() -> Setup {
    Setup { nodes: 3, clones: 1, rule: Rule::Majority, drift: vec![0; 4], ..Setup::default() }
}

/// All nodes on, and node 0 owns group 0.
fn started(setup: Setup) -> World {
    let mut world = World::new(setup);
    // Not all at the same moment: whoever hears a copy's frame tells before the next one is sent.
    for node in 0..world.setup.nodes {
        world.apply(Fault::PowerOn(node));
        run(&mut world, 7 * MS);
    }
    let lease = world.setup.lease();
    run(&mut world, 4 * lease);
    assert_eq!(world.serving(0), [0], "{}", world.story());
    world
}

#[test]
fn a_copy_that_is_switched_on_never_serves_beside_the_original() {
    for seed in 0..20 {
        let mut world = started(Setup { seed, ..three() });
        let lease = world.setup.lease();
        run(&mut world, seed * 1_711);
        let at = world.now;
        world.apply(Fault::PowerOn(3));
        for _ in 0..100 {
            run(&mut world, lease / 10);
            assert!(world.serving(0).len() < 2, "seed {seed}\n{}", world.story());
        }
        // Whoever was heard last is the node; the other one is told of.
        assert_eq!(world.serving(0).len(), 1, "seed {seed}\n{}", world.story());
        let namesake = |event: &Event| matches!(event, Event::Namesake(_) | Event::Clone(_));
        assert!((0..4).any(|node| told(&world, node, at, namesake).is_some()), "seed {seed}");
    }
}

#[test]
fn a_running_copy_ends_with_one_owner_within_a_lease() {
    for seed in 0..20 {
        let mut world = started(Setup { seed, ..three() });
        let lease = world.setup.lease();
        run(&mut world, seed * 1_711);
        let at = world.now;
        world.copy_running(0, 3);
        assert_eq!(world.serving(0), [0, 3], "two, as the snapshot made them");
        run(&mut world, lease);
        assert!(world.serving(0).len() < 2, "seed {seed}\n{}", world.story());
        run(&mut world, 10 * lease);
        assert_eq!(world.serving(0).len(), 1, "seed {seed}\n{}", world.story());
        let namesake = |event: &Event| matches!(event, Event::Namesake(_));
        assert!((0..4).all(|node| node % 3 > 0 || told(&world, node, at, namesake).is_some()));
    }
}

#[test]
fn an_owner_whose_clock_stood_still_lets_go_within_its_lease() {
    for seed in 0..20 {
        let mut world = started(Setup { seed, clones: 0, ..three() });
        let lease = world.setup.lease();
        run(&mut world, seed * 1_313);
        world.apply(Fault::Suspend(0, true));
        run(&mut world, 4 * lease);
        assert_eq!(world.serving(0), [1], "seed {seed}");
        world.apply(Fault::Resume(0));
        run(&mut world, lease + lease / 50);
        assert_eq!(world.serving(0), [1], "seed {seed}\n{}", world.story());
        run(&mut world, 10 * lease);
        assert_eq!((world.serving(0), world.moves), (vec![1], 2), "seed {seed}");
    }
}

#[test]
fn a_clock_that_steps_when_it_wakes_up_ends_the_lease_at_once() {
    for seed in 0..20 {
        let mut world = started(Setup { seed, clones: 0, ..three() });
        let lease = world.setup.lease();
        world.apply(Fault::Suspend(0, false));
        run(&mut world, 4 * lease + seed * 777);
        assert_eq!(world.serving(0), [1], "seed {seed}");
        let at = world.now;
        world.apply(Fault::Resume(0));
        run(&mut world, lease / 2);
        assert_eq!(when(&world, 0, at, |event| matches!(event, Event::Stopping(..))), at);
        assert_eq!((world.serving(0), world.moves), (vec![1], 2), "seed {seed}");
    }
}

#[test]
fn who_was_shut_out_is_back_once_the_other_of_its_name_has_gone() {
    let mut world = started(Setup { seed: 3, ..three() });
    let at = world.now;
    world.apply(Fault::PowerOn(3));
    run(&mut world, 20 * SECOND);
    assert!((1..3).all(|other| told(&world, other, at, |e| *e == Event::Twins(node(0))).is_some()));
    world.apply(Fault::PowerOff(3));
    let gone = world.now;
    run(&mut world, 20 * SECOND);
    for other in [1, 2] {
        let back = |event: &Event| *event == Event::NodeAlive(node(0));
        assert!(told(&world, other, gone, back).is_some(), "{}", world.story());
    }
    assert_eq!(world.serving(0).len(), 1, "{}", world.story());
}
