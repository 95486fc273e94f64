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
    let faults = Faults { commands: 2, cables: 1, kills: 1, ..Faults::NONE };
    holds(&Setup { faults: Faults { all: 3, ..faults }, ..Setup::fencing() });
}

#[test]
fn scripted() {
    use world::{Action, World};
    let setup = Setup { faults: Faults::any(9), stop_takes: setup::QUICK, ..Setup::fencing() };
    let mut world = World::begin(&setup, true);
    let mut script =
        vec![Action::Shutdown(0), Action::Shutdown(1), Action::Wait, Action::Wait, Action::Wait];
    script.extend([Action::Cut(0b1111), Action::Revive(0), Action::Revive(1)]);
    for action in script {
        loop {
            let mut actions = Vec::new();
            world.actions(&setup, &mut actions);
            if actions.first() == Some(&Action::Pass) {
                world = world.next(&setup, Action::Pass);
                continue;
            }
            if actions.first() == Some(&Action::Strike) {
                world = world.next(&setup, Action::Strike);
                continue;
            }
            break;
        }
        world = world.next(&setup, action);
    }
    loop {
        let mut actions = Vec::new();
        world.actions(&setup, &mut actions);
        let Some(first) = actions.first() else { break };
        world = world.next(&setup, *first);
    }
    println!("{}", world.story.unwrap().join("\n"));
}
