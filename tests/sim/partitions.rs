//! Cables: one of several, one direction, all of them, and together again.
use crate::scene::*;
use latido::core::io::{Event, LinkState, StopReason};
use latido::sim::machine::Runs;
use latido::sim::{Fault, Setup};

#[test]
fn one_link_of_several_is_an_event_and_no_takeover() {
    let mut world = pair(Setup::default());
    for cut in [true, false] {
        for (from, to) in [(0, 1), (1, 0)] {
            world.apply(Fault::Cut { link: 0, from, to, cut });
        }
        run(&mut world, 2 * SECOND);
    }
    assert_eq!((world.serving(0), world.moves), (vec![0], 1));
    let link = world.status(1).unwrap().nodes[0].links[0];
    assert_eq!(link.state, LinkState::Up);
    let down = |event: &Event| matches!(event, Event::PeerLink(_, _, LinkState::Down));
    assert!(told(&world, 1, SECOND, down).is_some());
}

#[test]
fn a_link_without_carrier_is_down_at_once() {
    let mut world = pair(Setup::default());
    world.apply(Fault::Carrier(0, 1, false));
    run(&mut world, MS);
    assert_eq!(world.status(0).unwrap().nodes[1].links[1].state, LinkState::Down);
    assert_eq!(world.status(0).unwrap().nodes[1].links[0].state, LinkState::Up);
    run(&mut world, SECOND);
    assert_eq!(world.moves, 1);
}

#[test]
fn one_way_link_among_several_is_told_and_no_takeover() {
    let mut world = pair(Setup::default());
    world.apply(Fault::Cut { link: 0, from: 0, to: 1, cut: true });
    run(&mut world, 5 * SECOND);
    assert_eq!((world.serving(0), world.moves), (vec![0], 1));
    for node in [0, 1] {
        let one_way = |event: &Event| matches!(event, Event::PeerLink(_, _, LinkState::OneWay));
        assert!(told(&world, node, SECOND, one_way).is_some(), "n{node}\n{}", world.story());
    }
}

#[test]
fn one_way_on_the_only_link_leaves_one_owner() {
    for drift in [[0, 0], [10_000, -10_000], [-10_000, 10_000]] {
        for (from, to) in [(0, 1), (1, 0)] {
            let setup = Setup { links: 1, drift: drift.to_vec(), ..Setup::default() };
            let mut world = pair(setup);
            cut(&mut world, from, to, true);
            run(&mut world, 40 * SECOND);
            // The standby hears a deaf owner: it holds back. The owner is not heard any more: the
            // other takes over, and the owner hears of it.
            let owner = if from == 0 { 1 } else { 0 };
            assert_eq!(world.serving(0), [owner], "{from} to {to} cut, drift {drift:?}");
            assert!(world.longest_two().0 < 50 * MS);
            cut(&mut world, from, to, false);
            run(&mut world, 10 * SECOND);
            assert_eq!(world.serving(0), [owner]);
        }
    }
}

#[test]
fn a_partition_that_heals_leaves_the_higher_term_at_once() {
    for seed in 0..10 {
        let drift = vec![-10_000, 10_000];
        let mut world = pair(Setup { seed, drift, ..Setup::default() });
        run(&mut world, seed * 1_234);
        for (from, to) in [(0, 1), (1, 0)] {
            cut(&mut world, from, to, true);
        }
        run(&mut world, (1 + seed * 5) * SECOND);
        assert_eq!(world.serving(0), [0, 1], "assume-dead: each believes the other dead");
        let at = world.now;
        for (from, to) in [(0, 1), (1, 0)] {
            cut(&mut world, from, to, false);
        }
        run(&mut world, SECOND);
        let stop = when(&world, 0, at, stopping(StopReason::Rival(node(1))));
        assert!(stop - at < 2 * world.setup.interval, "seed {seed}: {} µs", stop - at);
        assert_eq!((world.serving(0), world.moves), (vec![1], 2), "seed {seed}");
        assert!(world.announced(1) >= 1, "the winner announces its address again");
        assert_eq!(told(&world, 1, at, |event| matches!(event, Event::Stopping(..))), None);
        assert_eq!(world.service(0, 0).runs, Runs::Nothing);
    }
}

#[test]
fn the_winner_announces_after_the_loser_has_stopped() {
    let mut world = pair(Setup::default());
    for (from, to) in [(0, 1), (1, 0)] {
        cut(&mut world, from, to, true);
    }
    run(&mut world, SECOND);
    world.service(0, 0).stop_takes = 90 * MS;
    for (from, to) in [(0, 1), (1, 0)] {
        cut(&mut world, from, to, false);
    }
    run(&mut world, 60 * MS);
    assert_eq!(world.serving(0), [0, 1]);
    let before = world.announced(1);
    run(&mut world, 60 * MS);
    assert_eq!((world.serving(0), world.announced(1)), (vec![1], before + 1));
}
