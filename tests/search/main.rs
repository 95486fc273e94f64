//! Exhaustive search of small configurations: docs/proof.md says what is searched and how.
mod machine;
mod model;
mod setup;
mod world;

use model::search;
use setup::{Faults, Setup};

fn holds(setup: &Setup) {
    let outcome = search(setup, None);
    if let Some((what, story)) = outcome.broken {
        panic!("{}: not \"{what}\":\n{story}", setup.name);
    }
    assert!(outcome.unique > 10, "nothing was searched");
}

/// What the environment asks for: `NAME=number`.
fn number(name: &str) -> Option<u8> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn all(default: u8) -> u8 {
    number("LATIDO_SEARCH_FAULTS").unwrap_or(default)
}

#[test]
fn majority_steady() {
    holds(&Setup { faults: Faults::any(all(1)), ..Setup::majority() });
}

#[test]
fn fencing_steady() {
    holds(&Setup { faults: Faults::any(all(1)), ..Setup::fencing() });
}

#[test]
fn fencing_daemons() {
    let faults = Faults { all: 3, commands: 2, cables: 1, kills: 0, writes: 0, ..Faults::NONE };
    let stop_takes = setup::QUICK;
    let horizon = 6 * setup::INTERVAL;
    holds(&Setup { faults, stop_takes, horizon, ..Setup::fencing() });
}

#[test]
fn witness_steady() {
    holds(&Setup { faults: Faults::any(all(1)), ..Setup::witness() });
}
