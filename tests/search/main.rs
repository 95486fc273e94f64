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
    assert!(outcome.unique > 1_000, "nothing was searched");
}

#[test]
fn majority_steady() {
    println!("{} bytes", std::mem::size_of::<latido::core::Cluster>());
    for all in 0..2 {
        let outcome = search(&Setup { faults: Faults::any(all), ..Setup::majority() }, None);
        if let Some((what, story)) = outcome.broken {
            panic!("not \"{what}\":\n{story}");
        }
    }
}
