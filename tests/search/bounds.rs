//! What holds within each bound. Every search tells how large it was.
use crate::model::{Search, search};
use crate::setup::{Begin, Faults, INTERVAL, QUICK, Setup};

fn holds(setup: Setup) {
    let name = setup.name;
    let outcome = search(Search::new(setup), None);
    if let Some((what, story)) = outcome.broken {
        panic!("{name}: not \"{what}\":\n{story}");
    }
    assert!(outcome.unique > 1_000, "{name}: {} states are too few", outcome.unique);
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a number")))
}

/// One fault of any kind, or as many as the environment asks for; and as far ahead.
fn any(setup: Setup) -> Setup {
    let faults = number("LATIDO_SEARCH_FAULTS").unwrap_or(1);
    let horizon = number("LATIDO_SEARCH_AHEAD").map_or(setup.horizon, |ahead| ahead * INTERVAL);
    Setup { faults: Faults::any(faults.try_into().expect("a small number")), horizon, ..setup }
}

#[test]
fn majority() {
    holds(any(Setup::majority()));
}

#[test]
fn majority_boots() {
    let begin = Begin::Boot;
    holds(any(Setup { name: "3 nodes boot, majority", begin, ..Setup::majority() }));
}

/// What the rules about memory are for: a voter starts again while the owner is cut off.
#[test]
fn majority_restarts() {
    let faults = Faults { all: 2, kills: 1, cuts: 1, cables: 1, ..Faults::NONE };
    let (grid, horizon) = (INTERVAL, 8 * INTERVAL);
    holds(Setup { name: "restarts, majority", faults, grid, horizon, ..Setup::majority() });
}

#[test]
fn witness() {
    holds(any(Setup::witness()));
}

#[test]
fn fencing() {
    holds(any(Setup::fencing()));
}

/// Both daemons are shut down and started again, and meanwhile the cables may be cut: goodbyes that
/// crossed were once taken for proofs by both.
#[test]
fn goodbyes_cross() {
    let faults = Faults { all: 3, commands: 2, cables: 1, ..Faults::NONE };
    let (stop_takes, horizon) = (QUICK, 5 * INTERVAL);
    holds(Setup { name: "goodbyes, fencing", faults, stop_takes, horizon, ..Setup::fencing() });
}
