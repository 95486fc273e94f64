//! The simulator catches every deliberate mistake within a bounded number of seeds.
//!
//! `cargo test --no-default-features --features _mutate --test sim teeth -- --nocapture`: alone,
//! because the mistake is made by the whole process.
use latido::core::mutation::{Mutation, choose};
use latido::sim::swarm;

/// A mistake caught so often needs no more seeds.
const ENOUGH: usize = 3;

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
#[ignore = "minutes, and alone: see above"]
fn every_mistake_is_caught() {
    std::panic::set_hook(Box::new(|_| {}));
    let (first, seeds) = (variable("LATIDO_SIM_SEED", 1), variable("LATIDO_SIM_SEEDS", 300));
    let mut missed = Vec::new();
    for mutation in Mutation::ALL {
        choose(Some(mutation));
        let mut found: Vec<(u64, String)> = Vec::new();
        let mut played = 0;
        while played < seeds && found.len() < ENOUGH {
            let seed = first + played;
            played += 1;
            found.extend(swarm::run_majority(seed).err().map(|violation| (seed, violation.what)));
        }
        choose(None);
        let two = found.iter().filter(|(_, what)| what.contains("more than one node")).count();
        let example = found.first().map(|(seed, what)| format!("{seed}: {what}"));
        println!(
            "{mutation:?}: caught in {} of {played} seeds, {two} times two owners; {}",
            found.len(),
            example.unwrap_or_default()
        );
        if found.is_empty() {
            missed.push(mutation);
        }
    }
    assert!(missed.is_empty(), "not caught in {seeds} seeds: {missed:?}");
}
