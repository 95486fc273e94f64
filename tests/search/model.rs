//! The search itself: the world as a model of `stateright`.
use crate::setup::Setup;
use crate::world::{Action, TWO_HOLDERS, TWO_OWNERS, World};
use stateright::{Checker, HasDiscoveries, Model, Property};
use std::time::{Duration, Instant};

/// What is searched.
#[derive(Clone)]
pub(crate) struct Search {
    setup: Setup,
    begin: World,
}

impl Search {
    pub(crate) fn new(setup: Setup) -> Search {
        Search { begin: World::begin(&setup), setup }
    }
}

impl Model for Search {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![self.begin.clone()]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        world.actions(&self.setup, actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        Some(world.next(&self.setup, action))
    }

    fn properties(&self) -> Vec<Property<Search>> {
        fn unbroken(world: &World, how: &str) -> bool {
            !world.broken.as_ref().is_some_and(|broken| broken.starts_with(how))
        }
        fn other(world: &World) -> bool {
            world.broken.is_none() || !unbroken(world, TWO_OWNERS) || !unbroken(world, TWO_HOLDERS)
        }
        vec![
            Property::always("never two owners", |_, world| unbroken(world, TWO_OWNERS)),
            Property::always("a vote has one holder", |_, world| unbroken(world, TWO_HOLDERS)),
            Property::always("terms and tables hold", |_, world| other(world)),
        ]
    }
}

/// What a search came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) unique: usize,
    /// The first violation, and how it comes about.
    pub(crate) broken: Option<(String, String)>,
}

/// Searches everything; prints how large that was.
pub(crate) fn search(model: Search, limit: Option<Duration>) -> Outcome {
    let begun = Instant::now();
    let (setup, begin) = (model.setup.clone(), model.begin.clone());
    let checker = model.checker().finish_when(HasDiscoveries::AnyFailures);
    let checker = match limit {
        Some(limit) => checker.timeout(limit),
        None => checker,
    };
    let checker = checker.threads(threads()).spawn_dfs().join();
    let broken = checker
        .discoveries()
        .into_iter()
        .next()
        .map(|(what, path)| (what.to_owned(), story(&setup, begin, path.into_actions())));
    let taken = begun.elapsed();
    let end = if broken.is_some() { "a violation" } else { "no violation" };
    println!(
        "{}: {:?}, {} ms ahead: {} states, {} of them different, depth {}, {:.1} s: {end}",
        setup.name,
        setup.faults,
        setup.horizon / 1_000,
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        taken.as_secs_f64(),
    );
    Outcome { unique: checker.unique_state_count(), broken }
}

fn threads() -> usize {
    std::env::var("LATIDO_SEARCH_THREADS").map_or(1, |text| text.parse().expect("a number"))
}

/// Plays these choices again and tells who did what when.
fn story(setup: &Setup, begin: World, actions: Vec<Action>) -> String {
    let mut world = begin;
    world.story = Some(Vec::new());
    for action in actions {
        world = world.next(setup, action);
    }
    world.story.unwrap_or_default().join("\n")
}
