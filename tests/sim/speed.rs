//! What simulated time costs: printed, not asserted.
//!
//! `cargo test --profile sim --no-default-features --features _sim --test sim speed -- --nocapture
//! --ignored`
use crate::scene::*;
use latido::core::Rule;
use latido::sim::{Setup, World, swarm};

/// CPU time of this thread, in µs.
fn cpu() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanos = text.split(' ').next().and_then(|field| field.parse::<u64>().ok());
    nanos.expect("nanoseconds") / 1_000
}

fn quiet(name: &str, setup: Setup, hours: u64) {
    let mut world = World::new(setup);
    for node in 0..world.setup.nodes {
        world.apply(latido::sim::Fault::PowerOn(node));
    }
    run(&mut world, 60 * SECOND);
    let (from, handled) = (cpu(), world.handled);
    run(&mut world, hours * 3600 * SECOND);
    let (spent, handled) = (cpu() - from, world.handled - handled);
    assert_eq!(world.serving(0), [0]);
    let rate = hours * 60 * SECOND / spent.max(1);
    let each = spent * 1_000 / handled.max(1);
    println!(
        "{name}: {rate} cluster-hours per CPU-minute ({each} ns for each of {handled} inputs)"
    );
}

#[test]
#[ignore = "figures, not a test"]
fn speed() {
    let slow = Setup {
        interval: SECOND,
        warn: 5 * SECOND,
        dead: 10 * SECOND,
        initial_dead: 60 * SECOND,
        links: 1,
        ..Setup::default()
    };
    let ten = Setup { interval: 10 * SECOND, warn: 30 * SECOND, dead: 60 * SECOND, ..slow.clone() };
    quiet("quiet pair, interval 1 s, dead 10 s, one link", slow.clone(), 100);
    quiet("the same, two links", Setup { links: 2, ..slow.clone() }, 100);
    quiet("quiet pair, interval 10 s, dead 60 s, one link", ten, 1000);
    quiet("quiet pair, interval 20 ms, dead 200 ms, two links", Setup::default(), 2);
    let three = Setup { nodes: 3, rule: Rule::Majority, drift: vec![0; 3], ..slow };
    quiet("quiet three under majority, interval 1 s, dead 10 s, one link", three, 50);
    for (name, play) in [
        ("stormy pairs", swarm::run as fn(u64) -> Result<swarm::Summary, latido::sim::Violation>),
        ("stormy majorities", swarm::run_majority),
    ] {
        let from = cpu();
        let (mut simulated, mut handled) = (0, 0);
        for seed in 1..=40 {
            let one = play(seed).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
            simulated += one.simulated;
            handled += one.handled;
        }
        let spent = cpu() - from;
        let rate = simulated / 60 / spent.max(1);
        let each = spent * 1_000 / handled;
        println!("{name}: {rate} cluster-hours per CPU-minute ({each} ns for each input)");
    }
}
