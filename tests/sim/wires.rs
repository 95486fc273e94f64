//! A heartbeat wire: it delays a takeover, and proves nothing.
use crate::scene::*;
use latido::core::io::{Doubt, Event};
use latido::sim::{Fault, Setup, World};

/// Every link is cut both ways; the wire beats every 50 ms for `beating`.
fn severed(beating: u64) -> (World, u64) {
    let mut world = pair(Setup::default());
    let start = world.now;
    for (from, to) in [(0, 1), (1, 0)] {
        cut(&mut world, from, to, true);
    }
    while world.now < start + beating {
        world.beat(1, node(0));
        run(&mut world, 50 * MS);
    }
    (world, start)
}

fn held(event: &Event) -> bool {
    matches!(event, Event::HeldBack(_, _, Doubt::Beats))
}

#[test]
fn a_wire_that_beats_delays_a_takeover_and_says_so() {
    let dead = Setup::default().dead;
    let (world, start) = severed(2 * dead);
    assert_eq!(world.serving(0), [0], "{}", world.story());
    assert!(told(&world, 1, start, held).is_some(), "{}", world.story());
}

#[test]
fn it_is_not_believed_for_ever() {
    let dead = Setup::default().dead;
    let (mut world, start) = severed(6 * dead);
    run(&mut world, dead);
    assert!(told(&world, 1, start, starting).is_some(), "{}", world.story());
}

#[test]
fn a_node_that_died_is_taken_over_from_when_its_wire_is_still() {
    let mut world = pair(Setup::default());
    let (start, dead) = (world.now, Setup::default().dead);
    world.beat(1, node(0));
    world.apply(Fault::PowerOff(0));
    run(&mut world, 2 * dead);
    assert!(told(&world, 1, start, starting).is_some(), "{}", world.story());
    assert!(told(&world, 1, start, held).is_none(), "{}", world.story());
}
