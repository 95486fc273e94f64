//! The simulator catches every deliberate mistake of the core within a bounded number of seeds.
//!
//! `cargo test --profile sim --no-default-features --features _mutate --test sim teeth`: a command
//! of its own, because a mistake is made by the whole process. `-- --nocapture` shows the seeds.
//! `LATIDO_SIM_SEED=…` begins elsewhere, to see how much was luck; `LATIDO_SIM_SEEDS=…` plays so
//! many seeds for each mistake without stopping, and counts; `LATIDO_SIM_MUTATION=…` plays one.
use latido::core::mutation::{Mutation, choose};
use latido::sim::{Violation, harsh, swarm};

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
        _ => harsh::run,
    }
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
