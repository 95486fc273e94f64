//! Rule `majority`: three nodes and more, never two owners.
use crate::scene::*;
use latido::core::Rule;
use latido::core::io::{Command, Event, Reason, StopReason};
use latido::sim::machine::Runs;
use latido::sim::{Fault, Setup, World};

fn three() -> Setup {
    Setup { nodes: 3, rule: Rule::Majority, drift: vec![0; 3], ..Setup::default() }
}

/// All nodes on at once, and long enough after that: node 0 owns group 0.
fn started(setup: Setup) -> World {
    let mut world = World::new(setup);
    for node in 0..world.setup.nodes {
        world.apply(Fault::PowerOn(node));
    }
    let lease = world.setup.lease();
    run(&mut world, 4 * lease);
    assert_eq!(world.serving(0), [0], "{}", world.story());
    world
}

fn isolate(world: &mut World, node: usize, isolated: bool) {
    for other in (0..world.setup.nodes).filter(|other| *other != node) {
        cut(world, node, other, isolated);
        cut(world, other, node, isolated);
    }
}

#[test]
fn power_cut_is_taken_over_when_the_lease_ends() {
    for seed in 0..40 {
        let drift = vec![-10_000, 10_000, -10_000];
        let mut world = started(Setup { seed, drift, ..three() });
        run(&mut world, seed * 1_313);
        let at = world.now;
        world.apply(Fault::PowerOff(0));
        let lease = world.setup.lease();
        run(&mut world, 2 * lease);
        let took = when(&world, 1, at, starting) - at;
        // The voters' clocks may be slow by 1 %; then one frame each way.
        let bound = lease + lease / 99 + 2 * MS;
        assert!(took <= bound, "seed {seed}: {took} µs, bound {bound}");
        assert!(told(&world, 1, at, claims(Reason::OwnerDead(node(0)))).is_some());
        assert_eq!(world.serving(0), [1]);
    }
}

#[test]
fn an_isolated_owner_has_stopped_before_another_starts() {
    for seed in 0..40 {
        let drift = vec![-10_000, 10_000, 10_000];
        let mut world = started(Setup { seed, drift, ..three() });
        world.service(0, 0).stop_takes = 99 * MS;
        run(&mut world, seed * 777);
        let at = world.now;
        isolate(&mut world, 0, true);
        let lease = world.setup.lease();
        run(&mut world, 3 * lease);
        let released = when(&world, 0, at, |event| matches!(event, Event::Released(_)));
        assert!(told(&world, 0, at, stopping(StopReason::LeaseOver)).is_some());
        assert!(released < when(&world, 1, at, starting), "{}", world.story());
        assert_eq!((world.serving(0), world.service(0, 0).runs), (vec![1], Runs::Nothing));
        // Alone it never takes it back; together again nothing moves.
        run(&mut world, 20 * lease);
        assert_eq!(told(&world, 0, at, starting), None);
        isolate(&mut world, 0, false);
        run(&mut world, 20 * lease);
        assert_eq!((world.serving(0), world.moves), (vec![1], 2));
    }
}

#[test]
fn a_minority_never_takes() {
    let mut world = started(three());
    for node in [0, 1] {
        world.apply(Fault::PowerOff(node));
    }
    run(&mut world, 60 * SECOND);
    assert!(world.serving(0).is_empty());
    assert_eq!(told(&world, 2, 0, claims(Reason::OwnerDead(node(0)))), None, "no vain claim");
    world.apply(Fault::PowerOn(0));
    let settle = world.setup.initial_dead + 4 * world.setup.lease();
    run(&mut world, settle);
    assert_eq!(world.serving(0).len(), 1, "{}", world.story());
}

#[test]
fn a_half_cut_between_owner_and_candidate_moves_nothing() {
    let mut world = started(three());
    cut(&mut world, 0, 1, true);
    cut(&mut world, 1, 0, true);
    run(&mut world, 60 * SECOND);
    assert_eq!((world.serving(0), world.moves), (vec![0], 1));
    assert_eq!(told(&world, 1, 0, claims(Reason::OwnerDead(node(0)))), None, "no vain claim");
}

