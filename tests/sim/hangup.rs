//! The modem lines of a serial link drop.
use crate::scene::{MS, SECOND, cut, node, pair, run, starting, told, when};
use latido::core::id::{Incarnation, LinkId};
use latido::core::io::{Event, Input, LinkState, Output};
use latido::core::limits::{FRAME_MAX, GROUPS_MAX};
use latido::core::time::Instant;
use latido::core::{Cluster, Identity, Rule};
use latido::sim::network::Wire;
use latido::sim::{Fault, Setup, World};

fn link(index: usize) -> LinkId {
    LinkId::new(index).expect("a link of the table")
}

fn hung_up(event: &Event) -> bool {
    *event == Event::HungUp(link(0))
}

fn dead(event: &Event) -> bool {
    matches!(event, Event::NodeDead(..))
}

/// Node 0, the owner, loses its power, and its lines drop with it.
fn power_cut(world: &mut World) {
    world.apply(Fault::PowerOff(0));
    world.apply(Fault::Lines(1, 0, false));
}

#[test]
fn a_peer_that_hung_up_and_answers_nowhere_is_dead_after_warn() {
    for seed in 0..30 {
        let mut world = pair(Setup { seed, ..Setup::default() });
        run(&mut world, seed * 977);
        let at = world.now;
        power_cut(&mut world);
        run(&mut world, SECOND);
        let took = when(&world, 1, at, starting) - at;
        // A quarter of dead or two intervals to answer, and no less silence than `warn`.
        assert!((50 * MS..=65 * MS).contains(&took), "seed {seed}: {took} µs");
        assert_eq!(world.serving(0), [1]);
    }
}

#[test]
fn a_dropped_line_is_no_death_while_another_path_lives() {
    let mut world = pair(Setup::default());
    for (from, to) in [(0, 1), (1, 0)] {
        world.apply(Fault::Cut { link: 0, from, to, cut: true });
    }
    let at = world.now;
    world.apply(Fault::Lines(1, 0, false));
    world.apply(Fault::Lines(0, 0, false));
    run(&mut world, 5 * SECOND);
    for index in [0, 1] {
        assert!(when(&world, index, at, hung_up) <= at + MS);
        let down =
            |event: &Event| *event == Event::PeerLink(node(1 - index), link(0), LinkState::Down);
        assert!(when(&world, index, at, down) <= at + MS, "n{index}: down at once");
        assert_eq!(told(&world, index, at, dead), None);
    }
    assert_eq!((world.serving(0), world.moves), (vec![0], 1));
    world.apply(Fault::Lines(1, 0, true));
    let up = |event: &Event| *event == Event::LinkUp(link(0));
    run(&mut world, MS);
    assert!(told(&world, 1, at, up).is_some());
}

#[test]
fn a_slower_link_is_up_again_by_the_second_copies_that_it_carries() {
    let mut world = pair(Setup { links: 2, ..Setup::default() });
    world.apply(Fault::Quality(0, Wire { delay: 3_000, ..Wire::GOOD }));
    run(&mut world, SECOND);
    let at = world.now;
    world.apply(Fault::Lines(1, 0, false));
    run(&mut world, SECOND);
    let up = |event: &Event| *event == Event::LinkUp(link(0));
    assert!(told(&world, 1, at, up).is_some());
    assert_eq!(told(&world, 1, at, dead), None);
}

#[test]
fn a_broken_wire_among_working_ones_costs_nothing() {
    // The only link, and it works: what comes on it proves that.
    let mut world = pair(Setup { links: 1, ..Setup::default() });
    let at = world.now;
    world.apply(Fault::Lines(1, 0, false));
    run(&mut world, 5 * SECOND);
    assert!(told(&world, 1, at, hung_up).is_some());
    let up = |event: &Event| *event == Event::LinkUp(link(0));
    assert!(when(&world, 1, at, up) <= at + 25 * MS);
    assert_eq!(told(&world, 1, at, dead), None);
    assert_eq!((world.serving(0), world.moves), (vec![0], 1));
}

#[test]
fn a_daemon_that_is_soon_back_is_not_given_up() {
    // Its lines drop with its engine and rise with the next: no shorter silence counts then.
    let mut world = pair(Setup::default());
    let at = world.now;
    world.apply(Fault::Kill(0));
    world.apply(Fault::Lines(1, 0, false));
    run(&mut world, 40 * MS);
    world.apply(Fault::Lines(1, 0, true));
    run(&mut world, 100 * MS);
    world.apply(Fault::Revive(0));
    run(&mut world, 5 * SECOND);
    assert_eq!(told(&world, 1, at, dead), None);
    assert_eq!(world.serving(0), [0]);
}

