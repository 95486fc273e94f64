//! Two nodes and a third voter that owns nothing.
use crate::scene::*;
use latido::core::Rule;
use latido::core::io::{Event, StopReason};
use latido::sim::{Fault, Setup, World};

/// The witness of a pair.
const WITNESS: usize = 2;

/// Everything on, and long enough for a witness to vote; node 0 owns group 0.
fn started(nodes: usize, seed: u64) -> World {
    let drift = [-10_000, 10_000, -10_000, 10_000, 0][..nodes + 1].to_vec();
    let rule = Rule::Majority;
    let mut world =
        World::new(Setup { seed, nodes, witnesses: 1, rule, drift, ..Setup::default() });
    for machine in 0..=nodes {
        world.apply(Fault::PowerOn(machine));
    }
    run(&mut world, 15 * SECOND);
    assert_eq!(world.serving(0), [0], "{}", world.story());
    world
}

fn part(world: &mut World, one: usize, other: usize, is_cut: bool) {
    cut(world, one, other, is_cut);
    cut(world, other, one, is_cut);
}

#[test]
fn a_power_cut_is_taken_over_with_the_vote_of_the_witness() {
    for seed in 0..20 {
        let mut world = started(2, seed);
        run(&mut world, seed * 1_313);
        let at = world.now;
        world.apply(Fault::PowerOff(0));
        let lease = world.setup.lease();
        run(&mut world, 2 * lease);
        let took = when(&world, 1, at, starting) - at;
        assert!(took <= lease + lease / 49 + 2 * MS, "seed {seed}: {took} µs");
        assert_eq!(world.serving(0), [1]);
    }
}

#[test]
fn in_a_partition_whoever_reaches_the_witness_has_it() {
    for (lonely, owner) in [(0, 1), (1, 0)] {
        let mut world = started(2, 7);
        let at = world.now;
        part(&mut world, 0, 1, true);
        part(&mut world, lonely, WITNESS, true);
        let lease = world.setup.lease();
        run(&mut world, 20 * lease);
        assert_eq!(world.serving(0), [owner]);
        let lost = told(&world, 0, at, stopping(StopReason::LeaseOver));
        assert_eq!(lost.is_some(), lonely == 0);
        part(&mut world, 0, 1, false);
        part(&mut world, lonely, WITNESS, false);
        let moves = world.moves;
        run(&mut world, 20 * lease);
        assert_eq!((world.serving(0), world.moves), (vec![owner], moves));
    }
}

#[test]
fn a_witness_that_comes_and_goes_moves_nothing() {
    let mut world = started(2, 3);
    for _ in 0..5 {
        world.apply(Fault::PowerOff(WITNESS));
        run(&mut world, 3 * SECOND);
        world.apply(Fault::PowerOn(WITNESS));
        run(&mut world, 15 * SECOND);
    }
    assert_eq!((world.serving(0), world.moves), (vec![0], 1));
}

#[test]
fn a_witness_that_has_just_started_gives_its_vote_to_nobody() {
    for seed in 0..20 {
        let mut world = started(2, seed);
        let at = world.now;
        world.apply(Fault::PowerOff(WITNESS));
        run(&mut world, seed * 3 * MS);
        world.apply(Fault::PowerOn(WITNESS));
        run(&mut world, 100 * MS);
        world.apply(Fault::PowerOff(0));
        run(&mut world, 20 * SECOND);
        assert_eq!(world.serving(0), [1]);
        assert!(when(&world, 1, at, starting) - at > 9 * SECOND, "seed {seed}");
    }
}

#[test]
fn a_shorter_list_of_voters_rolls_out_and_is_in_force_at_the_end() {
    let mut world = started(4, 5);
    let at = world.now;
    for node in [1, 2, 3, 0] {
        world.apply(Fault::Configure(node, Setup::SHORTER));
        run(&mut world, 3 * SECOND);
    }
    run(&mut world, 20 * SECOND);
    for node in 0..4 {
        let in_force = |event: &Event| *event == Event::InForce;
        assert!(told(&world, node, at, in_force).is_some(), "n{node}\n{}", world.story());
    }
    assert_eq!(world.serving(0).len(), 1, "{}", world.story());
    // The witness of the old list is nobody's any more.
    world.apply(Fault::PowerOff(4));
    let moves = world.moves;
    run(&mut world, 20 * SECOND);
    assert_eq!(world.moves, moves);
}

#[test]
fn a_claim_stands_until_a_witness_that_has_just_started_may_grant_it() {
    for seed in 0..10 {
        let mut world = started(2, seed);
        world.apply(Fault::PowerOff(WITNESS));
        run(&mut world, 50 * MS);
        world.apply(Fault::PowerOn(WITNESS));
        let up = world.now;
        run(&mut world, SECOND + seed * 3 * MS);
        let at = world.now;
        world.apply(Fault::PowerOff(0));
        run(&mut world, 20 * SECOND);
        let claimed = |event: &Event| matches!(event, Event::Claim(..));
        let events = world.events(1).iter().filter(|(when, _)| *when >= at);
        let claims = events.filter(|(_, event)| claimed(event)).count();
        assert_eq!(claims, 1, "seed {seed}\n{}", world.story());
        let withdrawn = |event: &Event| matches!(event, Event::ClaimWithdrawn(_));
        assert_eq!(told(&world, 1, at, withdrawn), None);
        // Ten seconds by a clock that is 1 % slow, and not much more.
        let took = when(&world, 1, at, starting) - up;
        assert!(took < 10_200 * MS, "seed {seed}: {took} µs");
        assert_eq!(world.serving(0), [1]);
    }
}
