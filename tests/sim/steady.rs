//! Nothing happens when nothing should: loss, hours, the size of frames.
use crate::scene::*;
use latido::sim::network::Wire;
use latido::sim::{Fault, Setup};

fn lossy(seed: u64, span: u64) {
    let interval = 100 * MS;
    let (warn, dead) = (3 * interval, 10 * interval);
    let mut world = pair(Setup { seed, interval, warn, dead, groups: 2, ..Setup::default() });
    let loss = Wire { loss: 200_000, jitter: 2 * MS, doubled: 10_000, ..Wire::GOOD };
    for link in 0..2 {
        world.apply(Fault::Quality(link, loss));
    }
    run(&mut world, span);
    assert_eq!((world.serving(0), world.serving(1)), (vec![0], vec![1]), "seed {seed}");
    assert_eq!(world.moves, 2, "seed {seed}");
}

#[test]
fn a_fifth_of_all_frames_lost_for_a_minute_moves_nothing() {
    for seed in 0..5 {
        lossy(seed, 60 * SECOND);
    }
}

#[test]
fn a_fifth_of_all_frames_lost_for_long_moves_nothing() {
    // LATIDO_SIM_MINUTES=1440: the 24 hours of the budget, in seconds of real time.
    let minutes = std::env::var("LATIDO_SIM_MINUTES");
    let minutes = minutes.map_or(20, |text| text.parse().expect("minutes"));
    lossy(77, minutes * 60 * SECOND);
}

#[test]
fn frames_of_a_pair_with_two_groups_are_small() {
    let mut world = pair(Setup { groups: 2, ..Setup::default() });
    world.capture = Some(Vec::new());
    run(&mut world, 10 * SECOND);
    world.apply(Fault::PowerOff(0));
    run(&mut world, SECOND);
    world.apply(Fault::PowerOn(0));
    run(&mut world, 10 * SECOND);
    let sizes = |node| {
        let frames = world.capture.iter().flatten().filter(move |frame| frame.0 == node);
        frames.map(|frame| frame.2.len())
    };
    for node in [0, 1] {
        let (least, most) = (sizes(node).min().unwrap(), sizes(node).max().unwrap());
        println!("frames of n{node}: {least} to {most} bytes");
        assert!(most <= 128, "{most} bytes");
    }
}