#[test]
fn a_simultaneous_start_gives_each_group_to_its_preferred_node_once() {
    for nodes in [3, 4, 5, 8] {
        for seed in 0..10 {
            let drift = vec![0; nodes];
            let setup = Setup { seed, nodes, drift, groups: 3, ..three() };
            let world = started(setup);
            let serving: Vec<_> = (0..3).map(|group| world.serving(group)).collect();
            assert_eq!(serving, [vec![0], vec![1], vec![2]], "{}", world.story());
            assert_eq!(world.moves, 3);
        }
    }
}

#[test]
fn a_planned_handover_takes_a_few_round_trips() {
    let mut world = started(three());
    let at = world.now;
    assert_eq!(ask(&mut world, 0, Command::Standby), Ok(()));
    run(&mut world, 100 * MS);
    let released = when(&world, 0, at, |event| matches!(event, Event::Released(_)));
    let took = when(&world, 1, at, starting) - released;
    // Release, claim, grant.
    assert!(took < 3 * 150 + 6 * world.setup.latency, "{took} µs");
    assert_eq!(world.serving(0), [1]);
}

#[test]
fn a_restarted_owner_adopts_and_a_restarted_voter_costs_nothing() {
    let mut world = started(three());
    // Two voters are left, and both are needed.
    world.apply(Fault::PowerOff(2));
    run(&mut world, SECOND);
    for node in [0, 1] {
        let (before, at) = (term(&world, 0), world.now);
        world.apply(Fault::Kill(node));
        run(&mut world, 20 * MS);
        world.apply(Fault::Revive(node));
        run(&mut world, 5 * SECOND);
        assert_eq!(told(&world, 0, at, |event| matches!(event, Event::Stopping(..))), None);
        assert_eq!((term(&world, 0), world.serving(0), world.moves), (before, vec![0], 1));
    }
}

#[test]
fn a_goodbye_frees_the_votes_at_once() {
    let mut world = started(three());
    let at = world.now;
    assert_eq!(ask(&mut world, 0, Command::Shutdown), Ok(()));
    run(&mut world, 30 * MS);
    assert!(world.exited(0));
    let released = when(&world, 0, at, |event| matches!(event, Event::Released(_)));
    assert!(when(&world, 1, at, starting) - released < MS);
}

#[test]
fn a_rolling_reboot_keeps_every_group_served() {
    let mut world = started(Setup { groups: 2, ..three() });
    for node in [0, 1, 2] {
        assert_eq!(ask(&mut world, node, Command::Shutdown), Ok(()));
        run(&mut world, SECOND);
        assert!(world.exited(node));
        world.apply(Fault::PowerOff(node));
        run(&mut world, SECOND);
        for group in [0, 1] {
            assert_eq!(world.serving(group).len(), 1, "n{node} is away");
        }
        world.apply(Fault::PowerOn(node));
        run(&mut world, 10 * SECOND);
        for group in [0, 1] {
            assert_eq!(world.serving(group).len(), 1, "n{node} is back");
        }
    }
}

#[test]
fn a_voter_without_memory_grants_nothing_for_a_lease() {
    // n0 owns by the votes of n0 and n1; n1 loses its memory while n0 is cut off.
    let mut world = started(three());
    world.apply(Fault::Kill(2));
    run(&mut world, SECOND);
    isolate(&mut world, 0, true);
    let at = world.now;
    world.apply(Fault::PowerOff(1));
    world.apply(Fault::PowerOn(1));
    world.apply(Fault::Revive(2));
    let lease = world.setup.lease();
    let settle = world.setup.initial_dead + 4 * lease;
    run(&mut world, settle);
    let started = [1, 2].iter().filter_map(|node| told(&world, *node, at, starting)).min();
    assert!(started.is_some_and(|started| started - at >= lease), "{}", world.story());
}
