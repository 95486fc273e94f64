//! The simulator catches every deliberate mistake of the core within a bounded number of seeds.
//!
//! `cargo test --profile sim --no-default-features --features _mutate --test sim teeth`: a command
//! of its own, because a mistake is made by the whole process. `-- --nocapture` shows the seeds.
//! `LATIDO_SIM_SEED=…` begins elsewhere, to see how much was luck; `LATIDO_SIM_SEEDS=…` plays so
//! many seeds for each mistake without stopping, and counts; `LATIDO_SIM_MUTATION=…` plays one.
use latido::core::Rule;
use latido::core::mutation::{Mutation, choose};
use latido::sim::{Fault, Setup, Violation, World, harsh, swarm};

/// Each mistake is caught within so many seeds.
const BOUND: u64 = 300;

type Play = fn(u64) -> Result<swarm::Summary, Violation>;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// The swarm in which a mistake matters.
fn play(mutation: Mutation) -> Play {
    match mutation {
        Mutation::KeepsProof | Mutation::LateFence => harsh::run_fencing,
        Mutation::WitnessTwice => harsh::run_witness,
        Mutation::PetsToTheEnd => harsh::run_watchdog,
        Mutation::ForgetsLeases => forgotten_leases,
        _ => harsh::run,
    }
}

/// A long lease, and voters that forget it under a configuration with a short one: too rare for a
/// swarm to meet within the bound.
fn forgotten_leases(seed: u64) -> Result<swarm::Summary, Violation> {
    let rule = Rule::Majority;
    let drift = vec![0; 3];
    let mut world =
        World::new(Setup { seed, nodes: 3, rule, drift, stretch: 20, ..Setup::default() });
    for node in 0..3 {
        world.apply(Fault::PowerOn(node));
        world.apply(Fault::Configure(node, 1));
    }
    let longest = world.setup.longest_lease();
    // Its stop takes most of the time that it is given.
    let budget = world.setup.stop_budget * world.setup.stretch;
    let service = world.service(0, 0);
    (service.stop_takes, service.limit) = (budget * 8 / 10, budget * 9 / 10);
    world.run_until(15_000_000 + 3 * longest)?;
    for link in 0..world.setup.links {
        for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0)] {
            world.apply(Fault::Cut { link, from, to, cut: true });
        }
    }
    for node in [1, 2] {
        world.apply(Fault::Configure(node, 0));
        world.apply(Fault::PowerOff(node));
        world.run_until(world.now + 50_000)?;
        world.apply(Fault::PowerOn(node));
    }
    world.run_until(world.now + 3 * longest)?;
    Ok(swarm::Summary::default())
}

#[test]
fn teeth() {
    let first = variable("LATIDO_SIM_SEED").unwrap_or(1);
    let all = variable("LATIDO_SIM_SEEDS");
    let mut missed = Vec::new();
    let only = std::env::var("LATIDO_SIM_MUTATION").ok();
    for mutation in Mutation::ALL {
        if only.as_ref().is_some_and(|only| *only != format!("{mutation:?}")) {
            continue;
        }
        let play = play(mutation);
        let mut found: Vec<(u64, String)> = Vec::new();
        let mut played = 0;
        while played < all.unwrap_or(BOUND) && (all.is_some() || found.is_empty()) {
            choose(Some(mutation));
            let caught = play(first + played).err();
            choose(None);
            // A panic may be the simulator's own.
            let caught = caught.filter(|violation| !violation.what.starts_with("panicked"));
            found.extend(caught.map(|violation| (first + played, violation.what)));
            played += 1;
        }
        println!("{mutation:?}: caught in {} of {played} seeds", found.len());
        let Some((seed, what)) = found.first() else {
            missed.push(mutation);
            continue;
        };
        println!("    {seed}: {what}");
        // The seed and not the core at fault would be no proof.
        play(*seed).unwrap_or_else(|violation| panic!("seed {seed}, no mistake: {violation}"));
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
