//! Recordings, forgeries, floods, clones.
use crate::scene::*;
use latido::core::io::{Event, NodeState};
use latido::sim::random::Random;
use latido::sim::{Fault, Setup, World};
use std::rc::Rc;

/// All frames of node 0 in ten seconds of a running pair.
fn recorded() -> (World, Vec<Rc<[u8]>>) {
    let mut world = pair(Setup::default());
    world.capture = Some(Vec::new());
    run(&mut world, 10 * SECOND);
    let frames = world.capture.take().unwrap().into_iter();
    let frames = frames.filter(|frame| frame.0 == 0).map(|frame| frame.2).collect();
    (world, frames)
}

#[test]
fn a_recording_keeps_nobody_alive() {
    let (mut world, frames) = recorded();
    world.apply(Fault::PowerOff(0));
    let at = world.now;
    for (place, frame) in frames.iter().enumerate() {
        world.inject(at + place as u64 * 5 * MS, 1, 0, frame);
    }
    run(&mut world, SECOND);
    let took = when(&world, 1, at, starting) - at;
    assert!(took <= world.setup.dead + world.setup.interval, "{took} µs");
}

#[test]
fn a_recording_is_nothing_to_a_fresh_node() {
    let (mut world, frames) = recorded();
    world.apply(Fault::PowerOff(0));
    world.apply(Fault::PowerOff(1));
    run(&mut world, SECOND);
    let at = world.now;
    world.apply(Fault::PowerOn(1));
    for (place, frame) in frames.iter().enumerate() {
        world.inject(at + place as u64 * 7 * MS, 1, 0, frame);
    }
    run(&mut world, 2_990 * MS);
    let alive = |event: &Event| matches!(event, Event::NodeAlive(_));
    assert_eq!(told(&world, 1, at, alive), None);
    assert_ne!(world.status(1).unwrap().nodes[0].state, NodeState::Alive);
    run(&mut world, 100 * MS);
    let started = when(&world, 1, at, starting) - at;
    let initial = world.setup.initial_dead;
    assert!((initial..initial + 25 * MS).contains(&started), "{started} µs");
}

#[test]
fn a_flood_changes_nothing_but_counters() {
    let (mut world, frames) = recorded();
    let (events, at) = ([world.events(0).len(), world.events(1).len()], world.now);
    let mut random = Random::new(9);
    // 20,000 in a second at each node: replayed, mutated, cut short, made up.
    for place in 0..20_000_u64 {
        let mut bytes = frames[random.index(frames.len())].to_vec();
        match random.below(4) {
            0 => {}
            1 => {
                let bit = random.index(bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            2 => bytes.truncate(random.index(bytes.len())),
            _ => bytes.iter_mut().for_each(|byte| *byte = random.bits() as u8),
        }
        for node in [0, 1] {
            world.inject(at + place * 50, node, random.index(2), &bytes);
        }
    }
    run(&mut world, 2 * SECOND);
    assert_eq!((world.serving(0), world.moves), (vec![0], 1));
    assert_eq!(events, [world.events(0).len(), world.events(1).len()], "{}", world.story());
    let counters = world.status(1).unwrap().counters;
    assert!(counters.unsealed > 5_000 && counters.malformed > 4_000, "{counters:?}");
    assert!(counters.stale > 4_000, "{counters:?}");
}

#[test]
fn a_flood_of_recordings_does_not_keep_a_newcomer_out() {
    let (mut world, mut frames) = recorded();
    // Nine incarnations for the recording: as many as a patient eavesdropper likes.
    for _ in 0..8 {
        world.apply(Fault::PowerOff(0));
        run(&mut world, 100 * MS);
        world.apply(Fault::PowerOn(0));
        world.capture = Some(Vec::new());
        run(&mut world, SECOND);
        let more = world.capture.take().unwrap();
        frames.extend(more.into_iter().filter(|frame| frame.0 == 0).map(|frame| frame.2));
    }
    world.apply(Fault::PowerOff(1));
    run(&mut world, SECOND);
    let at = world.now;
    world.apply(Fault::PowerOn(1));
    let mut random = Random::new(4);
    for place in 0..40_000 {
        world.inject(at + place * 50, 1, 0, &frames[random.index(frames.len())]);
    }
    run(&mut world, 2 * SECOND);
    assert_eq!(world.status(1).unwrap().nodes[0].state, NodeState::Alive, "{}", world.story());
}

#[test]
fn a_namesake_is_told() {
    // Frames in our own name that we have not sent: another machine is configured as this one.
    let (mut world, frames) = recorded();
    world.apply(Fault::PowerOff(0));
    world.apply(Fault::PowerOn(0));
    run(&mut world, SECOND);
    let at = world.now;
    for (place, frame) in frames.iter().enumerate().take(200) {
        world.inject(at + place as u64 * MS, 0, 0, frame);
    }
    run(&mut world, SECOND);
    let clone = |event: &&(u64, Event)| event.0 >= at && matches!(event.1, Event::Namesake(_));
    let told = world.events(0).iter().filter(clone).count();
    assert!((1..=9).contains(&told), "told {told} times: enough, and no flood of the log");
}
