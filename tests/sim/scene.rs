//! What the scenarios share: a running pair, and questions to it. Times in µs.
use latido::core::id::{GroupSet, NodeId, Term};
use latido::core::io::{Command, Event, Reason, Reply, StopReason};
use latido::sim::{Fault, Setup, World};

pub(crate) const MS: u64 = 1_000;
pub(crate) const SECOND: u64 = 1_000_000;

pub(crate) fn node(index: usize) -> NodeId {
    NodeId::new(index).unwrap()
}

pub(crate) fn groups(indices: &[usize]) -> GroupSet {
    indices.iter().fold(GroupSet::EMPTY, |set, index| set.with(Setup::group(*index)))
}

/// Runs on for `span`; a broken invariant ends the test with its story.
pub(crate) fn run(world: &mut World, span: u64) {
    if let Err(violation) = world.run_until(world.now + span) {
        panic!("{violation}");
    }
}

/// Both nodes on at once, and a second later: node 0 owns group 0.
pub(crate) fn pair(setup: Setup) -> World {
    let mut world = World::new(setup);
    world.apply(Fault::PowerOn(0));
    world.apply(Fault::PowerOn(1));
    run(&mut world, SECOND);
    assert_eq!(world.serving(0), [0], "{}", world.story());
    world
}

/// When `node` told the first event since `since` that fits.
pub(crate) fn told(
    world: &World,
    node: usize,
    since: u64,
    fits: impl Fn(&Event) -> bool,
) -> Option<u64> {
    let mut events = world.events(node).iter();
    events.find(|(at, event)| *at >= since && fits(event)).map(|(at, _)| *at)
}

/// Like [`told`], and it must have been.
pub(crate) fn when(world: &World, node: usize, since: u64, fits: impl Fn(&Event) -> bool) -> u64 {
    told(world, node, since, fits)
        .unwrap_or_else(|| panic!("not told by n{node}\n{}", world.story()))
}

pub(crate) fn starting(event: &Event) -> bool {
    matches!(event, Event::Starting(..))
}

pub(crate) fn stopping(reason: StopReason) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Stopping(_, why) if *why == reason)
}

pub(crate) fn claims(reason: Reason) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Claim(_, _, why) if *why == reason)
}

/// The term under which `node` last started group 0, or adopted it.
pub(crate) fn term(world: &World, node: usize) -> Term {
    let term = |event: &Event| match event {
        Event::Running(_, term) | Event::Adopted(_, term) => Some(*term),
        _ => None,
    };
    world.events(node).iter().rev().find_map(|(_, event)| term(event)).expect("it owned once")
}

/// Asks a node, and waits a millisecond for the answer.
pub(crate) fn ask(world: &mut World, node: usize, command: Command) -> Reply {
    let id = world.command_sent(node, command);
    run(world, MS);
    world.reply(node, id).expect("an answer at once")
}

/// Cuts, or mends, every link in one direction.
pub(crate) fn cut(world: &mut World, from: usize, to: usize, cut: bool) {
    for link in 0..world.setup.links {
        world.apply(Fault::Cut { link, from, to, cut });
    }
}
