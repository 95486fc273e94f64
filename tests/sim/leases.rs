//! A lease that was shortened, and voters that forgot to whom they granted by the longer one.
use crate::scene::*;
use latido::core::Rule;
use latido::sim::{Fault, Setup, World};

/// All machines on, by the configuration with the longer lease (version 1); node 0 owns group 0.
fn started(nodes: usize, witnesses: usize, stretch: u64) -> World {
    let rule = Rule::Majority;
    let drift = vec![0; nodes + witnesses];
    let mut world =
        World::new(Setup { nodes, witnesses, rule, drift, stretch, ..Setup::default() });
    for machine in 0..nodes + witnesses {
        world.apply(Fault::PowerOn(machine));
    }
    for node in 0..nodes {
        world.apply(Fault::Configure(node, 1));
    }
    let longest = world.setup.longest_lease();
    run(&mut world, 15 * SECOND + 3 * longest);
    assert_eq!(world.serving(0), [0], "{}", world.story());
    world
}

fn isolate(world: &mut World, node: usize) {
    for other in (0..world.setup.machines()).filter(|other| *other != node) {
        cut(world, node, other, true);
        cut(world, other, node, true);
    }
}

/// Off and on again: whatever was in memory is gone.
fn reboot(world: &mut World, machine: usize) {
    world.apply(Fault::PowerOff(machine));
    run(world, 50 * MS);
    world.apply(Fault::PowerOn(machine));
}

/// When one of the nodes after the first starts the group.
fn taken(world: &World, at: u64) -> Option<u64> {
    (1..world.setup.nodes).filter_map(|node| told(world, node, at, starting)).min()
}

#[test]
fn voters_that_forgot_wait_for_the_longest_lease_that_they_ever_granted() {
    let mut world = started(3, 0, 20);
    let (at, longest) = (world.now, world.setup.longest_lease());
    isolate(&mut world, 0);
    for node in [1, 2] {
        world.apply(Fault::Configure(node, 0));
        reboot(&mut world, node);
    }
    run(&mut world, 3 * longest);
    let taken = taken(&world, at).expect("taken over in the end");
    assert!(taken - at + world.setup.dead >= longest, "after {} µs", taken - at);
}

#[test]
fn a_witness_that_restarts_waits_for_the_longest_lease_that_the_nodes_know() {
    let mut world = started(2, 1, 100);
    let (at, longest) = (world.now, world.setup.longest_lease());
    assert!(longest > 15 * SECOND, "longer than any witness waits by itself");
    isolate(&mut world, 0);
    world.apply(Fault::Configure(1, 0));
    reboot(&mut world, 1);
    reboot(&mut world, 2);
    run(&mut world, 3 * longest);
    let taken = taken(&world, at).expect("taken over in the end");
    assert!(taken - at + world.setup.dead >= longest, "after {} µs", taken - at);
}

#[test]
fn once_all_nodes_agree_on_the_shorter_lease_the_longer_one_is_forgotten() {
    let mut world = started(3, 0, 60);
    let longest = world.setup.longest_lease();
    for node in [1, 2, 0] {
        world.apply(Fault::Configure(node, 0));
        run(&mut world, SECOND);
    }
    run(&mut world, 2 * longest);
    let owner = world.serving(0)[0];
    let at = world.now;
    for machine in 0..3 {
        world.apply(Fault::PowerOff(machine));
    }
    run(&mut world, 50 * MS);
    for machine in (0..3).filter(|machine| *machine != owner) {
        world.apply(Fault::PowerOn(machine));
    }
    let soon = world.setup.initial_dead + 4 * world.setup.lease();
    assert!(soon < longest);
    run(&mut world, soon);
    let starts = (0..3).filter_map(|node| told(&world, node, at, starting)).count();
    assert_eq!(starts, 1, "{}", world.story());
}
