//! The search finds the core's deliberate mistakes, each within its bound. Alone in its process,
//! for a mistake holds for all of it (feature `_mutate`). Those of the core's mistakes that are not
//! here need more faults than a search bears, or voters.
use crate::model::{Search, search};
use crate::setup::{Faults, Setup};
use latido::core::mutation::{Mutation, choose};

const CUT: Faults = Faults { all: 1, cables: 1, ..Faults::NONE };

/// What must go wrong for each mistake to show.
fn samples() -> Vec<(Mutation, Setup, Faults)> {
    let two = |faults: Faults| Faults { all: 2, ..faults };
    let three = |faults: Faults| Faults { all: 3, ..faults };
    let (majority, fencing) = (Setup::majority, Setup::fencing);
    vec![
        (Mutation::CountsFromReceipt, majority(), two(Faults { frames: 1, ..CUT })),
        (Mutation::GrantsBlindly, majority(), two(Faults { cuts: 1, ..CUT })),
        (Mutation::ForgetsGrants, majority(), two(Faults { kills: 1, ..CUT })),
        (Mutation::NoDrift, majority(), CUT),
        (Mutation::OwnVoteTwice, majority(), CUT),
        (Mutation::NoStopBudget, majority(), CUT),
        (Mutation::SilenceIsProof, majority(), CUT),
        (Mutation::SilenceIsProof, fencing(), CUT),
        (Mutation::AdoptsAfresh, majority(), two(Faults { kills: 1, ..CUT })),
        (Mutation::VouchesLonger, majority(), Faults { all: 1, kills: 1, ..Faults::NONE }),
        (Mutation::NewestOnly, majority(), two(Faults { frames: 1, ..CUT })),
        (Mutation::ClaimNumbered, majority(), two(Faults { frames: 1, commands: 1, ..CUT })),
        (Mutation::TermReused, majority(), two(Faults { commands: 2, kills: 1, ..CUT })),
        (Mutation::KeepsProof, fencing(), two(Faults { commands: 1, kills: 1, ..CUT })),
        (Mutation::LateFence, fencing(), three(Faults { commands: 2, shots: 1, ..Faults::NONE })),
        (Mutation::GrantsBlindly, Setup::witness(), two(Faults { kills: 1, ..CUT })),
    ]
}

#[test]
fn mistakes_are_found() {
    let only = std::env::var("LATIDO_SEARCH_MISTAKE").ok();
    let mut missed = Vec::new();
    for (mutation, setup, faults) in samples() {
        let name = format!("{mutation:?}");
        if only.as_ref().is_some_and(|only| *only != name) {
            continue;
        }
        // What it begins with is sound.
        let model = Search::new(Setup { faults, ..setup });
        choose(Some(mutation));
        print!("{name}, ");
        let outcome = search(model, Some(std::time::Duration::from_secs(120)));
        choose(None);
        match outcome.broken {
            Some((what, story)) => {
                println!("  found: not \"{what}\"");
                if only.is_some() {
                    println!("{story}");
                }
            }
            None => missed.push(name),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