#[test]
fn under_majority_no_lease_ends_earlier() {
    let setup = Setup { rule: Rule::Majority, nodes: 3, drift: vec![0; 3], ..Setup::default() };
    for seed in 0..20 {
        let mut world = World::new(Setup { seed, ..setup.clone() });
        (0..3).for_each(|index| world.apply(Fault::PowerOn(index)));
        run(&mut world, 2 * SECOND);
        let owner = world.serving(0)[0];
        // It is cut off, not dead: the checker sees to it that nobody runs it a second time.
        for other in (0..3).filter(|other| *other != owner) {
            cut(&mut world, owner, other, true);
            cut(&mut world, other, owner, true);
            world.apply(Fault::Lines(other, 0, false));
            world.apply(Fault::Lines(other, 1, false));
        }
        run(&mut world, 5 * SECOND);
        assert_eq!(world.serving(0).len(), 1);
        assert_ne!(world.serving(0), [owner]);
    }
}

#[test]
fn under_majority_lines_that_drop_and_rise_at_any_moment_are_safe() {
    for seed in 1..16u64 {
        let setup =
            Setup { seed, rule: Rule::Majority, nodes: 3, drift: vec![0; 3], ..Setup::default() };
        let mut world = World::new(setup);
        (0..3).for_each(|index| world.apply(Fault::PowerOn(index)));
        run(&mut world, 2 * SECOND);
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut draw = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % below
        };
        for _ in 0..200 {
            let (node, other, link) = (draw(3) as usize, draw(3) as usize, draw(2) as usize);
            match draw(8) {
                0..4 => world.apply(Fault::Lines(node, link, draw(2) == 0)),
                4 if node != other => {
                    world.apply(Fault::Cut { link, from: node, to: other, cut: draw(3) > 0 });
                }
                5 => world.apply(Fault::Kill(node)),
                6 => world.apply(Fault::Freeze(node)),
                _ => world.apply(Fault::Mend),
            }
            // The checker ends the test if two own the group, or one does by no right.
            run(&mut world, draw(150) * MS);
        }
        world.apply(Fault::Mend);
        for (node, link) in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)] {
            world.apply(Fault::Lines(node, link, true));
        }
        run(&mut world, 10 * SECOND);
        assert_eq!(world.serving(0).len(), 1, "seed {seed}: {}", world.story());
    }
}

/// Takes everything that a node has to say; the frames go to the other.
fn drain(from: &mut Cluster, to: &mut Cluster, now: Instant) -> usize {
    let mut frame = [0; FRAME_MAX];
    let mut frames = 0;
    while let Some(output) = from.poll(&mut frame) {
        if let Output::Transmit { links, len } = output {
            frames += 1;
            for link in links.iter().filter(|link| link.index() == 1) {
                let bytes = &frame[..usize::from(len)];
                to.handle(now, Input::Frame { link, bytes });
            }
        }
    }
    frames
}

#[test]
fn whoever_is_asked_answers_at_once_but_not_without_end() {
    let setup = Setup { interval: SECOND, warn: 3 * SECOND, dead: 9 * SECOND, ..Setup::default() };
    let mut now = Instant::from_micros(SECOND);
    let cluster = |index: usize| {
        let identity = Identity {
            incarnation: Incarnation(7 + index as u64),
            memory: None,
            held_until: [Instant::default(); GROUPS_MAX],
            seed: 1,
        };
        Cluster::new(setup.config(index), &identity, now)
    };
    let (mut one, mut two) = (cluster(0), cluster(1));
    for link in [link(0), link(1)] {
        one.handle(now, Input::Link { link, up: true });
        two.handle(now, Input::Link { link, up: true });
    }
    let step = |one: &mut Cluster, two: &mut Cluster, now: &mut Instant, micros: u64| {
        *now = Instant::from_micros(now.micros() + micros);
        one.handle(*now, Input::Tick);
        two.handle(*now, Input::Tick);
        [drain(one, two, *now), drain(two, one, *now), drain(one, two, *now)]
    };
    for _ in 0..50 {
        step(&mut one, &mut two, &mut now, 100 * MS);
    }
    assert!(one.hears(node(1)) && two.hears(node(0)));
    // Link 0 carried no frame here: its peer was heard on link 1, which hangs up for both.
    // Half an interval after the last heartbeat nothing is due.
    while step(&mut one, &mut two, &mut now, 50 * MS).iter().sum::<usize>() == 0 {}
    assert_eq!(step(&mut one, &mut two, &mut now, 300 * MS), [0, 0, 0]);
    one.handle(now, Input::HungUp { link: link(1) });
    assert_eq!(drain(&mut one, &mut two, now), 1, "it asks at once");
    assert_eq!(drain(&mut two, &mut one, now), 1, "and is answered at once");
    let mut more = 0;
    for _ in 0..100 {
        more += step(&mut one, &mut two, &mut now, MS).iter().sum::<usize>();
    }
    assert!(more <= 2, "{more} frames in 100 ms: somebody shouts");
    assert!(one.hears(node(1)));
}
